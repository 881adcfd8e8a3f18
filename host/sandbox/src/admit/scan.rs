//! Reads a binary once: validates it, and measures it against the limits as it goes.
//!
//! Whatever grows with what the binary says of itself is measured before the validator sees it.

mod made;
mod types;

use wasmparser::names::{ComponentName, ComponentNameKind};
use wasmparser::{
    ComponentExport, ComponentImport, ComponentInstance, ComponentTypeRef, ElementItems, Error, FuncToValidate,
    FuncValidatorAllocations, FunctionBody, Imports, Instance, Operator, Parser, Payload, SectionLimited, ValidPayload,
    Validator, ValidatorResources, WasmFeatures,
};

use self::made::{Made, Open, Space};
use crate::admit::Refusal;
use crate::admit::measures::{BinaryMeasures, Maxima, Measure, OverLimit};
use crate::difference::Differences;
use crate::text::printable;

const PAGE_BYTES_LOG2: u32 = 16;
const PROBLEM_BYTES_MAX: usize = 200;

/// Validates a component and measures it. Features beyond `features` are refused.
pub(super) fn scan(bytes: &[u8], maxima: &Maxima, features: WasmFeatures) -> Result<BinaryMeasures, Refusal> {
    let mut scan = Scan {
        bytes,
        maxima,
        found: BinaryMeasures::default(),
        declared: BinaryMeasures::default(),
        open: Vec::new(),
        space: Space::default(),
        largest_type: 0,
        foreign: Differences::default(),
    };
    let mut validator = Validator::new_with_features(features);
    let mut spare = FuncValidatorAllocations::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        scan.measure(&payload)?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
            spare = scan.function(function, &body, spare)?;
        }
    }
    if scan.foreign.is_empty() { Ok(scan.found) } else { Err(Refusal::OtherWorld(scan.foreign.into())) }
}

/// Why a scan ended early.
enum Ended {
    Malformed(Error),
    Over(OverLimit),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Malformed(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Invalid { problem: printable(error.message(), PROBLEM_BYTES_MAX), offset: error.offset() }
    }
}

impl From<Ended> for Refusal {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Malformed(error) => error.into(),
            Ended::Over(over) => Self::OverLimit(over),
        }
    }
}

/// What one instruction costs a compiler.
struct Weight {
    branches: u64,
    long: u64,
}

impl Weight {
    fn of(operator: &Operator<'_>) -> Self {
        let (branches, long) = match operator {
            Operator::BrTable { targets } => (u64::from(targets.len()) + 1, 0),
            Operator::If { .. } | Operator::BrIf { .. } | Operator::Call { .. } | Operator::ReturnCall { .. } => (1, 0),
            Operator::Loop { .. }
            | Operator::CallIndirect { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCallRef { .. } => (1, 1),
            Operator::MemoryGrow { .. }
            | Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryInit { .. }
            | Operator::DataDrop { .. }
            | Operator::RefFunc { .. }
            | Operator::TableGet { .. }
            | Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::ElemDrop { .. } => (0, 1),
            _ => (0, 0),
        };
        Self { branches, long }
    }
}

struct Scan<'a> {
    bytes: &'a [u8],
    maxima: &'a Maxima,
    found: BinaryMeasures,
    /// What modules and components declare, however many instances are made of them.
    declared: BinaryMeasures,
    /// The components and the module that are being read, the outermost first.
    open: Vec<Open>,
    space: Space,
    /// The most types and parts that one type has that can be repeated.
    largest_type: u64,
    /// Imports that are not of an interface, and so are not granted.
    foreign: Differences,
}

impl Scan<'_> {
    fn measure(&mut self, payload: &Payload<'_>) -> Result<(), Ended> {
        match payload {
            Payload::Version { encoding, range, .. } => {
                self.open.push(Open::new(*encoding));
                self.peak(Measure::ComponentDepth, self.open.len() - 1, range.start)
            }
            Payload::End(_) => {
                if let Some(ended) = self.open.pop() {
                    self.space.read(ended, self.open.last_mut());
                }
                Ok(())
            }
            Payload::ModuleSection { unchecked_range, .. } => self.add(Measure::CoreModules, 1, unchecked_range.start),
            Payload::ComponentSection { unchecked_range, .. } => {
                self.add(Measure::Components, 1, unchecked_range.start)
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone().into_iter_with_offsets() {
                    if let (offset, Instance::Instantiate { module_index, .. }) = instance? {
                        self.made(self.space.module(&self.open, module_index), offset)?;
                    }
                }
                Ok(())
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone().into_iter_with_offsets() {
                    if let (offset, ComponentInstance::Instantiate { component_index, .. }) = instance? {
                        self.made(self.space.component(&self.open, component_index), offset)?;
                    }
                }
                Ok(())
            }
            Payload::ComponentTypeSection(section) => self.component_types(section),
            Payload::CoreTypeSection(section) => self.core_types(section),
            Payload::TypeSection(section) => self.module_types(section),
            Payload::ComponentAliasSection(section) => {
                self.count(Measure::Definitions, section)?;
                for alias in section.clone() {
                    self.space.alias(&mut self.open, &alias?);
                }
                Ok(())
            }
            Payload::ComponentCanonicalSection(section) => self.count(Measure::Definitions, section),
            Payload::ComponentImportSection(section) => {
                for import in section.clone().into_iter_with_offsets() {
                    let (offset, import) = import?;
                    self.component_import(&import, offset)?;
                }
                Ok(())
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone().into_iter_with_offsets() {
                    let (offset, export) = export?;
                    self.component_export(&export, offset)?;
                }
                Ok(())
            }
            Payload::ExportSection(section) => {
                self.count(Measure::Exports, section)?;
                for export in section.clone().into_iter_with_offsets() {
                    let (offset, export) = export?;
                    self.add(Measure::NameBytes, export.name.len(), offset)?;
                }
                Ok(())
            }
            Payload::FunctionSection(section) => self.count(Measure::Functions, section),
            Payload::GlobalSection(section) => self.count(Measure::Globals, section),
            Payload::CustomSection(section) => {
                self.add(Measure::CustomBytes, section.data().len(), section.data_offset())
            }
            Payload::ImportSection(section) => self.imports(section.clone()),
            Payload::TableSection(section) => {
                self.fills(Measure::Tables, section.count(), section.original_position())?;
                for table in section.clone().into_iter_with_offsets() {
                    let (offset, table) = table?;
                    self.fills(Measure::TableElements, table.ty.initial, offset)?;
                }
                Ok(())
            }
            Payload::MemorySection(section) => {
                self.fills(Measure::Memories, section.count(), section.original_position())?;
                for memory in section.clone().into_iter_with_offsets() {
                    let (offset, memory) = memory?;
                    let page = memory.page_size_log2.unwrap_or(PAGE_BYTES_LOG2);
                    let bytes = 1_u64.checked_shl(page).map_or(u64::MAX, |page| page.saturating_mul(memory.initial));
                    self.fills(Measure::MemoryBytes, bytes, offset)?;
                }
                Ok(())
            }
            Payload::DataSection(section) => {
                self.count(Measure::DataSegments, section)?;
                for data in section.clone().into_iter_with_offsets() {
                    let (offset, data) = data?;
                    self.fills(Measure::DataBytes, data.data.len(), offset)?;
                }
                Ok(())
            }
            Payload::ElementSection(section) => {
                self.count(Measure::ElementSegments, section)?;
                for element in section.clone().into_iter_with_offsets() {
                    let (offset, element) = element?;
                    let count = match element.items {
                        ElementItems::Functions(functions) => functions.count(),
                        ElementItems::Expressions(_, expressions) => expressions.count(),
                    };
                    self.fills(Measure::Elements, count, offset)?;
                }
                Ok(())
            }
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                self.peak(Measure::FunctionBytes, range.len(), range.start)?;
                self.add(Measure::CodeBytes, range.len(), range.start)?;
                self.locals(body)
            }
            // What is left is bounded by what was counted, or refused by the validator.
            _ => Ok(()),
        }
    }

    /// Validates the code of one function, and measures it on the way.
    fn function(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
        spare: FuncValidatorAllocations,
    ) -> Result<FuncValidatorAllocations, Ended> {
        let mut validator = function.into_validator(spare);
        let mut locals = body.get_binary_reader();
        validator.read_locals(&mut locals)?;
        let mut operators = body.get_operators_reader()?;
        let (mut branches, mut long) = (0_u64, 0_u64);
        // How deep in blocks each of the loops around is.
        let mut loops = Vec::new();
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            if let Operator::BrTable { targets } = &operator {
                self.peak(Measure::BranchTargets, targets.len(), offset)?;
            }
            let weight = Weight::of(&operator);
            branches += weight.branches;
            long += weight.long;
            if weight.branches > 0 {
                self.add(Measure::Branches, weight.branches, offset)?;
                self.peak(Measure::FunctionBranches, branches, offset)?;
            }
            if weight.long > 0 {
                self.add(Measure::LongInstructions, weight.long, offset)?;
                self.peak(Measure::FunctionLongInstructions, long, offset)?;
            }
            validator.op(offset, &operator)?;
            let depth = validator.control_stack_height();
            self.peak(Measure::BlockDepth, depth, offset)?;
            loops.pop_if(|around| *around > depth);
            if let Operator::Loop { .. } = operator {
                loops.push(depth);
                self.peak(Measure::LoopDepth, loops.len(), offset)?;
            }
        }
        operators.finish()?;
        Ok(validator.into_allocations())
    }

    fn locals(&mut self, body: &FunctionBody<'_>) -> Result<(), Ended> {
        let (mut all, offset) = (0_u64, body.range().start);
        for group in body.get_locals_reader()? {
            let (count, _) = group?;
            all = all.saturating_add(count.into());
            self.peak(Measure::Locals, all, offset)?;
        }
        Ok(())
    }

    fn imports(&mut self, section: SectionLimited<'_, Imports<'_>>) -> Result<(), Ended> {
        for group in section.into_iter_with_offsets() {
            let (offset, group) = group?;
            let (count, module, name) = match &group {
                Imports::Single(_, import) => (1, import.module, import.name),
                Imports::Compact1 { module, items, .. } => (items.count(), *module, ""),
                Imports::Compact2 { module, names, .. } => (names.count(), *module, ""),
            };
            self.add(Measure::Imports, count, offset)?;
            self.add(Measure::NameBytes, u64::from(count).saturating_mul(module.len() as u64), offset)?;
            self.name(name, offset)?;
        }
        Ok(())
    }

    fn component_import(&mut self, import: &ComponentImport<'_>, offset: usize) -> Result<(), Ended> {
        self.add(Measure::Imports, 1, offset)?;
        self.name(import.name.name, offset)?;
        self.repeated(import.ty, offset)?;
        self.space.import(&mut self.open, import.ty);
        // What a component imports from outside must be an interface. WIT has no word for anything
        // else, and `wit-component` does not expect it.
        if self.open.len() == 1 && !is_interface(import, offset) {
            self.foreign.not_granted(import.name.name);
        }
        Ok(())
    }

    fn component_export(&mut self, export: &ComponentExport<'_>, offset: usize) -> Result<(), Ended> {
        self.add(Measure::Exports, 1, offset)?;
        self.name(export.name.name, offset)?;
        self.copies(1, offset)?;
        export.ty.map_or(Ok(()), |ty| self.repeated(ty, offset))
    }

    fn name(&mut self, name: &str, offset: usize) -> Result<(), Ended> {
        self.add(Measure::NameBytes, name.len(), offset)
    }

    /// An import or an export has its own copy of the resources of its type, and therefore of
    /// the types that mention them.
    fn repeated(&mut self, ty: ComponentTypeRef, offset: usize) -> Result<(), Ended> {
        match ty {
            ComponentTypeRef::Instance(_) | ComponentTypeRef::Component(_) => self.copies(self.largest_type, offset),
            _ => Ok(()),
        }
    }

    /// The component that is being read has more types to repeat.
    fn copies(&mut self, more: u64, offset: usize) -> Result<(), Ended> {
        self.made(Made::copies(more), offset)
    }

    /// Something is instantiated by the component that is being read.
    fn made(&mut self, made: Made, offset: usize) -> Result<(), Ended> {
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        open.makes.add(&made);
        let makes = open.makes;
        makes.measures().into_iter().try_for_each(|(measure, found)| self.peak(measure, found, offset))
    }

    /// A module has something that each instance of it has.
    fn fills(&mut self, what: Measure, more: impl TryInto<u64>, offset: usize) -> Result<(), Ended> {
        let more = more.try_into().unwrap_or(u64::MAX);
        if let Some(open) = self.open.last_mut() {
            open.makes.fill(what, more);
        }
        self.add(what, more, offset)
    }

    fn count<T>(&mut self, what: Measure, section: &SectionLimited<'_, T>) -> Result<(), Ended> {
        self.add(what, section.count(), section.original_position())
    }

    fn add(&mut self, what: Measure, more: impl TryInto<u64>, offset: usize) -> Result<(), Ended> {
        let declared = self.declared.at(what);
        *declared = declared.saturating_add(more.try_into().unwrap_or(u64::MAX));
        let declared = *declared;
        self.peak(what, declared, offset)
    }

    fn peak(&mut self, what: Measure, height: impl TryInto<u64>, offset: usize) -> Result<(), Ended> {
        let found = height.try_into().unwrap_or(u64::MAX);
        if found <= self.found.get(what) {
            return Ok(());
        }
        *self.found.at(what) = found;
        let max = self.maxima.of(what);
        if found > max { Err(Ended::Over(OverLimit { what, found, max, offset })) } else { Ok(()) }
    }
}

fn is_interface(import: &ComponentImport<'_>, offset: usize) -> bool {
    let name = ComponentName::new(import.name.name, offset);
    matches!(import.ty, ComponentTypeRef::Instance(_))
        && name.is_ok_and(|name| matches!(name.kind(), ComponentNameKind::Interface(_)))
}
