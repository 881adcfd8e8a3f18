//! Tries a component in throwaway instances before any document depends on it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use reductor_core::{
    ApplyError, Branch, Call, DocumentId, JobId, LaneKey, Limits, LiveDocument as _, Manifest, ScopeState,
};

use super::{AdmissionError, Blame};
use crate::guest::{self, Guest, Template};

/// The component must describe itself twice in the same words, make a new document, and load
/// what it made without changing it. All calls together may take `time_max`.
///
/// A guest that behaves only while it is watched should not know that it is. Its document has a
/// name like any other, new for every admission, so its random bytes tell nothing. The order of
/// the calls does: outside of admission nobody calls `describe`.
pub(super) fn canary(template: &mut Template, time_max: Duration) -> Result<Manifest, AdmissionError> {
    let document = DocumentId::from(JobId::generate().as_str());
    let lane = LaneKey { document, branch: Branch::from(Branch::MAIN) };
    let (interrupt, limits) = (Arc::new(AtomicBool::new(false)), Limits::default());
    let deadline = Instant::now() + time_max;
    let call = || Call::new(&lane, deadline, &interrupt, &limits);

    let describe =
        |template: &Template| guest::describe(&Arc::new(template.clone()), &mut call()).map_err(failed("describe"));
    let described = describe(template)?;
    if described.first != described.second || described.first != describe(template)?.first {
        return Err(changed("describe", "what it says of itself changed from one call to the next"));
    }
    let manifest = super::manifest(described.first)?;
    template.canonical = manifest.canonical;
    let template = Arc::new(template.clone());

    let states = |guest: &mut Guest| -> Result<Vec<ScopeState>, AdmissionError> {
        let mut bytes_left = template.limits.output_bytes_max;
        let mut state = |scope| {
            let state = guest.state(scope, &mut call()).map_err(failed("document.state"))?;
            let left = bytes_left.checked_sub(state.json.len());
            bytes_left = left.ok_or_else(|| changed("document.state", "the states of a new document are too large"))?;
            Ok(state)
        };
        manifest.scopes.iter().map(&mut state).collect()
    };
    let load = |snapshot: &[ScopeState], step| Guest::load(&template, snapshot, &mut call()).map_err(failed(step));
    let initial = states(&mut load(&[], "document.load of a new document")?)?;
    if states(&mut load(&[], "document.load of a new document")?)? != initial {
        return Err(changed("document.load of a new document", "two new documents are not the same"));
    }
    if states(&mut load(&initial, "document.load of the initial state")?)? != initial {
        return Err(changed("document.load", "the state of a document changed by saving and loading it"));
    }
    Ok(manifest)
}

fn changed(step: &'static str, problem: &str) -> AdmissionError {
    AdmissionError::Canary { step, problem: problem.to_owned(), blame: Blame::Component }
}

fn failed(step: &'static str) -> impl Fn(ApplyError) -> AdmissionError {
    move |error| {
        let (problem, blame) = match error {
            ApplyError::Failed(failure) => {
                (format!("{} ({})", failure.message, failure.reason.name()), Blame::Component)
            }
            ApplyError::Rejected { code, message } => (format!("{message} ({code})"), Blame::Component),
            ApplyError::Interrupted => ("it was interrupted".to_owned(), Blame::Host),
            ApplyError::Host(fault) => (fault.to_string(), Blame::Host),
        };
        AdmissionError::Canary { step, problem, blame }
    }
}
