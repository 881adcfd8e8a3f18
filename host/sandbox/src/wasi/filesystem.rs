//! `wasi:filesystem`: no directory is open, so nobody can ask for a file.

use reductor_core::Reason;
use wasmtime::component::{Linker, Resource, ResourceType};
use wit_parser::Resolve;

use super::{Context, WIT, interface, refused};
use crate::host::HostState;

struct Descriptor;
struct DirectoryEntryStream;

pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut types = interface(linker, "wasi:filesystem/types")?;
    types.resource("descriptor", ResourceType::host::<Descriptor>(), |_, _| Ok(()))?;
    types.resource("directory-entry-stream", ResourceType::host::<DirectoryEntryStream>(), |_, _| Ok(()))?;
    for function in functions()? {
        // Each takes a descriptor, a stream of entries or an error, and a guest can come by none.
        types.func_new(&function, |_, _, _, _| {
            Err(refused(Reason::AbiMismatch, "it used a file, although it was never given one"))
        })?;
    }
    interface(linker, "wasi:filesystem/preopens")?
        .func_wrap("get-directories", |_: Context<'_>, (): ()| Ok((Vec::<(Resource<Descriptor>, String)>::new(),)))
}

/// The functions of `wasi:filesystem/types`.
fn functions() -> wasmtime::Result<Vec<String>> {
    let mut resolve = Resolve::default();
    resolve.push_str("wasi.wit", WIT).map_err(|error| wasmtime::format_err!("{error:#}"))?;
    let of_filesystem = |package: wit_parser::PackageId| resolve.packages[package].name.name == "filesystem";
    let types =
        resolve.interfaces.iter().map(|(_, interface)| interface).find(|interface| {
            interface.name.as_deref() == Some("types") && interface.package.is_some_and(of_filesystem)
        });
    let types = types.ok_or_else(|| wasmtime::format_err!("the WIT has no wasi:filesystem/types"))?;
    Ok(types.functions.keys().cloned().collect())
}
