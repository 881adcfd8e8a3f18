//! Moments and spans, as the wire spells them, and the clock that tells them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment that the host took note of: milliseconds since 1970 in UTC.
///
/// On the wire ISO 8601 with three decimals, such as `2026-03-01T12:00:00.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub ms: i64,
}

impl Timestamp {
    /// The moment so much later.
    pub(crate) fn after(self, delay: Duration) -> Self {
        Self { ms: self.ms.saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)) }
    }

    /// How much later it is than `earlier`; zero if it is not.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.ms.saturating_sub(earlier.ms)).unwrap_or_default())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.ms) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => write!(f, "{:.3}", if self.ms < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX }),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = TimestampText::deserialize(deserializer)?;
        Ok(text.to_timestamp())
    }
}

/// A moment as its author wrote it: ISO 8601 in UTC, kept byte for byte.
///
/// An action's timestamp may be signed, so the host keeps its spelling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct TimestampText(Arc<str>);

/// Why a text is not a moment in UTC.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an ISO 8601 date and time in UTC, such as 2026-03-01T12:00:00.000Z")]
pub struct NotATimestamp(String);

impl TimestampText {
    /// Takes `text`, if it is ISO 8601 and ends in `Z`.
    ///
    /// # Errors
    ///
    /// [`NotATimestamp`] with the text.
    pub fn parse(text: &str) -> Result<Self, NotATimestamp> {
        let valid = text.ends_with('Z') && text.len() <= 64 && text.parse::<jiff::Timestamp>().is_ok();
        if valid { Ok(Self(text.into())) } else { Err(NotATimestamp(text.chars().take(64).collect())) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text itself, for whoever keeps it.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// The moment it names, cut to milliseconds.
    pub fn to_timestamp(&self) -> Timestamp {
        let moment: jiff::Timestamp = self.0.parse().expect("a TimestampText was parsed before");
        Timestamp { ms: moment.as_millisecond() }
    }
}

impl From<Timestamp> for TimestampText {
    fn from(moment: Timestamp) -> Self {
        Self(moment.to_string().into())
    }
}

impl<'de> Deserialize<'de> for TimestampText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A span of time: microseconds in memory, milliseconds with up to three decimals on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Microseconds.
    pub us: u64,
}

impl Span {
    /// The longest span that the wire carries, 35 years: beyond it microseconds get lost when a
    /// double of milliseconds is multiplied and divided by a thousand.
    pub const MAX: Self = Self { us: 1 << 50 };
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self { us: us.min(Self::MAX.us) }
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.us.is_multiple_of(1000) {
            serializer.serialize_u64(self.us / 1000)
        } else {
            serializer.serialize_f64(self.us as f64 / 1000.0)
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let us = (f64::deserialize(deserializer)? * 1000.0).round();
        if (0.0..=Self::MAX.us as f64).contains(&us) {
            Ok(Self { us: us as u64 })
        } else {
            Err(serde::de::Error::custom("a span of time is neither negative nor longer than 35 years"))
        }
    }
}

/// Tells the executor what time it is: the machine's time, or in tests a time that is moved
/// by hand.
///
/// It rules backoff and timestamps. A guest's timeout always counts real time, because the
/// guest really runs.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Kind>);

/// A moment, by the clock's count and by the time of day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) elapsed: Duration,
    pub(crate) now: Timestamp,
}

#[derive(Debug)]
enum Kind {
    System { started: Instant },
    Manual { started_at: Timestamp, passed: Mutex<Duration> },
}

/// Where a clock begins to count. Jobs of an earlier process were accepted before this process made
/// its clock; their moments are counts below this one, as a duration cannot be negative.
const COUNT_AT_START: Duration = Duration::from_hours(100 * 365 * 24);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Arc::new(Kind::System { started: Instant::now() }))
    }

    /// A clock that stands at 1970 until it is moved.
    pub fn manual() -> Self {
        Self::manual_at(Timestamp { ms: 0 })
    }

    /// A clock that stands at `started_at` until it is moved.
    pub fn manual_at(started_at: Timestamp) -> Self {
        Self(Arc::new(Kind::Manual { started_at, passed: Mutex::default() }))
    }

    /// A count of time that never goes back, whatever happens to the time of day. Only the
    /// difference of two counts of one clock means anything.
    pub fn elapsed(&self) -> Duration {
        COUNT_AT_START + self.passed()
    }

    fn passed(&self) -> Duration {
        match &*self.0 {
            Kind::System { started } => started.elapsed(),
            Kind::Manual { passed, .. } => *passed.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        let (from, since) = match &*self.0 {
            Kind::System { .. } => {
                (Timestamp { ms: 0 }, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
            }
            Kind::Manual { started_at, .. } => (*started_at, self.passed()),
        };
        from.after(since)
    }

    /// Both at once.
    pub(crate) fn moment(&self) -> Moment {
        Moment { elapsed: self.elapsed(), now: self.now() }
    }

    /// Moves a manual clock forward. Whoever waits on it must be woken by the caller; see
    /// [`JobExecutorManager::advance_clock`](crate::JobExecutorManager::advance_clock).
    pub(crate) fn advance(&self, by: Duration) {
        match &*self.0 {
            Kind::System { .. } => panic!("only a manual clock can be moved"),
            Kind::Manual { passed, .. } => *passed.lock().unwrap_or_else(PoisonError::into_inner) += by,
        }
    }

    /// Whether time passes by itself, so that waiting for a moment makes sense.
    pub(crate) fn runs(&self) -> bool {
        matches!(*self.0, Kind::System { .. })
    }
}
