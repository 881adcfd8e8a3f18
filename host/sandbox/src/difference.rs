//! Compares a component's world with the one that guests are written for, and with the part of
//! WASI that they are given.

use std::collections::HashSet;
use std::fmt;

use wit_component::DecodedWasm;
use wit_parser::{
    Function, Handle, InterfaceId, Resolve, Type, TypeDef, TypeDefKind, TypeId, TypeOwner, World, WorldId, WorldItem,
    WorldKey,
};

use crate::text::printable;
use crate::wasi;

/// The interface that a guest exports.
pub(crate) const MODEL: &str = "reductor:reducer/model@1.0.0";
pub(crate) const WIT: &str = include_str!("../../../wit/reducer.wit");
/// Differences that are listed; of the others only the number is given.
pub(crate) const DIFFERENCES_MAX: usize = 50;
/// Bytes of a name, a place or a type that are told.
pub(crate) const TEXT_BYTES_MAX: usize = 200;
/// Interfaces that a component may import: twice as many as there are to import, since one may
/// be there in several patch versions.
pub(crate) const IMPORTS_MAX: usize = 64;

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
    /// There are more than are told.
    Omitted {
        /// How many more.
        count: usize,
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
            Self::Omitted { count } => write!(f, "and {count} more"),
        }
    }
}

/// The differences found so far: a bounded number of them, each of bounded length.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    told: Vec<Difference>,
    omitted: usize,
}

impl Differences {
    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    pub(crate) fn not_granted(&mut self, name: &str) {
        let remedy = remedy(name);
        self.push(|| Difference::ImportNotGranted { name: shown(name), remedy });
    }

    fn missing(&mut self, name: &str) {
        self.push(|| Difference::MissingExport { name: shown(name) });
    }

    fn other(&mut self, place: &str, expected: &str, found: &str) {
        self.push(|| Difference::OtherType { place: shown(place), expected: shown(expected), found: shown(found) });
    }

    fn push(&mut self, difference: impl FnOnce() -> Difference) {
        if self.told.len() < DIFFERENCES_MAX {
            self.told.push(difference());
        } else {
            self.omitted += 1;
        }
    }
}

impl From<Differences> for Vec<Difference> {
    fn from(Differences { mut told, omitted }: Differences) -> Self {
        if omitted > 0 {
            told.push(Difference::Omitted { count: omitted });
        }
        told
    }
}

fn shown(text: &str) -> String {
    printable(text, TEXT_BYTES_MAX)
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
        Comparison { expected: &expected, found: &found, visited: HashSet::new(), differences: Differences::default() };
    let granted = [&expected.worlds[expected_world], &expected.worlds[wasi_world]];
    comparison.imports(granted, &found.worlds[world]);
    comparison.exports(&expected.worlds[expected_world], &found.worlds[world]);
    if comparison.differences.is_empty() {
        let names = found.worlds[world].imports.iter().map(|(key, _)| shown(&found.name_world_key(key)));
        return Ok(names.collect());
    }
    Err(comparison.differences.into())
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
    differences: Differences,
}

impl Comparison<'_> {
    fn imports(&mut self, granted: [&World; 2], found: &World) {
        for (position, (key, item)) in found.imports.iter().enumerate() {
            let name = self.found.name_world_key(key);
            if position >= IMPORTS_MAX {
                self.differences.push(|| Difference::ImportNotGranted { name: shown(&name), remedy: TOO_MANY_IMPORTS });
                continue;
            }
            let granted_name = wasi::granted_version(&name);
            let imports = granted.iter().flat_map(|world| &world.imports);
            match (interface(self.expected, imports, &granted_name), item) {
                (Some(granted), WorldItem::Interface { id, .. }) => self.imported_interface(&name, granted, *id),
                _ => self.differences.not_granted(&name),
            }
        }
    }

    /// A guest may import less than there is, but nothing else.
    fn imported_interface(&mut self, name: &str, granted: InterfaceId, wanted: InterfaceId) {
        let (expected, found) = (self.expected, self.found);
        for (resource, id) in &found.interfaces[wanted].types {
            let is_resource = matches!(found.types[*id].kind, TypeDefKind::Resource);
            if is_resource && !expected.interfaces[granted].types.contains_key(resource) {
                self.differences.not_granted(&format!("{name}#{resource}"));
            }
        }
        for (function, wanted) in &found.interfaces[wanted].functions {
            match expected.interfaces[granted].functions.get(function) {
                Some(granted) if name.starts_with("wasi:") => {
                    self.function(format!("{name}#{}", readable(function)), granted, wanted);
                }
                Some(granted) => self.function(readable(function), granted, wanted),
                None => self.differences.not_granted(&format!("{name}#{}", readable(function))),
            }
        }
    }

    /// A guest may export more than is asked of it, but not less.
    fn exports(&mut self, expected: &World, found: &World) {
        for (key, item) in &expected.exports {
            let name = self.expected.name_world_key(key);
            let WorldItem::Interface { id: wanted, .. } = item else { continue };
            let Some(given) = interface(self.found, &found.exports, &name) else {
                self.differences.missing(&name);
                continue;
            };
            let (expected, found) = (self.expected, self.found);
            for (function, wanted) in &expected.interfaces[*wanted].functions {
                match found.interfaces[given].functions.get(function) {
                    Some(given) => self.function(readable(function), wanted, given),
                    None => self.differences.missing(&format!("{name}#{}", readable(function))),
                }
            }
        }
    }

    fn function(&mut self, name: String, expected: &Function, found: &Function) {
        if expected.params.len() != found.params.len() {
            let count = |function: &Function| format!("{} parameters", function.params.len());
            return self.differences.other(&name, &count(expected), &count(found));
        }
        for (expected, found) in expected.params.iter().zip(&found.params) {
            self.types(&format!("{name}, parameter `{}`", expected.name), &expected.ty, &found.ty);
        }
        match (&expected.result, &found.result) {
            (Some(expected), Some(found)) => self.types(&format!("{name}, result"), expected, found),
            (None, None) => {}
            (expected, found) => {
                let (expected, found) =
                    (optional(self.expected, expected.as_ref()), optional(self.found, found.as_ref()));
                self.differences.other(&format!("{name}, result"), &expected, &found);
            }
        }
    }

    fn types(&mut self, place: &str, expected: &Type, found: &Type) {
        let (expected, found) = (resolve_alias(self.expected, expected), resolve_alias(self.found, found));
        let (Type::Id(expected_id), Type::Id(found_id)) = (expected, found) else {
            if expected != found {
                self.differences.other(place, &spell(self.expected, &expected), &spell(self.found, &found));
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
                let names = |record: &'_ wit_parser::Record| -> Vec<String> {
                    record.fields.iter().map(|field| field.name.clone()).collect()
                };
                if !self.names(place, "record", &names(expected), &names(found)) {
                    return;
                }
                for (expected, found) in expected.fields.iter().zip(&found.fields) {
                    self.types(&format!("{place}, field `{}`", expected.name), &expected.ty, &found.ty);
                }
            }
            (Enum(expected), Enum(found)) => {
                let names = |cases: &wit_parser::Enum| -> Vec<String> {
                    cases.cases.iter().map(|case| case.name.clone()).collect()
                };
                self.names(place, "enum", &names(expected), &names(found));
            }
            (Flags(expected), Flags(found)) => {
                let names = |flags: &wit_parser::Flags| -> Vec<String> {
                    flags.flags.iter().map(|flag| flag.name.clone()).collect()
                };
                self.names(place, "flags", &names(expected), &names(found));
            }
            (Variant(expected), Variant(found)) => {
                let names = |variant: &wit_parser::Variant| -> Vec<String> {
                    variant.cases.iter().map(|case| case.name.clone()).collect()
                };
                if self.names(place, "variant", &names(expected), &names(found)) {
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
            // Two resources are one if they have one name in one interface.
            (Resource, Resource) => {
                let (expected, found) = (resource(self.expected, expected), resource(self.found, found));
                if expected != found {
                    self.differences.other(place, &expected, &found);
                }
            }
            (TypeDefKind::Handle(Handle::Own(expected)), TypeDefKind::Handle(Handle::Own(found)))
            | (TypeDefKind::Handle(Handle::Borrow(expected)), TypeDefKind::Handle(Handle::Borrow(found))) => {
                self.types(place, &Type::Id(*expected), &Type::Id(*found));
            }
            _ => {
                let mut spelled = (Spelling::default(), Spelling::default());
                spelled.0.definition(self.expected, expected);
                spelled.1.definition(self.found, found);
                self.differences.other(place, &spelled.0.0, &spelled.1.0);
            }
        }
    }

    fn optional(&mut self, place: &str, expected: Option<&Type>, found: Option<&Type>) {
        match (expected, found) {
            (Some(expected), Some(found)) => self.types(place, expected, found),
            (None, None) => {}
            (expected, found) => {
                self.differences.other(place, &optional(self.expected, expected), &optional(self.found, found));
            }
        }
    }

    /// Compares the names that make up a type. Says whether they are the same.
    fn names(&mut self, place: &str, kind: &str, expected: &[String], found: &[String]) -> bool {
        let same = expected == found;
        if !same {
            self.differences.other(place, &listed(kind, expected), &listed(kind, found));
        }
        same
    }
}

/// Names in braces, as far as they are told.
fn listed(kind: &str, names: &[String]) -> String {
    let mut text = format!("{kind} {{ ");
    for (position, name) in names.iter().enumerate() {
        if text.len() > TEXT_BYTES_MAX {
            break;
        }
        if position > 0 {
            text += ", ";
        }
        text += name;
    }
    text + " }"
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

/// The full name of a resource, such as `resource wasi:io/streams@0.2.12#input-stream`. All patch
/// versions of WASI 0.2 have the same resources.
fn resource(resolve: &Resolve, definition: &TypeDef) -> String {
    let interface = match definition.owner {
        TypeOwner::Interface(id) => resolve.id_of(id),
        TypeOwner::World(_) | TypeOwner::None => None,
    };
    let interface = interface.map_or("of no named interface".to_owned(), |name| wasi::granted_version(&name));
    format!("resource {interface}#{}", definition.name.as_deref().unwrap_or_default())
}

/// Spells a type as WIT does, as far as a reader needs.
fn spell(resolve: &Resolve, ty: &Type) -> String {
    let mut spelling = Spelling::default();
    spelling.ty(resolve, ty);
    spelling.0
}

fn optional(resolve: &Resolve, ty: Option<&Type>) -> String {
    ty.map_or("nothing".to_owned(), |ty| spell(resolve, ty))
}

/// A type in words, which ends soon after it is longer than is told: a type that mentions
/// another one twice, and that one a third one twice, would have words without end.
#[derive(Default)]
struct Spelling(String);

impl Spelling {
    fn ty(&mut self, resolve: &Resolve, ty: &Type) {
        if self.0.len() > TEXT_BYTES_MAX {
            return;
        }
        match resolve_alias(resolve, ty) {
            Type::Id(id) => self.definition(resolve, &resolve.types[id]),
            primitive => self.0 += &format!("{primitive:?}").to_lowercase(),
        }
    }

    fn definition(&mut self, resolve: &Resolve, definition: &TypeDef) {
        match &definition.kind {
            TypeDefKind::List(element) => self.of("list", resolve, [Some(element)]),
            TypeDefKind::Option(inner) => self.of("option", resolve, [Some(inner)]),
            TypeDefKind::Result(result) => self.of("result", resolve, [result.ok.as_ref(), result.err.as_ref()]),
            TypeDefKind::Tuple(tuple) => self.of("tuple", resolve, tuple.types.iter().map(Some)),
            TypeDefKind::Handle(Handle::Own(id)) => self.ty(resolve, &Type::Id(*id)),
            TypeDefKind::Handle(Handle::Borrow(id)) => self.of("borrow", resolve, [Some(&Type::Id(*id))]),
            kind => {
                self.0 += kind.as_str();
                if let Some(name) = &definition.name {
                    self.0 += " ";
                    self.0 += name;
                }
            }
        }
    }

    fn of<'a>(&mut self, kind: &str, resolve: &Resolve, types: impl IntoIterator<Item = Option<&'a Type>>) {
        self.0 += kind;
        for (position, ty) in types.into_iter().enumerate() {
            if self.0.len() > TEXT_BYTES_MAX {
                return;
            }
            self.0 += if position == 0 { "<" } else { ", " };
            match ty {
                Some(ty) => self.ty(resolve, ty),
                None => self.0 += "_",
            }
        }
        self.0 += ">";
    }
}

/// Spells a function's name as its author wrote it: `document.apply`, not
/// `[method]document.apply`.
fn readable(function: &str) -> String {
    function.rsplit_once(']').map_or(function, |(_, name)| name).to_owned()
}

/// The remedy where no import is wrong, but their number.
pub(crate) const TOO_MANY_IMPORTS: &str = "no component needs as many interfaces; import each in one version";

/// What would remove an import, for each kind of import.
pub(crate) const REMEDIES: [&str; 7] = [
    "reducers are pure: they reach no network; pass what they need in the action's input, and build with \
     `disableFeatures: ['http', 'fetch-event']` (componentize-js) or `--stub-wasi` (componentize-py)",
    "reducers are pure: they reach no network; pass what they need in the action's input, and build with \
     `--stub-wasi` (componentize-py), without networking features, or for wasm32-unknown-unknown",
    "this host offers what WASI 0.2.12 has of that interface; build with an SDK of that age or without the function",
    "this host offers WASI 0.2; build for that, or for wasm32-unknown-unknown",
    "of WASI 0.2 only what a standard library needs is granted: environment, exit and streams of `cli`, the two \
     clocks, `random`, `io` and an empty `filesystem`; remove what imports more, or build for \
     wasm32-unknown-unknown as `reductor build` does",
    "this host offers version 1.0.0 of the interface; build with the matching SDK",
    "only `reductor:reducer/host@1.0.0` and parts of WASI 0.2 are granted; remove the dependency that imports it",
];

/// What would remove an import.
fn remedy(name: &str) -> &'static str {
    let (package, rest) = name.split_once('/').unwrap_or((name, ""));
    let is_granted_version = wasi::granted_version(name) != name || name.ends_with(wasi::VERSION);
    let is_granted_package =
        matches!(package, "wasi:cli" | "wasi:clocks" | "wasi:random" | "wasi:io" | "wasi:filesystem");
    let [http, sockets, item, version, wasi, own, other] = REMEDIES;
    match package {
        "wasi:http" => http,
        "wasi:sockets" => sockets,
        _ if is_granted_package && rest.contains('#') => item,
        _ if is_granted_package && !is_granted_version => version,
        _ if package.starts_with("wasi:") => wasi,
        "reductor:reducer" => own,
        _ => other,
    }
}
