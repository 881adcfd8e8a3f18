//! Components of our world, made of core modules.
//!
//! `wit-component` turns one module, the shell, into a component. A body is added at the end of
//! it: as an instance of its own that imports from the shell, with a third one, the joint, that
//! puts the body's function into the shell's table. That is how `wit-component` itself adds
//! what a guest's imports need, and no index in the shell's component changes.

use std::sync::OnceLock;

use wasm_encoder::{Component, InstanceSection, ModuleArg, RawSection};
use wasmparser::{Instance, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const WIT: &str = include_str!("../../../wit/reducer.wit");
/// The number of a section that holds a core module, in the binary format of components.
const CORE_MODULE_SECTION: u8 = 1;

/// The module that a guest is: the names and types of all that it imports and exports.
pub(super) fn guest() -> &'static [u8] {
    static GUEST: OnceLock<Vec<u8>> = OnceLock::new();
    GUEST.get_or_init(|| parse(include_str!("shell.wat")))
}

/// The same for a body.
pub(super) fn body() -> &'static [u8] {
    static BODY: OnceLock<Vec<u8>> = OnceLock::new();
    BODY.get_or_init(|| parse(include_str!("body.wat")))
}

/// A component that counts its actions, and keeps to every rule.
pub(crate) fn counter() -> Vec<u8> {
    around(&parse(include_str!("counter.wat")))
}

/// Turns a module with the imports and exports of [`guest`] into a component.
pub(super) fn component_of(mut module: Vec<u8>) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("reducer.wit", WIT).expect("our own WIT parses");
    let world = resolve.select_world(&[package], Some("reducer")).expect("our own WIT has the world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("a module can be described");
    let encoder = ComponentEncoder::default().module(&module).expect("the module was described");
    encoder.validate(false).encode().expect("the module has all that the world wants")
}

/// Puts the shell around a module with the imports and exports of [`body`].
pub(super) fn around(body: &[u8]) -> Vec<u8> {
    static SHELL: OnceLock<Shell> = OnceLock::new();
    SHELL.get_or_init(Shell::new).around(body)
}

/// The shell's component, and where things are in it.
struct Shell {
    component: Vec<u8>,
    joint: Vec<u8>,
    modules: u32,
    instances: u32,
    /// The instance of the shell's own module.
    shell: u32,
}

impl Shell {
    fn new() -> Self {
        let component = component_of(guest().to_vec());
        let joint = parse(include_str!("joint.wat"));
        let mut shell = Self { joint, modules: 0, instances: 0, shell: 0, component: Vec::new() };
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(&component) {
            match payload.expect("the encoder writes valid components") {
                Payload::ModuleSection { .. } => {
                    shell.modules += 1;
                    depth += 1;
                }
                Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::InstanceSection(instances) if depth == 0 => {
                    for instance in instances {
                        let instance = instance.expect("the encoder writes valid components");
                        // The encoder writes the guest's own module before those it adds.
                        if matches!(instance, Instance::Instantiate { module_index: 0, .. }) {
                            shell.shell = shell.instances;
                        }
                        shell.instances += 1;
                    }
                }
                _ => {}
            }
        }
        Self { component, ..shell }
    }

    fn around(&self, body: &[u8]) -> Vec<u8> {
        let mut added = Component::new();
        for module in [body, &self.joint] {
            added.section(&RawSection { id: CORE_MODULE_SECTION, data: module });
        }
        let shell = ("shell", ModuleArg::Instance(self.shell));
        let mut instances = InstanceSection::new();
        instances.instantiate(self.modules, [shell]);
        instances.instantiate(self.modules + 1, [shell, ("body", ModuleArg::Instance(self.instances))]);
        added.section(&instances);
        [&self.component[..], &added.as_slice()[Component::HEADER.len()..]].concat()
    }
}

fn parse(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("our own modules parse")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What libFuzzer starts `admission` from. If this fails because the shell changed, set
    /// `REDUCTOR_FUZZ_BLESS=1` once.
    #[test]
    fn the_seed_of_admission_is_the_counter() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds/admission/counter.wasm");
        if std::env::var_os("REDUCTOR_FUZZ_BLESS").is_some() {
            std::fs::write(path, counter()).expect("the seed can be written");
        }
        assert_eq!(std::fs::read(path).expect("the seed is there"), counter());
    }
}
