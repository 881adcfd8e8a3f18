//! Gathers what workers and clients want written, and writes it batch by batch.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::journey::End;
use crate::records::Record;
use crate::store::{Entry, StoreError};

/// How long an acceptance waits for the end of its job, so that one batch has both: far less
/// than an fsync takes, and far more than most jobs.
const PAIRING_TIME_MAX: Duration = Duration::from_micros(200);
/// Ends of jobs that may wait to be written before workers wait for the committer.
const ENDS_MAX: usize = 16_384;
/// Bytes of states that may wait to be written or be under way to the disk before workers wait: an
/// end carries the states that its job led to, and a disk may stall for seconds.
const STATE_BYTES_MAX: usize = 64 << 20;
/// A batch of so many waits for nothing more.
const BATCH_LARGE: usize = 1_024;

/// Tells whoever waits that an entry is durable, or that it is not.
pub(super) type Told = oneshot::Sender<Result<(), StoreError>>;

/// Where to wait until an entry is durable.
pub(super) type Written = oneshot::Receiver<Result<(), StoreError>>;

/// What is to be written, and who is to be told then.
pub(super) struct Item {
    /// Absent if something only waits for all that came before.
    pub(super) entry: Option<Entry>,
    pub(super) then: Then,
}

/// What follows once an entry is durable.
pub(super) enum Then {
    /// The job is known to the world, and to its client.
    Accepted { record: Arc<Record>, told: Option<Told> },
    /// The job has its result.
    Ended(Box<End>),
    /// Somebody goes on.
    Tell(Told),
    /// Nothing.
    Nothing,
}

/// The queue in front of the store's writer, who is one thread.
///
/// A batch is all that has gathered while the one before was written, so that an fsync serves as
/// many jobs as there are.
pub(super) struct Committer {
    gathered: Mutex<Gathered>,
    /// Wakes the committer.
    work: Condvar,
    /// Wakes those who wait for room, or for everything to be written.
    done: Condvar,
    /// The last number in the journal that was given to a job.
    last_order: AtomicU64,
}

struct Gathered {
    items: VecDeque<Item>,
    /// When the first of them came.
    since: Option<Instant>,
    /// Acceptances among them whose jobs have not ended.
    unpaired: usize,
    /// Ends of jobs among them.
    ends: usize,
    /// Bytes of the states among them.
    state_bytes: usize,
    /// Bytes of the states in the batch that is being written.
    state_bytes_writing: usize,
    /// Whether a batch is being written, or what follows from it is being done.
    writing: bool,
    /// Whether the committer ends when all is written.
    closing: bool,
    stopped: Option<StoreError>,
}

impl Committer {
    pub(super) fn new(last_order: u64) -> Self {
        Self {
            gathered: Mutex::new(Gathered {
                items: VecDeque::new(),
                since: None,
                unpaired: 0,
                ends: 0,
                state_bytes: 0,
                state_bytes_writing: 0,
                writing: false,
                closing: false,
                stopped: None,
            }),
            work: Condvar::new(),
            done: Condvar::new(),
            last_order: AtomicU64::new(last_order),
        }
    }

    /// The next number in the journal. Called with the queue's lock, so that the numbers of a
    /// lane's jobs are in their order.
    pub(super) fn next_order(&self) -> u64 {
        self.last_order.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Hands an entry over. If the store has stopped, the item comes back with the reason.
    pub(super) fn push(&self, item: Item) -> Result<(), Box<(Item, StoreError)>> {
        let mut gathered = self.lock();
        if let Some(error) = &gathered.stopped {
            return Err(Box::new((item, error.clone())));
        }
        let first = gathered.items.is_empty();
        gathered.add(item);
        self.added(gathered, first);
        Ok(())
    }

    /// Hands entries over that are to be in one batch. If the store has stopped, all of them come
    /// back.
    pub(super) fn push_all(&self, items: Vec<Item>) -> Result<(), (Vec<Item>, StoreError)> {
        let mut gathered = self.lock();
        if let Some(error) = &gathered.stopped {
            return Err((items, error.clone()));
        }
        let first = gathered.items.is_empty();
        items.into_iter().for_each(|item| gathered.add(item));
        self.added(gathered, first);
        Ok(())
    }

    /// `first` says whether nothing had gathered before.
    fn added(&self, gathered: MutexGuard<'_, Gathered>, first: bool) {
        // The committer is at the store, or wakes by itself, or waits for exactly this.
        let wake = !gathered.writing && (first || gathered.unpaired == 0);
        drop(gathered);
        if wake {
            self.work.notify_one();
        }
    }

    /// Hands an entry over and blocks until it is durable.
    pub(super) fn write_now(&self, entry: Entry) -> Result<(), StoreError> {
        wait(self.hand_over(Some(entry)))
    }

    /// Hands an entry over. Returns where to wait until it is durable, or without one until all that
    /// was handed over so far is.
    pub(super) fn hand_over(&self, entry: Option<Entry>) -> Written {
        let (told, written) = oneshot::channel();
        if let Err(refused) = self.push(Item { entry, then: Then::Tell(told) })
            && let (Item { then: Then::Tell(told), .. }, error) = *refused
        {
            // The receiver is right here.
            let _ = told.send(Err(error));
        }
        written
    }

    /// Why nothing is written any more, if that is so.
    pub(super) fn stopped(&self) -> Option<StoreError> {
        self.lock().stopped.clone()
    }

    /// Whether something is still to be written, or to follow from what was.
    pub(super) fn is_busy(&self) -> bool {
        let gathered = self.lock();
        gathered.writing || !gathered.items.is_empty()
    }

    /// Waits until there is room for the end of one more job. Called by workers, with no lock.
    ///
    /// # Errors
    ///
    /// Why there is none any more.
    pub(super) fn wait_for_room(&self) -> Result<(), StoreError> {
        let mut gathered = self.lock();
        while gathered.is_full() && gathered.stopped.is_none() {
            gathered = self.done.wait(gathered).unwrap_or_else(PoisonError::into_inner);
        }
        gathered.stopped.clone().map_or(Ok(()), Err)
    }

    /// Waits until all that was handed over so far is written and done with.
    pub(super) fn wait_until_written(&self) {
        let mut gathered = self.lock();
        while gathered.writing || !gathered.items.is_empty() {
            gathered = self.done.wait(gathered).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets the committer end once all is written.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
    }

    /// Takes the next batch; waits for one for up to `patience`. `None` when there will be no more.
    pub(super) fn next_batch(&self, patience: Duration) -> Option<Vec<Item>> {
        let mut gathered = self.lock();
        let began = Instant::now();
        loop {
            let Some(since) = gathered.since.filter(|_| !gathered.items.is_empty()) else {
                if gathered.closing {
                    return None;
                }
                let left = patience.saturating_sub(began.elapsed());
                if left.is_zero() {
                    return Some(Vec::new());
                }
                gathered = self.work.wait_timeout(gathered, left).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            };
            let left = PAIRING_TIME_MAX.saturating_sub(since.elapsed());
            if gathered.unpaired == 0 || left.is_zero() || gathered.closing || gathered.items.len() >= BATCH_LARGE {
                return Some(self.take(gathered));
            }
            gathered = self.work.wait_timeout(gathered, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes all that has gathered. Workers that wait for room need not wait until it is written.
    fn take(&self, mut gathered: MutexGuard<'_, Gathered>) -> Vec<Item> {
        let was_full = gathered.is_full();
        let batch = gathered.take();
        drop(gathered);
        if was_full {
            self.done.notify_all();
        }
        batch
    }

    /// The batch that was taken is done with.
    pub(super) fn batch_done(&self) {
        let mut gathered = self.lock();
        (gathered.writing, gathered.state_bytes_writing) = (false, 0);
        drop(gathered);
        self.done.notify_all();
    }

    /// Nothing is taken any more. Returns what was not written.
    pub(super) fn stop(&self, because: StoreError) -> Vec<Item> {
        let mut gathered = self.lock();
        gathered.stopped.get_or_insert(because);
        (gathered.since, gathered.unpaired, gathered.ends, gathered.state_bytes) = (None, 0, 0, 0);
        gathered.items.drain(..).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Blocks until an entry is durable.
pub(super) fn wait(written: Written) -> Result<(), StoreError> {
    pollster::block_on(written).expect("the committer tells everybody")
}

/// Bytes of the states that an entry carries.
fn state_bytes(entry: &Entry) -> usize {
    let head = match entry {
        Entry::Ended(ended) => ended.append.as_ref().map(|append| &append.head),
        Entry::Snapshot { head, .. } => Some(&**head),
        _ => None,
    };
    head.map_or(0, |head| head.scopes.iter().map(|scope| scope.state.json.len()).sum())
}

impl Gathered {
    /// Whether workers wait before they run another job.
    fn is_full(&self) -> bool {
        self.ends >= ENDS_MAX || self.state_bytes + self.state_bytes_writing >= STATE_BYTES_MAX
    }

    fn add(&mut self, item: Item) {
        self.state_bytes += item.entry.as_ref().map_or(0, state_bytes);
        match &item.then {
            Then::Accepted { .. } => self.unpaired += 1,
            Then::Ended(end) => {
                self.ends += 1;
                if !end.record.journal.is_being_written() {
                    self.unpaired = self.unpaired.saturating_sub(1);
                }
            }
            Then::Tell(_) | Then::Nothing => {}
        }
        self.since.get_or_insert_with(Instant::now);
        self.items.push_back(item);
    }

    fn take(&mut self) -> Vec<Item> {
        // A batch of submissions is accepted all together: they came together, and leave so.
        let batch: Vec<_> = self.items.drain(..).collect();
        for item in &batch {
            if let Then::Accepted { record, .. } = &item.then {
                record.journal.is_written_now();
            }
        }
        (self.since, self.unpaired, self.ends, self.writing) = (None, 0, 0, true);
        self.state_bytes_writing = std::mem::take(&mut self.state_bytes);
        batch
    }
}
