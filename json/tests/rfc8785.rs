//! The examples of RFC 8785.

use reductor_json::{EncodeProblem, Form, Limits, canonicalize, check, to_vec};

fn canonical(text: &str) -> String {
    let out = canonicalize(text.as_bytes(), Limits::default()).expect("JSON");
    assert_eq!(check(&out, Limits::default()), Ok(Form::Canonical));
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn section_3_2_2_serializes_primitive_values() {
    let text = r#"{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"#;
    let expected = r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
    assert_eq!(canonical(text), expected);
    let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(to_vec(&value).expect("canonical"), expected.as_bytes());
}

#[test]
fn section_3_2_3_sorts_keys_by_utf16() {
    let text = r#"{
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\ud83d\ude00": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis"
    }"#;
    let expected = concat!(
        r#"{"\r":"Carriage Return","1":"One","#,
        "\"\u{80}\":\"Control\",",
        r#""ö":"Latin Small Letter O With Diaeresis","€":"Euro Sign","#,
        "\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
    );
    assert_eq!(canonical(text), expected);
    let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(to_vec(&value).expect("canonical"), expected.as_bytes());
}

#[test]
fn section_3_2_3_sorts_inside_arrays_and_objects() {
    let text =
        r#"{"1":{"f":{"f":"hi","F":5},"\n":56.0},"10":{},"":"empty","a":{},"111":[{"e":"yes","E":"no"}],"A":{}}"#;
    let expected =
        r#"{"":"empty","1":{"\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{"E":"no","e":"yes"}],"A":{},"a":{}}"#;
    assert_eq!(canonical(text), expected);
}

#[test]
fn appendix_b_prints_numbers_as_ecmascript_does() {
    for (bits, expected) in [
        (0x0000000000000000, "0"),
        (0x8000000000000000, "0"),
        (0x0000000000000001, "5e-324"),
        (0x8000000000000001, "-5e-324"),
        (0x7fefffffffffffff, "1.7976931348623157e+308"),
        (0xffefffffffffffff, "-1.7976931348623157e+308"),
        (0x4340000000000000, "9007199254740992"),
        (0xc340000000000000, "-9007199254740992"),
        (0x4430000000000000, "295147905179352830000"),
        (0x44b52d02c7e14af5, "9.999999999999997e+22"),
        (0x44b52d02c7e14af6, "1e+23"),
        (0x44b52d02c7e14af7, "1.0000000000000001e+23"),
        (0x444b1ae4d6e2ef4e, "999999999999999700000"),
        (0x444b1ae4d6e2ef4f, "999999999999999900000"),
        (0x444b1ae4d6e2ef50, "1e+21"),
        (0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"),
        (0x3eb0c6f7a0b5ed8d, "0.000001"),
        (0x41b3de4355555553, "333333333.3333332"),
        (0x41b3de4355555554, "333333333.33333325"),
        (0x41b3de4355555555, "333333333.3333333"),
        (0x41b3de4355555556, "333333333.3333334"),
        (0x41b3de4355555557, "333333333.33333343"),
        (0xbecbf647612f3696, "-0.0000033333333333333333"),
        (0x43143ff3c1cb0959, "1424953923781206.2"),
    ] {
        let text = to_vec(&f64::from_bits(bits)).expect("finite");
        assert_eq!(text, expected.as_bytes(), "{bits:016x}");
        assert_eq!(check(&text, Limits::default()), Ok(Form::Canonical));
    }
    for bits in [0x7fffffffffffffff, 0x7ff0000000000000, 0xfff0000000000000] {
        let error = to_vec(&f64::from_bits(bits)).expect_err("not finite");
        assert!(matches!(error.problem(), EncodeProblem::NotFinite(_)));
    }
}
