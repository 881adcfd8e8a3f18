//! Compares a component's world with the one that guests are written for, and with the part of
//! WASI that they are given.

use std::collections::HashSet;
use std::fmt;

use wit_component::DecodedWasm;
use wit_parser::{
    Function, Handle, InterfaceId, Resolve, Type, TypeDef, TypeDefKind, TypeId, World, WorldId, WorldItem, WorldKey,
};

use crate::wasi;

/// The interface that a guest exports.
pub(crate) const MODEL: &str = "reductor:reducer/model@1.0.0";
const WIT: &str = include_str!("../../../wit/reducer.wit");

/// One way in which a component does not fit the world `reducer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It exports too little.
    MissingExport {
        /// What it lacks, such as `reductor:reducer/model@1.0.0` or a function of it.
        name: String,
    },
    /// It imports what guests are not given.
    ImportNotGranted {
        /// What it wants.
        name: String,
        /// What would remove the import.
        remedy: &'static str,
    },
    /// A function is of another type.
    OtherType {
        /// Where, such as `document.apply, parameter `action`, field `input``.
        place: String,
        /// The type in the world.
        expected: String,
        /// The type in the component.
        found: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingExport { name } => write!(f, "missing export: {name}"),
            Self::ImportNotGranted { name, remedy } => write!(f, "import not granted: {name} ({remedy})"),
            Self::OtherType { place, expected, found } => {
                write!(f, "wrong type: {place}: expected {expected}, found {found}")
            }
        }
    }
}

/// Compares a valid component with the world. Returns the names of its imports.
pub(crate) fn check_world(component: &[u8]) -> Result<Vec<String>, Vec<Difference>> {
    let other_world = || vec![Difference::MissingExport { name: MODEL.to_owned() }];
    let (found, world) = match wit_component::decode(component) {
        Ok(DecodedWasm::Component(resolve, world)) => (resolve, world),
        // A WIT package in binary form, or a component whose types WIT cannot express.
        Ok(DecodedWasm::WitPackage(..)) | Err(_) => return Err(other_world()),
    };
    let (expected, expected_world, wasi_world) = our_worlds();
    let mut comparison =
        Comparison { expected: &expected, found: &found, visited: HashSet::new(), differences: Vec::new() };
    let granted = [&expected.worlds[expected_world], &expected.worlds[wasi_world]];
    comparison.imports(granted, &found.worlds[world]);
    comparison.exports(&expected.worlds[expected_world], &found.worlds[world]);
    if comparison.differences.is_empty() {
        let names = found.worlds[world].imports.iter().map(|(key, _)| found.name_world_key(key));
        return Ok(names.collect());
    }
    Err(comparison.differences)
}

/// The world `reducer`, and the one that has what of WASI is granted.
fn our_worlds() -> (Resolve, WorldId, WorldId) {
    let mut resolve = Resolve::default();
    let mut world = |file, text, name| {
        let package = resolve.push_str(file, text).expect("our own WIT parses");
        resolve.select_world(&[package], Some(name)).expect("our own WIT has the world")
    };
    let (reducer, granted) = (world("reducer.wit", WIT, "reducer"), world("wasi.wit", wasi::WIT, "granted"));
    (resolve, reducer, granted)
}

struct Comparison<'a> {
    expected: &'a Resolve,
    found: &'a Resolve,
    /// Pairs of named types that were compared already.
    visited: HashSet<(TypeId, TypeId)>,
    differences: Vec<Difference>,
}

impl Comparison<'_> {
    fn imports(&mut self, granted: [&World; 2], found: &World) {
        for (key, item) in &found.imports {
            let name = self.found.name_world_key(key);
            let granted_name = wasi::granted_version(&name);
            let imports = granted.iter().flat_map(|world| &world.imports);
            match (interface(self.expected, imports, &granted_name), item) {
                (Some(granted), WorldItem::Interface { id, .. }) => self.imported_interface(&name, granted, *id),
                _ => self.not_granted(name),
            }
        }
    }

    /// A guest may import less than there is, but nothing else.
    fn imported_interface(&mut self, name: &str, granted: InterfaceId, wanted: InterfaceId) {
        let (expected, found) = (self.expected, self.found);
        for (resource, id) in &found.interfaces[wanted].types {
            let is_resource = matches!(found.types[*id].kind, TypeDefKind::Resource);
            if is_resource && !expected.interfaces[granted].types.contains_key(resource) {
                self.not_granted(format!("{name}#{resource}"));
            }
        }
        for (function, wanted) in &found.interfaces[wanted].functions {
            match expected.interfaces[granted].functions.get(function) {
                Some(granted) if name.starts_with("wasi:") => {
                    self.function(format!("{name}#{}", readable(function)), granted, wanted);
                }
                Some(granted) => self.function(readable(function), granted, wanted),
                None => self.not_granted(format!("{name}#{}", readable(function))),
            }
        }
    }

    fn not_granted(&mut self, name: String) {
        let remedy = remedy(&name);
        self.differences.push(Difference::ImportNotGranted { name, remedy });
    }

    /// A guest may export more than is asked of it, but not less.
    fn exports(&mut self, expected: &World, found: &World) {
        for (key, item) in &expected.exports {
            let name = self.expected.name_world_key(key);
            let WorldItem::Interface { id: wanted, .. } = item else { continue };
            let Some(given) = interface(self.found, &found.exports, &name) else {
                self.differences.push(Difference::MissingExport { name });
                continue;
            };
            let (expected, found) = (self.expected, self.found);
            for (function, wanted) in &expected.interfaces[*wanted].functions {
                match found.interfaces[given].functions.get(function) {
                    Some(given) => self.function(readable(function), wanted, given),
                    None => self
                        .differences
                        .push(Difference::MissingExport { name: format!("{name}#{}", readable(function)) }),
                }
            }
        }
    }

    fn function(&mut self, name: String, expected: &Function, found: &Function) {
        if expected.params.len() != found.params.len() {
            let count = |function: &Function| format!("{} parameters", function.params.len());
            return self.other(name, count(expected), count(found));
        }
        for (expected, found) in expected.params.iter().zip(&found.params) {
            self.types(&format!("{name}, parameter `{}`", expected.name), &expected.ty, &found.ty);
        }
        match (&expected.result, &found.result) {
            (Some(expected), Some(found)) => self.types(&format!("{name}, result"), expected, found),
            (None, None) => {}
            (expected, found) => {
                let spell = |resolve: &Resolve, result: &Option<Type>| {
                    result.as_ref().map_or("nothing".to_owned(), |ty| spell(resolve, ty))
                };
                self.other(format!("{name}, result"), spell(self.expected, expected), spell(self.found, found));
            }
        }
    }

    fn types(&mut self, place: &str, expected: &Type, found: &Type) {
        let (expected, found) = (resolve_alias(self.expected, expected), resolve_alias(self.found, found));
        let (Type::Id(expected_id), Type::Id(found_id)) = (expected, found) else {
            if expected != found {
                self.other(place.to_owned(), spell(self.expected, &expected), spell(self.found, &found));
            }
            return;
        };
        if self.visited.insert((expected_id, found_id)) {
            let (expected, found) = (&self.expected.types[expected_id], &self.found.types[found_id]);
            self.definitions(place, expected, found);
        }
    }

    fn definitions(&mut self, place: &str, expected: &TypeDef, found: &TypeDef) {
        use TypeDefKind::{Enum, Flags, List, Option, Record, Resource, Result, Tuple, Variant};
        match (&expected.kind, &found.kind) {
            (List(expected), List(found)) => self.types(&format!("{place}, element"), expected, found),
            (Option(expected), Option(found)) => self.types(place, expected, found),
            (Result(expected), Result(found)) => {
                self.optional(&format!("{place}, ok"), expected.ok.as_ref(), found.ok.as_ref());
                self.optional(&format!("{place}, error"), expected.err.as_ref(), found.err.as_ref());
            }
            (Record(expected), Record(found)) => {
                let names = |record: &wit_parser::Record| {
                    record.fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>()
                };
                if names(expected) != names(found) {
                    let spell = |record| format!("record {{ {} }}", names(record).join(", "));
                    return self.other(place.to_owned(), spell(expected), spell(found));
                }
                for (expected, found) in expected.fields.iter().zip(&found.fields) {
                    self.types(&format!("{place}, field `{}`", expected.name), &expected.ty, &found.ty);
                }
            }
            (Enum(expected), Enum(found)) => {
                let names = |cases: &wit_parser::Enum| joined(cases.cases.iter().map(|case| &case.name));
                self.names(place, "enum", names(expected), names(found));
            }
            (Flags(expected), Flags(found)) => {
                let names = |flags: &wit_parser::Flags| joined(flags.flags.iter().map(|flag| &flag.name));
                self.names(place, "flags", names(expected), names(found));
            }
            (Variant(expected), Variant(found)) => {
                let names = |variant: &wit_parser::Variant| joined(variant.cases.iter().map(|case| &case.name));
                if self.names(place, "variant", names(expected), names(found)) {
                    for (expected, found) in expected.cases.iter().zip(&found.cases) {
                        let place = format!("{place}, case `{}`", expected.name);
                        self.optional(&place, expected.ty.as_ref(), found.ty.as_ref());
                    }
                }
            }
            (Tuple(expected), Tuple(found)) if expected.types.len() == found.types.len() => {
                for (expected, found) in expected.types.iter().zip(&found.types) {
                    self.types(&format!("{place}, element"), expected, found);
                }
            }
            (Resource, Resource) => {}
            (TypeDefKind::Handle(_), TypeDefKind::Handle(_))
                if spell_definition(self.expected, expected) == spell_definition(self.found, found) => {}
            _ => self.other(
                place.to_owned(),
                spell_definition(self.expected, expected),
                spell_definition(self.found, found),
            ),
        }
    }

    fn optional(&mut self, place: &str, expected: Option<&Type>, found: Option<&Type>) {
        match (expected, found) {
            (Some(expected), Some(found)) => self.types(place, expected, found),
            (None, None) => {}
            (expected, found) => {
                let spell =
                    |resolve: &Resolve, ty: Option<&Type>| ty.map_or("nothing".to_owned(), |ty| spell(resolve, ty));
                self.other(place.to_owned(), spell(self.expected, expected), spell(self.found, found));
            }
        }
    }

    /// Compares the names that make up a type. Says whether they are the same.
    fn names(&mut self, place: &str, kind: &str, expected: String, found: String) -> bool {
        let same = expected == found;
        if !same {
            self.other(place.to_owned(), format!("{kind} {{ {expected} }}"), format!("{kind} {{ {found} }}"));
        }
        same
    }

    fn other(&mut self, place: String, expected: String, found: String) {
        self.differences.push(Difference::OtherType { place, expected, found });
    }
}

fn joined<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn interface<'a>(
    resolve: &Resolve,
    items: impl IntoIterator<Item = (&'a WorldKey, &'a WorldItem)>,
    name: &str,
) -> Option<InterfaceId> {
    items.into_iter().find_map(|(key, item)| match item {
        WorldItem::Interface { id, .. } if resolve.name_world_key(key) == name => Some(*id),
        _ => None,
    })
}

/// Follows `type a = b` to what it names.
fn resolve_alias(resolve: &Resolve, ty: &Type) -> Type {
    let mut ty = *ty;
    while let Type::Id(id) = ty {
        match &resolve.types[id].kind {
            TypeDefKind::Type(aliased) => ty = *aliased,
            _ => break,
        }
    }
    ty
}

/// Spells a type as WIT does, as far as a reader needs.
fn spell(resolve: &Resolve, ty: &Type) -> String {
    match resolve_alias(resolve, ty) {
        Type::Id(id) => spell_definition(resolve, &resolve.types[id]),
        primitive => format!("{primitive:?}").to_lowercase(),
    }
}

fn spell_definition(resolve: &Resolve, definition: &TypeDef) -> String {
    let optional = |ty: &Option<Type>| ty.as_ref().map_or("_".to_owned(), |ty| spell(resolve, ty));
    match &definition.kind {
        TypeDefKind::List(element) => format!("list<{}>", spell(resolve, element)),
        TypeDefKind::Option(inner) => format!("option<{}>", spell(resolve, inner)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", optional(&result.ok), optional(&result.err)),
        TypeDefKind::Tuple(tuple) => {
            let types: Vec<_> = tuple.types.iter().map(|ty| spell(resolve, ty)).collect();
            format!("tuple<{}>", types.join(", "))
        }
        TypeDefKind::Handle(Handle::Own(id)) => spell(resolve, &Type::Id(*id)),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", spell(resolve, &Type::Id(*id))),
        _ => named(definition),
    }
}

fn named(definition: &TypeDef) -> String {
    let kind = definition.kind.as_str();
    definition.name.as_ref().map_or_else(|| kind.to_owned(), |name| format!("{kind} {name}"))
}

/// Spells a function's name as its author wrote it: `document.apply`, not
/// `[method]document.apply`.
fn readable(function: &str) -> String {
    function.rsplit_once(']').map_or(function, |(_, name)| name).to_owned()
}

/// What would remove an import.
fn remedy(name: &str) -> &'static str {
    let (package, rest) = name.split_once('/').unwrap_or((name, ""));
    let is_granted_version = wasi::granted_version(name) != name || name.ends_with(wasi::VERSION);
    match package {
        "wasi:http" => {
            "reducers are pure: they reach no network; pass what they need in the action's input, and build with \
             `disableFeatures: ['http', 'fetch-event']` (componentize-js) or `--stub-wasi` (componentize-py)"
        }
        "wasi:sockets" => {
            "reducers are pure: they reach no network; pass what they need in the action's input, and build with \
             `--stub-wasi` (componentize-py), without networking features, or for wasm32-unknown-unknown"
        }
        "wasi:cli" | "wasi:clocks" | "wasi:random" | "wasi:io" | "wasi:filesystem" if rest.contains('#') => {
            "this host offers what WASI 0.2.12 has of that interface; build with an SDK of that age or without the \
             function"
        }
        "wasi:cli" | "wasi:clocks" | "wasi:random" | "wasi:io" | "wasi:filesystem" if !is_granted_version => {
            "this host offers WASI 0.2; build for that, or for wasm32-unknown-unknown"
        }
        _ if package.starts_with("wasi:") => {
            "of WASI 0.2 only what a standard library needs is granted: environment, exit and streams of `cli`, the two \
             clocks, `random`, `io` and an empty `filesystem`; remove what imports more, or build for \
             wasm32-unknown-unknown as `reductor build` does"
        }
        "reductor:reducer" => "this host offers version 1.0.0 of the interface; build with the matching SDK",
        _ => {
            "only `reductor:reducer/host@1.0.0` and parts of WASI 0.2 are granted; remove the dependency that imports it"
        }
    }
}
