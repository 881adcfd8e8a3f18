//! Gathers what workers and clients want written, and writes it batch by batch.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::journey::{End, journaled};
use crate::blocking::block_on;
use crate::records::{Acceptance, Record};
use crate::store::{Entry, Head, StoreError};

/// How long an acceptance waits for the end of its job, so that one batch has both: far less
/// than an fsync takes, and far more than most jobs.
const PAIRING_TIME_MAX: Duration = Duration::from_micros(200);
/// Ends of jobs that may wait to be written before workers wait for the committer.
const ENDS_MAX: usize = 16_384;
/// Bytes of states that may wait to be written or be under way to the disk before workers wait: an
/// end carries the states that its job led to, and a disk may stall for seconds.
const STATE_BYTES_MAX: usize = 64 << 20;
/// Deferred jobs that are kept whether they have ended or not: fewer are not worth looking through.
const DEFERRED_MIN: usize = 1_024;
/// How long a job may wait or run before its acceptance is written although nobody has asked for it.
/// Most jobs end within that time, and then their ends are all that is written of them.
const DEFERRED_TIME_MAX: Duration = Duration::from_secs(5);
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

impl Item {
    /// The acceptance of a job, and who is to be told when it is durable.
    fn accepted(record: &Arc<Record>, told: Option<Told>) -> Self {
        let entry = Entry::Accepted(journaled(record, Vec::new()));
        Self { entry: Some(entry), then: Then::Accepted { record: record.clone(), told } }
    }
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
    /// Jobs whose acceptance nobody has asked for, and when they came.
    deferred: VecDeque<(Instant, Arc<Record>)>,
    /// How many of those there may be before the ones that ended are dropped.
    deferred_max: usize,
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
    /// Whether it has ended.
    closed: bool,
    stopped: Option<StoreError>,
}

impl Committer {
    pub(super) fn new(last_order: u64) -> Self {
        Self {
            gathered: Mutex::new(Gathered {
                items: VecDeque::new(),
                deferred: VecDeque::new(),
                deferred_max: DEFERRED_MIN,
                since: None,
                unpaired: 0,
                ends: 0,
                state_bytes: 0,
                state_bytes_writing: 0,
                writing: false,
                closing: false,
                closed: false,
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

    /// Takes note of a job whose acceptance need not be written unless somebody asks for it.
    ///
    /// # Errors
    ///
    /// Why nothing is written any more.
    pub(super) fn defer(&self, record: &Arc<Record>) -> Result<(), StoreError> {
        let mut gathered = self.lock();
        if let Some(error) = &gathered.stopped {
            return Err(error.clone());
        }
        // Not woken for it: the committer looks at least once in the time that they may wait.
        gathered.defer(Instant::now(), record);
        Ok(())
    }

    /// Has the acceptance of a job written, if it is not yet. Returns where to wait until it is.
    pub(super) fn accept(&self, record: &Arc<Record>) -> Written {
        let (told, written) = oneshot::channel();
        let mut gathered = self.lock();
        if let Some(error) = &gathered.stopped {
            // The receiver is right here.
            let _ = told.send(Err(error.clone()));
            return written;
        }
        if gathered.closed {
            // It wrote all that was handed over, deferred acceptances included.
            let _ = told.send(Ok(()));
            return written;
        }
        let first = gathered.items.is_empty();
        let item = match record.journal.acceptance() {
            Acceptance::Deferred => Item::accepted(record, Some(told)),
            // It is before this in the same batch, or written.
            Acceptance::Gathered | Acceptance::Written | Acceptance::Ended => {
                Item { entry: None, then: Then::Tell(told) }
            }
        };
        gathered.add(item);
        self.added(gathered, first);
        written
    }

    /// Has the acceptances of all jobs written that have not ended.
    pub(super) fn accept_deferred(&self) {
        let mut gathered = self.lock();
        let first = gathered.items.is_empty();
        gathered.accept_deferred(|_| true);
        self.added(gathered, first);
    }

    /// Hands over an entry about a job that the journal may not have yet.
    pub(super) fn push_about(&self, record: &Arc<Record>, item: Item) -> Result<(), Box<(Item, StoreError)>> {
        let mut gathered = self.lock();
        if let Some(error) = &gathered.stopped {
            return Err(Box::new((item, error.clone())));
        }
        let first = gathered.items.is_empty();
        if record.journal.acceptance() == Acceptance::Deferred {
            gathered.add(Item::accepted(record, None));
        }
        gathered.add(item);
        self.added(gathered, first);
        Ok(())
    }

    /// Hands over an entry about a job that the journal may not have yet, and blocks until it is
    /// durable.
    pub(super) fn write_about(&self, record: &Arc<Record>, entry: Entry) -> Result<(), StoreError> {
        let (told, written) = oneshot::channel();
        self.push_about(record, Item { entry: Some(entry), then: Then::Tell(told) }).map_err(|refused| refused.1)?;
        wait(written)
    }

    /// Hands over the end of a job, and blocks until it is durable.
    pub(super) fn write_end(&self, record: &Arc<Record>, entry: Entry) -> Result<(), StoreError> {
        let (told, written) = oneshot::channel();
        let mut gathered = self.lock();
        if let Some(error) = &gathered.stopped {
            return Err(error.clone());
        }
        // Under one lock: a request for the acceptance that comes now is behind this in the batch.
        record.journal.set_acceptance(Acceptance::Ended);
        let first = gathered.items.is_empty();
        gathered.add(Item { entry: Some(entry), then: Then::Tell(told) });
        self.added(gathered, first);
        wait(written)
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

    /// Has the acceptances of new jobs written in one batch. Returns where to wait for each.
    ///
    /// # Errors
    ///
    /// Why nothing is written any more.
    pub(super) fn accept_all(&self, records: &[&Arc<Record>]) -> Result<Vec<Written>, StoreError> {
        let mut gathered = self.lock();
        if let Some(error) = &gathered.stopped {
            return Err(error.clone());
        }
        let first = gathered.items.is_empty();
        let accept = |record: &&Arc<Record>| {
            let (told, written) = oneshot::channel();
            gathered.add(Item::accepted(record, Some(told)));
            written
        };
        let written = records.iter().map(accept).collect();
        self.added(gathered, first);
        Ok(written)
    }

    /// Hands entries over that are to be in one batch. If the store has stopped, they are dropped.
    ///
    /// # Errors
    ///
    /// Why nothing is written any more.
    pub(super) fn push_all(&self, items: Vec<Item>) -> Result<(), StoreError> {
        let mut gathered = self.lock();
        if let Some(error) = &gathered.stopped {
            return Err(error.clone());
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
            gathered.accept_deferred(|waited| waited >= DEFERRED_TIME_MAX);
            let Some(since) = gathered.since.filter(|_| !gathered.items.is_empty()) else {
                if gathered.closing {
                    gathered.closed = true;
                    return None;
                }
                let left = patience.saturating_sub(began.elapsed());
                if left.is_zero() {
                    return Some(Vec::new());
                }
                let left = left.min(DEFERRED_TIME_MAX);
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
        gathered.deferred.clear();
        (gathered.since, gathered.unpaired, gathered.ends, gathered.state_bytes) = (None, 0, 0, 0);
        let left = gathered.items.drain(..).collect();
        drop(gathered);
        self.done.notify_all();
        left
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Blocks until an entry is durable.
pub(super) fn wait(written: Written) -> Result<(), StoreError> {
    block_on(written).expect("the committer tells everybody")
}

/// Bytes of the states and of the actions' inputs that an entry carries.
fn state_bytes(entry: &Entry) -> usize {
    let states = |head: &Head| head.scopes.iter().map(|scope| scope.state.json.len()).sum::<usize>();
    match entry {
        Entry::Ended(ended) => {
            let head = ended.append.as_ref().map_or(0, |append| states(&append.head));
            head + ended.journaled.accepted.job.input_bytes()
        }
        Entry::Snapshot { head, .. } => states(head),
        _ => 0,
    }
}

impl Gathered {
    /// Whether workers wait before they run another job.
    fn is_full(&self) -> bool {
        self.ends >= ENDS_MAX || self.state_bytes + self.state_bytes_writing >= STATE_BYTES_MAX
    }

    fn add(&mut self, item: Item) {
        self.state_bytes += item.entry.as_ref().map_or(0, state_bytes);
        match &item.then {
            Then::Accepted { record, .. } => {
                self.unpaired += 1;
                record.journal.set_acceptance(Acceptance::Gathered);
            }
            Then::Ended(end) => {
                self.ends += 1;
                if end.record.journal.acceptance() == Acceptance::Gathered {
                    self.unpaired = self.unpaired.saturating_sub(1);
                }
                end.record.journal.set_acceptance(Acceptance::Ended);
            }
            Then::Tell(_) | Then::Nothing => {}
        }
        self.since.get_or_insert_with(Instant::now);
        self.items.push_back(item);
    }

    fn defer(&mut self, now: Instant, record: &Arc<Record>) {
        if self.deferred.len() >= self.deferred_max {
            self.deferred.retain(|(_, record)| record.journal.acceptance() == Acceptance::Deferred);
            self.deferred_max = DEFERRED_MIN.max(2 * self.deferred.len());
        }
        self.deferred.push_back((now, record.clone()));
    }

    /// Gathers the acceptances of deferred jobs, the oldest first, as long as `is_due` says so of the
    /// time that the job has waited.
    fn accept_deferred(&mut self, is_due: impl Fn(Duration) -> bool) {
        while let Some((since, record)) = self.deferred.front() {
            let is_deferred = record.journal.acceptance() == Acceptance::Deferred;
            if is_deferred && !is_due(since.elapsed()) {
                return;
            }
            let (_, record) = self.deferred.pop_front().expect("just seen");
            if is_deferred {
                self.add(Item::accepted(&record, None));
            }
        }
    }

    fn take(&mut self) -> Vec<Item> {
        // A batch of submissions is accepted all together: they came together, and leave so.
        let batch: Vec<_> = self.items.drain(..).collect();
        for item in &batch {
            if let Then::Accepted { record, .. } = &item.then
                && record.journal.acceptance() == Acceptance::Gathered
            {
                record.journal.set_acceptance(Acceptance::Written);
            }
        }
        (self.since, self.unpaired, self.ends, self.writing) = (None, 0, 0, true);
        self.state_bytes_writing = std::mem::take(&mut self.state_bytes);
        batch
    }
}
