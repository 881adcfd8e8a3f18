//! Machine code in a file that only this process has: it is held once, however large it is.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Bytes of machine code that one component may have. A Python interpreter has 60 MB.
pub(crate) const ARTEFACT_BYTES_MAX: u64 = 128 << 20;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// The machine code of a component.
#[derive(Debug)]
pub(super) struct Artefact {
    file: File,
    bytes: u64,
}

impl Artefact {
    /// An artefact of no bytes yet.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { file: anonymous_file()?, bytes: 0 })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Adds all of it to a digest, and finishes that.
    pub(super) fn digest(&self, mut hasher: Sha256) -> io::Result<[u8; 32]> {
        let mut file = &self.file;
        file.rewind()?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(hasher.finalize().into()),
                read => hasher.update(&chunk[..read]),
            }
        }
    }

    /// Writes all of it to another file.
    pub(super) fn copy_to(&self, mut to: &File) -> io::Result<()> {
        let mut file = &self.file;
        file.rewind()?;
        io::copy(&mut file, &mut to).map(drop)
    }

    /// Maps the code, to be run.
    ///
    /// The pages of the file are those that run; where they cannot be mapped by a path, they are
    /// copied.
    #[expect(unsafe_code, reason = "wasmtime loads compiled code only on the promise that it was compiled by wasmtime")]
    pub(super) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        // SAFETY: the bytes come from `Engine::precompile_component` of this very version of
        // wasmtime with these very settings. They are either the answer of a compile worker, which
        // is a program of the embedder's own that proved to have the same fingerprint, or from a
        // file that only this user can write, under a key that names component and settings, with a
        // digest that was verified over the bytes that are mapped: those of an anonymous file of
        // this process, which has no name that another one could open, and is not written to any
        // more. There is no other way in: no function takes an artefact from outside. The worker has
        // read a hostile component, and a component that took it over could answer with anything;
        // that takes a memory-safety bug in Cranelift or wasmparser, which are safe Rust, and is the
        // same trust that compiling here would need.
        unsafe {
            if Path::new(&path).exists() {
                return Component::deserialize_file(engine, path);
            }
            let (mut bytes, mut file) = (Vec::new(), &self.file);
            file.rewind()?;
            file.read_to_end(&mut bytes)?;
            Component::deserialize(engine, bytes)
        }
    }
}

/// A file that has no name, and goes when it is closed.
#[cfg(target_os = "linux")]
fn anonymous_file() -> io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    Ok(rustix::fs::memfd_create("reductor-artefact", flags)?.into())
}

/// A file that has no name, and goes when it is closed.
#[cfg(not(target_os = "linux"))]
fn anonymous_file() -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::sync::atomic::{AtomicU64, Ordering};

    static MADE: AtomicU64 = AtomicU64::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("reductor-artefact-{}-{number}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
