//! A rebuilt plugin stands in for a missing one of the same version, or says that it cannot.

use std::collections::BTreeMap;
use std::sync::Arc;

use reductor_core::{
    Action, ApplyError, AuditPolicy, Call, DocumentType, EventBus, ExecutorConfig, JobExecutorManager,
    JobExecutorManagerConfig, JobResult, LiveDocument, Manifest, PluginRef, Reason, Reducer, Reducers, Scope,
    ScopeState, Stop, Submission,
};
use reductor_store::{DiskStore, StoreOptions};
use serde_json::json;
use tempfile::TempDir;

/// A model whose scopes are lists of texts.
struct Lists {
    manifest: Manifest,
    plugin: Arc<PluginRef>,
    /// What an upgrade makes of the scope `local`.
    upgraded: &'static str,
}

struct List(BTreeMap<Scope, Vec<String>>);

fn lists(version: u32, digest: &str, scopes: &[&str], upgraded: &'static str) -> Arc<dyn Reducer> {
    let document_type = DocumentType::from("test/list");
    let scopes = scopes.iter().map(|scope| Scope::from(*scope)).collect();
    let plugin = PluginRef { document_type: document_type.clone(), version, digest: digest.into() };
    let manifest = Manifest { document_type, version, scopes, actions: Vec::new(), canonical: true };
    Arc::new(Lists { manifest, plugin: Arc::new(plugin), upgraded })
}

fn decode(snapshot: &[ScopeState]) -> BTreeMap<Scope, Vec<String>> {
    let list = |state: &ScopeState| (state.scope.clone(), serde_json::from_slice(&state.json).expect("a list"));
    snapshot.iter().map(list).collect()
}

impl List {
    fn encode(&mut self, scope: &Scope) -> ScopeState {
        let list = self.0.entry(scope.clone()).or_default();
        ScopeState { scope: scope.clone(), json: serde_json::to_vec(list).expect("texts").into() }
    }
}

impl Reducer for Lists {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn plugin(&self) -> &Arc<PluginRef> {
        &self.plugin
    }

    fn load(&self, snapshot: &[ScopeState], _: &mut Call<'_>) -> Result<Box<dyn LiveDocument>, ApplyError> {
        Ok(Box::new(List(decode(snapshot))))
    }

    fn upgrade(&self, _: u32, snapshot: &[ScopeState], _: &mut Call<'_>) -> Result<Vec<ScopeState>, ApplyError> {
        let upgrade = |state: &ScopeState| match state.scope.as_str() {
            "local" => {
                ScopeState { scope: state.scope.clone(), json: format!("[\"{}\"]", self.upgraded).into_bytes().into() }
            }
            _ => state.clone(),
        };
        Ok(snapshot.iter().map(upgrade).collect())
    }
}

impl LiveDocument for List {
    fn apply(&mut self, action: &Action, _: &mut Call<'_>) -> Result<ScopeState, ApplyError> {
        let text = serde_json::from_str(action.input.as_str()).expect("a text");
        self.0.entry(action.scope.clone()).or_default().push(text);
        Ok(self.encode(&action.scope))
    }

    fn state(&mut self, scope: &Scope, _: &mut Call<'_>) -> Result<ScopeState, ApplyError> {
        Ok(self.encode(scope))
    }

    fn reload(&mut self, snapshot: &[ScopeState], _: &mut Call<'_>) -> Result<(), ApplyError> {
        self.0 = decode(snapshot);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        1
    }
}

fn boot(dir: &TempDir, reducer: Arc<dyn Reducer>) -> JobExecutorManager {
    let options = StoreOptions { reserve_bytes: 0, ..StoreOptions::default() };
    let store = Arc::new(DiskStore::open(dir.path(), options).expect("the store opens"));
    let reducers = Arc::new(Reducers::new());
    reducers.register(reducer);
    let manager = JobExecutorManagerConfig { max_concurrency: Some(1), ..JobExecutorManagerConfig::default() };
    let config = ExecutorConfig { manager, audit: AuditPolicy::Never, ..ExecutorConfig::default() };
    let manager = JobExecutorManager::open(config, reducers, store, EventBus::new(64)).expect("a readable journal");
    manager.start(None).expect("threads are left");
    manager
}

fn add(manager: &JobExecutorManager, text: &str) -> Arc<JobResult> {
    let action = json!({ "id": text, "type": "ADD", "scope": "global", "input": text });
    let submission = json!({ "documentId": "d", "documentType": "test/list", "actions": [action] });
    let submission = Submission::from_json(&submission.to_string()).expect("a submission");
    manager.enqueue(submission).expect("it is accepted").wait_blocking()
}

/// A document goes on with a rebuilt plugin that has these scopes, although no snapshot was left.
#[track_caller]
fn goes_on_with(scopes: &[&str]) {
    let dir = TempDir::new().expect("a directory");
    let manager = boot(&dir, lists(1, "first", &["global", "local"], ""));
    assert!(add(&manager, "a").success);
    drop(manager);
    let manager = boot(&dir, lists(1, "second", scopes, ""));
    for text in ["b", "c"] {
        let added = add(&manager, text);
        assert!(added.success, "{text}: {:?}", added.error_message);
    }
}

#[test]
fn a_document_goes_on_with_a_stand_in_of_the_same_scopes() {
    goes_on_with(&["global", "local"]);
}

#[test]
fn a_document_goes_on_with_a_stand_in_that_has_its_scopes_in_another_order() {
    goes_on_with(&["local", "global"]);
}

#[test]
fn a_document_goes_on_with_a_stand_in_that_has_one_scope_more() {
    goes_on_with(&["global", "local", "more"]);
}

#[test]
fn what_a_stand_in_would_upgrade_otherwise_is_not_taken_for_the_documents_state() {
    let dir = TempDir::new().expect("a directory");
    let manager = boot(&dir, lists(1, "first", &["global", "local"], ""));
    assert!(add(&manager, "a").success);
    manager.stop_blocking(Stop::Graceful);
    drop(manager);
    let manager = boot(&dir, lists(2, "second", &["global", "local"], "as the second upgrades"));
    assert!(add(&manager, "b").success);
    drop(manager);
    let manager = boot(&dir, lists(2, "third", &["global", "local"], "as the third upgrades"));
    let refused = add(&manager, "c");
    let reason = refused.metadata.as_ref().and_then(|metadata| metadata.reason);
    assert_eq!(reason, Some(Reason::RevisionMissing), "{:?}", refused.error_message);
}
