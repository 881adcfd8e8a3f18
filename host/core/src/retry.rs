//! Decides whether a failed attempt is repeated, and when.

use std::time::Duration;

use crate::failure::{JobErrorCode, Reason};

/// What an attempt failed of, as far as retrying goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: JobErrorCode,
    pub(crate) reason: Option<Reason>,
    /// The kind of trap. What else a failure says (fuel, bytes wanted, addresses in a message)
    /// depends on how long the instance has lived.
    pub(crate) trap: Option<String>,
}

/// The bounds of a job's retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    pub(crate) retries_max: u32,
    pub(crate) base_delay: Duration,
    pub(crate) max_delay: Duration,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The job has failed for good.
    GiveUp {
        /// Whether another attempt would fail in the same way, as far as is known.
        deterministic: bool,
    },
    /// Try again; the delay is drawn between zero and this.
    RetryWithin(Duration),
}

/// Decides after attempt number `attempts` (from 1) failed of `fault`, the one before it, if
/// any, of `before`.
///
/// A guest's failure that repeats identically on a fresh instance is proven deterministic, so
/// a third attempt would waste the machine's time.
pub(crate) fn decide(fault: &Fault, before: Option<&Fault>, attempts: u32, policy: RetryPolicy) -> Verdict {
    use JobErrorCode::{
        GracefulAbort, HashMismatch, IoError, LibraryError, RebaseFailed, SignatureInvalid, Unauthorized,
    };
    let repeated = before == Some(fault) && fault.reason.is_some_and(Reason::deterministic);
    let may_help = match fault.code {
        SignatureInvalid | Unauthorized | HashMismatch | RebaseFailed | GracefulAbort => false,
        LibraryError => !fault.reason.is_some_and(is_final) && !repeated,
        IoError => true,
    };
    if may_help && attempts <= policy.retries_max {
        return Verdict::RetryWithin(ceiling(attempts, policy));
    }
    let deterministic = match fault.code {
        LibraryError => fault.reason.is_some_and(Reason::deterministic),
        HashMismatch | SignatureInvalid => true,
        _ => false,
    };
    Verdict::GiveUp { deterministic }
}

/// Whether nothing but another plugin or another job helps.
fn is_final(reason: Reason) -> bool {
    // An impure reducer may get through a second audit, with the wrong state.
    matches!(reason, Reason::Rejected | Reason::Diverged | Reason::RevisionMissing | Reason::OlderVersion)
}

/// The longest delay before retry number `retry` (from 1): it doubles from the base to the
/// maximum. With full jitter the delay itself is anything up to it, so that jobs that failed
/// together do not come back together.
fn ceiling(retry: u32, policy: RetryPolicy) -> Duration {
    let doubled = policy.base_delay.saturating_mul(1_u32.checked_shl(retry - 1).unwrap_or(u32::MAX));
    doubled.min(policy.max_delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy =
        RetryPolicy { retries_max: 3, base_delay: Duration::from_millis(100), max_delay: Duration::from_millis(250) };

    fn fault(code: JobErrorCode, reason: Option<Reason>) -> Fault {
        Fault { code, reason, trap: Some("unreachable".to_owned()) }
    }

    #[test]
    fn refusals_mismatches_and_aborts_are_never_retried() {
        use JobErrorCode::{GracefulAbort, HashMismatch, LibraryError, RebaseFailed, SignatureInvalid, Unauthorized};
        for code in [SignatureInvalid, Unauthorized, HashMismatch, RebaseFailed, GracefulAbort] {
            assert!(matches!(decide(&fault(code, None), None, 1, POLICY), Verdict::GiveUp { .. }), "{code:?}");
        }
        let diverged = fault(LibraryError, Some(Reason::Diverged));
        assert_eq!(decide(&diverged, None, 1, POLICY), Verdict::GiveUp { deterministic: false });
        for reason in [Reason::RevisionMissing, Reason::OlderVersion] {
            let unreadable = fault(LibraryError, Some(reason));
            assert_eq!(decide(&unreadable, None, 1, POLICY), Verdict::GiveUp { deterministic: false });
        }
        let rejected = fault(LibraryError, Some(Reason::Rejected));
        assert_eq!(decide(&rejected, None, 1, POLICY), Verdict::GiveUp { deterministic: true });
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_maximum_and_the_retries_end() {
        let io = fault(JobErrorCode::IoError, None);
        let verdicts: Vec<_> = (1..=4).map(|attempt| decide(&io, Some(&io), attempt, POLICY)).collect();
        let within = |ms| Verdict::RetryWithin(Duration::from_millis(ms));
        assert_eq!(verdicts, [within(100), within(200), within(250), Verdict::GiveUp { deterministic: false }]);
    }

    #[test]
    fn a_trap_that_repeats_identically_stops_there() {
        let trap = fault(JobErrorCode::LibraryError, Some(Reason::Trap));
        assert!(matches!(decide(&trap, None, 1, POLICY), Verdict::RetryWithin(_)));
        assert_eq!(decide(&trap, Some(&trap), 2, POLICY), Verdict::GiveUp { deterministic: true });
        let other = Fault { trap: Some("memory-out-of-bounds".to_owned()), ..trap.clone() };
        assert!(matches!(decide(&trap, Some(&other), 2, POLICY), Verdict::RetryWithin(_)));
    }

    #[test]
    fn a_timeout_is_retried_however_often_it_repeats() {
        let timeout = fault(JobErrorCode::LibraryError, Some(Reason::Timeout));
        assert!(matches!(decide(&timeout, Some(&timeout), 3, POLICY), Verdict::RetryWithin(_)));
        assert_eq!(decide(&timeout, Some(&timeout), 4, POLICY), Verdict::GiveUp { deterministic: false });
    }

    #[test]
    fn an_absurd_number_of_retries_does_not_overflow() {
        let policy = RetryPolicy { retries_max: u32::MAX, ..POLICY };
        assert_eq!(ceiling(40, policy), Duration::from_millis(250));
        assert_eq!(ceiling(4_000_000, policy), Duration::from_millis(250));
    }
}
