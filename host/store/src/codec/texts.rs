//! Texts that are often something shorter.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bincode::{BorrowDecode, Encode};
use reductor_core::{StateHash, Timestamp, TimestampText};

use super::BadRecord;

/// A text that is often a UUID, such as the ids that the host makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) enum Id<'a> {
    Uuid([u8; 16]),
    Text(&'a str),
}

impl<'a> Id<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let canonical = |text: &str| text.len() == 36 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
        match uuid::Uuid::try_parse(text) {
            Ok(uuid) if canonical(text) => Self::Uuid(uuid.into_bytes()),
            _ => Self::Text(text),
        }
    }

    pub(crate) fn restore<T: for<'t> From<&'t str>>(&self) -> T {
        match self {
            Self::Uuid(bytes) => {
                T::from(uuid::Uuid::from_bytes(*bytes).hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))
            }
            Self::Text(text) => T::from(text),
        }
    }
}

/// The hash of a state, which is nearly always a SHA-256 in base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) enum Hash<'a> {
    Sha256([u8; 32]),
    Text(&'a str),
}

impl<'a> Hash<'a> {
    pub(crate) fn of(hash: &'a StateHash) -> Self {
        // The decoder writes in blocks of three and wants the room for the last one.
        let mut bytes = [0; 36];
        match STANDARD.decode_slice(hash.as_str(), &mut bytes) {
            Ok(32) => Self::Sha256(*bytes.first_chunk().expect("36 bytes begin with 32")),
            _ => Self::Text(hash.as_str()),
        }
    }

    pub(crate) fn restore(&self) -> StateHash {
        match self {
            Self::Sha256(bytes) => {
                let mut text = [0; 44];
                let length = STANDARD.encode_slice(bytes, &mut text).expect("32 bytes are 44 characters of base64");
                StateHash::from(std::str::from_utf8(&text[..length]).expect("base64 is ASCII"))
            }
            Self::Text(text) => StateHash::from(*text),
        }
    }
}

/// A moment, which is nearly always spelled with three decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) enum Moment<'a> {
    Ms(i64),
    Text(&'a str),
}

impl<'a> Moment<'a> {
    pub(crate) fn of(text: &'a TimestampText) -> Self {
        milliseconds(text.as_str().as_bytes()).map_or(Self::Text(text.as_str()), Self::Ms)
    }

    pub(crate) fn restore(&self) -> Result<TimestampText, BadRecord> {
        match self {
            Self::Ms(ms) => Ok(TimestampText::from(Timestamp { ms: *ms })),
            Self::Text(text) => TimestampText::parse(text).map_err(BadRecord::fields),
        }
    }
}

/// The moment that `YYYY-MM-DDThh:mm:ss.mmmZ` names, if the text is exactly of that form.
fn milliseconds(text: &[u8]) -> Option<i64> {
    let text: &[u8; 24] = text.try_into().ok()?;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
    if marks.iter().any(|(at, mark)| text[*at] != *mark) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        text[range]
            .iter()
            .try_fold(0_i64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second, ms) = (number(11..13)?, number(14..16)?, number(17..19)?, number(20..23)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1 || !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Counts years from March on, so that the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms)
}

/// A text that the store has given a number, or that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) enum Name<'a> {
    Known(u32),
    Text(&'a str),
}

/// A plugin revision that the store has given a number, or that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) enum PluginName<'a> {
    Known(u32),
    Text(PluginText<'a>),
}

/// A plugin revision, spelled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct PluginText<'a> {
    pub(crate) document_type: &'a str,
    pub(crate) version: u32,
    pub(crate) digest: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moments are told from their milliseconds exactly, or kept as text.
    #[test]
    fn a_moment_comes_back_as_it_was_spelled() {
        let moments = [
            ("2026-03-01T12:00:00.000Z", true),
            ("1970-01-01T00:00:00.000Z", true),
            ("2024-02-29T23:59:59.999Z", true),
            ("2000-02-29T00:00:00.001Z", true),
            ("1969-12-31T23:59:59.999Z", true),
            ("0001-01-01T00:00:00.000Z", true),
            ("9999-12-30T21:59:59.999Z", true),
            ("2026-03-01T12:00:00Z", false),
            ("2026-03-01T12:00:00.0000Z", false),
            ("2026-03-01T12:00:00.000000Z", false),
            ("2016-12-31T23:59:60.000Z", false),
        ];
        for (text, short) in moments {
            let spelled = TimestampText::parse(text).expect("a moment");
            let moment = Moment::of(&spelled);
            assert_eq!(matches!(moment, Moment::Ms(_)), short, "{text}");
            assert_eq!(moment.restore().expect("a moment").as_str(), text);
        }
        let mut ms = -62_000_000_000_000;
        while ms < 253_000_000_000_000 {
            let text = TimestampText::from(Timestamp { ms });
            assert_eq!(Moment::of(&text), Moment::Ms(ms), "{}", text.as_str());
            ms += 86_399_999 * 97;
        }
    }

    #[test]
    fn ids_and_hashes_come_back_as_they_were_spelled() {
        let uuid = "01890a5d-ac96-774b-bcce-b302099a8057";
        for (text, short) in [(uuid, true), (&uuid.to_uppercase(), false), (&uuid.replace('-', ""), false), ("", false)]
        {
            assert_eq!(matches!(Id::of(text), Id::Uuid(_)), short, "{text}");
            assert_eq!(Id::of(text).restore::<String>(), text);
        }
        let hash = reductor_core::state_hash(b"{}");
        assert!(matches!(Hash::of(&hash), Hash::Sha256(_)));
        for text in [hash.as_str(), "", "abcd", "RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4p=", "no base64 at all"] {
            assert_eq!(Hash::of(&StateHash::from(text)).restore().as_str(), text);
        }
    }
}
