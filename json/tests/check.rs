//! What `check` refuses, what it calls loose, and where; and what `canonicalize` makes of it.

use std::borrow::Cow;

use reductor_json::{
    Deviation,
    DeviationKind::{self, *},
    Form, Limits, Malformed, Problem, canonical, canonical_within, canonicalize, check,
};

fn form(text: &[u8]) -> Result<Form, Malformed> {
    let limits = Limits::default();
    let form = check(text, limits);
    // Canonicalising refuses what checking refuses, and is done after one time.
    match (form, canonical(text, limits)) {
        (Err(a), Err(b)) => assert_eq!(a, b),
        (Ok(Form::Canonical), Ok(Cow::Borrowed(same))) => assert_eq!(same, text),
        (Ok(Form::Loose(_)), Ok(Cow::Owned(out))) => {
            assert_eq!(check(&out, limits), Ok(Form::Canonical));
        }
        pair => panic!("{pair:?} for {}", String::from_utf8_lossy(text)),
    }
    form
}

fn assert_malformed(cases: &[(&str, usize, Problem)]) {
    for &(text, offset, problem) in cases {
        assert_eq!(form(text.as_bytes()), Err(Malformed { offset, problem }), "{text}");
    }
}

fn assert_loose(cases: &[(&str, usize, DeviationKind, &str)]) {
    for &(text, offset, kind, canonical) in cases {
        let expected = Ok(Form::Loose(Deviation { offset, kind }));
        assert_eq!(form(text.as_bytes()), expected, "{text}");
        let out = canonicalize(text.as_bytes(), Limits::default());
        assert_eq!(out.as_deref(), Ok(canonical.as_bytes()), "{text}");
    }
}

#[test]
fn canonical_texts_are_canonical() {
    for text in [
        "null",
        "true",
        "false",
        "0",
        "-1.5",
        "[1e+21,1e-7]",
        "\"\"",
        "\"\u{7f}\u{80}\u{2028}😀\"",
        r#"["\b\t\n\f\r\"\\\u0000\u001f /"]"#,
        "[]",
        "{}",
        "[[],{},[{}]]",
        r#"{"":{"":0}}"#,
        r#"{"A":1,"a":2,"aa":3,"ä":4}"#,
        r#"[{"b":1},{"a":1}]"#,
        // Escapes sort by what they mean: 0x0a, 0x22, `a`.
        r#"{"\n":1,"\"":2,"a":3}"#,
        // U+10000 is the surrogates d800 dc00 in UTF-16, less than U+E000.
        "{\"\u{d7ff}\":1,\"\u{10000}\":2,\"\u{10ffff}\":3,\"\u{e000}\":4,\"\u{ffff}\":5}",
    ] {
        assert_eq!(form(text.as_bytes()), Ok(Form::Canonical), "{text}");
    }
}

#[test]
fn white_space_is_loose() {
    assert_loose(&[
        (" 1", 0, Whitespace, "1"),
        ("1\n", 1, Whitespace, "1"),
        ("[ ]", 1, Whitespace, "[]"),
        ("{\t}", 1, Whitespace, "{}"),
        ("[1 ,2]", 2, Whitespace, "[1,2]"),
        ("[1,\r2]", 3, Whitespace, "[1,2]"),
        (r#"{"a" :1}"#, 4, Whitespace, r#"{"a":1}"#),
        (r#"{"a": 1, "b":2 }"#, 5, Whitespace, r#"{"a":1,"b":2}"#),
        (r#"{ "a b":" c " }"#, 1, Whitespace, r#"{"a b":" c "}"#),
    ]);
}

#[test]
fn keys_out_of_order_are_loose() {
    assert_loose(&[
        (r#"{"b":1,"a":2}"#, 7, KeyOrder, r#"{"a":2,"b":1}"#),
        (r#"{"aa":1,"a":2,"":3}"#, 8, KeyOrder, r#"{"":3,"a":2,"aa":1}"#),
        (r#"{"a":1,"\n":2}"#, 7, KeyOrder, r#"{"\n":2,"a":1}"#),
        (r#"{"\"":1,"\t":2}"#, 8, KeyOrder, r#"{"\t":2,"\"":1}"#),
        ("{\"\u{e000}\":1,\"\u{10000}\":2}", 9, KeyOrder, "{\"\u{10000}\":2,\"\u{e000}\":1}"),
        (
            r#"{"c":{"z":[{"y":1,"x":2}],"b":{"n":1,"m":{}}},"a":{"q":1,"p":2},"b":3}"#,
            18,
            KeyOrder,
            r#"{"a":{"p":2,"q":1},"b":3,"c":{"b":{"m":{},"n":1},"z":[{"x":2,"y":1}]}}"#,
        ),
    ]);
}

#[test]
fn escapes_that_are_not_minimal_are_loose() {
    assert_loose(&[
        (r#""\/""#, 1, Escape, r#""/""#),
        (r#"["a\u0041"]"#, 3, Escape, r#"["aA"]"#),
        (r#""\u000a""#, 1, Escape, r#""\n""#),
        (r#""\u0022""#, 1, Escape, r#""\"""#),
        (r#""\u005C""#, 1, Escape, r#""\\""#),
        (r#""\u001F""#, 1, Escape, r#""\u001f""#),
        (r#""\n\u007f""#, 3, Escape, "\"\\n\u{7f}\""),
        (r#""\ud83d\uDE00!""#, 1, Escape, r#""😀!""#),
        (r#"{"\u0061":1}"#, 2, Escape, r#"{"a":1}"#),
        (r#"{"\u0062":1,"a":2}"#, 2, Escape, r#"{"a":2,"b":1}"#),
        (r#"{"a":1,"\u0062":2}"#, 8, Escape, r#"{"a":1,"b":2}"#),
    ]);
}

#[test]
fn numbers_spelled_otherwise_are_loose() {
    assert_loose(&[
        ("-0", 0, Number, "0"),
        ("[1,1.0]", 3, Number, "[1,1]"),
        ("1E3", 0, Number, "1000"),
        ("0.1e1", 0, Number, "1"),
        ("100000000000000000000000", 0, Number, "1e+23"),
        ("0.0000001", 0, Number, "1e-7"),
        ("1e-400", 0, Number, "0"),
    ]);
}

#[test]
fn broken_grammar_is_malformed() {
    use Problem::*;
    assert_malformed(&[
        ("", 0, UnexpectedEnd),
        ("  ", 2, UnexpectedEnd),
        ("[", 1, UnexpectedEnd),
        ("[1", 2, UnexpectedEnd),
        ("[1,", 3, UnexpectedEnd),
        ("{\"a\"", 4, UnexpectedEnd),
        ("{\"a\":", 5, UnexpectedEnd),
        ("\"abc", 4, UnexpectedEnd),
        ("\"abc\\", 5, UnexpectedEnd),
        ("\"abc\\u12", 8, UnexpectedEnd),
        ("tru", 3, UnexpectedEnd),
        ("-", 1, UnexpectedEnd),
        ("1.", 2, UnexpectedEnd),
        ("trux", 0, ExpectedValue),
        ("[,]", 1, ExpectedValue),
        ("[1,]", 3, ExpectedValue),
        ("]", 0, ExpectedValue),
        ("'a'", 0, ExpectedValue),
        ("+1", 0, ExpectedValue),
        ("NaN", 0, ExpectedValue),
        ("{1:2}", 1, ExpectedKey),
        ("{\"a\":1,}", 7, ExpectedKey),
        ("{\"a\" 1}", 5, ExpectedColon),
        ("{\"a\":1]", 6, ExpectedCommaOrBrace),
        ("{\"a\":1 \"b\"", 7, ExpectedCommaOrBrace),
        ("[1}", 2, ExpectedCommaOrBracket),
        ("[1 2]", 3, ExpectedCommaOrBracket),
        ("[\"a\"\"b\"]", 4, ExpectedCommaOrBracket),
        ("1 2", 2, TrailingData),
        ("{}}", 2, TrailingData),
        ("nullx", 4, TrailingData),
        ("1\0", 1, TrailingData),
        ("\u{feff}1", 0, ByteOrderMark),
        ("\u{a0}1", 0, ExpectedValue),
        ("\u{c}1", 0, ExpectedValue),
    ]);
}

#[test]
fn bad_strings_are_malformed() {
    use Problem::*;
    assert_malformed(&[
        ("\"a\nb\"", 2, ControlCharacter),
        ("\"\0\"", 1, ControlCharacter),
        ("\"0123456789abcdef0123456789abcdef0123456789\u{1f}\"", 43, ControlCharacter),
        ("{\"\t\":1}", 2, ControlCharacter),
        (r#""a\x""#, 2, InvalidEscape),
        (r#""\U0041""#, 1, InvalidEscape),
        (r#""\u00g0""#, 1, InvalidEscape),
        (r#""\u00""#, 1, InvalidEscape),
        (r#""\u+123""#, 1, InvalidEscape),
        (r#""\ud800""#, 1, LoneSurrogate),
        (r#""x\udc00""#, 2, LoneSurrogate),
        (r#""\ud800\ud800""#, 1, LoneSurrogate),
        (r#""\ud800\n""#, 1, LoneSurrogate),
        (r#""\udc00\ud800""#, 1, LoneSurrogate),
        (r#"{"\udfff":1}"#, 2, LoneSurrogate),
    ]);
    for (text, offset) in [(&b"\"a\xff\""[..], 2), (b"\"\xed\xa0\x80\"", 1), (b"[\xc3", 1)] {
        let problem = NotUtf8;
        assert_eq!(form(text), Err(Malformed { offset, problem }));
    }
}

#[test]
fn bad_numbers_are_malformed() {
    use Problem::*;
    assert_malformed(&[
        ("01", 1, InvalidNumber),
        ("[-01]", 3, InvalidNumber),
        ("[1.]", 3, InvalidNumber),
        ("[-]", 2, InvalidNumber),
        ("[1e]", 3, InvalidNumber),
        ("[1,1e999]", 3, NumberOutOfRange),
        ("-1e309", 0, NumberOutOfRange),
        ("9007199254740993", 0, IntegerInexact),
        ("[18446744073709551615]", 1, IntegerInexact),
    ]);
}

#[test]
fn duplicate_keys_are_malformed() {
    use Problem::*;
    assert_malformed(&[
        (r#"{"a":1,"a":1}"#, 7, DuplicateKey),
        (r#"{"":1,"":1}"#, 6, DuplicateKey),
        (r#"{"b":1,"a":1,"b":1}"#, 13, DuplicateKey),
        (r#"{"a":1,"c":1,"b":1,"a":1,"b":1}"#, 19, DuplicateKey),
        (r#"{"a":1,"\u0061":1}"#, 7, DuplicateKey),
        (r#"{"\u0061":1,"0":1,"a":1}"#, 18, DuplicateKey),
        (r#"{"\n":1,"a":1,"\u000a":1}"#, 14, DuplicateKey),
        (r#"[{"a":{"c":{},"b":{"x":1},"c":1}}]"#, 26, DuplicateKey),
        (r#"{"é":1,"\u00e9":1}"#, 8, DuplicateKey),
    ]);
    // The same key in another object is another key.
    assert_eq!(form(br#"{"a":{"a":1},"b":{"a":1}}"#), Ok(Form::Canonical));
}

#[test]
fn duplicates_among_many_keys_out_of_order_are_found() {
    // 7 and 500 have no common divisor, so these are 500 different keys, not in order.
    let text = |last: &str| {
        let keys = (0..500).map(|n| format!("key {:03}", n * 7 % 500)).chain([last.to_owned()]);
        let members: Vec<_> = keys.map(|key| format!("\"{key}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert!(matches!(form(text("other").as_bytes()), Ok(Form::Loose(_))));
    for n in 0..500 {
        let text = text(&format!("key {n:03}"));
        let (offset, problem) = (text.len() - 12, Problem::DuplicateKey);
        assert_eq!(form(text.as_bytes()), Err(Malformed { offset, problem }));
    }
}

#[test]
fn depth_is_limited_and_takes_no_stack() {
    let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
    assert_eq!(form(nested(127).as_bytes()), Ok(Form::Canonical));
    let problem = Problem::TooDeep { depth_max: 127 };
    let offset = 127;
    assert_eq!(form(nested(128).as_bytes()), Err(Malformed { offset, problem }));

    let depth_max = 1_000_000;
    let text = "{\"b\":0,\"a\":".repeat(depth_max) + "1" + &"}".repeat(depth_max);
    let expected = "{\"a\":".repeat(depth_max) + "1" + &",\"b\":0}".repeat(depth_max);
    let out = canonicalize(text.as_bytes(), Limits { depth_max }).expect("JSON");
    assert!(out == expected.as_bytes(), "a million levels sorted");

    let none = Limits { depth_max: 0 };
    assert_eq!(check(b"1", none), Ok(Form::Canonical));
    assert!(check(b"{}", none).is_err());
}

#[test]
fn a_canonical_form_is_given_up_where_it_passes_its_bound() {
    let limits = Limits::default();
    for text in ["[1e20,1e20]", " [ 1 , 2 ] ", r#"{"b":1.0,"a":"\u0041"}"#, "[1,2]", "1e20", r#""\u0041""#] {
        let whole = canonicalize(text.as_bytes(), limits).expect("JSON");
        let within = |bytes_max| canonical_within(text.as_bytes(), limits, bytes_max);
        assert_eq!(within(whole.len()).as_deref(), Ok(&whole[..]), "{text}");
        let bytes_max = whole.len() - 1;
        let error = within(bytes_max).expect_err("a byte too many");
        assert_eq!(error.problem, Problem::TooLong { bytes_max }, "{text}");
        assert!(error.offset < text.len(), "{text}: {error}");
    }
    let long = format!("[{}0]", "1e20,".repeat(1_000));
    let error = canonical_within(long.as_bytes(), limits, 1_000).expect_err("21 kB");
    // Of the 5 kB no more than the first 46 numbers, which take a thousand bytes, are looked at.
    assert_eq!(error, Malformed { offset: 1 + 45 * 5, problem: Problem::TooLong { bytes_max: 1_000 } });
}

#[test]
fn messages_say_what_and_where() {
    let message = |text: &[u8]| form(text).expect_err("malformed").to_string();
    assert_eq!(message(b"[1,2"), "the text ends too early at byte 4");
    assert_eq!(message(b"{\"a\":1;"), "expected `,` or `}` at byte 6");
    let deviation = Deviation { offset: 7, kind: KeyOrder };
    assert_eq!(deviation.to_string(), "key out of order at byte 7");
}
