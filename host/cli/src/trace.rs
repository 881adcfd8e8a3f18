//! Recorded editing sessions, as jobs.

use std::fs::File;
use std::path::Path;

use anyhow::Context as _;
use flate2::read::GzDecoder;
use reductor_host::Submission;
use serde::Deserialize;
use serde_json::json;

/// One person's edits of one text, from start to end.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trace {
    start_content: String,
    pub(crate) end_content: String,
    txns: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Transaction {
    time: String,
    /// `[position, deleted, inserted]`, in code points.
    patches: Vec<(u64, u64, String)>,
}

impl Trace {
    /// Reads the session `name` that comes with the project.
    pub(crate) fn read(source: &Path, name: &str) -> anyhow::Result<Self> {
        let path = source.join("tests/data/editing-traces").join(name).with_extension("json.gz");
        let file = File::open(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let trace: Self = serde_json::from_reader(std::io::BufReader::new(GzDecoder::new(file)))
            .with_context(|| format!("{} is not an editing session", path.display()))?;
        anyhow::ensure!(trace.start_content.is_empty(), "{} does not begin with an empty text", path.display());
        Ok(trace)
    }

    /// One job for each transaction, on a new document of the model `example/text`.
    pub(crate) fn submissions(&self, document: &str) -> anyhow::Result<Vec<Submission>> {
        let submission = |txn: &Transaction| {
            let text = json!({
                "documentId": document,
                "documentType": "example/text",
                "actions": [{
                    "type": "EDIT",
                    "timestampUtcMs": txn.time.replace("+00:00", "Z"),
                    "input": { "patches": txn.patches },
                }],
            });
            Ok(Submission::from_json(&text.to_string())?)
        };
        self.txns.iter().map(submission).collect()
    }
}
