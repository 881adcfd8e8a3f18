//! A document moves to another revision of its model at its next job.

use std::sync::Arc;

use reductor_core::{JobErrorCode, JobResult};
use serde_json::json;

use super::host::{Host, MODEL, add, hold, job, result, with};
use super::scripted::Scripted;

/// Puts another revision of the model in place.
fn register(host: &Host, version: u32, scopes: &[&str]) {
    host.reducers.register(Arc::new(Scripted::new(MODEL, version, scopes, &host.script)));
}

fn version(result: &JobResult) -> Option<u32> {
    result.metadata.as_ref()?.plugin.as_ref().map(|plugin| plugin.version)
}

#[test]
fn a_document_moves_to_a_new_revision_from_its_last_commit() {
    let host = Host::start();
    assert_eq!(version(&host.succeed(&job("d", &[add("a")]))), Some(1));
    register(&host, 2, &["global", "local"]);
    assert_eq!(version(&host.succeed(&job("d", &[add("b")]))), Some(2));
    let calls = host.calls();
    assert_eq!((calls.loaded, calls.dropped), (vec![String::new(), r#"global=["a"] local=[]"#.into()], 1));
    let versions: Vec<_> = host.operations("d").iter().map(|stored| stored.plugin.version).collect();
    assert_eq!(versions, [1, 1, 2]);
}

#[test]
fn a_running_job_finishes_on_the_revision_it_began_with() {
    let host = Host::start();
    let (held, next) = (host.accept(&job("d", &[hold("a"), add("b")])), host.accept(&job("d", &[add("c")])));
    host.script.wait_until_held("a");
    register(&host, 2, &["global", "local"]);
    host.script.release("a");
    assert_eq!((version(&result(held)), version(&result(next))), (Some(1), Some(2)));
    assert_eq!(host.state("d"), r#"["a","b","c"]"#);
}

#[test]
fn an_action_for_a_scope_that_the_document_lacks_fails_and_harms_nobody() {
    let host = Host::with_one_worker();
    host.succeed(&job("d", &[add("a")]));
    register(&host, 2, &["global", "local", "new"]);
    let failed = host.fail(&job("d", &[with(add("b"), "scope", json!("new"))]), JobErrorCode::RebaseFailed);
    assert_eq!(failed.error_message.as_deref(), Some("actions[0]: the document has no scope `new`"));
    host.succeed(&job("d", &[add("c")]));
    host.succeed(&job("e", &[with(add("d"), "scope", json!("new"))]));
    assert_eq!((host.state("d"), host.state_of("e", "new")), (r#"["a","c"]"#.into(), r#"["d"]"#.into()));
}
