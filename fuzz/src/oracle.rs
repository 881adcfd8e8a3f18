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
    // The shortest digits that give the double back: `1.25e-7`.
    let shortest = format!("{:e}", value.abs());
    let (mantissa, exponent) = shortest.split_once('e').expect("Rust writes an exponent");
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().expect("Rust writes exponents in digits");
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
