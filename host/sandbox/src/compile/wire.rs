//! Facts and refusals as bytes, between processes and in the cache.
//!
//! Numbers are little-endian and have eight bytes; a text is its length and its bytes. Nothing is
//! allocated for a length that was not checked before.

use std::io;
use std::ops::Range;

use super::protocol::malformed;
use super::worker::TEXT_BYTES_MAX;
use crate::admit::{BinaryMeasures, Facts, Maxima, Measure, OverLimit, Refusal};
use crate::difference::{self, DIFFERENCES_MAX, Difference, IMPORTS_MAX, REMEDIES, TOO_MANY_IMPORTS};
use crate::sections::{LineRanges, LineSection, MODULES_MAX, ModuleRanges};

/// Bytes of facts or of a refusal.
pub(super) const FACTS_BYTES_MAX: u64 = 256 << 10;
/// Bytes of a name, a place or a type.
const WORDS_BYTES_MAX: usize = difference::TEXT_BYTES_MAX;
/// Bytes that a text which was cut has beyond its maximum, to say so.
const CUT_BYTES: usize = 16;

/// Writes the maxima of a task.
pub(super) fn maxima(maxima: &Maxima) -> Vec<u8> {
    let mut output = Output::default();
    maxima.numbers().iter().for_each(|number| output.number(*number));
    output.0
}

pub(super) const MAXIMA_BYTES: usize = Measure::ALL.len() * size_of::<u64>();

pub(super) fn read_maxima(bytes: &[u8]) -> io::Result<Maxima> {
    let mut input = Input(bytes);
    let numbers = Measure::ALL.iter().map(|_| input.number()).collect::<io::Result<_>>()?;
    input.end()?;
    Maxima::from_numbers(numbers).ok_or_else(|| malformed("it has other limits"))
}

pub(super) fn facts(facts: &Facts) -> Vec<u8> {
    let mut output = Output::default();
    Measure::ALL.iter().for_each(|measure| output.number(facts.measures.get(*measure)));
    output.count(facts.imports.len());
    facts.imports.iter().for_each(|name| output.text(name));
    output.number(facts.lines.ignored_bytes as u64);
    output.count(facts.lines.modules.len());
    for module in &facts.lines.modules {
        output.range(&module.code);
        output.count(module.sections.len());
        for (section, range) in &module.sections {
            output.number(section.number());
            output.range(range);
        }
    }
    output.0
}

/// Reads the facts of a component that has so many bytes.
pub(super) fn read_facts(bytes: &[u8], component_bytes: usize) -> io::Result<Facts> {
    let mut input = Input(bytes);
    let mut measures = BinaryMeasures::default();
    for measure in Measure::ALL {
        *measures.at(*measure) = input.number()?;
    }
    let imports = input.list(IMPORTS_MAX, |input| input.text(WORDS_BYTES_MAX))?;
    let ignored_bytes = input.size()?;
    let modules = input.list(MODULES_MAX, |input| {
        let code = input.range(component_bytes)?;
        let sections = input.list(LineSection::COUNT, |input| {
            let section = LineSection::from_number(input.number()?);
            Ok((section.ok_or_else(|| malformed("it names an unknown section"))?, input.range(component_bytes)?))
        })?;
        Ok(ModuleRanges { code, sections })
    })?;
    input.end()?;
    Ok(Facts { measures, imports, lines: LineRanges { modules, ignored_bytes } })
}

const INVALID: u64 = 0;
const OVER_LIMIT: u64 = 1;
const OTHER_WORLD: u64 = 2;
const NOT_COMPILED: u64 = 3;

pub(super) fn refusal(refusal: &Refusal) -> Vec<u8> {
    let mut output = Output::default();
    match refusal {
        Refusal::Invalid { problem, offset } => {
            output.number(INVALID);
            output.text(problem);
            output.count(*offset);
        }
        Refusal::OverLimit(OverLimit { what, found, max, offset }) => {
            output.number(OVER_LIMIT);
            output.number(*what as u64);
            output.number(*found);
            output.number(*max);
            output.count(*offset);
        }
        Refusal::OtherWorld(differences) => {
            output.number(OTHER_WORLD);
            output.count(differences.len());
            differences.iter().for_each(|difference| output.difference(difference));
        }
        Refusal::NotCompiled(problem) => {
            output.number(NOT_COMPILED);
            output.text(problem);
        }
    }
    output.0
}

pub(super) fn read_refusal(bytes: &[u8]) -> io::Result<Refusal> {
    let mut input = Input(bytes);
    let refusal = match input.number()? {
        INVALID => Refusal::Invalid { problem: input.text(TEXT_BYTES_MAX)?, offset: input.size()? },
        OVER_LIMIT => {
            let what = Measure::ALL.get(input.size()?).copied();
            let what = what.ok_or_else(|| malformed("it names an unknown measure"))?;
            Refusal::OverLimit(OverLimit { what, found: input.number()?, max: input.number()?, offset: input.size()? })
        }
        OTHER_WORLD => Refusal::OtherWorld(input.list(DIFFERENCES_MAX + 1, Input::difference)?),
        NOT_COMPILED => Refusal::NotCompiled(input.text(TEXT_BYTES_MAX)?),
        _ => return Err(malformed("it refuses for an unknown reason")),
    };
    input.end()?;
    Ok(refusal)
}

const MISSING_EXPORT: u64 = 0;
const IMPORT_NOT_GRANTED: u64 = 1;
const OTHER_TYPE: u64 = 2;
const OMITTED: u64 = 3;

#[derive(Default)]
struct Output(Vec<u8>);

impl Output {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend(text.as_bytes());
    }

    fn range(&mut self, range: &Range<usize>) {
        self.count(range.start);
        self.count(range.end);
    }

    fn difference(&mut self, difference: &Difference) {
        match difference {
            Difference::MissingExport { name } => {
                self.number(MISSING_EXPORT);
                self.text(name);
            }
            Difference::ImportNotGranted { name, remedy } => {
                self.number(IMPORT_NOT_GRANTED);
                self.text(name);
                self.count(REMEDIES.iter().position(|known| known == remedy).unwrap_or(REMEDIES.len()));
            }
            Difference::OtherType { place, expected, found } => {
                self.number(OTHER_TYPE);
                [place, expected, found].into_iter().for_each(|text| self.text(text));
            }
            Difference::Omitted { count } => {
                self.number(OMITTED);
                self.count(*count);
            }
        }
    }
}

/// Bytes that are not read yet.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn number(&mut self) -> io::Result<u64> {
        let (number, rest) = self.0.split_first_chunk().ok_or_else(ends_early)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*number))
    }

    fn size(&mut self) -> io::Result<usize> {
        usize::try_from(self.number()?).map_err(|_| malformed("a number in it is too large"))
    }

    fn text(&mut self, bytes_max: usize) -> io::Result<String> {
        let length = self.size()?;
        if length > bytes_max + CUT_BYTES {
            return Err(malformed("a text in it is too long"));
        }
        let (text, rest) = self.0.split_at_checked(length).ok_or_else(ends_early)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).map_err(|_| malformed("a text in it is not UTF-8"))
    }

    fn range(&mut self, end_max: usize) -> io::Result<Range<usize>> {
        let range = self.size()?..self.size()?;
        if range.start <= range.end && range.end <= end_max {
            Ok(range)
        } else {
            Err(malformed("it points beyond the component"))
        }
    }

    fn list<T>(&mut self, count_max: usize, mut item: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let count = self.size()?;
        if count > count_max {
            return Err(malformed("a list in it is too long"));
        }
        (0..count).map(|_| item(self)).collect()
    }

    fn difference(&mut self) -> io::Result<Difference> {
        Ok(match self.number()? {
            MISSING_EXPORT => Difference::MissingExport { name: self.text(WORDS_BYTES_MAX)? },
            IMPORT_NOT_GRANTED => {
                let name = self.text(WORDS_BYTES_MAX)?;
                let remedy = REMEDIES.get(self.size()?).copied().unwrap_or(TOO_MANY_IMPORTS);
                Difference::ImportNotGranted { name, remedy }
            }
            OTHER_TYPE => Difference::OtherType {
                place: self.text(WORDS_BYTES_MAX)?,
                expected: self.text(WORDS_BYTES_MAX)?,
                found: self.text(WORDS_BYTES_MAX)?,
            },
            OMITTED => Difference::Omitted { count: self.size()? },
            _ => return Err(malformed("it has an unknown difference")),
        })
    }

    fn end(&self) -> io::Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed("it goes on after its end")) }
    }
}

fn ends_early() -> io::Error {
    malformed("it ends early")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_refusal() -> Vec<Refusal> {
        let text = || "é".repeat(100);
        let differences = vec![
            Difference::MissingExport { name: text() },
            Difference::ImportNotGranted { name: text(), remedy: REMEDIES[3] },
            Difference::ImportNotGranted { name: text(), remedy: TOO_MANY_IMPORTS },
            Difference::OtherType { place: text(), expected: String::new(), found: text() },
            Difference::Omitted { count: 7 },
        ];
        let over = OverLimit { what: Measure::CustomBytes, found: u64::MAX, max: 1, offset: 9 };
        vec![
            Refusal::Invalid { problem: text(), offset: 3 },
            Refusal::OverLimit(over),
            Refusal::OtherWorld(differences),
            Refusal::NotCompiled(text()),
        ]
    }

    fn some_facts() -> Facts {
        let section = LineSection::from_number(3).expect("there are more");
        let module = ModuleRanges { code: 8..20, sections: vec![(section, 30..40)] };
        Facts {
            measures: BinaryMeasures { functions: 3, data_bytes: 7, ..BinaryMeasures::default() },
            imports: vec!["a:b/c".to_owned(), String::new()],
            lines: LineRanges { modules: vec![module], ignored_bytes: 1 },
        }
    }

    #[test]
    fn what_is_written_is_read() -> io::Result<()> {
        for known in every_refusal() {
            assert_eq!(read_refusal(&refusal(&known))?, known);
        }
        assert_eq!(read_facts(&facts(&some_facts()), 40)?, some_facts());
        let limits = Maxima::new(&crate::StaticLimits::default(), &crate::GuestLimits::default());
        assert_eq!(maxima(&limits).len(), MAXIMA_BYTES);
        assert_eq!(read_maxima(&maxima(&limits))?, limits);
        Ok(())
    }

    #[test]
    fn what_ends_early_goes_on_or_points_beyond_the_component_is_refused() {
        let whole = facts(&some_facts());
        assert!((0..whole.len()).all(|length| read_facts(&whole[..length], 40).is_err()));
        assert!(read_facts(&[&whole[..], &[0]].concat(), 40).is_err());
        assert!(read_facts(&whole, 39).is_err());
        for known in every_refusal() {
            let whole = refusal(&known);
            assert!((0..whole.len()).all(|length| read_refusal(&whole[..length]).is_err()), "{known:?}");
        }
    }

    #[test]
    fn a_length_without_bytes_allocates_nothing() {
        let lying = [INVALID, u64::MAX].map(u64::to_le_bytes).concat();
        assert!(read_refusal(&lying).is_err());
        let lying = [OTHER_WORLD, u64::MAX].map(u64::to_le_bytes).concat();
        assert!(read_refusal(&lying).is_err());
    }
}
