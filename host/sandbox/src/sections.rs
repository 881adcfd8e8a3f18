//! The custom sections of a component: names and line tables, both for the guest to choose.
//!
//! wasmtime reads them when it compiles a component and when a guest traps, on the worker and
//! without a bound: it copies a name for each frame of a backtrace, and follows line tables by
//! recursion as deep as they say. So it gets to see neither names of absurd length nor line
//! tables at all; those are read by [`LineTables`], within bounds.

use std::borrow::Cow;

use wasmparser::{CustomSectionReader, KnownCustom, Name, Parser, Payload};

use crate::lines::{LineTables, ModuleLines};

/// Bytes of the longest function name that is kept. Rust's longest are a few hundred.
const NAME_BYTES_MAX: usize = 4 << 10;
/// Bytes of all line tables that are kept of a component; they stay in memory.
const LINE_TABLES_BYTES_MAX: usize = 32 << 20;

/// Takes the line tables out of a valid component, and hides names that are too long.
///
/// The component that comes back is as long as before, so that offsets mean the same.
pub(crate) fn split(component: &[u8]) -> (Cow<'_, [u8]>, LineTables) {
    let mut hidden = Vec::new();
    let (mut modules, mut kept) = (Vec::<ModuleLines>::new(), 0);
    for payload in Parser::new(0).parse_all(component) {
        // It was validated, so there is no error to find.
        match payload {
            Ok(Payload::CodeSectionStart { range, .. }) => modules.push(ModuleLines::new(range)),
            Ok(Payload::CustomSection(section)) if has_long_names(&section) => hidden.push(start_of_name(&section)),
            // Line tables come after the code that they describe.
            Ok(Payload::CustomSection(section)) if section.name().starts_with(".debug_") => {
                kept += section.data().len();
                if let Some(module) = modules.last_mut().filter(|_| kept <= LINE_TABLES_BYTES_MAX) {
                    module.keep(section.name(), section.data());
                }
            }
            _ => {}
        }
    }
    modules.retain(ModuleLines::has_tables);
    if kept > LINE_TABLES_BYTES_MAX {
        tracing::warn!("line tables of {kept} bytes are ignored; {LINE_TABLES_BYTES_MAX} are allowed");
        modules.clear();
    }
    (hide(component, &hidden), LineTables::new(modules))
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
