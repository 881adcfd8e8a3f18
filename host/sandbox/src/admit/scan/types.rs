//! Measures types, which may be large, have types inside of them, and be repeated.

use wasmparser::{
    BinaryReader, ComponentDefinedType, ComponentType, ComponentTypeDeclaration, ComponentTypeRef, CompositeInnerType,
    CoreType, Error, FromReader, InstanceTypeDeclaration, ModuleTypeDeclaration, RecGroup, SectionLimited, SubType,
};

use super::{Ended, Scan};
use crate::admit::measures::Measure;

/// First bytes of types and declarations, from the component model's binary format.
const COMPONENT_TYPE: u8 = 0x41;
const INSTANCE_TYPE: u8 = 0x42;
const TYPE_DECLARATION: u8 = 0x01;

impl Scan<'_> {
    /// Measures the types of a module.
    pub(super) fn module_types(&mut self, section: &SectionLimited<'_, RecGroup>) -> Result<(), Ended> {
        // A group has one type or more.
        let start = section.original_position();
        self.peak(Measure::Types, self.declared.types.saturating_add(section.count().into()), start)?;
        for group in section.clone().into_iter_with_offsets() {
            let (offset, group) = group?;
            self.group(&group, offset)?;
        }
        Ok(())
    }

    /// Measures the types of modules and functions that a component declares.
    pub(super) fn core_types(&mut self, section: &SectionLimited<'_, CoreType<'_>>) -> Result<(), Ended> {
        for ty in section.clone().into_iter_with_offsets() {
            let (offset, ty) = ty?;
            self.core_type(&ty, offset)?;
        }
        Ok(())
    }

    fn core_type(&mut self, ty: &CoreType<'_>, offset: usize) -> Result<u64, Ended> {
        let declarations = match ty {
            CoreType::Rec(group) => return self.group(group, offset),
            CoreType::Module(declarations) => declarations,
        };
        let mut weight = self.types(1, offset)?;
        for declaration in declarations {
            weight += match declaration {
                ModuleTypeDeclaration::Type(group) => self.group(group, offset)?,
                _ => self.types(1, offset)?,
            };
        }
        Ok(weight)
    }

    fn group(&mut self, group: &RecGroup, offset: usize) -> Result<u64, Ended> {
        let parts = group.types().map(parts_of_core).sum();
        Ok(self.types(group.types().len() as u64, offset)? + self.parts(parts, offset)?)
    }

    /// Measures types that may have types inside of them. wasmparser reads those with a call
    /// inside of a call for every level, so how many levels there are is found out here.
    pub(super) fn component_types<T>(&mut self, section: &SectionLimited<'_, T>) -> Result<(), Ended> {
        let start = section.original_position();
        let bytes = self.bytes.get(start..section.range().end).unwrap_or_default();
        let mut reader = BinaryReader::new(bytes, start);
        for _ in 0..section.count() {
            let offset = reader.original_position();
            let weight = self.component_type(&mut reader, 1)?;
            self.largest_type = self.largest_type.max(weight);
            self.space.read_type(weight);
            // The component that declares it repeats it with each of its own instances.
            self.copies(weight, offset)?;
        }
        Ok(())
    }

    /// Measures one type. Returns how many types and parts it has.
    fn component_type(&mut self, reader: &mut BinaryReader<'_>, depth: usize) -> Result<u64, Ended> {
        let offset = reader.original_position();
        self.peak(Measure::TypeDepth, depth, offset)?;
        let kind = peek(reader)?;
        if !matches!(kind, COMPONENT_TYPE | INSTANCE_TYPE) {
            let parts = parts(&reader.read::<ComponentType<'_>>()?);
            return Ok(self.types(1, offset)? + self.parts(parts, offset)?);
        }
        let mut weight = self.types(1, offset)?;
        reader.read_u8()?;
        for _ in 0..reader.read_var_u32()? {
            let offset = reader.original_position();
            if peek(reader)? == TYPE_DECLARATION {
                reader.read_u8()?;
                weight = weight.saturating_add(self.component_type(reader, depth + 1)?);
                continue;
            }
            let mentioned = match kind {
                COMPONENT_TYPE => mentioned_by_component(&read(reader)?),
                _ => mentioned_by_instance(&read(reader)?),
            };
            weight = weight.saturating_add(match mentioned {
                Mentioned::Core(ty) => self.core_type(&ty, offset)?,
                Mentioned::External(ty) => self.types(1, offset)? + self.repetition(ty),
                Mentioned::Nothing => self.types(1, offset)?,
            });
            // One type that repeats another often is as large as all of them.
            self.peak(Measure::TypeCopies, weight, offset)?;
        }
        self.largest_type = self.largest_type.max(weight);
        Ok(weight)
    }

    /// How much the type of an import or an export repeats.
    fn repetition(&self, ty: ComponentTypeRef) -> u64 {
        match ty {
            ComponentTypeRef::Instance(_) | ComponentTypeRef::Component(_) => self.largest_type,
            _ => 0,
        }
    }

    fn types(&mut self, count: u64, offset: usize) -> Result<u64, Ended> {
        self.add(Measure::Types, count, offset)?;
        Ok(count)
    }

    fn parts(&mut self, count: u64, offset: usize) -> Result<u64, Ended> {
        self.add(Measure::TypeParts, count, offset)?;
        Ok(count)
    }
}

/// What a declaration inside of a type is about, as far as it has a size.
enum Mentioned<'a> {
    Core(CoreType<'a>),
    External(ComponentTypeRef),
    Nothing,
}

fn mentioned_by_component<'a>(declaration: &ComponentTypeDeclaration<'a>) -> Mentioned<'a> {
    match declaration {
        ComponentTypeDeclaration::CoreType(ty) => Mentioned::Core(ty.clone()),
        ComponentTypeDeclaration::Export { ty, .. } => Mentioned::External(*ty),
        ComponentTypeDeclaration::Import(import) => Mentioned::External(import.ty),
        ComponentTypeDeclaration::Type(_) | ComponentTypeDeclaration::Alias(_) => Mentioned::Nothing,
    }
}

fn mentioned_by_instance<'a>(declaration: &InstanceTypeDeclaration<'a>) -> Mentioned<'a> {
    match declaration {
        InstanceTypeDeclaration::CoreType(ty) => Mentioned::Core(ty.clone()),
        InstanceTypeDeclaration::Export { ty, .. } => Mentioned::External(*ty),
        InstanceTypeDeclaration::Type(_) | InstanceTypeDeclaration::Alias(_) => Mentioned::Nothing,
    }
}

/// How many fields, cases, parameters and results a type has.
fn parts(ty: &ComponentType<'_>) -> u64 {
    let parts = match ty {
        ComponentType::Defined(ComponentDefinedType::Record(fields)) => fields.len(),
        ComponentType::Defined(ComponentDefinedType::Variant(cases)) => cases.len(),
        ComponentType::Defined(ComponentDefinedType::Tuple(types)) => types.len(),
        ComponentType::Defined(ComponentDefinedType::Flags(names) | ComponentDefinedType::Enum(names)) => names.len(),
        ComponentType::Func(function) => function.params.len() + usize::from(function.result.is_some()),
        _ => 0,
    };
    parts as u64
}

fn parts_of_core(ty: &SubType) -> u64 {
    let parts = match &ty.composite_type.inner {
        CompositeInnerType::Func(function) => function.params().len() + function.results().len(),
        CompositeInnerType::Struct(structure) => structure.fields.len(),
        _ => 0,
    };
    parts as u64
}

fn peek(reader: &BinaryReader<'_>) -> Result<u8, Error> {
    reader.clone().read_u8()
}

fn read<'a, T: FromReader<'a>>(reader: &mut BinaryReader<'a>) -> Result<T, Error> {
    reader.read()
}
