//! Lists the files that a component was made from, for build scripts that watch them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::BuildError;
use crate::workspace::Guest;

/// The files whose change makes `module` stale: sources (also of path dependencies, and what
/// they include), the manifests beside them, and the workspace's manifest and lock file.
pub(crate) fn of_module(guest: &Guest, module: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let dep_info = module.with_extension("d");
    let text = fs::read_to_string(&dep_info).map_err(BuildError::io("read", &dep_info))?;
    let sources = parse(&text);
    let mut files: BTreeSet<PathBuf> = sources.iter().filter_map(|source| manifest_above(source)).collect();
    files.extend(sources);
    files.insert(guest.manifest.clone());
    let of_workspace = ["Cargo.toml", "Cargo.lock"].map(|name| guest.workspace_root.join(name));
    files.extend(of_workspace.into_iter().filter(|file| file.exists()));
    Ok(files.into_iter().collect())
}

/// The manifest of the crate that a Rust file belongs to; an interface or a text that it
/// includes may lie anywhere.
fn manifest_above(source: &Path) -> Option<PathBuf> {
    if source.extension().is_none_or(|end| end != "rs") {
        return None;
    }
    source.ancestors().skip(1).map(|folder| folder.join("Cargo.toml")).find(|manifest| manifest.is_file())
}

/// The prerequisites in a dep-info file of cargo: `<target>: <source> <source> …`, where a
/// space inside a path has a backslash before it.
fn parse(dep_info: &str) -> Vec<PathBuf> {
    let Some((_, sources)) = dep_info.lines().next().and_then(|line| line.split_once(": ")) else {
        return Vec::new();
    };
    let mut paths = vec![String::new()];
    let mut characters = sources.chars().peekable();
    while let Some(character) = characters.next() {
        let path = paths.last_mut().expect("there is always a path being read");
        match character {
            '\\' if characters.next_if_eq(&' ').is_some() => path.push(' '),
            ' ' => paths.push(String::new()),
            _ => path.push(character),
        }
    }
    paths.into_iter().filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_what_follows_the_colon() {
        let text = "/t/release/counter.wasm: /w/counter/src/lib.rs /w/wit/reducer.wit\n";
        assert_eq!(parse(text), [Path::new("/w/counter/src/lib.rs"), Path::new("/w/wit/reducer.wit")]);
    }

    #[test]
    fn spaces_in_paths_survive() {
        let text = "/my\\ target/counter.wasm: /my\\ crates/src/lib.rs /b.rs\n";
        assert_eq!(parse(text), [Path::new("/my crates/src/lib.rs"), Path::new("/b.rs")]);
    }

    #[test]
    fn nothing_is_read_from_nothing() {
        assert_eq!(parse(""), Vec::<PathBuf>::new());
        assert_eq!(parse("/t/counter.wasm: \n"), Vec::<PathBuf>::new());
    }

    #[test]
    fn the_manifest_of_a_source_is_the_nearest_above_it() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(manifest_above(&here.join("src/lib.rs")), Some(here.join("Cargo.toml")));
        assert_eq!(manifest_above(&here.join("src/reducer.wit")), None);
    }
}
