//! The socket through which a host that runs is asked for a backup of its data directory.
//!
//! `control.sock` in the data directory can be used by its owner alone. A client sends one line,
//! `backup`. The answer is the backup in chunks: a length (four bytes, little-endian, at most
//! 65,536) and so many bytes, again and again; then the length 0 and one line, `ok` or
//! `error: ` and why. An answer that ends earlier is no backup. One client is served at a time;
//! one that is silent or does not read is given up.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use reductor_host::DiskStore;

const NAME: &str = "control.sock";
const NEW_NAME: &str = "control.sock.new";
const BACKUP: &str = "backup\n";
const CHUNK_BYTES_MAX: usize = 64 << 10;
const LINE_BYTES_MAX: u64 = 4096;
/// How long one side waits for the other to send or to read something.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long a backup may still take when the host has nothing else left to do.
const AFTER_THE_END_MAX: Duration = Duration::from_secs(60);

/// Serves the socket until it is dropped, which removes it.
pub(crate) struct Control {
    dir: SocketDir,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The data directory, under a name that is short: those of sockets must be.
struct SocketDir(File);

impl SocketDir {
    fn open(dir: &Path) -> io::Result<Self> {
        File::open(dir).map(Self)
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}

impl Control {
    /// Begins to serve. The caller has the store open, so that a socket that is there already was
    /// left by a process that is gone.
    pub(crate) fn serve(dir: &Path, store: Arc<DiskStore>) -> io::Result<Self> {
        let dir = SocketDir::open(dir)?;
        remove(&dir.path(NEW_NAME))?;
        let listener = UnixListener::bind(dir.path(NEW_NAME))?;
        // It has its name only when nobody else can use it any more.
        fs::set_permissions(dir.path(NEW_NAME), Permissions::from_mode(0o600))?;
        fs::rename(dir.path(NEW_NAME), dir.path(NAME))?;
        let over = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("reductor-control".to_owned());
        let thread = thread.spawn({
            let over = over.clone();
            move || serve(&listener, &store, &over)
        })?;
        Ok(Self { dir, over, thread: Some(thread) })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // It waits for somebody to connect.
        let woken = UnixStream::connect(self.dir.path(NAME));
        if let (Ok(_), Some(thread)) = (&woken, self.thread.take()) {
            let _ = thread.join();
        }
        if let Err(error) = remove(&self.dir.path(NAME)) {
            tracing::warn!("{NAME} could not be removed: {error}");
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn serve(listener: &UnixListener, store: &DiskStore, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) if !over.load(Ordering::Relaxed) => {
                if let Err(error) = answer(&stream, store, over) {
                    tracing::warn!("a request for a backup was not answered: {error}");
                }
            }
            Ok(_) => return,
            Err(error) => {
                tracing::warn!("no more backups while this host runs: {error}");
                return;
            }
        }
    }
}

fn answer(stream: &UnixStream, store: &DiskStore, over: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    let mut request = String::new();
    BufReader::new(stream).take(LINE_BYTES_MAX).read_line(&mut request)?;
    if request.is_empty() {
        // Somebody only looked whether a host runs.
        return Ok(());
    }
    let mut chunks = Chunks { stream, over, over_since: None };
    let outcome = if request == BACKUP {
        let mut to = io::BufWriter::with_capacity(CHUNK_BYTES_MAX, &mut chunks);
        let copied = store.backup(&mut to, &mut |_| {}).map_err(|error| error.to_string());
        copied.and_then(|_| to.flush().map_err(|error| error.to_string()))
    } else {
        Err("unknown request; this host knows `backup`".to_owned())
    };
    let line = outcome.map_or_else(|error| format!("error: {}\n", error.replace('\n', " ")), |()| "ok\n".to_owned());
    let mut stream = stream;
    stream.write_all(&0_u32.to_le_bytes())?;
    stream.write_all(line.as_bytes())
}

/// Writes chunks, each after its length.
struct Chunks<'a> {
    stream: &'a UnixStream,
    over: &'a AtomicBool,
    over_since: Option<Instant>,
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.over.load(Ordering::Relaxed) {
            let since = *self.over_since.get_or_insert_with(Instant::now);
            if since.elapsed() > AFTER_THE_END_MAX {
                return Err(io::Error::other("the host ends"));
            }
        }
        let chunk = &bytes[..bytes.len().min(CHUNK_BYTES_MAX)];
        // The length 0 is the end.
        if !chunk.is_empty() {
            let length = u32::try_from(chunk.len()).expect("a chunk is small");
            self.stream.write_all(&length.to_le_bytes())?;
            self.stream.write_all(chunk)?;
        }
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a host runs with the directory.
pub(crate) fn is_served(dir: &Path) -> bool {
    SocketDir::open(dir).is_ok_and(|dir| UnixStream::connect(dir.path(NAME)).is_ok())
}

/// Has the host that has the directory open write a backup. Tells after each chunk how many bytes
/// there are.
pub(crate) fn fetch_backup(dir: &Path, to: &mut dyn Write, progress: &mut dyn FnMut(u64)) -> anyhow::Result<()> {
    let dir = SocketDir::open(dir)?;
    let stream = UnixStream::connect(dir.path(NAME)).context("its socket cannot be used")?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    (&stream).write_all(BACKUP.as_bytes())?;
    let mut from = BufReader::new(&stream);
    let mut chunk = vec![0; CHUNK_BYTES_MAX];
    let mut bytes = 0;
    loop {
        let mut length = [0; 4];
        from.read_exact(&mut length).context("the backup was cut off")?;
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 {
            break;
        }
        let chunk = chunk.get_mut(..length).context("the host does not keep to the protocol")?;
        from.read_exact(chunk).context("the backup was cut off")?;
        to.write_all(chunk)?;
        bytes += length as u64;
        progress(bytes);
    }
    let mut line = String::new();
    from.take(LINE_BYTES_MAX).read_line(&mut line).context("the backup was cut off")?;
    match line.trim_end() {
        "ok" => Ok(()),
        line => anyhow::bail!("{}", line.strip_prefix("error: ").unwrap_or("the backup was cut off")),
    }
}
