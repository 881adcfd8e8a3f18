//! Reads the timestamps of actions.

/// Milliseconds since 1970 of an ISO 8601 timestamp in UTC, such as `2026-01-31T09:30:00.000Z`.
///
/// The fraction may be absent and may have any number of digits; those after the third
/// are cut off. Anything else is `None`.
pub(crate) fn parse_ms(timestamp: &str) -> Option<i64> {
    let (date, time) = timestamp.strip_suffix('Z')?.split_once('T')?;
    let &[year, month, day] = numbers(date, '-', &[4, 2, 2])?.as_slice() else { return None };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let &[hour, minute, second] = numbers(time, ':', &[2, 2, 2])?.as_slice() else { return None };
    let in_range = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return None;
    }
    let seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000 + milliseconds(fraction)?)
}

/// The numbers of a text with separators; each must have exactly so many digits.
fn numbers(text: &str, separator: char, digits: &[usize]) -> Option<Vec<i64>> {
    let parts: Vec<&str> = text.split(separator).collect();
    let fits = parts.len() == digits.len()
        && parts.iter().zip(digits).all(|(part, &length)| part.len() == length && is_digits(part));
    if fits { parts.iter().map(|part| part.parse().ok()).collect() } else { None }
}

fn milliseconds(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !is_digits(fraction) {
        return None;
    }
    fraction.bytes().chain(*b"00").take(3).try_fold(0, |sum, digit| Some(sum * 10 + i64::from(digit - b'0')))
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_leap_year(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap_year(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before_year = |year: i64| year * 365 + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
    let before_month: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
    before_year(year) - before_year(1970) + before_month + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_timestamps() {
        let cases = [
            ("1970-01-01T00:00:00.000Z", 0),
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2000-02-29T12:34:56.789Z", 951_827_696_789),
            ("2026-01-31T09:30:00.5Z", 1_769_851_800_500),
            ("2026-01-31T09:30:00.123456789Z", 1_769_851_800_123),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000),
        ];
        for (timestamp, expected) in cases {
            assert_eq!(parse_ms(timestamp), Some(expected), "{timestamp}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_timestamp_in_utc() {
        let cases = [
            "",
            "Z",
            "now",
            "1769851800500",
            "2026-01-31",
            "2026-01-31T09:30:00",
            "2026-01-31T09:30:00+01:00",
            "2026-1-31T09:30:00Z",
            "2026-02-29T09:30:00Z",
            "2100-02-29T09:30:00Z",
            "2026-13-01T09:30:00Z",
            "2026-00-01T09:30:00Z",
            "2026-01-00T09:30:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T09:60:00Z",
            "2026-01-31T09:30:60Z",
            "2026-01-31T09:30:00.Z",
            "2026-01-31T09:30:00.-1Z",
            "+026-01-31T09:30:00Z",
            "2026-01-31T09:30:00.5é1Z",
        ];
        for timestamp in cases {
            assert_eq!(parse_ms(timestamp), None, "{timestamp}");
        }
    }
}
