//! Plugin revisions whose failures have lately taken long.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ids::DocumentType;
use crate::plugin::PluginRef;
use crate::registry::Reducers;

/// How long a revision is suspected after it used up a timeout.
const SUSPECTED_FOR: Duration = Duration::from_secs(60);

/// Remembers revisions whose failed attempts took long, so that all of them together do not take every
/// worker.
///
/// A revision is suspected when its attempts that failed have lately taken as long as the operator's
/// timeout. One job that asks for less time does not make its model suspect; a model that runs away in
/// jobs which all ask for a little less is suspected all the same, and so is one whose states cost the
/// host seconds to refuse.
#[derive(Default)]
pub(crate) struct Suspects {
    /// Whether a revision may be suspected. Nearly always none is, and nobody need take the lock.
    any: AtomicBool,
    /// One entry for each model of which an attempt ever failed.
    known: Mutex<HashMap<DocumentType, Suspect>>,
}

/// A revision with attempts that failed.
struct Suspect {
    plugin: Arc<PluginRef>,
    /// The time that its failed attempts took, up to the operator's timeout. It leaks away.
    lost: Duration,
    /// The moment at which `lost` was computed.
    at: Duration,
    /// Until when the revision is suspected, if it ever was.
    until: Option<Duration>,
}

impl Suspects {
    /// Takes note that an attempt failed after so much time, where the operator gives `timeout_max` to
    /// jobs that ask for nothing.
    pub(crate) fn lost(&self, plugin: &Arc<PluginRef>, time: Duration, timeout_max: Duration, now: Duration) {
        let mut known = self.lock();
        let fresh = || Suspect { plugin: plugin.clone(), lost: Duration::ZERO, at: now, until: None };
        let suspect = known.entry(plugin.document_type.clone()).or_insert_with(fresh);
        if suspect.plugin != *plugin {
            *suspect = fresh();
        }
        suspect.lose(time, timeout_max, now);
        if suspect.is_suspected(now) {
            self.any.store(true, Ordering::Release);
        }
    }

    /// When the next revision is suspected no more, if one is suspected at `now`.
    pub(crate) fn next_cleared(&self, now: Duration) -> Option<Duration> {
        let known = self.lock();
        known.values().filter(|suspect| suspect.is_suspected(now)).filter_map(|suspect| suspect.until).min()
    }

    /// Whether a revision may be suspected, so that it matters what time it is.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Whether the revision that serves a model is suspected at `now`.
    pub(crate) fn is_suspected(&self, document_type: &DocumentType, now: Duration, reducers: &Reducers) -> bool {
        if !self.any() {
            return false;
        }
        let known = self.lock();
        self.any.store(known.values().any(|suspect| suspect.is_suspected(now)), Ordering::Release);
        let suspect = known.get(document_type).filter(|suspect| suspect.is_suspected(now));
        let Some(plugin) = suspect.map(|suspect| suspect.plugin.clone()) else { return false };
        drop(known);
        reducers.get(document_type).is_some_and(|reducer| *reducer.plugin() == plugin)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DocumentType, Suspect>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Suspect {
    /// Counts the time of one more attempt. A timeout's worth of it leaks away in a minute, or in
    /// the time of one such attempt: less than half a worker's time is not worth suspecting.
    fn lose(&mut self, time: Duration, timeout_max: Duration, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64() / SUSPECTED_FOR.max(timeout_max).as_secs_f64();
        let leaked = timeout_max.mul_f64(passed.min(1.0));
        self.lost = self.lost.saturating_sub(leaked).saturating_add(time).min(timeout_max);
        self.at = now;
        if self.lost == timeout_max {
            self.until = Some(now + SUSPECTED_FOR);
        }
    }

    fn is_suspected(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use reductor_guest::prelude::*;

    use super::*;
    use crate::native::NativeReducer;
    use crate::reducer::Reducer as _;

    #[derive(Default, Serialize, Deserialize)]
    struct Nothing {}

    #[derive(Deserialize, JsonSchema)]
    enum Touch {
        Touch,
    }

    impl Reducer for Nothing {
        const DOCUMENT_TYPE: &'static str = "test/nothing";
        type Action = Touch;
        fn apply(&mut self, Touch::Touch: Touch, _: &mut Context) -> Result<(), Rejection> {
            Ok(())
        }
    }

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn plugin(name: &str) -> Arc<PluginRef> {
        Arc::new(PluginRef { document_type: DocumentType::from(name), version: 1, digest: "native".into() })
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn the_next_moment_to_look_at_is_never_past() {
        let suspects = Suspects::default();
        assert_eq!(suspects.next_cleared(Duration::ZERO), None);
        suspects.lost(&plugin("one"), TIMEOUT, TIMEOUT, Duration::ZERO);
        suspects.lost(&plugin("two"), TIMEOUT, TIMEOUT, secs(20));
        // Nobody asks about either model meanwhile.
        let seen = [0, 59, 60, 79, 80, 200].map(|now| suspects.next_cleared(secs(now)));
        assert_eq!(seen, [Some(secs(60)), Some(secs(60)), Some(secs(80)), Some(secs(80)), None, None]);
    }

    #[test]
    fn a_lane_that_is_held_back_is_looked_at_when_its_model_is_cleared() {
        // A worker that finds it held back at some moment sleeps until the next one by the same clock.
        let (suspects, reducers) = (Suspects::default(), Reducers::new());
        let counter = Arc::new(NativeReducer::<Nothing>::new());
        let plugin = counter.plugin().clone();
        reducers.register(counter);
        suspects.lost(&plugin, TIMEOUT, TIMEOUT, Duration::ZERO);
        for now in (0..70_000).step_by(250).map(Duration::from_millis) {
            let is_held_back = suspects.is_suspected(&plugin.document_type, now, &reducers);
            assert_eq!(suspects.next_cleared(now).is_some_and(|next| next > now), is_held_back, "at {now:?}");
            assert_eq!(is_held_back, now < SUSPECTED_FOR);
        }
    }

    #[test]
    fn attempts_with_less_time_add_up_to_the_operators_timeout() {
        let (suspects, plugin) = (Suspects::default(), plugin("one"));
        let is_suspected = |timeout: Duration, now| {
            suspects.lost(&plugin, timeout, TIMEOUT, now);
            suspects.next_cleared(now).is_some()
        };
        assert!(!is_suspected(secs(29), secs(0)));
        assert!(is_suspected(secs(29), secs(29)), "the model took 58 seconds of a worker");
        assert!(is_suspected(Duration::ZERO, secs(88)));
        assert!(!is_suspected(Duration::ZERO, secs(89)), "nothing was lost since");
        assert!(!is_suspected(secs(29), secs(1_000)), "what was long ago is forgotten");
        assert!((1_060..9_000).all(|now| !is_suspected(secs(1) / 10, secs(now))), "a tenth of a worker's time");
    }

    #[test]
    fn a_timeout_of_hours_adds_up_as_well() {
        let (suspects, plugin) = (Suspects::default(), plugin("one"));
        suspects.lost(&plugin, secs(7_199), secs(7_200), secs(7_199));
        suspects.lost(&plugin, secs(7_199), secs(7_200), secs(10_800));
        assert_eq!(suspects.next_cleared(secs(10_800)), Some(secs(10_860)));
    }
}
