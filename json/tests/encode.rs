//! What `to_vec` makes of the shapes of serde, and what it refuses and where.

use std::collections::{BTreeMap, HashMap};

use reductor_json::{EncodeError, EncodeProblem, Form, Limits, check, to_vec, write};
use serde::{Serialize, Serializer};

fn text<T: Serialize + ?Sized>(value: &T) -> String {
    let out = to_vec(value).expect("canonical JSON");
    assert_eq!(check(&out, Limits::default()), Ok(Form::Canonical));
    String::from_utf8(out).expect("UTF-8")
}

fn refusal<T: Serialize + ?Sized>(value: &T) -> EncodeError {
    to_vec(value).expect_err("no canonical JSON")
}

#[derive(Serialize)]
struct Unit;

#[derive(Serialize)]
struct Newtype(u8);

#[derive(Serialize)]
struct Pair(u8, &'static str);

#[derive(Clone, Copy, Serialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Plain {
    Zulu,
    Alpha,
}

#[derive(Serialize)]
enum Shape {
    Unit,
    Newtype(f64),
    Tuple(u8, f64),
    Struct { z: u8, a: f64 },
}

#[derive(Serialize)]
struct Outer {
    z: u8,
    m: Inner,
    a: Option<u8>,
    #[serde(flatten)]
    rest: BTreeMap<&'static str, u8>,
}

#[derive(Serialize)]
struct Inner {
    y: Vec<Inner>,
    b: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<u8>,
}

#[test]
fn shapes_are_those_of_serde_json() {
    assert_eq!(text(&Unit), "null");
    assert_eq!(text(&()), "null");
    assert_eq!(text(&Newtype(7)), "7");
    assert_eq!(text(&Pair(7, "x")), r#"[7,"x"]"#);
    assert_eq!(text(&[Some(true), None, Some(false)]), "[true,null,false]");
    assert_eq!(text(&Plain::Zulu), r#""Zulu""#);
    assert_eq!(text(&Shape::Unit), r#""Unit""#);
    assert_eq!(text(&Shape::Newtype(0.5)), r#"{"Newtype":0.5}"#);
    assert_eq!(text(&Shape::Tuple(1, 2.0)), r#"{"Tuple":[1,2]}"#);
    assert_eq!(text(&Shape::Struct { z: 1, a: 2.5 }), r#"{"Struct":{"a":2.5,"z":1}}"#);
    assert_eq!(text(&('a', "")), r#"["a",""]"#);
    assert_eq!(text::<[u8; 0]>(&[]), "[]");
    assert_eq!(text(&BTreeMap::<u8, u8>::new()), "{}");

    struct Bytes;
    impl Serialize for Bytes {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&[0, 255])
        }
    }
    assert_eq!(text(&Bytes), "[0,255]");
}

#[test]
fn members_are_sorted_at_every_level() {
    let inner = |y, x| Inner { y, b: "{,\"}", x };
    let outer = Outer {
        z: 1,
        m: inner(vec![inner(vec![], None), inner(vec![], Some(1))], Some(2)),
        a: None,
        rest: BTreeMap::from([("k", 3), ("zz", 4)]),
    };
    let expected = concat!(
        r#"{"a":null,"k":3,"m":{"b":"{,\"}","x":2,"y":["#,
        r#"{"b":"{,\"}","y":[]},{"b":"{,\"}","x":1,"y":[]}]},"z":1,"zz":4}"#,
    );
    assert_eq!(text(&outer), expected);
}

#[test]
fn keys_become_strings_as_in_serde_json() {
    assert_eq!(text(&BTreeMap::from([(2, 0), (10, 0)])), r#"{"10":0,"2":0}"#);
    assert_eq!(text(&BTreeMap::from([(-1, 0)])), r#"{"-1":0}"#);
    assert_eq!(text(&BTreeMap::from([(u128::MAX, 0)])), r#"{"340282366920938463463374607431768211455":0}"#);
    assert_eq!(text(&BTreeMap::from([(false, 0), (true, 1)])), r#"{"false":0,"true":1}"#);
    assert_eq!(text(&BTreeMap::from([('"', 0)])), r#"{"\"":0}"#);
    assert_eq!(text(&BTreeMap::from([(Plain::Zulu, 0), (Plain::Alpha, 1)])), r#"{"Alpha":1,"Zulu":0}"#);
    assert_eq!(text(&BTreeMap::from([(Some("x"), 0)])), r#"{"x":0}"#);
}

#[test]
fn keys_with_escapes_sort_by_what_they_mean() {
    let map = HashMap::from([("\"", 0), ("!", 1), ("\n", 2), ("#", 3), ("\u{1}", 4), ("\\", 5), ("[", 6), ("]", 7)]);
    let expected = r##"{"\u0001":4,"\n":2,"!":1,"\"":0,"#":3,"[":6,"\\":5,"]":7}"##;
    assert_eq!(text(&map), expected);
}

#[test]
fn keys_sort_by_utf16() {
    let map = BTreeMap::from([("\u{ffff}", 0), ("\u{10000}", 1), ("\u{e000}", 2), ("\u{d7ff}", 3)]);
    assert_eq!(text(&map), "{\"\u{d7ff}\":3,\"\u{10000}\":1,\"\u{e000}\":2,\"\u{ffff}\":0}");
}

#[test]
fn strings_have_the_escapes_of_rfc_8785_and_no_others() {
    for byte in 0..0x80 {
        let char = char::from(byte);
        let expected = match char {
            '\u{8}' => r"\b".into(),
            '\t' => r"\t".into(),
            '\n' => r"\n".into(),
            '\u{c}' => r"\f".into(),
            '\r' => r"\r".into(),
            '"' => r#"\""#.into(),
            '\\' => r"\\".into(),
            '\0'..='\u{1f}' => format!("\\u{byte:04x}"),
            _ => char.to_string(),
        };
        // At every place of words, halves and tails, with neighbours that differ by one bit.
        for before in 0..45 {
            for after in [0, 1, 3, 7, 40] {
                let (a, b) = ("\u{7f}é!#[]".repeat(8), " ~€".repeat(20));
                let (a, b) = (&a[..a.floor_char_boundary(before)], &b[..b.floor_char_boundary(after)]);
                let value = format!("{a}{char}{b}");
                assert_eq!(text(&value), format!("\"{a}{expected}{b}\""));
            }
        }
    }
}

#[test]
fn numbers_are_doubles() {
    assert_eq!(text(&[9_007_199_254_740_991_i64, -9_007_199_254_740_991]), "[9007199254740991,-9007199254740991]");
    assert_eq!(
        text(&(i8::MIN, i16::MIN, i32::MIN, u8::MAX, u16::MAX, u32::MAX)),
        "[-128,-32768,-2147483648,255,65535,4294967295]"
    );
    assert_eq!(text(&(-0.0, 0.1_f32, 0.5_f32, 1e21, 1e20)), "[0,0.10000000149011612,0.5,1e+21,100000000000000000000]");
    let yielded = serde_json::to_value(0.1_f32).expect("a value").as_f64();
    assert_eq!(yielded, Some(0.10000000149011612));
    assert_eq!(text(&(7_i128, 7_u128)), "[7,7]");

    for error in [
        refusal(&9_007_199_254_740_992_i64),
        refusal(&-9_007_199_254_740_992_i64),
        refusal(&u64::MAX),
        refusal(&i128::MIN),
        refusal(&u128::MAX),
        refusal(&i64::MIN),
    ] {
        assert!(error.to_string().ends_with("use a string"), "{error}");
        assert!(matches!(error.problem(), EncodeProblem::IntegerTooLarge(_)));
    }
    assert_eq!(refusal(&f32::INFINITY).to_string(), "inf is not a JSON number; use null or a string");
}

#[test]
fn errors_lead_to_the_value() {
    #[derive(Serialize)]
    struct State {
        zero: u8,
        items: Vec<Item>,
    }
    #[derive(Serialize)]
    struct Item {
        name: &'static str,
        price: HashMap<&'static str, Shape>,
    }
    let item = |shape| Item { name: "x", price: HashMap::from([("in €", shape)]) };
    let at = |shape| {
        let items = vec![item(Shape::Unit), item(shape)];
        refusal(&State { zero: 0, items }).path().to_owned()
    };
    assert_eq!(at(Shape::Newtype(f64::NAN)), r#"items[1].price["in €"].Newtype"#);
    assert_eq!(at(Shape::Tuple(0, f64::NAN)), r#"items[1].price["in €"].Tuple[1]"#);
    assert_eq!(at(Shape::Struct { z: 0, a: f64::NAN }), r#"items[1].price["in €"].Struct.a"#);
    assert_eq!(refusal(&f64::NAN).path(), "");
    assert_eq!(refusal(&BTreeMap::from([("a\"\n", f64::NAN)])).path(), r#"["a\"\n"]"#);
    assert_eq!(refusal(&[[f64::NAN]]).path(), "[0][0]");
}

#[test]
fn keys_that_are_no_strings_are_refused() {
    let error = refusal(&[BTreeMap::from([((1, 2), 3)])]);
    assert_eq!(error.problem(), &EncodeProblem::KeyNotString("a tuple"));
    assert_eq!(error.path(), "[0]");
    let error = refusal(&BTreeMap::from([(None::<u8>, 3)]));
    assert_eq!(error.problem(), &EncodeProblem::KeyNotString("None"));
}

#[test]
fn duplicate_keys_are_refused() {
    struct Pairs(&'static [&'static str]);
    impl Serialize for Pairs {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|key| (key, 0)))
        }
    }
    assert_eq!(text(&Pairs(&["b", "a", "c"])), r#"{"a":0,"b":0,"c":0}"#);
    for keys in [&["a", "b", "b"][..], &["b", "a", "b"], &["b", "c", "a", "b"], &["", "b", "a", "b"]] {
        let error = refusal(&BTreeMap::from([("m", Pairs(keys))]));
        assert_eq!(error.problem(), &EncodeProblem::DuplicateKey, "{keys:?}");
        assert_eq!(error.path(), "m.b", "{keys:?}");
    }
}

#[test]
fn a_failing_serialize_keeps_its_words() {
    struct Failing;
    impl Serialize for Failing {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("poisoned"))
        }
    }
    assert_eq!(refusal(&[Failing]).to_string(), "[0]: poisoned");
}

#[test]
fn embedded_json_becomes_canonical() {
    let raw = |text: &str| {
        let text = text.to_owned();
        serde_json::value::RawValue::from_string(text).expect("JSON")
    };
    let map = BTreeMap::from([("a", raw(r#"{"b": "\u0041\n", "a": 1.0}"#)), ("b", raw("[ ]"))]);
    assert_eq!(text(&map), r#"{"a":{"a":1,"b":"A\n"},"b":[]}"#);
    let error = refusal(&[raw("1"), raw("[1e999]")]);
    let expected = "[1]: embedded JSON: number too large for a double; use a string at byte 1";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn write_appends_or_leaves_the_buffer_alone() {
    let mut out = b"{\"kept\":".to_vec();
    let unsorted = serde_json::json!({"b": 1, "a": 2, "c": 3});
    write(&mut out, &unsorted).expect("canonical JSON");
    assert_eq!(out, br#"{"kept":{"a":2,"b":1,"c":3}"#);
    // Small objects are put in order at once, large ones at the end.
    let long = "x".repeat(5000);
    let kept = out.len();
    let pair = serde_json::json!({"b": long, "a": "{", "c": ""});
    write(&mut out, &pair).expect("canonical JSON");
    let large = format!(r#"{{"a":"{{","b":"{long}","c":""}}"#);
    let written = String::from_utf8(out.split_off(kept)).expect("UTF-8");
    assert_eq!(written.replace(&long, "…"), large.replace(&long, "…"));
    write(&mut out, &[1.0, f64::NAN]).expect_err("NaN");
    assert_eq!(out, br#"{"kept":{"a":2,"b":1,"c":3}"#);
}
