//! `reductor plugin check`.

use anyhow::{Context as _, Result};
use reductor_tests::COUNTER;
use serde_json::{Value, json};

use crate::support::{file, reductor};

#[test]
fn a_component_is_described_for_people() -> Result<()> {
    let text = reductor(["plugin", "check", COUNTER])?.succeeds()?.stdout;
    for part in
        ["example/counter version 1", "sha256:", " kB", "reductor:reducer/host@1.0.0", "INCREMENT {by: integer}"]
    {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    Ok(())
}

#[test]
fn a_component_is_described_for_programs() -> Result<()> {
    let text = reductor(["plugin", "check", "--json", COUNTER])?.succeeds()?.stdout;
    let checked: Value = serde_json::from_str(&text)?;
    let bytes = std::fs::metadata(COUNTER)?.len();
    assert_eq!((&checked["admitted"], &checked["bytes"]), (&json!(true), &json!(bytes)));
    assert_eq!(checked["manifest"]["documentType"], "example/counter");
    assert!(checked["compileMs"].as_f64().is_some_and(|ms| ms > 0.0), "{checked}");
    Ok(())
}

#[test]
fn what_is_not_admitted_says_why_in_one_message() -> Result<()> {
    let core_module = wat::parse_str("(module)")?;
    let other_world = wat::parse_str("(component)")?;
    let over_http = wat::parse_str(r#"(component (import "wasi:http/types@0.2.0" (instance (export "f" (func)))))"#)?;
    let whole = std::fs::read(COUNTER)?;
    let cases: [(&str, &[u8], &[&str]); 5] = [
        ("text.wasm", b"hello", &["does not begin with the bytes"]),
        ("core.wasm", &core_module, &["core WebAssembly module"]),
        ("cut.wasm", &whole[..whole.len() / 2], &["byte"]),
        ("world.wasm", &other_world, &["missing export: reductor:reducer/model@1.0.0"]),
        ("http.wasm", &over_http, &["wasi:http/types@0.2.0", "network"]),
    ];
    for (name, bytes, words) in cases {
        let path = file(name, bytes)?;
        let path = path.to_str().context("a path in UTF-8")?;
        reductor(["plugin", "check", path])?.refuses(&[&[name], words].concat())?;
        let told = reductor(["plugin", "check", "--json", path])?.fails_with(2)?;
        let told: Value = serde_json::from_str(&told.stdout)?;
        assert_eq!(told["admitted"], json!(false), "{name}");
    }
    Ok(())
}

#[test]
fn differences_are_told_to_programs_one_by_one() -> Result<()> {
    let over_http = wat::parse_str(r#"(component (import "wasi:http/types@0.2.0" (instance (export "f" (func)))))"#)?;
    let path = file("differences.wasm", over_http)?;
    let told = reductor(["plugin".as_ref(), "check".as_ref(), "--json".as_ref(), path.as_os_str()])?.fails_with(2)?;
    let told: Value = serde_json::from_str(&told.stdout)?;
    assert_eq!(told["differences"][0]["kind"], "import-not-granted");
    assert_eq!(told["differences"][0]["name"], "wasi:http/types@0.2.0");
    assert_eq!(told["differences"][1], json!({"kind": "missing-export", "name": "reductor:reducer/model@1.0.0"}));
    Ok(())
}
