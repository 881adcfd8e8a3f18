//! The custom sections of a component: names and line tables, both for the guest to choose.
//!
//! wasmtime reads them when it compiles a component and when a guest traps, on the worker and
//! without a bound: it copies a name for each frame of a backtrace, and follows line tables by
//! recursion as deep as they say. So it gets to see neither names of absurd length nor line
//! tables at all; those are read by [`LineTables`], within bounds.

use std::borrow::Cow;
use std::ops::Range;

use wasmparser::{CustomSectionReader, KnownCustom, Name, Parser, Payload};

use crate::lines::{LineTables, ModuleLines};

/// Bytes of the longest function name that is kept. Rust's longest are a few hundred.
const NAME_BYTES_MAX: usize = 4 << 10;
/// Bytes of all line tables that are kept of a component; they stay in memory.
const LINE_TABLES_BYTES_MAX: usize = 32 << 20;
/// Modules of which line tables are kept.
pub(crate) const MODULES_MAX: usize = 256;

/// The sections that line tables are made of: those that `gimli` asks for.
const LINE_SECTIONS: [&str; 17] = [
    ".debug_abbrev",
    ".debug_addr",
    ".debug_aranges",
    ".debug_info",
    ".debug_line",
    ".debug_line_str",
    ".debug_loc",
    ".debug_loclists",
    ".debug_macinfo",
    ".debug_macro",
    ".debug_names",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_str",
    ".debug_str_offsets",
    ".debug_tu_index",
    ".debug_types",
];

/// Where in a component its line tables are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineRanges {
    pub(crate) modules: Vec<ModuleRanges>,
    /// Bytes of line tables that are ignored, because they are too many to be kept.
    pub(crate) ignored_bytes: usize,
}

/// Where the line tables of one module are, and its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModuleRanges {
    pub(crate) code: Range<usize>,
    /// One place for each of [`LINE_SECTIONS`] that the module has.
    pub(crate) sections: Vec<(LineSection, Range<usize>)>,
}

/// One of [`LINE_SECTIONS`], by its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineSection(usize);

impl LineSection {
    pub(crate) const COUNT: usize = LINE_SECTIONS.len();

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        usize::try_from(number).ok().filter(|number| *number < Self::COUNT).map(Self)
    }

    pub(crate) fn number(self) -> u64 {
        self.0 as u64
    }

    fn named(name: &str) -> Option<Self> {
        LINE_SECTIONS.iter().position(|known| *known == name).map(Self)
    }
}

impl ModuleRanges {
    /// Takes a section into account; of two with the same name the second counts.
    fn keep(&mut self, section: LineSection, range: Range<usize>) {
        self.sections.retain(|(known, _)| *known != section);
        self.sections.push((section, range));
    }
}

impl LineRanges {
    /// Copies the tables out of the component that they were found in.
    pub(crate) fn tables(&self, component: &[u8]) -> LineTables {
        if self.ignored_bytes > 0 {
            let bytes = self.ignored_bytes;
            tracing::warn!("line tables of {bytes} bytes are ignored; {LINE_TABLES_BYTES_MAX} are allowed");
        }
        let module = |ranges: &ModuleRanges| {
            let mut module = ModuleLines::new(ranges.code.clone());
            for (section, range) in &ranges.sections {
                let data = component.get(range.clone()).expect("the ranges were checked against the component");
                module.keep(LINE_SECTIONS[section.0], data);
            }
            module
        };
        LineTables::new(self.modules.iter().map(module).filter(ModuleLines::has_tables).collect())
    }
}

/// Finds the line tables of a valid component, and hides names that are too long.
///
/// The component that comes back is as long as before, so that offsets mean the same.
pub(crate) fn split(component: &[u8]) -> (Cow<'_, [u8]>, LineRanges) {
    let mut hidden = Vec::new();
    let (mut modules, mut kept) = (Vec::<ModuleRanges>::new(), 0);
    for payload in Parser::new(0).parse_all(component) {
        // It was validated, so there is no error to find.
        match payload {
            Ok(Payload::CodeSectionStart { range, .. }) => {
                modules.push(ModuleRanges { code: range, sections: Vec::new() });
            }
            Ok(Payload::CustomSection(section)) if has_long_names(&section) => hidden.push(start_of_name(&section)),
            Ok(Payload::CustomSection(section)) => {
                // Line tables come after the code that they describe.
                if let (Some(name), Some(module)) = (LineSection::named(section.name()), modules.last_mut()) {
                    kept += section.data().len();
                    let start = section.data_offset();
                    module.keep(name, start..start + section.data().len());
                }
            }
            _ => {}
        }
    }
    modules.retain(|module| !module.sections.is_empty());
    modules.truncate(MODULES_MAX);
    let mut ignored_bytes = 0;
    if kept > LINE_TABLES_BYTES_MAX {
        ignored_bytes = kept;
        modules.clear();
    }
    (hide(component, &hidden), LineRanges { modules, ignored_bytes })
}

/// Gives the custom sections at `starts` a name that means nothing to anybody.
fn hide<'a>(component: &'a [u8], starts: &[usize]) -> Cow<'a, [u8]> {
    let mut bytes = Cow::Borrowed(component);
    for start in starts {
        bytes.to_mut()[*start] = b'-';
    }
    bytes
}

/// Where the name of a section begins, from the start of the component.
fn start_of_name(section: &CustomSectionReader<'_>) -> usize {
    section.data_offset() - section.name().len()
}

fn has_long_names(section: &CustomSectionReader<'_>) -> bool {
    let KnownCustom::Name(names) = section.as_known() else { return false };
    names.into_iter().any(|subsection| match subsection {
        Ok(Name::Function(names)) => {
            names.into_iter().any(|naming| naming.is_err() || naming.is_ok_and(|it| it.name.len() > NAME_BYTES_MAX))
        }
        Ok(Name::Module { name, .. }) => name.len() > NAME_BYTES_MAX,
        // Nobody looks at the names of anything else.
        Ok(_) => false,
        Err(_) => true,
    })
}
