//! Turns a core module into a component, and puts it where it belongs.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use wit_component::{ComponentEncoder, metadata};

use crate::error::chain;
use crate::{BuildError, Cause, ComponentError};

/// Turns the core module of a guest into a component.
///
/// The module must carry the interface description that `wit-bindgen` embeds. The result is
/// a valid component; whether it is of world `reducer` is for the host to say. The same
/// module gives the same bytes.
pub fn componentize(core_module: &[u8]) -> Result<Vec<u8>, ComponentError> {
    let not_a_module = |cause: Box<_>| ComponentError::NotAModule { cause };
    let (_, described) = metadata::decode(core_module).map_err(|error| not_a_module(error.into()))?;
    // A module without a description would become a component with nothing in it.
    if described.resolve.worlds[described.world].exports.is_empty() {
        return Err(ComponentError::NothingExported);
    }
    let encoder = ComponentEncoder::default().validate(true);
    let mut encoder = encoder.module(core_module).map_err(|error| not_a_module(error.into()))?;
    encoder.encode().map_err(|error| explain(error.into()))
}

/// Sorts the encoder's reasons, which are texts only.
fn explain(cause: Cause) -> ComponentError {
    let text = chain(&cause);
    if text.contains("failed to find export of") {
        ComponentError::ExportMissing { cause }
    } else if ["failed to resolve import", "failed to satisfy import"].iter().any(|part| text.contains(part)) {
        ComponentError::ImportUnknown { cause }
    } else {
        ComponentError::Encode { cause }
    }
}

/// Makes `path` contain `bytes`, whole or not at all. A file that has them already is not
/// touched, so that nothing is built again because of its time.
pub(crate) fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(BuildError::io("create", folder))?;
    }
    // Unique among processes and threads that write the same component.
    let unique = format!("{}-{}.tmp", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed));
    let temporary = path.with_extension(unique);
    let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // What is left of it is of no use; the first error is the one that matters.
        let _ = fs::remove_file(&temporary);
        BuildError::io("write", path)(source)
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::PathBuf;
    use std::time::SystemTime;

    use super::*;

    /// The path of a component that is not there yet, in a folder that is not there either.
    fn fresh(test: &str) -> PathBuf {
        let folder = format!("reductor-build-{}-{test}", std::process::id());
        std::env::temp_dir().join(folder).join("counter.wasm")
    }

    fn write(path: &Path, bytes: &[u8]) {
        write_if_changed(path, bytes).expect("the disk accepts it");
    }

    /// Ends a test: its folder, which must hold the component and nothing else.
    fn only_file_in(path: &Path) -> bool {
        let folder = path.parent().expect("it is in a folder");
        let files = fs::read_dir(folder).expect("the folder is there").count();
        fs::remove_dir_all(folder).expect("the folder can be removed");
        files == 1
    }

    #[test]
    fn a_file_that_would_not_change_keeps_its_time() {
        let path = fresh("same");
        write(&path, b"one");
        let file = File::options().append(true).open(&path).expect("the file is there");
        file.set_modified(SystemTime::UNIX_EPOCH).expect("its time can be set");
        write(&path, b"one");
        let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
        assert_eq!(modified.expect("it has a time"), SystemTime::UNIX_EPOCH);
        assert!(only_file_in(&path));
    }

    #[test]
    fn other_bytes_replace_the_file_and_nothing_is_left_beside_it() {
        let path = fresh("other");
        write(&path, b"one");
        write(&path, b"two");
        assert_eq!(fs::read(&path).expect("the file is there"), b"two");
        assert!(only_file_in(&path));
    }
}
