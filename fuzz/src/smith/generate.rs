//! Random core modules in the place of a guest's.

use arbitrary::{Arbitrary as _, Result, Unstructured};
use wasm_smith::{Config, Module};

use super::shell;

/// A component with random code in it.
pub(super) struct Generated {
    /// Its bytes.
    pub(super) component: Vec<u8>,
    /// Which part of it is random.
    pub(super) random: Random,
    /// Which features of wasm its code may use.
    pub(super) features: Features,
}

/// Which part of a component is random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Random {
    /// What runs within `apply`, around it a well-behaved model.
    Body,
    /// All of the guest's code, the canonical ABI's functions included: what it returns is
    /// hardly ever what it should be.
    Guest,
}

/// Which features of wasm code may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Features {
    /// Those that the sandbox offers.
    Offered,
    /// And reference types, of which it offers those of functions: tables can be read, written
    /// and grown, but where an `externref` turns up the component is refused.
    References,
    /// Any that the generator knows.
    Any,
}

impl Generated {
    /// Makes a component, or nothing if the data do not suffice for one.
    pub(super) fn new(data: &mut Unstructured<'_>) -> Option<Self> {
        Self::generate(data).ok()
    }

    fn generate(data: &mut Unstructured<'_>) -> Result<Self> {
        let features = match data.int_in_range(0..=15)? {
            15 => Features::Any,
            12..=14 => Features::References,
            _ => Features::Offered,
        };
        let random = if data.ratio(1, 4)? { Random::Guest } else { Random::Body };
        let mut config = config(data, features)?;
        if random == Random::Guest && features != Features::Any {
            // One of each is exported, and the sandbox's engine takes no second one in a module.
            config.max_memories = 0;
            config.max_tables = 0;
        }
        let sample = match random {
            Random::Body => shell::body(),
            Random::Guest => shell::guest(),
        };
        config.available_imports = Some(sample.to_vec());
        config.exports = Some(sample.to_vec());
        let module = Module::new(config, data)?.to_bytes();
        let component = match random {
            Random::Body => shell::around(&module),
            Random::Guest => shell::component_of(module),
        };
        Ok(Self { component, random, features })
    }
}

fn config(data: &mut Unstructured<'_>, features: Features) -> Result<Config> {
    let random = Config::arbitrary(data)?;
    let config = Config {
        // Small enough that most of it fits the limits and is compiled in milliseconds.
        max_data_segments: 10,
        max_element_segments: 10,
        max_elements: 20,
        max_funcs: random.max_funcs.min(20),
        max_globals: random.max_globals.min(20),
        max_instructions: random.max_instructions.min(300),
        max_memory32_bytes: 2 << 20,
        max_table_elements: 2_000,
        max_tables: 1,
        max_types: random.max_types.min(50),
        // What is wrong with a function's code, wasmtime's own fuzzers look for.
        allow_invalid_funcs: false,
        disallow_traps: false,
        ..random
    };
    Ok(match features {
        Features::Any => config,
        Features::References => Config { reference_types_enabled: true, ..offered(config) },
        Features::Offered => Config { reference_types_enabled: false, ..offered(config) },
    })
}

/// The same without what the sandbox's engine has switched off, reference types apart.
fn offered(config: Config) -> Config {
    Config {
        custom_page_sizes_enabled: false,
        exceptions_enabled: false,
        gc_enabled: false,
        max_memories: 1,
        memory64_enabled: false,
        relaxed_simd_enabled: false,
        shared_everything_threads_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..config
    }
}
