//! What a file contains: bytes, most of which may never have been written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// The unit in which memory is written to a disk.
pub(crate) const PAGE_BYTES: u64 = 4096;

type Page = [u8; PAGE_BYTES as usize];

/// The content of a file. Copies share what they have in common.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Content {
    bytes: u64,
    /// Pages that are not all zeros, or were not at some time.
    pages: BTreeMap<u64, Arc<Page>>,
}

impl Content {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut content = Self::default();
        let mut page = [0; PAGE_BYTES as usize];
        let mut at = 0;
        loop {
            let read = file.read(&mut page)?;
            if read == 0 {
                return Ok(content);
            }
            if page[..read].iter().any(|byte| *byte != 0) {
                content.write(at, &page[..read]);
            }
            at += read as u64;
            content.bytes = at;
        }
    }

    /// Writes a file.
    pub(crate) fn write_to(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(self.bytes)?;
        for (number, page) in &self.pages {
            let at = number * PAGE_BYTES;
            let bytes = self.bytes.saturating_sub(at).min(PAGE_BYTES) as usize;
            file.write_all_at(&page[..bytes], at)?;
        }
        Ok(())
    }

    /// How long the file is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The whole content.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = vec![0; self.bytes as usize];
        for (number, page) in &self.pages {
            let at = (number * PAGE_BYTES).min(self.bytes) as usize;
            let end = (at + PAGE_BYTES as usize).min(all.len());
            all[at..end].copy_from_slice(&page[..end - at]);
        }
        all
    }

    /// Puts `data` at `at`; the file grows if it must.
    pub(crate) fn write(&mut self, at: u64, data: &[u8]) {
        self.bytes = self.bytes.max(at + data.len() as u64);
        let mut done = 0;
        while done < data.len() {
            let (number, from) = ((at + done as u64) / PAGE_BYTES, ((at + done as u64) % PAGE_BYTES) as usize);
            let count = (data.len() - done).min(PAGE_BYTES as usize - from);
            let page = self.pages.entry(number).or_insert_with(|| Arc::new([0; PAGE_BYTES as usize]));
            Arc::make_mut(page)[from..from + count].copy_from_slice(&data[done..done + count]);
            done += count;
        }
    }

    /// Cuts the file, or lets it grow by zeros.
    pub(crate) fn resize(&mut self, bytes: u64) {
        if bytes < self.bytes {
            self.zero(bytes, u64::MAX);
            self.pages.split_off(&bytes.div_ceil(PAGE_BYTES));
        }
        self.bytes = bytes;
    }

    /// Makes zeros of the bytes from `from` up to `to`, as far as any were written.
    pub(crate) fn zero(&mut self, from: u64, to: u64) {
        let last = to.div_ceil(PAGE_BYTES);
        for (number, page) in self.pages.range_mut(from / PAGE_BYTES..last) {
            let start = number * PAGE_BYTES;
            let inside = |at: u64| at.saturating_sub(start).min(PAGE_BYTES) as usize;
            Arc::make_mut(page)[inside(from)..inside(to)].fill(0);
        }
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes in {} pages", self.bytes, self.pages.len())
    }
}
