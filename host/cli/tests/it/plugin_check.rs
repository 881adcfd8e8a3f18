//! `reductor plugin check`.

use anyhow::{Context as _, Result};
use reductor_tests::COUNTER;
use serde_json::{Value, json};

use crate::support::{cache_home, file, reductor};

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
    let functions = &checked["measures"]["functions"];
    assert!(functions["found"].as_u64().is_some_and(|found| found > 20), "{functions}");
    assert_eq!(functions["max"], json!(100_000));
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
fn a_plugin_is_compiled_by_a_child_process_and_kept() -> Result<()> {
    let directory = cache_home().join("of-one-test");
    let cache = directory.to_str().context("a path in UTF-8")?;
    let _ = std::fs::remove_dir_all(&directory);
    let code = |more: &[&str]| -> Result<Value> {
        let ran = reductor([&["plugin", "check", "--json", COUNTER], more].concat())?.succeeds()?;
        assert_eq!(ran.stderr, "");
        Ok(serde_json::from_str::<Value>(&ran.stdout)?["code"].take())
    };
    let codes = [code(&["--cache-dir", cache])?, code(&["--cache-dir", cache])?, code(&["--no-cache"])?];
    assert_eq!(codes, ["worker", "cache", "worker"]);
    let text = reductor(["plugin", "check", COUNTER, "--cache-dir", cache])?.succeeds()?.stdout;
    assert!(text.contains("found in the cache"), "{text}");
    Ok(())
}

#[test]
fn a_cache_that_was_asked_for_must_be_ones_own() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = cache_home().join("open-to-all");
    std::fs::create_dir_all(&directory)?;
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777))?;
    let cache = directory.to_str().context("a path in UTF-8")?;
    let refused = reductor(["plugin", "check", COUNTER, "--cache-dir", cache])?;
    refused.refuses_with(3, &["--cache-dir", "open to others", "chmod 700"])?;
    Ok(())
}

#[test]
fn what_cannot_be_read_is_no_fault_of_a_component() -> Result<()> {
    let cases = [("no-such.wasm", "No such file"), (env!("CARGO_TARGET_TMPDIR"), "Is a directory")];
    for (path, words) in cases {
        reductor(["plugin", "check", path])?.refuses(&["cannot be read", words])?;
        let told = reductor(["plugin", "check", "--json", path])?.fails_with(2)?;
        assert_eq!(serde_json::from_str::<Value>(&told.stdout)?["blame"], "host");
    }
    reductor(["plugin", "check", "/dev/zero"])?.refuses(&["67108864 are allowed"])?;
    Ok(())
}

#[test]
fn a_limit_is_told_to_programs_in_numbers() -> Result<()> {
    let greedy = wat::parse_str("(component (core module (memory 1025)))")?;
    let path = file("greedy.wasm", greedy)?;
    let told = reductor(["plugin".as_ref(), "check".as_ref(), "--json".as_ref(), path.as_os_str()])?.fails_with(2)?;
    let told: Value = serde_json::from_str(&told.stdout)?;
    let over = &told["overLimit"];
    assert_eq!((&told["blame"], &over["measure"]), (&json!("component"), &json!("memoryBytes")), "{told}");
    assert_eq!((&over["found"], &over["max"]), (&json!(1025 << 16), &json!(64 << 20)));
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
