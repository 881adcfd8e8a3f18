//! Any text: check and canonicalise it, and compare with the independent implementation.

use reductor_json::{Form, Limits, Malformed, Problem, canonical, canonicalize, check};

use crate::oracle;

/// Checks and canonicalises `data`, whatever it is.
///
/// Either both implementations refuse it, be it for a duplicate key, half a surrogate pair, the
/// 128th level or the grammar, or both give the same text. The one exception is our own rule: an
/// integer whose digits a double does not give back is refused, not rounded.
///
/// # Panics
///
/// If that does not hold, or the three functions of the crate contradict one another.
pub fn json_text(data: &[u8]) {
    let limits = Limits::default();
    let ours = canonicalize(data, limits);
    agree_with_one_another(data, &ours);
    match (ours, oracle::canonicalize(data)) {
        (Ok(ours), Ok(theirs)) => assert_eq!(text(&ours), text(&theirs), "they differ"),
        (Err(_), Err(_)) => {}
        (Ok(ours), Err(error)) => panic!("only we take it, as {}: {error}", text(&ours)),
        (Err(Malformed { offset, problem: Problem::IntegerInexact }), Ok(_)) => a_double_changes(&data[offset..]),
        (Err(error), Ok(theirs)) => panic!("only we refuse it ({error}); it is {}", text(&theirs)),
    }
}

/// What `check`, `canonical` and `canonicalize` must agree upon.
fn agree_with_one_another(data: &[u8], ours: &Result<Vec<u8>, Malformed>) {
    let limits = Limits::default();
    let form = check(data, limits);
    let Ok(ours) = ours else {
        assert_eq!(form.err(), ours.as_ref().err().copied(), "`check` and `canonicalize` differ");
        return;
    };
    assert_eq!(form.map(|form| form == Form::Canonical), Ok(ours == data), "canonical is what does not change");
    assert_eq!(check(ours, limits), Ok(Form::Canonical), "what comes out is canonical");
    assert_eq!(canonicalize(ours, limits).as_ref(), Ok(ours), "once is enough");
    assert_eq!(canonical(data, limits).as_deref(), Ok(&ours[..]));
}

/// An integer that was refused must be one that comes out of a double with other digits.
fn a_double_changes(bytes: &[u8]) {
    let is_digit = |&(at, byte): &(usize, &u8)| byte.is_ascii_digit() || (at == 0 && *byte == b'-');
    let end = bytes.iter().enumerate().take_while(is_digit).count();
    let literal = text(&bytes[..end]);
    let value: f64 = literal.parse().expect("the literal is an integer");
    // Unlike ECMAScript, Rust writes no exponent; the digits are the same.
    assert_ne!(value.to_string(), literal, "a double holds it");
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("what was accepted is UTF-8")
}
