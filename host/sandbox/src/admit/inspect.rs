//! Reads a component that nobody vouches for: in a compile worker, or here if there is none.

use std::borrow::Cow;

use wasmtime::Engine;

use super::measures::{BinaryMeasures, Maxima, OverLimit};
use super::{AdmissionError, scan};
use crate::compile::CompileError;
use crate::difference::{self, Difference};
use crate::sections::{self, LineRanges};

/// What a host needs to know of a component beside its machine code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) measures: BinaryMeasures,
    /// The names of the interfaces that it imports.
    pub(crate) imports: Vec<String>,
    pub(crate) lines: LineRanges,
}

/// Why a component is refused before any of it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is not valid.
    Invalid { problem: String, offset: usize },
    /// It has more of something than is allowed.
    OverLimit(OverLimit),
    /// It is of another world.
    OtherWorld(Vec<Difference>),
    /// The compiler does not take it.
    NotCompiled(String),
}

impl From<Refusal> for AdmissionError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid { problem, offset } => Self::Invalid { problem, offset },
            Refusal::OverLimit(over) => Self::OverLimit(over),
            Refusal::OtherWorld(differences) => Self::OtherWorld(differences),
            Refusal::NotCompiled(problem) => Self::NotCompiled(CompileError::Refused(problem)),
        }
    }
}

/// Validates a component, measures it, and compares its world. Returns what may be compiled.
pub(crate) fn inspect<'a>(
    engine: &Engine,
    component: &'a [u8],
    maxima: &Maxima,
) -> Result<(Cow<'a, [u8]>, Facts), Refusal> {
    let measures = scan::scan(component, maxima, engine.get_wasm_features())?;
    let imports = difference::check_world(component).map_err(Refusal::OtherWorld)?;
    let (to_compile, lines) = sections::split(component);
    Ok((to_compile, Facts { measures, imports, lines }))
}
