//! RFC 8785 by others: the implementation that ours is compared with.
//!
//! `serde_json_canonicalizer` spells doubles with the same crate as ours does, so that part is
//! compared with ECMAScript's rules over again, on digits from Rust's standard library.

use serde::Serialize;

/// Returns the canonical form of a JSON text; refuses duplicate keys as they stream by.
pub(crate) fn canonicalize(text: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let canonical = serde_json_canonicalizer::to_vec(&serde_transcode::Transcoder::new(&mut deserializer))?;
    deserializer.end()?;
    Ok(canonical)
}

/// Encodes a value whose numbers are doubles.
pub(crate) fn encode(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json_canonicalizer::to_vec(value)
}

/// Spells a finite double as ECMAScript's `Number::toString` does.
pub(crate) fn spell(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let (digits, exponent) = shortest(value.abs());
    // The names of the standard: the value is 0.`digits` times ten to the `n`.
    let (k, n) = (digits.len() as i32, exponent + 1);
    let magnitude = match n {
        _ if k <= n && n <= 21 => digits + &zeros(n - k),
        1..=21 => format!("{}.{}", &digits[..n as usize], &digits[n as usize..]),
        -5..=0 => format!("0.{}{digits}", zeros(-n)),
        _ => {
            let (first, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            format!("{first}{point}{rest}e{exponent:+}")
        }
    };
    format!("{sign}{magnitude}")
}

/// The shortest digits that give the double back, and the exponent of the first.
///
/// Where two are as short and as near, Rust takes the greater and ECMAScript the even one (note
/// 2 of its algorithm, which RFC 8785 makes a rule).
fn shortest(value: f64) -> (String, i32) {
    let (digits, exponent) = digits(&format!("{value:e}"));
    // No double has more digits than these.
    let (exact, exact_exponent) = self::digits(&format!("{value:.800e}"));
    let (lesser, rest) = exact.split_at(digits.len());
    let is_tie = rest.starts_with('5') && rest[1..].bytes().all(|digit| digit == b'0');
    let is_even = lesser.ends_with(['0', '2', '4', '6', '8']);
    let gives_it_back = || format!("0.{lesser}e{}", exact_exponent + 1).parse() == Ok(value);
    if is_tie && is_even && gives_it_back() { (lesser.to_owned(), exact_exponent) } else { (digits, exponent) }
}

/// Takes what Rust writes apart: `1.25e-7`.
fn digits(scientific: &str) -> (String, i32) {
    let (mantissa, exponent) = scientific.split_once('e').expect("Rust writes an exponent");
    (mantissa.replace('.', ""), exponent.parse().expect("Rust writes exponents in digits"))
}

fn zeros(count: i32) -> String {
    "0".repeat(count as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_spelled_as_ecmascript_does() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (123.456, "123.456"),
            (0.000001, "0.000001"),
            (0.00000123, "0.00000123"),
            (1e-7, "1e-7"),
            (1.25e-7, "1.25e-7"),
            (1e20, "100000000000000000000"),
            (123456789012345680000.0, "123456789012345680000"),
            (1e21, "1e+21"),
            (-1.5e300, "-1.5e+300"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            // -708.73223876953125, halfway between two spellings of the same length.
            (-708.7322387695312, "-708.7322387695312"),
        ] {
            assert_eq!(spell(value), text);
        }
    }

    #[test]
    fn duplicate_keys_and_trailing_data_are_refused() {
        assert!(canonicalize(br#"{"a":1,"b":2}"#).is_ok());
        assert!(canonicalize(br#"{"a":1,"\u0061":2}"#).is_err());
        assert!(canonicalize(b"1 2").is_err());
    }
}
