//! Sizes and spans of time as people write them on a command line.

use std::fmt;
use std::time::Duration;

/// A span of time: `30d`, `24h`, `90m`, `45s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age(pub(crate) Duration);

const AGES: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
const SIZES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (unit, length) = AGES.into_iter().find(|(_, length)| seconds.is_multiple_of(*length)).unwrap_or(("s", 1));
        write!(f, "{}{unit}", seconds / length)
    }
}

/// Reads an age.
pub(crate) fn age(text: &str) -> Result<Age, String> {
    let seconds = AGES.into_iter().find_map(|(unit, length)| number(text.strip_suffix(unit)?)?.checked_mul(length));
    seconds
        .map(|seconds| Age(Duration::from_secs(seconds)))
        .ok_or_else(|| "expected an age such as 30d, 24h, 90m or 45s".to_owned())
}

/// Reads a number of bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let bytes = SIZES.into_iter().find_map(|(unit, length)| number(text.strip_suffix(unit)?)?.checked_mul(length));
    bytes.ok_or_else(|| "expected a size such as 512MiB, 4GiB or a number of bytes".to_owned())
}

fn number(text: &str) -> Option<u64> {
    text.trim_end().parse().ok()
}

/// A number of things, as people say it.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// A number of jobs.
pub(crate) fn jobs(number: u64) -> String {
    count(number, "job", "jobs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_have_units() {
        for (text, seconds) in [("30d", 30 * 86_400), ("24h", 86_400), ("90m", 5_400), ("45s", 45)] {
            assert_eq!(age(text), Ok(Age(Duration::from_secs(seconds))));
        }
        for (text, bytes) in [("256MiB", 256 << 20), ("1 GiB", 1 << 30), ("123", 123), ("3TiB", 3 << 40)] {
            assert_eq!(size(text), Ok(bytes));
        }
        for wrong in ["", "d", "12", "1w", "-1d"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "MiB", "1MB", "-1", "99999999TiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_age_is_shown_in_its_largest_unit() {
        assert_eq!(Age(Duration::from_hours(720)).to_string(), "30d");
        assert_eq!(Age(Duration::from_secs(5_400)).to_string(), "90m");
    }
}
