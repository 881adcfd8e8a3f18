//! What is let into the sandbox, and why the rest is not.

use anyhow::{Context as _, Result};
use reductor_core::Reducer as _;
use reductor_sandbox::{AdmissionError, Difference, GuestLimits, Sandbox};

use crate::support::{COUNTER, TEXT, TODO_LIST, UNRULY, component, sandbox};

const MODEL: &str = "reductor:reducer/model@1.0.0";

/// Offers a component, given as text, that must not be let in.
fn refused(text: &str) -> Result<AdmissionError> {
    let bytes = wat::parse_str(text)?;
    sandbox().admit(&bytes).err().context("it was let in")
}

/// In which ways a component does not fit the world.
fn differences(text: &str) -> Result<Vec<Difference>> {
    match refused(text)? {
        AdmissionError::OtherWorld(differences) => Ok(differences),
        other => anyhow::bail!("it was refused for another reason: {other}"),
    }
}

fn missing(name: &str) -> Difference {
    Difference::MissingExport { name: name.to_owned() }
}

#[test]
fn our_guests_are_let_in_and_say_what_they_are() -> Result<()> {
    let cases: [(&str, &[&str]); 3] = [
        (COUNTER, &["INCREMENT", "DECREMENT", "RESET"]),
        (TEXT, &["EDIT"]),
        (TODO_LIST, &["ADD", "COMPLETE", "RENAME", "REMOVE", "CLEAR_COMPLETED"]),
    ];
    for (document_type, actions) in cases {
        let plugin = sandbox().admit(&component(document_type))?;
        let manifest = plugin.manifest();
        assert_eq!((manifest.document_type.as_str(), manifest.version, manifest.canonical), (document_type, 1, true));
        assert_eq!(manifest.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(), ["global"]);
        assert_eq!(manifest.actions.iter().map(|action| action.name.as_str()).collect::<Vec<_>>(), actions);
        for import in plugin.imports() {
            assert!(import.starts_with("reductor:reducer/"), "{document_type} imports {import}");
        }
    }
    Ok(())
}

#[test]
fn the_same_bytes_have_the_same_digest() -> Result<()> {
    let (first, second) = (sandbox().admit(&component(COUNTER))?, sandbox().admit(&component(COUNTER))?);
    let other = sandbox().admit(&component(TEXT))?;
    assert_eq!(first.plugin(), second.plugin());
    assert_ne!(first.plugin().digest, other.plugin().digest);
    assert_eq!(first.plugin().digest.len(), "sha256:".len() + 64);
    Ok(())
}

#[test]
fn what_is_no_component_is_refused_in_words_of_its_own() -> Result<()> {
    let core_module = wat::parse_str("(module)")?;
    let cases: [(&[u8], &str); 7] = [
        (b"", "the file is empty"),
        (b"hello", "it does not begin with the bytes of one"),
        (&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0], "it does not begin with the bytes of one"),
        (b"\0asm", "it does not begin with the bytes of one"),
        (b"  (component)", "it is WebAssembly text"),
        (b"(module)", "it is WebAssembly text"),
        (&core_module, "this is a core WebAssembly module, not a component"),
    ];
    for (bytes, words) in cases {
        let error = sandbox().admit(bytes).err().context("it was let in")?;
        assert!(error.to_string().contains(words), "{bytes:?}: {error}");
    }
    Ok(())
}

#[test]
fn a_damaged_component_is_refused_wherever_the_damage_is() -> Result<()> {
    let whole = component(UNRULY);
    let step = whole.len() / 97;
    for length in (9..whole.len()).step_by(step) {
        let error = sandbox().admit(&whole[..length]).err().context("it was let in")?;
        assert!(matches!(error, AdmissionError::Invalid { .. } | AdmissionError::OtherWorld(_)), "{length}: {error}");
    }
    let half = sandbox().admit(&whole[..whole.len() / 2]).err().context("it was let in")?;
    assert!(matches!(half, AdmissionError::Invalid { offset, .. } if offset > 0), "{half}");
    Ok(())
}

#[test]
fn a_component_that_is_too_large_is_refused_unread() -> Result<()> {
    let small = GuestLimits { component_bytes_max: 1_000, instances_max: 1, ..GuestLimits::default() };
    let error = Sandbox::new(small)?.admit(&[0; 1_001]).err().context("it was let in")?;
    assert!(matches!(error, AdmissionError::TooLarge { bytes: 1_001, max: 1_000 }), "{error}");
    Ok(())
}

#[test]
fn a_component_of_another_world_is_told_what_it_lacks() -> Result<()> {
    assert_eq!(differences("(component)")?, [missing(MODEL)]);
    let empty_model = format!(r#"(component (instance $model) (export "{MODEL}" (instance $model)))"#);
    let lacks: Vec<_> = differences(&empty_model)?.iter().map(ToString::to_string).collect();
    for function in ["describe", "document.load", "document.apply", "document.state", "upgrade"] {
        let lack = format!("missing export: {MODEL}#{function}");
        assert!(lacks.contains(&lack), "no `{lack}` in {lacks:#?}");
    }
    Ok(())
}

#[test]
fn imports_that_are_not_granted_are_named_with_a_remedy() -> Result<()> {
    let cases = [
        ("wasi:http/types@0.2.0", r#"(export "fields" (type (sub resource)))"#, "reach no network"),
        ("wasi:http/outgoing-handler@0.2.9", r#"(export "handle" (func))"#, "disableFeatures: ['http', 'fetch-event']"),
        ("wasi:sockets/tcp@0.2.0", r#"(export "tcp-socket" (type (sub resource)))"#, "reach no network"),
        ("wasi:clocks/timezone@0.2.0", r#"(export "x" (func))"#, "only what a standard library needs is granted"),
        ("wasi:keyvalue/store@0.2.0-draft", r#"(export "x" (func))"#, "only what a standard library needs is granted"),
        ("wasi:clocks/wall-clock@0.3.0", r#"(export "now" (func))"#, "this host offers WASI 0.2"),
        ("wasi:cli/environment@0.2.0-rc-2023-11-10", r#"(export "x" (func))"#, "this host offers WASI 0.2"),
        (
            "acme:magic/wand@0.1.0",
            r#"(export "wave" (func))"#,
            "only `reductor:reducer/host@1.0.0` and parts of WASI 0.2 are granted",
        ),
        ("reductor:reducer/host@2.0.0", r#"(export "log" (func))"#, "this host offers version 1.0.0"),
    ];
    for (import, items, remedy) in cases {
        let text = format!(r#"(component (import "{import}" (instance {items})))"#);
        let found = differences(&text)?;
        let [Difference::ImportNotGranted { name, .. }, lack] = &found[..] else {
            anyhow::bail!("{import}: {found:?}");
        };
        assert_eq!((name.as_str(), lack), (import, &missing(MODEL)));
        assert!(found[0].to_string().contains(remedy), "{}", found[0]);
    }
    Ok(())
}

#[test]
fn of_an_interface_that_is_granted_nothing_is_granted_that_it_does_not_have() -> Result<()> {
    let cases = [
        ("wasi:random/random@0.2.0", r#"(export "roll-dice" (func (result u64)))"#, "#roll-dice"),
        ("wasi:io/streams@0.2.99", r#"(export "pipe" (type (sub resource)))"#, "#pipe"),
        ("wasi:filesystem/types@0.2.1", r#"(export "mount" (func))"#, "#mount"),
    ];
    for (import, items, item) in cases {
        let text = format!(r#"(component (import "{import}" (instance {items})))"#);
        let found = differences(&text)?;
        let name = format!("{import}{item}");
        assert!(matches!(&found[0], Difference::ImportNotGranted { name: found, .. } if *found == name), "{found:?}");
        assert_eq!(found[1..], [missing(MODEL)]);
    }
    Ok(())
}

#[test]
fn a_function_of_wasi_of_another_type_is_refused() -> Result<()> {
    let cases = [
        ("wasi:clocks/monotonic-clock@0.2.5", r#"(export "now" (func (result u32)))"#, "now, result", "u64", "u32"),
        (
            "wasi:random/insecure-seed@0.2.0",
            r#"(export "insecure-seed" (func (result (tuple u64 u32))))"#,
            "insecure-seed, result, element",
            "u64",
            "u32",
        ),
    ];
    for (import, items, place, expected, found) in cases {
        let text = format!(r#"(component (import "{import}" (instance {items})))"#);
        let differences = differences(&text)?;
        let wanted = Difference::OtherType {
            place: format!("{import}#{place}"),
            expected: expected.to_owned(),
            found: found.to_owned(),
        };
        assert_eq!(differences, [wanted, missing(MODEL)]);
    }
    Ok(())
}

#[test]
fn a_host_function_of_another_type_is_refused() -> Result<()> {
    let import = |items: &str| format!(r#"(component (import "reductor:reducer/host@1.0.0" (instance {items})))"#);
    let found = differences(&import(r#"(export "log" (func (param "message" string)))"#))?;
    assert!(matches!(&found[0], Difference::OtherType { place, .. } if place == "log"), "{found:?}");
    let found = differences(&import(r#"(export "exit" (func))"#))?;
    let name = "reductor:reducer/host@1.0.0#exit";
    assert!(matches!(&found[0], Difference::ImportNotGranted { name: found, .. } if found == name), "{found:?}");
    Ok(())
}

#[test]
fn a_refusal_is_told_in_one_message() -> Result<()> {
    let text = r#"(component (import "wasi:http/types@0.2.0" (instance (export "fields" (type (sub resource))))))"#;
    let message = refused(text)?.to_string();
    let lines: Vec<_> = message.lines().collect();
    assert_eq!(lines.len(), 3, "{message}");
    assert!(lines[1].starts_with("  - import not granted: wasi:http/types@0.2.0 ("), "{message}");
    assert_eq!(lines[2], format!("  - missing export: {MODEL}"));
    Ok(())
}
