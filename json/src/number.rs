//! JSON numbers: reading their grammar, judging their spelling, writing them as ECMAScript does.

use crate::error::Problem;

/// The largest integer below which every integer is a double of its own, 2^53 − 1.
pub(crate) const INTEGER_MAX: u64 = (1 << 53) - 1;

/// With this many significant digits every decimal survives the way through a double, and no
/// shorter decimal stands for the same double (`DBL_DIG` of the C standard).
const SAFE_DIGITS: usize = 15;

/// A number as it stands in a text, not yet judged.
#[derive(Clone, Copy)]
pub(crate) struct Literal<'a> {
    text: &'a [u8],
    digits: usize,
    form: LiteralForm,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LiteralForm {
    Integer,
    Fraction,
    Exponent,
}

/// How a number is spelled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Spelling {
    Canonical,
    /// Spelled otherwise; the double it means.
    Loose(f64),
}

impl<'a> Literal<'a> {
    /// Reads the number that `bytes` begins with, or says at which byte it is none.
    #[inline]
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, usize> {
        let sign = usize::from(bytes.first() == Some(&b'-'));
        let whole = digits(bytes, sign);
        if whole == 0 {
            return Err(sign);
        }
        if whole > 1 && bytes[sign] == b'0' {
            return Err(sign + 1);
        }
        let mut end = sign + whole;
        let mut literal_digits = whole;
        let mut form = LiteralForm::Integer;
        if bytes.get(end) == Some(&b'.') {
            let fraction = digits(bytes, end + 1);
            end += 1 + fraction;
            if fraction == 0 {
                return Err(end);
            }
            literal_digits += fraction;
            form = LiteralForm::Fraction;
        }
        if let Some(b'e' | b'E') = bytes.get(end) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(bytes, end + 1 + sign);
            end += 1 + sign + exponent;
            if exponent == 0 {
                return Err(end);
            }
            form = LiteralForm::Exponent;
        }
        Ok(Self { text: &bytes[..end], digits: literal_digits, form })
    }

    /// The bytes of the number.
    #[inline]
    pub(crate) fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Tells how the number is spelled, or why a double cannot stand for it.
    #[inline]
    pub(crate) fn spelling(&self) -> Result<Spelling, Problem> {
        if self.is_plainly_canonical() {
            return Ok(Spelling::Canonical);
        }
        self.spelling_by_value()
    }

    /// Whether the digits alone show that ECMAScript would print the same.
    #[inline]
    fn is_plainly_canonical(&self) -> bool {
        let text = self.text;
        self.digits <= SAFE_DIGITS
            && match self.form {
                LiteralForm::Integer => text != b"-0",
                // From 1e-6 up ECMAScript writes no exponent; below it does.
                LiteralForm::Fraction => {
                    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
                    text.last() != Some(&b'0') && !unsigned.starts_with(b"0.000000")
                }
                LiteralForm::Exponent => false,
            }
    }

    #[cold]
    fn spelling_by_value(&self) -> Result<Spelling, Problem> {
        let text = std::str::from_utf8(self.text).expect("a number is ASCII");
        let value: f64 = text.parse().expect("JSON numbers are numbers to Rust");
        if !value.is_finite() {
            return Err(Problem::NumberOutOfRange);
        }
        let mut buffer = ryu_js::Buffer::new();
        let canonical = buffer.format_finite(value);
        if canonical == text {
            return Ok(Spelling::Canonical);
        }
        if self.form == LiteralForm::Integer && value != 0.0 && !same_integer(text, canonical) {
            return Err(Problem::IntegerInexact);
        }
        Ok(Spelling::Loose(value))
    }
}

#[inline]
fn digits(bytes: &[u8], from: usize) -> usize {
    let bytes = bytes.get(from..).unwrap_or_default();
    bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len())
}

/// Whether an integer literal and ECMAScript's spelling of its double are the same integer.
///
/// From 1e21 on ECMAScript writes an exponent: `1.5e+21` is 15 and twenty zeros.
fn same_integer(literal: &str, canonical: &str) -> bool {
    let Some((mantissa, exponent)) = canonical.split_once("e+") else {
        return literal == canonical;
    };
    let exponent: usize = exponent.parse().expect("ECMAScript writes exponents in digits");
    let (sign, mantissa) = mantissa.split_at(usize::from(mantissa.starts_with('-')));
    let mut expanded = mantissa.replace('.', "");
    let zeros = (exponent + 1).saturating_sub(expanded.len());
    expanded.extend(std::iter::repeat_n('0', zeros));
    literal.strip_prefix(sign) == Some(&expanded)
}

/// Writes a finite double as ECMAScript's `Number::toString` does, −0 as 0.
#[inline]
pub(crate) fn write_f64(out: &mut Vec<u8>, value: f64) {
    // Doubles that are integers are common in state (JavaScript has no other numbers), and
    // printing an integer costs a third of printing a double.
    let integer = value as i64;
    if integer.unsigned_abs() <= INTEGER_MAX && integer as f64 == value {
        return write_integer(out, integer);
    }
    if !write_short_decimal(out, value) {
        let mut buffer = ryu_js::Buffer::new();
        out.extend_from_slice(buffer.format_finite(value).as_bytes());
    }
}

/// Writes a double that some decimal of up to six places and [`SAFE_DIGITS`] stands for, or
/// nothing.
///
/// Such doubles (prices, measurements, coordinates) are common, too. No shorter decimal stands
/// for the same double, so this one without trailing zeros is the one that ECMAScript prints.
#[inline]
fn write_short_decimal(out: &mut Vec<u8>, value: f64) -> bool {
    const PLACES: usize = 6;
    const SCALE: u64 = 10_u64.pow(PLACES as u32);
    let scaled = value.abs() * SCALE as f64;
    // The product may be rounded. Dividing tells: the quotient is the double nearest to it.
    let decimal = scaled as u64;
    if decimal >= 10_u64.pow(SAFE_DIGITS as u32) || decimal as f64 / SCALE as f64 != value.abs() {
        return false;
    }
    if value < 0.0 {
        out.push(b'-');
    }
    write_integer(out, decimal / SCALE);
    let mut fraction = *b".000000";
    let mut rest = decimal % SCALE;
    for digit in fraction[1..].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    let zeros = fraction.iter().rev().take_while(|&&digit| digit == b'0').count();
    out.extend_from_slice(&fraction[..=PLACES - zeros]);
    true
}

/// Writes an integer in decimal.
#[inline]
pub(crate) fn write_integer<I: itoa::Integer>(out: &mut Vec<u8>, value: I) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelling(text: &str) -> Result<Spelling, Problem> {
        let literal = Literal::read(text.as_bytes()).expect("a number");
        assert_eq!(literal.text(), text.as_bytes());
        literal.spelling()
    }

    #[test]
    fn digits_that_a_double_gives_back_are_canonical() {
        for text in [
            "0",
            "7",
            "-7",
            "123456789012345",
            "9007199254740991",
            "9007199254740992",
            "9223372036854776000",
            "-100000000000000000000",
            "0.5",
            "-0.5",
            "12.25",
            "0.000001",
            "0.00000123",
            "1e-7",
            "1e+21",
            "5e-324",
            "1.7976931348623157e+308",
            "0.1234567890123456",
        ] {
            assert_eq!(spelling(text), Ok(Spelling::Canonical), "{text}");
        }
    }

    #[test]
    fn other_spellings_are_loose_and_keep_their_value() {
        for (text, value) in [
            ("-0", 0.0),
            ("1.0", 1.0),
            ("0.0", 0.0),
            ("-0.0", 0.0),
            ("1e2", 100.0),
            ("1E-7", 1e-7),
            ("0.50", 0.5),
            ("0.0000001", 1e-7),
            ("0.00000012", 1.2e-7),
            ("1e21", 1e21),
            ("1000000000000000000000", 1e21),
            ("-1500000000000000000000", -1.5e21),
            ("0.10000000000000001", 0.1),
            ("1e-999", 0.0),
            ("9007199254740993.0", 9007199254740992.0),
        ] {
            assert_eq!(spelling(text), Ok(Spelling::Loose(value)), "{text}");
        }
    }

    #[test]
    fn integers_that_a_double_changes_are_refused() {
        for text in [
            "9007199254740993",
            "-9007199254740993",
            "9223372036854775807",
            "18446744073709551615",
            "9223372036854775808",
            "1000000000000000000001",
            "1180591620717411303424",
        ] {
            assert_eq!(spelling(text), Err(Problem::IntegerInexact), "{text}");
        }
    }

    #[test]
    fn what_no_double_reaches_is_refused() {
        for text in ["1e309", "-1e309", "1e999999999999999999999", &"9".repeat(400)] {
            assert_eq!(spelling(text), Err(Problem::NumberOutOfRange), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_says_where() {
        for (text, at) in [
            ("-", 1),
            ("-x", 1),
            ("01", 1),
            ("-01", 2),
            ("00", 1),
            ("1.", 2),
            ("1.e5", 2),
            ("1e", 2),
            ("1e+", 3),
            ("1.5E-x", 5),
        ] {
            assert_eq!(Literal::read(text.as_bytes()).err(), Some(at), "{text}");
        }
    }
}
