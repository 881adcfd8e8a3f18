//! What is counted in a component's binary, and how much of each is allowed.

use std::fmt;

use crate::limits::GuestLimits;

/// Makes the limits, the measures and their names out of one table.
macro_rules! measures {
    ($( $(#[doc = $doc:literal])* $measure:ident $found:ident $max:ident = $default:literal, $words:literal; )*) => {
        /// How much of each thing a component's binary may have. Checked before any of it is compiled.
        ///
        /// The defaults let guests through that bring an interpreter: a JavaScript component of
        /// 12 MB uses at most two thirds of each. The slowest binaries within them that we know
        /// take 36 s of processor time to compile, and a third of a compile worker's memory.
        ///
        /// Memories, tables, and what fills them count twice: once for all modules together, and
        /// once for all instances that would be made of them. The larger of the two numbers counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct StaticLimits {
            $( $(#[doc = $doc])* pub $max: u64, )*
        }

        impl Default for StaticLimits {
            fn default() -> Self {
                Self { $( $max: $default, )* }
            }
        }

        /// How much of each thing a component's binary has.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct BinaryMeasures {
            $( $(#[doc = $doc])* pub $found: u64, )*
            /// Bytes that its linear memories begin with, together.
            pub memory_bytes: u64,
            /// Elements that its tables begin with, together.
            pub table_elements: u64,
        }

        /// Something that is counted in a component's binary.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Measure {
            $( $(#[doc = $doc])* $measure, )*
            /// Bytes that its linear memories begin with, together.
            MemoryBytes,
            /// Elements that its tables begin with, together.
            TableElements,
        }

        impl Measure {
            /// Every measure, in the order in which they are documented.
            pub const ALL: &[Self] = &[$( Self::$measure, )* Self::MemoryBytes, Self::TableElements];

            /// The field of [`BinaryMeasures`] that has it, such as `functions`.
            pub fn name(self) -> &'static str {
                match self {
                    $( Self::$measure => stringify!($found), )*
                    Self::MemoryBytes => "memory_bytes",
                    Self::TableElements => "table_elements",
                }
            }

            /// The field that bounds it, such as `StaticLimits::functions_max`.
            pub fn limit_name(self) -> &'static str {
                match self {
                    $( Self::$measure => concat!("StaticLimits::", stringify!($max)), )*
                    Self::MemoryBytes => "GuestLimits::memory_bytes_max",
                    Self::TableElements => "GuestLimits::table_elements_max",
                }
            }

            fn words(self) -> &'static str {
                match self {
                    $( Self::$measure => $words, )*
                    Self::MemoryBytes => "bytes of linear memory from the start",
                    Self::TableElements => "table elements from the start",
                }
            }

            /// How much of it is allowed.
            pub fn max(self, limits: &StaticLimits, guest: &GuestLimits) -> u64 {
                match self {
                    $( Self::$measure => limits.$max, )*
                    Self::MemoryBytes => guest.memory_bytes_max as u64,
                    Self::TableElements => guest.table_elements_max as u64,
                }
            }
        }

        impl BinaryMeasures {
            /// How much there is of one thing.
            pub fn get(&self, measure: Measure) -> u64 {
                match measure {
                    $( Measure::$measure => self.$found, )*
                    Measure::MemoryBytes => self.memory_bytes,
                    Measure::TableElements => self.table_elements,
                }
            }

            pub(crate) fn at(&mut self, measure: Measure) -> &mut u64 {
                match measure {
                    $( Measure::$measure => &mut self.$found, )*
                    Measure::MemoryBytes => &mut self.memory_bytes,
                    Measure::TableElements => &mut self.table_elements,
                }
            }
        }
    };
}

measures! {
    /// Components inside of it.
    Components components components_max = 100, "components inside of it";
    /// How deep components are inside of each other.
    ComponentDepth component_depth component_depth_max = 8, "levels of components inside of each other";
    /// Core modules.
    CoreModules core_modules core_modules_max = 100, "core modules";
    /// Instances of components that it would make: at most, whatever they are made of.
    ComponentInstances component_instances component_instances_max = 500, "instances of components to make";
    /// Instances of core modules that it would make: at most, whatever they are made of. An
    /// instance of the component has room for as many.
    CoreInstances core_instances core_instances_max = 64, "instances of core modules to make";
    /// Functions with a body, of all core modules together.
    Functions functions functions_max = 100_000, "functions";
    /// Bytes of all functions together.
    CodeBytes code_bytes code_bytes_max = 33_554_432, "bytes of code";
    /// Bytes of the largest function.
    FunctionBytes function_bytes function_bytes_max = 524_288, "bytes in one function";
    /// Locals of the function that has most of them.
    Locals locals locals_max = 10_000, "locals in one function";
    /// How deep blocks are inside of each other.
    BlockDepth block_depth block_depth_max = 1_000, "levels of blocks inside of each other";
    /// How deep loops are inside of each other.
    LoopDepth loop_depth loop_depth_max = 20, "levels of loops inside of each other";
    /// Targets of the longest `br_table`.
    BranchTargets branch_targets branch_targets_max = 10_000, "targets in one `br_table`";
    /// Places where control may go elsewhere (branches, each target of a `br_table`, calls).
    Branches branches branches_max = 700_000, "branches and calls";
    /// The same in the function that has most of them: compiling takes longer than in proportion.
    FunctionBranches function_branches function_branches_max = 10_000, "branches and calls in one function";
    /// Instructions that are long in machine code (loops, which look at fuel and time; indirect
    /// calls; operations on tables; operations on memory that may take long).
    LongInstructions long_instructions long_instructions_max = 100_000, "loops, indirect calls and bulk operations";
    /// The same in the function that has most of them.
    FunctionLongInstructions function_long_instructions function_long_instructions_max = 5_000,
        "loops, indirect calls and bulk operations in one function";
    /// Imports, of it and of everything inside of it.
    Imports imports imports_max = 10_000, "imports";
    /// Exports, of it and of everything inside of it.
    Exports exports exports_max = 10_000, "exports";
    /// Bytes of the names of all imports and exports together.
    NameBytes name_bytes name_bytes_max = 4_194_304, "bytes of names of imports and exports";
    /// Types and declarations inside of types.
    Types types types_max = 20_000, "types";
    /// Fields, cases, parameters and results of all types together.
    TypeParts type_parts type_parts_max = 200_000, "fields, cases, parameters and results of types";
    /// Types, parts of types and exports that instances of components repeat, because the types
    /// of their resources are new: at most, whatever they are made of.
    TypeCopies type_copies type_copies_max = 100_000, "copies of types, one for each instance that has them";
    /// How deep the types of components and instances are inside of each other.
    TypeDepth type_depth type_depth_max = 16, "levels of types inside of each other";
    /// Aliases and adapted functions of components.
    Definitions definitions definitions_max = 20_000, "aliases and adapted functions";
    /// Globals.
    Globals globals globals_max = 10_000, "globals";
    /// Tables. An instance of the component has room for as many.
    Tables tables tables_max = 10, "tables";
    /// Linear memories. An instance of the component has room for as many.
    Memories memories memories_max = 4, "memories";
    /// Segments of data.
    DataSegments data_segments data_segments_max = 50_000, "data segments";
    /// Bytes of all data together.
    DataBytes data_bytes data_bytes_max = 67_108_864, "bytes of data";
    /// Segments of table elements.
    ElementSegments element_segments element_segments_max = 10_000, "element segments";
    /// Table elements of all segments together.
    Elements elements elements_max = 200_000, "elements in segments";
    /// Bytes of custom sections: names and line tables.
    CustomBytes custom_bytes custom_bytes_max = 33_554_432, "bytes of custom sections (names and line tables)";
}

/// How much of each measure is allowed, in the order of [`Measure::ALL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Maxima(Vec<u64>);

impl Maxima {
    pub(crate) fn new(limits: &StaticLimits, guest: &GuestLimits) -> Self {
        Self(Measure::ALL.iter().map(|measure| measure.max(limits, guest)).collect())
    }

    /// Takes numbers in the order of [`Measure::ALL`], if there are as many.
    pub(crate) fn from_numbers(numbers: Vec<u64>) -> Option<Self> {
        (numbers.len() == Measure::ALL.len()).then_some(Self(numbers))
    }

    pub(crate) fn numbers(&self) -> &[u64] {
        &self.0
    }

    pub(super) fn of(&self, measure: Measure) -> u64 {
        // The variants are numbered in the order of `Measure::ALL`, which a test holds on to.
        self.0[measure as usize]
    }
}

/// A component has more of something than is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the component has {}{found} {what}; {max} are allowed (`{}`)", self.at_least(), .what.limit_name())]
pub struct OverLimit {
    /// What it has too much of.
    pub what: Measure,
    /// How much it has; at least, because nothing is read beyond the place where the limit is met.
    pub found: u64,
    /// How much is allowed.
    pub max: u64,
    /// Where the limit is met, in bytes from the start.
    pub offset: usize,
}

impl OverLimit {
    /// One function or type is read whole; what is summed up is not.
    fn at_least(&self) -> &'static str {
        match self.what {
            Measure::FunctionBytes | Measure::BranchTargets => "",
            _ => "at least ",
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_finds_its_own_maximum() {
        let (limits, guest) = (StaticLimits::default(), GuestLimits::default());
        let maxima = Maxima::new(&limits, &guest);
        for measure in Measure::ALL {
            assert_eq!(maxima.of(*measure), measure.max(&limits, &guest), "{measure:?}");
        }
    }
}
