//! Makes components that are small in bytes and large in what a reader makes of them.

use std::fmt::Write as _;

use wasm_encoder::{
    Component, ComponentExportKind, ComponentExportSection, ComponentImportSection, ComponentInstanceSection,
    ComponentTypeRef, ComponentTypeSection, ComponentValType, InstanceType, Module, NestedComponentSection,
    PrimitiveValType, RawSection, TypeBounds, ValType,
};

use crate::shapes::leb128;

/// A component that exports a resource and types of it, and many instances of that component: each
/// has a resource of its own, and with it all of the types.
pub(crate) fn fresh_resources(instances: u32, types: u32) -> Vec<u8> {
    instantiated(&exporting(types, |section, resource| section.defined_type().own(resource)), instances)
}

/// The same with fewer types that are larger.
pub(crate) fn fresh_resources_in_tuples(instances: u32, tuples: u32, width: usize) -> Vec<u8> {
    let tuple = |section: &mut ComponentTypeSection, resource| {
        // The first is a handle; the tuples are of it.
        if section.len() == 1 {
            section.defined_type().own(resource);
        } else {
            section.defined_type().tuple(std::iter::repeat_n(ComponentValType::Type(resource + 2), width));
        }
    };
    instantiated(&exporting(tuples + 1, tuple), instances)
}

/// A component that makes so many types of its own resource, and exports them all.
fn exporting(types: u32, define: impl Fn(&mut ComponentTypeSection, u32)) -> Component {
    let mut component = Component::new();
    let mut resource = ComponentTypeSection::new();
    resource.resource(ValType::I32, None);
    component.section(&resource);
    let mut exports = ComponentExportSection::new();
    exports.export("r", ComponentExportKind::Type, 0, None);
    component.section(&exports);
    // The export is a type as well: the resource as others see it.
    let mut section = ComponentTypeSection::new();
    for _ in 0..types {
        define(&mut section, 1);
    }
    component.section(&section);
    let mut exports = ComponentExportSection::new();
    for number in 0..types {
        exports.export(format!("t{number}"), ComponentExportKind::Type, 2 + number, None);
    }
    component.section(&exports);
    component
}

fn instantiated(inner: &Component, instances: u32) -> Vec<u8> {
    let mut component = Component::new();
    component.section(&NestedComponentSection(inner));
    let mut section = ComponentInstanceSection::new();
    for _ in 0..instances {
        section.instantiate::<_, &str>(0, []);
    }
    component.section(&section);
    component.finish()
}

/// Many imports of one type of instances that has a resource and types of it.
pub(crate) fn fresh_imports(imports: u32, types: u32) -> Vec<u8> {
    let mut instance = InstanceType::new();
    instance.export("r", ComponentTypeRef::Type(TypeBounds::SubResource));
    for number in 0..types / 2 {
        instance.ty().defined_type().own(0);
        instance.export(format!("t{number}"), ComponentTypeRef::Type(TypeBounds::Eq(1 + 2 * number)));
    }
    let mut component = Component::new();
    let mut section = ComponentTypeSection::new();
    section.instance(&instance);
    component.section(&section);
    let mut section = ComponentImportSection::new();
    for number in 0..imports {
        section.import(format!("a:b/c{number}"), ComponentTypeRef::Instance(0));
    }
    component.section(&section);
    component.finish()
}

/// Modules with a single group of types each, all of which may refer to one another.
pub(crate) fn recursion_groups(modules: usize, types: usize) -> Vec<u8> {
    const TYPES: u8 = 1;
    const GROUP: u8 = 0x4e;
    let mut group = vec![1, GROUP];
    group.extend(leb128(types));
    group.extend([0x60, 0, 0].repeat(types));
    let mut module = Module::new();
    module.section(&RawSection { id: TYPES, data: &group });
    let mut component = Component::new();
    for _ in 0..modules {
        component.section(&wasm_encoder::ModuleSection(&module));
    }
    component.finish()
}

/// Types of modules, each with so many declarations.
pub(crate) fn module_types(types: usize, declarations: usize) -> Vec<u8> {
    const CORE_TYPES: u8 = 3;
    const MODULE_TYPE: u8 = 0x50;
    // One type of functions, and then exports with names of three bytes.
    let mut one = vec![MODULE_TYPE];
    one.extend(leb128(declarations));
    one.extend([1, 0x60, 0, 0]);
    for number in 1..declarations {
        let name = [number >> 14 & 0x7f, number >> 7 & 0x7f, number & 0x7f].map(|part| part as u8);
        one.extend([3, 3, name[0], name[1], name[2], 0, 0]);
    }
    let mut section = leb128(types);
    section.extend(one.repeat(types));
    let mut component = Component::new();
    component.section(&RawSection { id: CORE_TYPES, data: &section });
    component.finish()
}

/// Imports one of our functions with a parameter whose type doubles so many times when it is spelled.
pub(crate) fn tuples_that_double(times: u32) -> Vec<u8> {
    let mut instance = InstanceType::new();
    instance.ty().defined_type().primitive(PrimitiveValType::U8);
    for inner in 0..times {
        instance.ty().defined_type().tuple([ComponentValType::Type(inner); 2]);
    }
    let mut function = instance.ty().function();
    function.params([("level", ComponentValType::Type(times)), ("message", ComponentValType::Type(times))]);
    function.result(None);
    instance.export("log", ComponentTypeRef::Func(times + 1));
    let mut component = Component::new();
    let mut section = ComponentTypeSection::new();
    section.instance(&instance);
    component.section(&section);
    let mut section = ComponentImportSection::new();
    section.import("reductor:reducer/host@1.0.0", ComponentTypeRef::Instance(0));
    component.section(&section);
    component.finish()
}

/// Imports of interfaces whose names have so many letters.
pub(crate) fn long_imports(imports: usize, letters: usize) -> Vec<u8> {
    let mut component = Component::new();
    let mut section = ComponentTypeSection::new();
    section.instance(&InstanceType::new());
    component.section(&section);
    let mut section = ComponentImportSection::new();
    for number in 0..imports {
        section.import(format!("a:b/c{number}-{}", "x".repeat(letters)), ComponentTypeRef::Instance(0));
    }
    component.section(&section);
    component.finish()
}

/// So many instances of one module.
pub(crate) fn instances(module: &str, count: usize) -> Vec<u8> {
    let instances = "(core instance (instantiate $many))".repeat(count);
    wat::parse_str(format!("(component (core module $many {module}){instances})")).expect("the text is right")
}

/// Instances that write so many bytes each into the memory of another one, when they are made.
pub(crate) fn data_in_instances(count: usize, bytes: usize) -> Vec<u8> {
    let data = "x".repeat(bytes);
    let mut text = format!(
        r#"(component
            (core module $memory (memory (export "memory") 64))
            (core instance $memory (instantiate $memory))
            (core module $writes (import "m" "memory" (memory 64)) (data (i32.const 0) "{data}"))"#
    );
    for _ in 0..count {
        // Writing to a string cannot fail.
        let _ = write!(text, r#"(core instance (instantiate $writes (with "m" (instance $memory))))"#);
    }
    wat::parse_str(text + ")").expect("the text is right")
}
