//! What a file contains: for certain, and perhaps.

use std::collections::HashSet;
use std::sync::Arc;

use fastrand::Rng;

use crate::content::{Content, PAGE_BYTES};

/// What a disk writes as a whole.
const SECTOR_BYTES: u64 = 512;

/// A file: what was synced of it, and what was done to it since.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettlingFile {
    settled: Content,
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
struct Change {
    /// The number of the operation that made it.
    op: usize,
    what: Edit,
    /// A sync of it failed: the system takes it for written, and a later sync does not help.
    given_up: bool,
}

#[derive(Clone, Debug)]
enum Edit {
    Write { at: u64, data: Arc<[u8]> },
    Resize { bytes: u64 },
}

impl SettlingFile {
    pub(crate) fn new(settled: Content) -> Self {
        Self { settled, changes: Vec::new() }
    }

    pub(crate) fn write(&mut self, op: usize, at: u64, data: Arc<[u8]>) {
        self.changes.push(Change { op, what: Edit::Write { at, data }, given_up: false });
    }

    pub(crate) fn resize(&mut self, op: usize, bytes: u64) {
        self.changes.push(Change { op, what: Edit::Resize { bytes }, given_up: false });
    }

    /// The file was synced. What was given up stays uncertain, but for pages that were written
    /// again since: those are written whole.
    pub(crate) fn settle(&mut self) {
        let fresh: HashSet<u64> =
            self.changes.iter().filter(|change| !change.given_up).flat_map(Change::pages).collect();
        let settled = &mut self.settled;
        self.changes.retain(|change| {
            let certain = !change.given_up || change.pages().all(|page| fresh.contains(&page));
            if certain {
                change.apply(settled);
            }
            !certain
        });
    }

    /// A sync failed.
    pub(crate) fn give_up(&mut self) {
        self.changes = std::mem::take(&mut self.changes).into_iter().flat_map(Change::given_up).collect();
    }

    /// What was synced, and nothing else.
    pub(crate) fn settled(&self) -> Content {
        self.settled.clone()
    }

    /// As the process sees it.
    pub(crate) fn live(&self) -> Content {
        let mut content = self.settled();
        self.changes.iter().for_each(|change| change.apply(&mut content));
        content
    }

    /// What was synced, and of the rest what chance keeps: every sector or every page as it was
    /// at some time since, or everything up to some write, which may be torn; and any length
    /// that the file had.
    pub(crate) fn any_of(&self, keep: f64, rng: &mut Rng) -> Content {
        if self.changes.is_empty() {
            return self.settled();
        }
        let unit = if rng.bool() { SECTOR_BYTES } else { PAGE_BYTES };
        if rng.bool() {
            return self.torn(rng.usize(..=self.changes.len()), unit, rng);
        }
        let lengths = if rng.f64() < keep { self.changes.len() } else { rng.usize(..=self.changes.len()) };
        self.scattered(lengths, unit, u64::MAX, keep, rng)
    }

    /// As a file system leaves it that journals its metadata in order and writes the data of a
    /// file that grows before its length. The journal is on the disk up to operation `journal`;
    /// it was written for certain up to `certain`.
    pub(crate) fn ordered(&self, certain: usize, journal: usize, keep: f64, rng: &mut Rng) -> Content {
        let resized = |change: &Change| matches!(change.what, Edit::Resize { .. }) && change.op < certain;
        let least = self.changes.iter().rposition(resized).map_or(0, |at| at + 1);
        let most = self.changes.partition_point(|change| change.op < journal).max(least);
        let lengths = if rng.f64() < keep { most } else { rng.usize(least..=most) };
        self.scattered(lengths, PAGE_BYTES, self.settled.bytes(), keep, rng)
    }

    /// All changes up to `count`, and the beginning of the next.
    fn torn(&self, count: usize, unit: u64, rng: &mut Rng) -> Content {
        let mut content = self.settled();
        self.changes[..count].iter().for_each(|change| change.apply(&mut content));
        if let Some(Change { what: Edit::Write { at, data }, .. }) = self.changes.get(count) {
            let first = unit - at % unit;
            let whole = (data.len() as u64).saturating_sub(first).div_ceil(unit);
            let end = match rng.u64(..=whole) {
                0 => 0,
                units => first + (units - 1) * unit,
            };
            content.write(*at, &data[..(end as usize).min(data.len())]);
        }
        content
    }

    /// The length after the first `lengths` changes, and each unit of the content as it was at
    /// some time. What made the file grow beyond `grown_from` and counts for its length is whole.
    fn scattered(&self, lengths: usize, unit: u64, grown_from: u64, keep: f64, rng: &mut Rng) -> Content {
        let mut content = self.settled();
        let mut bytes = content.bytes();
        // Units that have missed a write miss the later ones, too.
        let mut stopped = HashSet::new();
        for (number, change) in self.changes.iter().enumerate() {
            let counts = number < lengths;
            match &change.what {
                Edit::Write { at, data } => {
                    let mut from = 0;
                    while from < data.len() {
                        let place = at + from as u64;
                        let to = data.len().min(from + (unit - place % unit) as usize);
                        let certain = counts && place >= grown_from;
                        if certain || (!stopped.contains(&(place / unit)) && rng.f64() < keep) {
                            content.write(place, &data[from..to]);
                        } else {
                            stopped.insert(place / unit);
                        }
                        from = to;
                    }
                    if counts {
                        bytes = bytes.max(at + data.len() as u64);
                    }
                }
                Edit::Resize { bytes: new } if counts => {
                    if *new < bytes {
                        content.zero(*new, u64::MAX);
                        stopped.retain(|place| place * unit < *new);
                    }
                    bytes = *new;
                }
                Edit::Resize { .. } => {}
            }
        }
        content.resize(bytes);
        content
    }
}

impl Change {
    fn apply(&self, content: &mut Content) {
        match &self.what {
            Edit::Write { at, data } => content.write(*at, data),
            Edit::Resize { bytes } => content.resize(*bytes),
        }
    }

    /// The pages that it writes to.
    fn pages(&self) -> std::ops::Range<u64> {
        match &self.what {
            Edit::Write { at, data } => at / PAGE_BYTES..(at + data.len() as u64).div_ceil(PAGE_BYTES),
            Edit::Resize { .. } => 0..0,
        }
    }

    /// The same page by page, as something that the system takes for written.
    fn given_up(self) -> Vec<Self> {
        let Edit::Write { at, data } = &self.what else { return vec![self] };
        let pages = self.pages().map(|page| {
            let start = (page * PAGE_BYTES).max(*at);
            let end = ((page + 1) * PAGE_BYTES).min(at + data.len() as u64);
            let data = data[(start - at) as usize..(end - at) as usize].into();
            Self { op: self.op, what: Edit::Write { at: start, data }, given_up: true }
        });
        pages.collect()
    }
}
