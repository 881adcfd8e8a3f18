//! Keeps compiled artefacts on disk, for this user alone.
//!
//! A file is a header, the facts of the component, and the artefact. Whatever is not exactly what
//! was written is as good as absent. The bytes that are loaded are the bytes that were verified:
//! they are copied into a file that only this process has, and mapped from there.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use super::CacheKey;
use super::artefact::{ARTEFACT_BYTES_MAX, Artefact};
use super::wire::FACTS_BYTES_MAX;

/// Starts a file; the digit is the version of its layout.
const MAGIC: [u8; 8] = *b"rdctart2";
/// Magic, key, two lengths and a digest.
const HEADER_BYTES: usize = MAGIC.len() + 32 + 8 + 8 + 32;
/// Bytes that are read at once.
const CHUNK_BYTES: usize = 256 << 10;
const ENDING: &str = "artefact";
const UNFINISHED: &str = "unfinished";
/// An unfinished file that is older was left by a process that died.
const UNFINISHED_AGE_MAX: Duration = Duration::from_secs(3_600);
/// Access for others than the owner.
const OTHERS: u32 = 0o077;

/// Compiled artefacts in a directory that only this user may read or write.
///
/// It holds at most as many bytes as it is told; what was not used for longest goes first.
/// Several processes may share it. It is a cache: whatever is wrong with a file or the disk
/// costs a compilation and a warning.
#[derive(Clone, Debug)]
pub struct ArtefactCache {
    directory: PathBuf,
    bytes_max: u64,
}

/// Why a directory is not used as a cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be made or looked at.
    #[error("the cache directory {} cannot be used", .directory.display())]
    Unusable {
        /// Which.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Whoever owns it could have code of their choice run by this process.
    #[error("the cache directory {} belongs to user {owner}, and this is user {user}", .directory.display())]
    OtherOwner {
        /// Which.
        directory: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who this process is.
        user: u32,
    },
    /// Others may read or write it.
    #[error(
        "the cache directory {0} is open to others (mode {mode:o}); make it yours alone with `chmod 700 {0}`",
        .directory.display()
    )]
    OpenToOthers {
        /// Which.
        directory: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

impl ArtefactCache {
    /// How many bytes a cache has if nobody says otherwise.
    pub const BYTES_MAX_DEFAULT: u64 = 4 << 30;

    /// Opens the cache in a directory, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`CacheError`] if the directory is not this user's alone.
    pub fn open(directory: impl Into<PathBuf>, bytes_max: u64) -> Result<Self, CacheError> {
        let directory = directory.into();
        match own(&directory) {
            Ok(metadata) => {
                let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
                let mode = metadata.mode() & 0o7777;
                if owner != user {
                    return Err(CacheError::OtherOwner { directory, owner, user });
                }
                if mode & OTHERS != 0 {
                    return Err(CacheError::OpenToOthers { directory, mode });
                }
                Ok(Self { directory, bytes_max })
            }
            Err(source) => Err(CacheError::Unusable { directory, source }),
        }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Finds the facts of a component and its artefact, and notes that they were used.
    pub(super) fn get(&self, key: &CacheKey) -> Option<(Vec<u8>, Artefact)> {
        let path = self.path(key);
        let file = match open_own(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!("{} is not used: {error}", path.display());
                return None;
            }
        };
        match read(&file, key) {
            Ok(found) => {
                // Only the order of eviction depends on it.
                let _ = file.set_modified(SystemTime::now());
                Some(found)
            }
            Err(error) => {
                tracing::warn!("{} is not used, and will be replaced: {error}", path.display());
                None
            }
        }
    }

    /// Keeps the facts of a component and its artefact, and makes room for them.
    pub(super) fn put(&self, key: &CacheKey, facts: &[u8], artefact: &Artefact) {
        let bytes = (HEADER_BYTES + facts.len()) as u64 + artefact.bytes();
        if artefact.bytes() > ARTEFACT_BYTES_MAX {
            return;
        }
        if bytes > self.bytes_max {
            tracing::warn!("an artefact of {bytes} bytes is not cached: the cache may have {}", self.bytes_max);
            return;
        }
        if let Err(error) = self.write(key, facts, artefact).and_then(|()| self.evict(key)) {
            tracing::warn!("the cache {} was not updated: {error}", self.directory.display());
        }
    }

    fn path(&self, key: &CacheKey) -> PathBuf {
        let hex: String = key.0.iter().map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(hex).with_extension(ENDING)
    }

    /// Writes beside the file and renames, so that nobody sees half of one.
    fn write(&self, key: &CacheKey, facts: &[u8], artefact: &Artefact) -> io::Result<()> {
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let path = self.path(key);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let unfinished = path.with_extension(format!("{}-{number}.{UNFINISHED}", std::process::id()));
        let result = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
            let digest = artefact.digest(Sha256::new().chain_update(facts))?;
            file.write_all(&header(key, facts.len() as u64, artefact.bytes(), &digest))?;
            file.write_all(facts)?;
            artefact.copy_to(&file)?;
            std::fs::rename(&unfinished, &path)
        })();
        result.inspect_err(|_| drop(std::fs::remove_file(&unfinished)))
    }

    /// Removes what was not used for longest until the rest fits, but not what was just written.
    fn evict(&self, newest: &CacheKey) -> io::Result<()> {
        let newest = self.path(newest);
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            // Another process may have removed it meanwhile.
            let Ok(metadata) = path.symlink_metadata() else { continue };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            match path.extension().and_then(|ending| ending.to_str()) {
                Some(ENDING) => kept.push((used, metadata.len(), path)),
                Some(UNFINISHED) if used.elapsed().is_ok_and(|age| age > UNFINISHED_AGE_MAX) => remove(&path)?,
                _ => {}
            }
        }
        let mut bytes: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        kept.sort();
        for (_, length, path) in kept.into_iter().filter(|(_, _, path)| *path != newest) {
            if bytes <= self.bytes_max {
                break;
            }
            remove(&path)?;
            bytes -= length;
        }
        Ok(())
    }
}

/// Makes the directory if it is not there, and looks at it.
fn own(directory: &Path) -> io::Result<Metadata> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    directory.metadata()
}

/// Opens a file that nobody but this user can have written.
fn open_own(path: &Path) -> io::Result<File> {
    // No symbolic link, and no waiting for the other end of a pipe.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    let problem = if !metadata.is_file() {
        "it is not a file"
    } else if metadata.uid() != rustix::process::geteuid().as_raw() {
        "it belongs to somebody else"
    } else if metadata.mode() & OTHERS != 0 {
        "it is open to others"
    } else {
        return Ok(file);
    };
    Err(io::Error::other(problem))
}

fn header(key: &CacheKey, facts_bytes: u64, artefact_bytes: u64, digest: &[u8; 32]) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend(MAGIC);
    header.extend(key.0);
    header.extend(facts_bytes.to_le_bytes());
    header.extend(artefact_bytes.to_le_bytes());
    header.extend(digest);
    header
}

/// Reads a file, and believes nothing of it that the header does not prove.
fn read(mut file: &File, key: &CacheKey) -> io::Result<(Vec<u8>, Artefact)> {
    let damaged = |problem| io::Error::new(ErrorKind::InvalidData, problem);
    let mut found = [0; HEADER_BYTES];
    file.read_exact(&mut found).map_err(|_| damaged("it is too short"))?;
    let number = |at: usize| {
        let bytes = found[at..].first_chunk().expect("the header is long enough");
        u64::from_le_bytes(*bytes)
    };
    let (facts_bytes, artefact_bytes) = (number(MAGIC.len() + 32), number(MAGIC.len() + 40));
    if facts_bytes > FACTS_BYTES_MAX || artefact_bytes > ARTEFACT_BYTES_MAX {
        return Err(damaged("it is not what was written"));
    }
    let (mut facts, mut artefact) = (Vec::new(), Artefact::new()?);
    file.take(facts_bytes).read_to_end(&mut facts)?;
    let mut hasher = Sha256::new().chain_update(&facts);
    let mut chunk = vec![0; CHUNK_BYTES];
    // One byte more than there should be, to see that the file ends.
    let mut rest = file.take(artefact_bytes + 1);
    loop {
        let read = rest.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        hasher.update(&chunk[..read]);
        artefact.push(&chunk[..read])?;
    }
    let expected = header(key, facts.len() as u64, artefact.bytes(), &hasher.finalize().into());
    if found[..] == expected[..] { Ok((facts, artefact)) } else { Err(damaged("it is not what was written")) }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
