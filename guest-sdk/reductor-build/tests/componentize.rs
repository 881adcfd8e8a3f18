//! Core modules made by hand become components, or the error says why not.

use std::error::Error as _;

use reductor_build::{ComponentError, componentize};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const WIT: &str = "
    package test:guest;
    world guest {
        import log: func(code: u32);
        export double: func(number: u32) -> u32;
    }
    world listener {
        import log: func(code: u32);
    }
";

const GUEST: &str = r#"
    (module
        (import "$root" "log" (func $log (param i32)))
        (memory (export "memory") 1)
        (func $double (export "double") (param i32) (result i32)
            local.get 0 call $log
            local.get 0 i32.const 2 i32.mul))
"#;

/// The module in `text`, described as one of `world`.
fn module(text: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).expect("the text is a module");
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", WIT).expect("the interface is valid");
    let world = resolve.select_world(&[package], Some(world)).expect("the world is there");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("the module can be described");
    module
}

/// What is said of `module`, which is no guest.
fn refused(module: &[u8]) -> ComponentError {
    componentize(module).expect_err("this module is no guest")
}

#[test]
fn a_module_that_does_what_it_declares_becomes_a_component() {
    let component = componentize(&module(GUEST, "guest")).expect("this module is a guest");
    // The version field of a component, where a core module has 1.
    assert_eq!(component[..8], *b"\0asm\x0d\0\x01\0");
}

#[test]
fn function_names_are_kept() {
    let component = componentize(&module(GUEST, "guest")).expect("this module is a guest");
    assert!(component.windows(6).any(|bytes| bytes == b"double"));
    let section = b"\x04name";
    assert!(component.windows(section.len()).any(|bytes| bytes == section));
}

#[test]
fn the_same_module_gives_the_same_bytes() {
    let module = module(GUEST, "guest");
    assert_eq!(componentize(&module).ok(), componentize(&module).ok());
}

#[test]
fn what_is_not_webassembly_is_called_so() {
    assert!(matches!(refused(b"not wasm"), ComponentError::NotAModule { .. }));
    assert!(matches!(refused(b""), ComponentError::NotAModule { .. }));
}

#[test]
fn a_component_is_no_core_module() {
    let component = componentize(&module(GUEST, "guest")).expect("this module is a guest");
    assert!(matches!(refused(&component), ComponentError::NotAModule { .. }));
}

#[test]
fn a_module_without_a_description_is_told_of_the_export_macro() {
    let bare = wat::parse_str(GUEST).expect("the text is a module");
    let error = refused(&bare);
    assert!(matches!(error, ComponentError::NothingExported));
    assert_eq!(error.to_string(), "the crate exports no model; add `reductor_guest::export!(YourModel);`");
}

#[test]
fn a_module_that_only_imports_is_told_of_the_export_macro() {
    assert!(matches!(refused(&module(GUEST, "listener")), ComponentError::NothingExported));
}

#[test]
fn a_missing_export_is_named() {
    let error = refused(&module(r#"(module (memory (export "memory") 1))"#, "guest"));
    assert!(matches!(error, ComponentError::ExportMissing { .. }));
    assert!(error.to_string().contains("`double`"), "{error}");
    assert!(error.source().is_none(), "a chain of errors would say it twice");
}

#[test]
fn an_import_that_no_host_offers_is_named() {
    let with_import = |import: &str| GUEST.replacen("(module", &format!("(module {import}"), 1);
    for (import, name) in [
        (r#"(import "env" "getpid" (func (result i32)))"#, "env"),
        (
            r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#,
            "wasi_snapshot_preview1",
        ),
        (
            r#"(import "__wbindgen_placeholder__" "__wbindgen_throw" (func (param i32 i32)))"#,
            "__wbindgen_placeholder__",
        ),
        (r#"(import "env" "memory" (memory 1))"#, "env"),
    ] {
        let error = refused(&module(&with_import(import), "guest"));
        assert!(matches!(error, ComponentError::ImportUnknown { .. }), "{error:?}");
        assert!(error.to_string().contains(name), "{error}");
    }
}
