//! Reads a binary once: validates it, and measures it against the limits as it goes.
//!
//! Whatever grows with what the binary says of itself is measured before the validator sees it.

use wasmparser::{
    BinaryReader, ComponentInstance, ComponentTypeDeclaration, ElementItems, Error, FromReader, FuncToValidate,
    FuncValidatorAllocations, FunctionBody, Imports, Instance, InstanceTypeDeclaration, Operator, Parser, Payload,
    SectionLimited, ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

use crate::admit::AdmissionError;
use crate::admit::measures::{BinaryMeasures, Measure, OverLimit, StaticLimits};
use crate::limits::GuestLimits;
use crate::text::printable;

const PAGE_BYTES_LOG2: u32 = 16;
const PROBLEM_BYTES_MAX: usize = 200;

/// Validates a component and measures it.
pub(super) fn scan(bytes: &[u8], limits: &StaticLimits, guest: &GuestLimits) -> Result<BinaryMeasures, AdmissionError> {
    let mut scan =
        Scan { bytes, limits, guest, found: BinaryMeasures::default(), open: Vec::new(), largest: Made::ONE };
    let mut validator = Validator::new_with_features(WasmFeatures::WASM3 | WasmFeatures::COMPONENT_MODEL);
    let mut spare = FuncValidatorAllocations::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        scan.measure(&payload)?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
            spare = scan.function(function, &body, spare)?;
        }
    }
    Ok(scan.found)
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

impl From<Error> for AdmissionError {
    fn from(error: Error) -> Self {
        Self::Invalid { problem: printable(error.message(), PROBLEM_BYTES_MAX), offset: error.offset() }
    }
}

impl From<Ended> for AdmissionError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Malformed(error) => error.into(),
            Ended::Over(over) => Self::OverLimit(over),
        }
    }
}

/// What one instantiation of a component makes, itself included.
#[derive(Clone, Copy)]
struct Made {
    components: u64,
    core: u64,
}

impl Made {
    const ONE: Self = Self { components: 1, core: 0 };
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
    limits: &'a StaticLimits,
    guest: &'a GuestLimits,
    found: BinaryMeasures,
    /// For each component or module that is being read, what instantiating it makes.
    open: Vec<Made>,
    /// The most that one of the components read so far makes. Components instantiate only
    /// what was defined before them, so to take every instance for one of the largest errs on
    /// the safe side, and needs no account of which index means which component.
    largest: Made,
}

impl Scan<'_> {
    fn measure(&mut self, payload: &Payload<'_>) -> Result<(), Ended> {
        match payload {
            Payload::Version { range, .. } => {
                self.open.push(Made::ONE);
                self.peak(Measure::ComponentDepth, self.open.len() - 1, range.start)
            }
            Payload::End(_) => {
                let made = self.open.pop().unwrap_or(Made::ONE);
                self.largest.components = self.largest.components.max(made.components);
                self.largest.core = self.largest.core.max(made.core);
                Ok(())
            }
            Payload::ModuleSection { unchecked_range, .. } => self.add(Measure::CoreModules, 1, unchecked_range.start),
            Payload::ComponentSection { unchecked_range, .. } => {
                self.add(Measure::Components, 1, unchecked_range.start)
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone().into_iter_with_offsets() {
                    if let (offset, Instance::Instantiate { .. }) = instance? {
                        self.instantiated(Made { components: 0, core: 1 }, offset)?;
                    }
                }
                Ok(())
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone().into_iter_with_offsets() {
                    if let (offset, ComponentInstance::Instantiate { .. }) = instance? {
                        self.instantiated(self.largest, offset)?;
                    }
                }
                Ok(())
            }
            Payload::ComponentTypeSection(section) => self.component_types(section),
            Payload::CoreTypeSection(section) => self.count(Measure::Types, section),
            Payload::TypeSection(section) => self.count(Measure::Types, section),
            Payload::ComponentAliasSection(section) => self.count(Measure::Definitions, section),
            Payload::ComponentCanonicalSection(section) => self.count(Measure::Definitions, section),
            Payload::ComponentImportSection(section) => self.count(Measure::Imports, section),
            Payload::ComponentExportSection(section) => self.count(Measure::Exports, section),
            Payload::ExportSection(section) => self.count(Measure::Exports, section),
            Payload::FunctionSection(section) => self.count(Measure::Functions, section),
            Payload::GlobalSection(section) => self.count(Measure::Globals, section),
            Payload::CustomSection(section) => {
                self.add(Measure::CustomBytes, section.data().len(), section.data_offset())
            }
            Payload::ImportSection(section) => self.imports(section.clone()),
            Payload::TableSection(section) => {
                self.count(Measure::Tables, section)?;
                for table in section.clone().into_iter_with_offsets() {
                    let (offset, table) = table?;
                    self.add(Measure::TableElements, table.ty.initial, offset)?;
                }
                Ok(())
            }
            Payload::MemorySection(section) => {
                self.count(Measure::Memories, section)?;
                for memory in section.clone().into_iter_with_offsets() {
                    let (offset, memory) = memory?;
                    let page = memory.page_size_log2.unwrap_or(PAGE_BYTES_LOG2);
                    let bytes = 1_u64.checked_shl(page).map_or(u64::MAX, |page| page.saturating_mul(memory.initial));
                    self.add(Measure::MemoryBytes, bytes, offset)?;
                }
                Ok(())
            }
            Payload::DataSection(section) => {
                self.count(Measure::DataSegments, section)?;
                for data in section.clone().into_iter_with_offsets() {
                    let (offset, data) = data?;
                    self.add(Measure::DataBytes, data.data.len(), offset)?;
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
                    self.add(Measure::Elements, count, offset)?;
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
            let count = match group {
                Imports::Single(..) => 1,
                Imports::Compact1 { items, .. } => items.count(),
                Imports::Compact2 { names, .. } => names.count(),
            };
            self.add(Measure::Imports, count, offset)?;
        }
        Ok(())
    }

    /// Measures types that may have types inside of them. wasmparser reads those with a call
    /// inside of a call for every level, so how many levels there are is found out here.
    fn component_types<T>(&mut self, section: &SectionLimited<'_, T>) -> Result<(), Ended> {
        let start = section.original_position();
        let bytes = self.bytes.get(start..section.range().end).unwrap_or_default();
        let mut reader = BinaryReader::new(bytes, start);
        (0..section.count()).try_for_each(|_| self.component_type(&mut reader, 1))
    }

    fn component_type(&mut self, reader: &mut BinaryReader<'_>, depth: usize) -> Result<(), Ended> {
        let offset = reader.original_position();
        self.add(Measure::Types, 1, offset)?;
        self.peak(Measure::TypeDepth, depth, offset)?;
        let kind = peek(reader)?;
        if !matches!(kind, COMPONENT_TYPE | INSTANCE_TYPE) {
            reader.read::<wasmparser::ComponentType<'_>>()?;
            return Ok(());
        }
        reader.read_u8()?;
        for _ in 0..reader.read_var_u32()? {
            if peek(reader)? == TYPE_DECLARATION {
                reader.read_u8()?;
                self.component_type(reader, depth + 1)?;
            } else {
                self.add(Measure::Types, 1, reader.original_position())?;
                match kind {
                    COMPONENT_TYPE => skip::<ComponentTypeDeclaration<'_>>(reader)?,
                    _ => skip::<InstanceTypeDeclaration<'_>>(reader)?,
                }
            }
        }
        Ok(())
    }

    /// Something is instantiated by the component that is being read.
    fn instantiated(&mut self, made: Made, offset: usize) -> Result<(), Ended> {
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        open.components = open.components.saturating_add(made.components);
        open.core = open.core.saturating_add(made.core);
        let made = *open;
        self.peak(Measure::ComponentInstances, made.components, offset)?;
        self.peak(Measure::CoreInstances, made.core, offset)
    }

    fn count<T>(&mut self, what: Measure, section: &SectionLimited<'_, T>) -> Result<(), Ended> {
        self.add(what, section.count(), section.original_position())
    }

    fn add(&mut self, what: Measure, more: impl TryInto<u64>, offset: usize) -> Result<(), Ended> {
        let found = self.found.get(what).saturating_add(more.try_into().unwrap_or(u64::MAX));
        self.reached(what, found, offset)
    }

    fn peak(&mut self, what: Measure, height: impl TryInto<u64>, offset: usize) -> Result<(), Ended> {
        let height = height.try_into().unwrap_or(u64::MAX);
        if height > self.found.get(what) { self.reached(what, height, offset) } else { Ok(()) }
    }

    fn reached(&mut self, what: Measure, found: u64, offset: usize) -> Result<(), Ended> {
        *self.found.at(what) = found;
        let max = what.max(self.limits, self.guest);
        if found > max { Err(Ended::Over(OverLimit { what, found, max, offset })) } else { Ok(()) }
    }
}

/// First bytes of types and declarations, from the component model's binary format.
const COMPONENT_TYPE: u8 = 0x41;
const INSTANCE_TYPE: u8 = 0x42;
const TYPE_DECLARATION: u8 = 0x01;

fn peek(reader: &BinaryReader<'_>) -> Result<u8, Error> {
    reader.clone().read_u8()
}

fn skip<'a, T: FromReader<'a>>(reader: &mut BinaryReader<'a>) -> Result<(), Error> {
    reader.read::<T>().map(drop)
}
