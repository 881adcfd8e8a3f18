//! A host inside of another program.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use reductor_guest::prelude::*;
use reductor_host::{ArtefactCache, Host, HostError, JobErrorCode, Phase, Stop, Submission};
use reductor_tests::COUNTER;

/// The counter's model, as code of the embedder's own.
#[derive(Default, Serialize, Deserialize)]
struct Tally {
    value: i64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum TallyAction {
    Increment { by: i64 },
}

impl Reducer for Tally {
    const DOCUMENT_TYPE: &'static str = "test/tally";
    type Action = TallyAction;

    fn apply(&mut self, action: TallyAction, _: &mut Context) -> Result<(), Rejection> {
        let TallyAction::Increment { by } = action;
        self.value += by;
        Ok(())
    }
}

fn increment(model: &str, document: &str) -> Result<Submission> {
    let text = format!(
        r#"{{"documentId": "{document}", "documentType": "{model}",
             "actions": [{{"type": "INCREMENT", "input": {{"by": 2}}}}]}}"#
    );
    Ok(Submission::from_json(&text)?)
}

#[test]
fn plugins_and_native_reducers_stand_side_by_side() -> Result<()> {
    let host = Host::builder().plugin_file(COUNTER).native::<Tally>().start()?;
    for model in ["example/counter", "test/tally"] {
        let submission = increment(model, model)?;
        let lane = submission.lane();
        assert!(host.run_blocking(submission)?.success, "{model}");
        let head = host.store().snapshot(&lane, u64::MAX)?.context("it was created")?;
        assert_eq!(&*head.snapshot()[0].json, br#"{"value":2}"#);
    }
    Ok(())
}

#[tokio::test]
async fn it_works_stops_and_is_dropped_inside_a_runtime_of_one_thread() -> Result<()> {
    let host = Host::builder().plugin_bytes(std::fs::read(COUNTER)?).start()?;
    assert!(host.run(increment("example/counter", "c")?).await?.success);
    host.manager().wait_until_idle().await;
    host.manager().stop(Stop::Graceful).await;
    assert_eq!(host.manager().phase(), Phase::Stopped);
    host.manager().start(None)?;
    assert!(host.run(increment("example/counter", "c")?).await?.success);
    drop(host);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_a_host() -> Result<()> {
    let host = Arc::new(Host::builder().plugin_file(COUNTER).start()?);
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let host = host.clone();
            tokio::spawn(async move {
                let submission = increment("example/counter", &format!("c{}", number % 7))?;
                anyhow::Ok(host.run(submission).await?.success)
            })
        })
        .collect();
    for task in tasks {
        assert!(task.await??);
    }
    assert_eq!(host.manager().get_status().total_jobs_succeeded, 100);
    Ok(())
}

#[test]
fn a_host_that_was_built_executes_once_it_is_started() -> Result<()> {
    let host = Host::builder().native::<Tally>().build()?;
    let mut ticket = host.manager().enqueue(increment("test/tally", "t")?)?;
    assert!(ticket.try_wait().is_none());
    host.manager().start(None)?;
    assert!(ticket.wait_blocking().success);
    Ok(())
}

#[test]
fn jobs_of_a_host_that_is_dropped_are_given_back() -> Result<()> {
    let host = Host::builder().native::<Tally>().build()?;
    let ticket = host.manager().enqueue(increment("test/tally", "t")?)?;
    drop(host);
    assert_eq!(ticket.wait_blocking().error_code, Some(JobErrorCode::GracefulAbort));
    Ok(())
}

#[test]
fn what_cannot_be_loaded_is_named() -> Result<()> {
    let missing = Host::builder().plugin_file("no-such.wasm").build().err().context("it was built")?;
    assert!(matches!(missing, HostError::Unreadable { .. }) && missing.to_string().contains("no-such.wasm"));
    let broken = Host::builder().plugin_file(COUNTER).plugin_bytes(*b"hello").build().err().context("it was built")?;
    assert_eq!(broken.to_string(), "plugin 1 was not admitted");
    let twice = Host::builder().plugin_file(COUNTER).plugin_file(COUNTER).build().err().context("it was built")?;
    assert!(matches!(&twice, HostError::SameModel { .. }) && twice.to_string().contains("example/counter"), "{twice}");
    Ok(())
}

#[test]
fn what_was_compiled_is_kept_where_the_embedder_says() -> Result<()> {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("kept");
    // What an earlier run left was perhaps compiled by another version.
    let _ = std::fs::remove_dir_all(&directory);
    for _ in 0..2 {
        let cache = ArtefactCache::open(&directory, ArtefactCache::BYTES_MAX_DEFAULT)?;
        let host = Host::builder().plugin_file(COUNTER).artefact_cache(cache).start()?;
        assert!(host.run_blocking(increment("example/counter", "c")?)?.success);
        assert_eq!(std::fs::read_dir(&directory)?.count(), 1);
    }
    Ok(())
}
