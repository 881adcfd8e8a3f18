//! Where documents stand, as scripts and people read it.

use std::collections::BTreeMap;

use reductor_host::{Branch, DocumentId, Head, Json, LaneKey, OperationStore, StoreError};
use serde::Serialize;

/// Branches of a document that are read from a store at once.
const PAGE: usize = 64;

/// Where a branch of a document stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DocumentState<'a> {
    document_id: &'a str,
    branch: &'a str,
    document_type: &'a str,
    /// Operations of the branch, across scopes.
    revision: u64,
    hash: BTreeMap<&'a str, &'a str>,
    pub(crate) state: BTreeMap<&'a str, Json>,
}

impl<'a> DocumentState<'a> {
    pub(crate) fn new(lane: &'a LaneKey, head: &'a Head) -> anyhow::Result<Self> {
        let state = |json: &[u8]| Json::parse(std::str::from_utf8(json)?).map_err(anyhow::Error::from);
        let states = head.scopes.iter().map(|scope| Ok((scope.state.scope.as_str(), state(&scope.state.json)?)));
        Ok(Self {
            document_id: lane.document.as_str(),
            branch: lane.branch.as_str(),
            document_type: head.document_type.as_str(),
            revision: head.revision,
            hash: head.scopes.iter().map(|scope| (scope.state.scope.as_str(), scope.hash.as_str())).collect(),
            state: states.collect::<anyhow::Result<_>>()?,
        })
    }

    /// For people.
    pub(crate) fn describe(&self) -> anyhow::Result<String> {
        let Self { document_id, branch, document_type, revision, hash, state } = self;
        let mut text = format!("{document_id} ({branch}), {document_type}, revision {revision}");
        for (scope, state) in state {
            let value: serde_json::Value = serde_json::from_str(state.as_str())?;
            text += &format!("\n\n{scope}  {}\n{}", hash[scope], serde_json::to_string_pretty(&value)?);
        }
        Ok(text)
    }
}

/// The branches that a document has, in the order of their names.
pub(crate) fn branches(store: &dyn OperationStore, document: &str) -> Result<Vec<LaneKey>, StoreError> {
    let mut after = LaneKey { document: DocumentId::from(document), branch: Branch::from("") };
    let mut found = Vec::new();
    loop {
        let page = store.lanes(Some(&after), PAGE)?;
        let of_document = page.iter().filter(|lane| lane.document.as_str() == document);
        found.extend(of_document.cloned());
        match page.last() {
            Some(last) if last.document.as_str() == document && page.len() == PAGE => after = last.clone(),
            _ => return Ok(found),
        }
    }
}
