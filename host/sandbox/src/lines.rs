//! Files and lines of a guest's code, out of its own DWARF and within bounds.
//!
//! DWARF is hostile input: it can nest a million levels deep, and let a thousand units name
//! the same megabyte. So only line programs are read, which takes no recursion, and every read
//! costs from a budget.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{borrow::Cow, collections::HashMap};

use addr2line::Context;
use gimli::{EndianSlice, Error, LittleEndian, Reader, ReaderOffsetId};

use crate::failure::NAME_BYTES_MAX;

/// Reads that may be spent on one backtrace: about 50 ms. A Rust guest takes some ten thousand.
const READS_MAX: u64 = 1_000_000;
/// Bytes of text that cost as much as one read.
const TEXT_BYTES_PER_READ: usize = 16;
/// Bytes of a file's name that are kept: more than a frame shows.
const FILE_BYTES_KEPT: usize = 2 * NAME_BYTES_MAX;

/// The line tables of a component's modules.
pub(crate) struct LineTables {
    modules: Vec<ModuleLines>,
    /// Whether the budget was spent once. It would be again, at every trap.
    given_up: AtomicBool,
}

/// What is kept of one module.
pub(crate) struct ModuleLines {
    /// Where its code is in the component.
    code: Range<usize>,
    sections: HashMap<String, Box<[u8]>>,
    /// Whether they went wrong once.
    unreadable: AtomicBool,
}

/// A place in a guest's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The beginning of its name: so much that it shows where more was cut off.
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
}

impl LineTables {
    pub(crate) fn new(modules: Vec<ModuleLines>) -> Self {
        Self { modules, given_up: AtomicBool::new(false) }
    }

    /// Where in the source the instructions at these offsets of the component come from, as
    /// far as its line tables say and the budget goes.
    pub(crate) fn places(&self, offsets: &[Option<usize>]) -> Vec<Option<Place>> {
        let mut places = vec![None; offsets.len()];
        let budget = Budget(Cell::new(READS_MAX));
        for module in &self.modules {
            if self.given_up.load(Ordering::Relaxed) {
                break;
            }
            let wanted = offsets.iter().zip(&mut places);
            let mut wanted = wanted.filter_map(|(offset, place)| Some((module.in_code((*offset)?)?, place))).peekable();
            if wanted.peek().is_none() {
                continue;
            }
            module.find(wanted, &budget);
            if budget.0.get() == 0 {
                self.given_up.store(true, Ordering::Relaxed);
                tracing::warn!("line tables are ignored from now on: they take more than {READS_MAX} reads");
            }
        }
        places
    }
}

impl fmt::Debug for LineTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineTables").field("modules", &self.modules.len()).finish_non_exhaustive()
    }
}

impl ModuleLines {
    pub(crate) fn new(code: Range<usize>) -> Self {
        Self { code, sections: HashMap::new(), unreadable: AtomicBool::new(false) }
    }

    pub(crate) fn keep(&mut self, name: &str, data: &[u8]) {
        self.sections.insert(name.to_owned(), data.into());
    }

    pub(crate) fn has_tables(&self) -> bool {
        !self.sections.is_empty()
    }

    /// The address of an instruction as DWARF counts it, if it is one of this module.
    fn in_code(&self, offset: usize) -> Option<u64> {
        self.code.contains(&offset).then(|| (offset - self.code.start) as u64)
    }

    /// Puts down the places of instructions at these addresses. A table that goes wrong says no
    /// more; what it said before stands.
    fn find<'p>(&self, wanted: impl Iterator<Item = (u64, &'p mut Option<Place>)>, budget: &Budget) {
        if self.unreadable.load(Ordering::Relaxed) {
            return;
        }
        let Ok(context) = self.context(budget) else {
            // It would go wrong at every trap, and cost as much.
            self.unreadable.store(true, Ordering::Relaxed);
            return;
        };
        for (address, place) in wanted {
            let Ok(Some(location)) = context.find_location(address) else { continue };
            // A name may have megabytes, and every frame its own copy of it.
            let file = location.file.map(|name| name[..name.floor_char_boundary(FILE_BYTES_KEPT)].to_owned());
            *place = Some(Place { file, line: location.line });
        }
    }

    fn context<'a>(&'a self, budget: &'a Budget) -> Result<Context<Metered<'a>>, Error> {
        let section = |id: gimli::SectionId| -> Result<_, Error> {
            let data = self.sections.get(id.name()).map_or(&[][..], |data| data);
            Ok(Metered { data: EndianSlice::new(data, LittleEndian), budget })
        };
        Context::from_dwarf(gimli::Dwarf::load(section)?)
    }
}

/// Reads that are left.
#[derive(Debug)]
struct Budget(Cell<u64>);

/// A section whose every read costs.
#[derive(Clone, Debug)]
struct Metered<'a> {
    data: EndianSlice<'a, LittleEndian>,
    budget: &'a Budget,
}

impl Metered<'_> {
    fn spend(&self, reads: usize) -> Result<(), Error> {
        let left = self.budget.0.get().checked_sub(reads as u64);
        self.budget.0.set(left.unwrap_or(0));
        left.map(drop).ok_or_else(|| Error::UnexpectedEof(self.data.offset_id()))
    }

    fn spend_text(&self) -> Result<(), Error> {
        self.spend(1 + Reader::len(&self.data) / TEXT_BYTES_PER_READ)
    }
}

impl Reader for Metered<'_> {
    type Endian = LittleEndian;
    type Offset = usize;

    fn endian(&self) -> LittleEndian {
        LittleEndian
    }

    fn len(&self) -> usize {
        Reader::len(&self.data)
    }

    fn empty(&mut self) {
        Reader::empty(&mut self.data);
    }

    fn truncate(&mut self, len: usize) -> Result<(), Error> {
        self.spend(1)?;
        self.data.truncate(len)
    }

    fn offset_from(&self, base: &Self) -> usize {
        Reader::offset_from(&self.data, &base.data)
    }

    fn offset_id(&self) -> ReaderOffsetId {
        Reader::offset_id(&self.data)
    }

    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        Reader::lookup_offset_id(&self.data, id)
    }

    fn find(&self, byte: u8) -> Result<usize, Error> {
        let found = Reader::find(&self.data, byte);
        let searched = *found.as_ref().unwrap_or(&Reader::len(&self.data));
        self.spend(1 + searched / TEXT_BYTES_PER_READ)?;
        found
    }

    fn skip(&mut self, len: usize) -> Result<(), Error> {
        self.spend(1)?;
        Reader::skip(&mut self.data, len)
    }

    fn split(&mut self, len: usize) -> Result<Self, Error> {
        self.spend(1)?;
        Ok(Self { data: Reader::split(&mut self.data, len)?, budget: self.budget })
    }

    fn to_slice(&self) -> Result<Cow<'_, [u8]>, Error> {
        self.spend_text()?;
        Reader::to_slice(&self.data)
    }

    fn to_string(&self) -> Result<Cow<'_, str>, Error> {
        self.spend_text()?;
        Reader::to_string(&self.data)
    }

    fn to_string_lossy(&self) -> Result<Cow<'_, str>, Error> {
        self.spend_text()?;
        Reader::to_string_lossy(&self.data)
    }

    fn read_slice(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        self.spend(1)?;
        Reader::read_slice(&mut self.data, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables of units that say nothing: their abbreviations, and so many of them.
    fn units(count: usize) -> LineTables {
        // The length of what follows, the version, where its abbreviations are, the size of an
        // address, and the number of its only entry.
        const UNIT: [u8; 12] = [8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 4, 1];
        let mut module = ModuleLines::new(0..1_000);
        module.keep(".debug_abbrev", &[1, 0x11, 0, 0, 0, 0]);
        module.keep(".debug_info", &UNIT.repeat(count));
        LineTables::new(vec![module])
    }

    #[test]
    fn tables_that_take_more_than_the_budget_are_read_once() {
        let tables = units(600_000);
        assert_eq!(tables.places(&[Some(10)]), [None]);
        assert!(tables.given_up.load(Ordering::Relaxed), "they would be read again at the next trap");
    }

    #[test]
    fn tables_that_cannot_be_read_are_tried_once() {
        let mut module = ModuleLines::new(0..1_000);
        module.keep(".debug_info", &[0xff; 100]);
        let tables = LineTables::new(vec![module]);
        assert_eq!(tables.places(&[Some(10)]), [None]);
        assert!(tables.modules[0].unreadable.load(Ordering::Relaxed));
        assert!(!tables.given_up.load(Ordering::Relaxed), "other modules may have better ones");
    }

    #[test]
    fn small_tables_are_read_at_every_trap() {
        let tables = units(10);
        for _ in 0..3 {
            assert_eq!(tables.places(&[Some(10)]), [None]);
        }
        assert!(!tables.given_up.load(Ordering::Relaxed));
        assert!(!tables.modules[0].unreadable.load(Ordering::Relaxed));
    }
}
