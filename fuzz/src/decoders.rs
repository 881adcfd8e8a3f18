//! Any text: decode it as everything that comes in over a wire or out of a file.

use std::fmt::Debug;

use reductor_core::{
    Action, ActionSchema, Causation, Job, JobError, JobExecutionConfig, JobExecutorManagerConfig, JobResult, Json,
    Limits, Manifest, Operation, PluginRef, Refusal, Submission, Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Decodes `data` as each of the types that have a decoder.
///
/// What can be decoded survives encoding and decoding again; a submission is admitted or
/// refused, and a job that comes of it survives too.
///
/// # Panics
///
/// If that does not hold.
pub fn decoders(data: &[u8]) {
    survives::<Action>(data);
    survives::<Causation>(data);
    survives::<Job>(data);
    survives::<JobError>(data);
    survives::<JobExecutionConfig>(data);
    survives::<JobExecutorManagerConfig>(data);
    survives::<JobResult>(data);
    survives::<Manifest>(data);
    survives::<Operation>(data);
    survives::<PluginRef>(data);
    survives::<Timestamp>(data);
    if let Ok(text) = std::str::from_utf8(data) {
        is_admitted_or_refused(text);
    }
}

fn survives<T: Debug + PartialEq + Serialize + DeserializeOwned>(data: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(data) {
        survives_encoding(&value);
    }
}

fn survives_encoding<T: Debug + PartialEq + Serialize + DeserializeOwned>(value: &T) {
    let text = serde_json::to_string(value).expect("what was decoded can be encoded");
    let again: T = serde_json::from_str(&text).expect("what was encoded can be decoded");
    assert_eq!(&again, value, "it changed by encoding and decoding");
    assert_eq!(serde_json::to_string(&again).ok(), Some(text), "its text changed by decoding and encoding");
}

fn is_admitted_or_refused(text: &str) {
    let decoded = Submission::from_json(text);
    assert_eq!(decoded.is_ok(), serde_json::from_str::<Submission>(text).is_ok());
    let submission = match decoded {
        Ok(submission) => submission,
        Err(refusal) => return assert!(matches!(refusal, Refusal::Malformed { .. }), "{refusal}"),
    };
    let (lane, actions) = (submission.lane(), submission.actions.len());
    match submission.admit(&manifest(), &small(), Timestamp { ms: 0 }) {
        Ok(accepted) => {
            assert_eq!((accepted.job.lane(), accepted.job.actions.len()), (lane, actions));
            survives_encoding(&accepted.job);
        }
        Err(refusal @ (Refusal::Invalid { .. } | Refusal::UnknownScope { .. })) => {
            assert!(refusal.field().is_some_and(|field| !field.is_empty()), "{refusal}");
        }
        Err(refusal) => panic!("a check of the text alone cannot know that: {refusal}"),
    }
}

/// A model with two scopes, so that jobs may have some of them.
fn manifest() -> Manifest {
    Manifest {
        document_type: "fuzz/model".into(),
        version: 1,
        scopes: vec!["global".into(), "local".into()],
        actions: vec![ActionSchema { name: "ADD".into(), input_schema: Json::null() }],
        canonical: true,
    }
}

/// Limits that short texts reach.
fn small() -> Limits {
    Limits {
        actions_per_job_max: 4,
        dependencies_per_job_max: 2,
        action_input_bytes_max: 64,
        name_bytes_max: 16,
        ..Limits::default()
    }
}
