//! What a store promises of the journal of jobs.

use std::sync::Arc;
use std::time::Duration;

use reductor_core::{
    EndedJob, Entry, FailedDependency, IdempotencyKey, JobError, JobErrorCode, JobId, JobOutcome, JobQuery, JobRecord,
    JobRetention, JobStatus, JournaledJob, OperationStore, PRUNE_JOBS_MAX, Pausing, RetentionClock, Timestamp,
};

use super::samples::{accepted, commit, completed, failed, failed_attempt, rich_accepted, rich_action};
use super::{Make, Writer};

fn job(store: &dyn OperationStore, journaled: &JournaledJob) -> Option<JobRecord> {
    store.job(&journaled.accepted.job.id).expect("a readable journal")
}

fn listed(store: &dyn OperationStore, query: JobQuery) -> Vec<u64> {
    store.jobs(&query).expect("a readable journal").iter().map(JobRecord::order).collect()
}

const ALL: JobQuery = JobQuery { status: None, document: None, after: 0, limit: usize::MAX };

/// Forgets all that is to be forgotten at this moment. Returns how many jobs those are.
fn prune(store: &dyn OperationStore, ms: i64) -> u64 {
    let calls = || store.prune(Timestamp { ms }).expect("it prunes");
    std::iter::repeat_with(calls).take_while(|forgotten| *forgotten > 0).sum()
}

fn outcome(store: &dyn OperationStore, journaled: &JournaledJob) -> Option<JobOutcome> {
    store.outcome(&journaled.accepted.job.id).expect("a readable journal")
}

/// Jobs with these numbers, of a document each.
fn jobs<const N: usize>(orders: [u64; N]) -> [JournaledJob; N] {
    orders.map(|order| accepted(order, &Writer::new(&format!("d{order}")).lane, vec![rich_action("global", "a")]))
}

/// The end of a job at this moment.
fn at(mut ended: EndedJob, ms: i64) -> Entry {
    Arc::make_mut(&mut ended.result).completed_at = Timestamp { ms };
    Entry::Ended(ended)
}

pub(crate) fn an_unknown_job_is_not_there<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    assert_eq!(store.job(&JobId::generate()).expect("readable"), None);
    assert_eq!(store.job_of_key(&IdempotencyKey::from("k")).expect("readable"), None);
    assert_eq!(store.unfinished().expect("readable"), []);
    assert_eq!(listed(&store, ALL), [0; 0]);
}

pub(crate) fn an_accepted_job_comes_back_as_it_was_given<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let lane = Writer::new("d").lane;
    let (rich, plain) = (rich_accepted(5, &lane), accepted(9, &lane, vec![rich_action("global", "a")]));
    commit(&store, &[Entry::Accepted(rich.clone()), Entry::Accepted(plain.clone())]);
    assert_eq!(job(&store, &rich), Some(JobRecord::Unfinished(rich.clone())));
    assert_eq!(store.unfinished().expect("a readable journal"), [rich, plain]);
}

pub(crate) fn unfinished_jobs_come_in_the_order_of_their_acceptance<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let all = jobs([300, 2, 70_000, 1, 4]);
    for job in &all {
        commit(&store, &[Entry::Accepted(job.clone())]);
    }
    commit(&store, &[Entry::Ended(completed(all[1].clone(), Vec::new(), None)), Entry::Ended(failed(all[4].clone()))]);
    let orders: Vec<_> = store.unfinished().expect("readable").iter().map(|job| job.order).collect();
    assert_eq!(orders, [1, 300, 70_000]);
}

pub(crate) fn failed_attempts_are_kept<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let [mut one, mut other] = jobs([1, 2]);
    commit(&store, &[Entry::Accepted(one.clone())]);
    let attempt = |journaled: &mut JournaledJob, number: u32| {
        let (attempt, not_before) = (failed_attempt(number), Timestamp { ms: i64::from(number) * 100 });
        journaled.attempt_failed(attempt.clone(), Some(not_before));
        let (job_id, order) = (journaled.accepted.job.id.clone(), journaled.order);
        Entry::AttemptFailed { job_id, order, attempt, not_before }
    };
    for number in 1..=20 {
        let entry = attempt(&mut one, number);
        commit(&store, &[entry]);
    }
    let accepted = Entry::Accepted(other.clone());
    let batch = [accepted, attempt(&mut other, 1), attempt(&mut one, 21), attempt(&mut other, 2)];
    commit(&store, &batch);
    assert_eq!(store.unfinished().expect("readable"), [one.clone(), other]);
    assert_eq!(one.failed_attempts.len(), reductor_core::FAILED_ATTEMPTS_MAX);
    // Of a job that is not there, nothing is taken down.
    let [mut unknown] = jobs([3]);
    commit(&store, &[attempt(&mut unknown, 1)]);
    assert_eq!(job(&store, &unknown), None);
}

pub(crate) fn a_completed_job_has_its_result<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let mut writer = Writer::new("d");
    for order in 1..=3 {
        let (a, b) = (format!("{order} a"), format!("{order} b"));
        let append = writer.next(&[("global", &a), ("local", &b)]);
        let operations: Vec<_> = append.operations.iter().map(|stored| stored.operation.clone()).collect();
        let mut journaled = rich_accepted(order, &writer.lane);
        journaled.accepted.job.actions = operations.iter().map(|operation| operation.action.clone()).collect();
        commit(&store, &[Entry::Accepted(journaled.clone())]);
        writer.head = append.head.clone();
        let ended = completed(journaled.clone(), operations, Some(append));
        let result = ended.result.clone();
        commit(&store, &[Entry::Ended(ended)]);
        let stored = job(&store, &journaled).expect("it is known");
        assert_eq!(stored, JobRecord::Completed { order, result: result.clone() });
        let json = |result| serde_json::to_string(result).expect("JSON");
        assert_eq!(json(stored.result().expect("it ended")), json(&result));
    }
    assert_eq!(store.unfinished().expect("readable"), []);
    assert_eq!(store.operations(&writer.lane, 0, 9).expect("readable").len(), 6);
}

pub(crate) fn a_result_has_repeated_operations_and_creations<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let mut writer = Writer::new("d");
    let append = writer.next(&[("document", "create"), ("global", "a"), ("global", "b")]);
    let operations: Vec<_> = append.operations.iter().map(|stored| stored.operation.clone()).collect();
    let action = |at: usize| operations[at].action.clone();
    let with_actions = |order, actions: Vec<_>| {
        let mut journaled = accepted(order, &writer.lane, Vec::new());
        journaled.accepted.job.actions = actions.into();
        journaled
    };
    // It creates the document, which none of its actions does.
    let creates = completed(with_actions(1, vec![action(1), action(2)]), operations.clone(), Some(append.clone()));
    // All that it does was done, but its own spelling of an action is another.
    let respelled = Arc::new(rich_action("global", "a"));
    let repeats = completed(
        with_actions(2, vec![action(2), respelled]),
        vec![operations[2].clone(), operations[1].clone()],
        None,
    );
    writer.head = append.head.clone();
    // One was done, one is new, and one is listed that the log does not have at all.
    let more = writer.next(&[("global", "c")]);
    let mut foreign = operations[1].clone();
    foreign.error = Some("of another log".to_owned());
    let new = more.operations[0].operation.clone();
    let actions = vec![action(1), new.action.clone(), foreign.action.clone()];
    let mixed =
        completed(with_actions_of(&writer, 3, actions), vec![operations[1].clone(), new, foreign], Some(more.clone()));
    let elsewhere = completed(with_actions_of(&Writer::new("none"), 4, vec![action(1)]), operations, None);
    let all = [creates, repeats, mixed, elsewhere];
    commit(&store, &all.clone().map(Entry::Ended));
    for ended in all {
        let expected = JobRecord::Completed { order: ended.journaled.order, result: ended.result.clone() };
        assert_eq!(job(&store, &ended.journaled), Some(expected));
    }
}

fn with_actions_of(writer: &Writer, order: u64, actions: Vec<Arc<reductor_core::Action>>) -> JournaledJob {
    let mut journaled = accepted(order, &writer.lane, Vec::new());
    journaled.accepted.job.actions = actions.into();
    journaled
}

pub(crate) fn a_job_that_failed_is_a_dead_letter<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let lane = Writer::new("d").lane;
    let (rich, plain) = (rich_accepted(1, &lane), accepted(2, &lane, vec![rich_action("global", "a")]));
    commit(&store, &[Entry::Accepted(rich.clone())]);
    let mut odd = failed(plain);
    let result = Arc::make_mut(&mut odd.result);
    result.job.scopes = Vec::new().into();
    // After a timeout nobody knows what was burned.
    result.metadata.as_mut().expect("it has some").fuel_consumed = None;
    for ended in [failed(rich), odd] {
        commit(&store, &[Entry::Ended(ended.clone())]);
        let EndedJob { journaled, result, revision, .. } = ended;
        assert_eq!(job(&store, &journaled.clone()), Some(JobRecord::Failed { journaled, result, revision }));
    }
    assert_eq!(store.unfinished().expect("readable"), []);
}

pub(crate) fn a_dead_letter_is_retried_at_its_old_place<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let [first, second] = jobs([1, 2]);
    commit(&store, &[Entry::Ended(failed(first.clone())), Entry::Accepted(second.clone())]);
    let mut again = first.clone();
    again.failed_attempts = vec![failed_attempt(1)];
    commit(&store, &[Entry::Retried(again.clone())]);
    assert_eq!(job(&store, &first), Some(JobRecord::Unfinished(again.clone())));
    assert_eq!(store.unfinished().expect("readable"), [again.clone(), second]);
    assert_eq!(listed(&store, JobQuery { status: Some(JobStatus::Failed), ..ALL }), [0; 0]);
    // It fails and is tried again within a batch, and then it completes.
    commit(&store, &[Entry::Ended(failed(again.clone())), Entry::Retried(again.clone())]);
    assert_eq!(job(&store, &first), Some(JobRecord::Unfinished(again.clone())));
    let ended = completed(again, Vec::new(), None);
    commit(&store, &[Entry::Ended(ended.clone())]);
    assert_eq!(job(&store, &first), Some(JobRecord::Completed { order: 1, result: ended.result }));
    assert_eq!(listed(&store, ALL), [1, 2]);
}

pub(crate) fn a_dead_letter_is_discarded<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let all = jobs([1, 2, 3, 4]);
    let discard = |journaled: &JournaledJob| Entry::Discarded(journaled.accepted.job.id.clone());
    let done = completed(all[2].clone(), Vec::new(), None);
    commit(&store, &[Entry::Ended(failed(all[0].clone())), Entry::Accepted(all[1].clone()), Entry::Ended(done)]);
    commit(&store, &[discard(&all[0])]);
    commit(&store, &[Entry::Ended(failed(all[3].clone())), discard(&all[3])]);
    assert_eq!(job(&store, &all[0]), None);
    assert_eq!(job(&store, &all[3]), None);
    // Only dead letters are.
    commit(&store, &[discard(&all[1]), discard(&all[2]), Entry::Discarded(JobId::generate())]);
    assert_eq!(listed(&store, ALL), [2, 3]);
}

pub(crate) fn dispatched_jobs_are_accepted_with_the_end<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let [parent, mut child, other] = jobs([1, 2, 3]);
    child.lineage.root = parent.accepted.job.id.clone();
    let mut ended = completed(parent, Vec::new(), None);
    ended.dispatched = vec![child.clone(), other.clone()];
    commit(&store, &[Entry::Ended(ended)]);
    assert_eq!(store.unfinished().expect("readable"), [child, other]);
    assert_eq!(store.last_order().expect("readable"), 3);
}

pub(crate) fn a_job_can_be_accepted_and_end_in_one_batch<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let mut writer = Writer::new("d");
    let mut batch = Vec::new();
    for order in 1..=5 {
        let append = writer.next(&[("global", &order.to_string())]);
        let operations = append.operations.iter().map(|stored| stored.operation.clone()).collect();
        let journaled = accepted(order, &writer.lane, Vec::new());
        writer.head = append.head.clone();
        batch.push(Entry::Accepted(journaled.clone()));
        batch.push(Entry::Ended(completed(journaled, operations, Some(append))));
    }
    commit(&store, &batch);
    assert_eq!(store.unfinished().expect("readable"), []);
    assert_eq!(listed(&store, JobQuery { status: Some(JobStatus::Completed), ..ALL }), [1, 2, 3, 4, 5]);
    assert_eq!(store.position(&writer.lane).expect("readable"), Some(writer.head.position()));
}

pub(crate) fn a_job_is_found_by_its_key_while_it_is_known<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention { failed_max: 0, outcomes_max: 0, ..JobRetention::default() });
    let lane = Writer::new("d").lane;
    let found = |job: &JournaledJob| {
        let key = job.accepted.idempotency_key.as_ref().expect("it has one");
        store.job_of_key(key).expect("a readable index")
    };
    let all = [1, 2, 3].map(|order| rich_accepted(order, &lane));
    commit(&store, &all.clone().map(Entry::Accepted));
    let ids = all.clone().map(|job| Some(job.accepted.job.id));
    assert_eq!([&all[0], &all[1], &all[2]].map(found), ids);
    commit(&store, &[Entry::Ended(completed(all[0].clone(), Vec::new(), None)), Entry::Ended(failed(all[1].clone()))]);
    assert_eq!([&all[0], &all[1], &all[2]].map(found), ids);
    assert_eq!(prune(&store, 6_000), 1);
    assert_eq!([&all[0], &all[1], &all[2]].map(found), [ids[0].clone(), None, ids[2].clone()]);
}

pub(crate) fn jobs_are_listed_by_what_is_asked<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let all = jobs([1, 2, 3, 4, 5, 6]);
    // They end in another order than that of their numbers.
    commit(&store, &all.clone().map(Entry::Accepted));
    commit(&store, &[Entry::Ended(completed(all[4].clone(), Vec::new(), None)), Entry::Ended(failed(all[3].clone()))]);
    commit(&store, &[Entry::Ended(completed(all[0].clone(), Vec::new(), None)), Entry::Ended(failed(all[1].clone()))]);
    let with = |status| listed(&store, JobQuery { status: Some(status), ..ALL });
    assert_eq!(listed(&store, ALL), [1, 2, 3, 4, 5, 6]);
    assert_eq!(with(JobStatus::Pending), [3, 6]);
    assert_eq!(with(JobStatus::Completed), [1, 5]);
    assert_eq!(with(JobStatus::Failed), [2, 4]);
    assert_eq!(with(JobStatus::Running), [0; 0]);
    assert_eq!(listed(&store, JobQuery { after: 2, limit: 3, ..ALL }), [3, 4, 5]);
    assert_eq!(listed(&store, JobQuery { after: u64::MAX, ..ALL }), [0; 0]);
    assert_eq!(listed(&store, JobQuery { limit: 0, ..ALL }), [0; 0]);
    for order in 1..=6 {
        let document = Some(Writer::new(&format!("d{order}")).lane.document);
        assert_eq!(listed(&store, JobQuery { document: document.clone(), limit: 1, ..ALL }), [order]);
        assert_eq!(listed(&store, JobQuery { document, after: order, ..ALL }), [0; 0]);
    }
}

pub(crate) fn the_last_number_never_goes_back<S: OperationStore>(make: Make<'_, S>) {
    let retention = JobRetention { completed_max: 0, failed_max: 0, ..JobRetention::default() };
    let store = make(retention);
    let [first, second, third, fourth] = jobs([7, 3, 40, 12]);
    let last = || store.last_order().expect("readable");
    commit(&store, &[Entry::Accepted(first)]);
    commit(&store, &[Entry::Accepted(second)]);
    assert_eq!(last(), 7);
    commit(&store, &[Entry::Ended(completed(third, Vec::new(), None)), Entry::Ended(failed(fourth))]);
    assert_eq!(last(), 40);
    assert_eq!(prune(&store, 0), 2);
    assert_eq!(listed(&store, ALL), [3, 7]);
    assert_eq!(last(), 40);
}

pub(crate) fn pausing_is_kept<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    for pausing in [Pausing::Paused, Pausing::Resumed, Pausing::Paused] {
        commit(&store, &[Entry::Pausing(pausing)]);
        assert_eq!(store.pausing().expect("readable"), pausing);
        Writer::new(&format!("{pausing:?}{}", store.lanes(None, 9).expect("readable").len()))
            .append(&store, &[("global", "a")]);
        assert_eq!(store.pausing().expect("readable"), pausing);
    }
}

pub(crate) fn completed_jobs_are_pruned_by_number_and_age<S: OperationStore>(make: Make<'_, S>) {
    let day = Duration::from_millis(1_000);
    let store = make(JobRetention { completed_max: 3, completed_age_max: day, ..JobRetention::default() });
    let all = jobs([5, 4, 3, 2, 1, 6]);
    commit(&store, &[Entry::Accepted(all[5].clone()), at(failed(jobs([9])[0].clone()), 0)]);
    for (job, ms) in all[..5].iter().zip([100, 200, 300, 400, 500]) {
        commit(&store, &[at(completed(job.clone(), Vec::new(), None), ms)]);
    }
    let prune = |ms| prune(&store, ms);
    // Those that ended first go, whatever their numbers.
    assert_eq!((prune(500), listed(&store, ALL)), (2, vec![1, 2, 3, 6, 9]));
    assert_eq!((prune(1_300), listed(&store, ALL)), (0, vec![1, 2, 3, 6, 9]));
    assert_eq!((prune(1_401), listed(&store, ALL)), (2, vec![1, 6, 9]));
    assert_eq!(job(&store, &all[0]), None);
    commit(&store, &[at(completed(all[5].clone(), Vec::new(), None), 600)]);
    assert_eq!((prune(9_999), listed(&store, ALL)), (2, vec![9]));
    assert_eq!(prune(9_999), 0);
}

pub(crate) fn dead_letters_are_pruned_by_number_and_age<S: OperationStore>(make: Make<'_, S>) {
    let day = Duration::from_millis(1_000);
    let store = make(JobRetention { failed_max: 3, failed_age_max: day, ..JobRetention::default() });
    let all = jobs([5, 4, 3, 2, 1]);
    for (job, ms) in all.iter().zip([100, 200, 300, 400, 500]) {
        commit(
            &store,
            &[at(failed(job.clone()), ms), at(completed(jobs([10 + job.order])[0].clone(), Vec::new(), None), ms)],
        );
    }
    let prune = |ms| prune(&store, ms);
    let failed = || listed(&store, JobQuery { status: Some(JobStatus::Failed), ..ALL });
    assert_eq!((prune(500), failed()), (2, vec![1, 2, 3]));
    assert_eq!((prune(1_401), failed()), (2, vec![1]));
    assert_eq!(prune(1_401), 0);
    assert_eq!(listed(&store, ALL), [1, 11, 12, 13, 14, 15]);
}

pub(crate) fn a_prune_forgets_a_bounded_number_of_jobs<S: OperationStore>(make: Make<'_, S>) {
    const JOBS: u64 = 2 * PRUNE_JOBS_MAX as u64 + 10;
    let store = make(JobRetention { completed_max: 5, failed_max: 5, ..JobRetention::default() });
    let lane = Writer::new("d").lane;
    let end = |order: u64| {
        let journaled = accepted(order, &lane, Vec::new());
        let ended = if order.is_multiple_of(2) { failed(journaled) } else { completed(journaled, Vec::new(), None) };
        at(ended, order as i64)
    };
    let ended: Vec<_> = (1..=JOBS).map(end).collect();
    ended.chunks(2_000).for_each(|batch| commit(&store, batch));
    let mut left = JOBS;
    while left > 10 {
        let forgotten = store.prune(Timestamp { ms: JOBS as i64 }).expect("it prunes");
        assert!((1..=PRUNE_JOBS_MAX as u64).contains(&forgotten), "{forgotten} of {left}");
        left -= forgotten;
    }
    assert_eq!(store.prune(Timestamp { ms: JOBS as i64 }).expect("it prunes"), 0);
    assert_eq!(listed(&store, ALL), (JOBS - 9..=JOBS).collect::<Vec<_>>());
}

pub(crate) fn a_wall_clock_that_jumps_forward_forgets_nothing_at_once<S: OperationStore>(make: Make<'_, S>) {
    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    let hours = |hours| Duration::from_hours(hours);
    let store =
        make(JobRetention { completed_age_max: hours(8), failed_age_max: hours(20), ..JobRetention::default() });
    let [first, second, newer] = jobs([1, 2, 3]);
    commit(&store, &[at(completed(first, Vec::new(), None), 0), at(failed(second), 0)]);
    assert_eq!(prune(&store, HOUR), 0);
    // Some rounds with a clock that is far ahead, and then it is set right.
    (0..6).for_each(|_| assert_eq!(prune(&store, 400 * DAY), 0));
    commit(&store, &[at(completed(newer, Vec::new(), None), 2 * HOUR)]);
    assert_eq!(prune(&store, 2 * HOUR), 0);
    assert_eq!(listed(&store, ALL), [1, 2, 3]);
    // Time goes by: the clock follows, an hour a round.
    let pass = |hours: i64| (0..24).map(|_| prune(&store, hours * HOUR)).sum::<u64>();
    assert_eq!((pass(11), listed(&store, ALL)), (2, vec![2]));
    assert_eq!((pass(20), listed(&store, ALL)), (0, vec![2]));
    assert_eq!((pass(21), listed(&store, ALL)), (1, vec![]));
    assert!(RetentionClock::STEP_MAX <= Duration::from_hours(1));
}

pub(crate) fn the_outcome_of_a_job_outlives_its_result<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention { completed_max: 0, failed_max: 0, ..JobRetention::default() });
    let lane = Writer::new("d").lane;
    let all = [1, 2, 3, 4].map(|order| rich_accepted(order, &lane));
    let id = |job: &JournaledJob| Some(job.accepted.job.id.clone());
    let of_key = |job: &JournaledJob| {
        store.job_of_key(job.accepted.idempotency_key.as_ref().expect("it has one")).expect("a readable journal")
    };
    commit(&store, &all.clone().map(Entry::Accepted));
    assert_eq!(all.each_ref().map(|job| outcome(&store, job)), [None; 4]);
    let discarded = Entry::Discarded(all[2].accepted.job.id.clone());
    let ended = |job: &JournaledJob| Entry::Ended(completed(job.clone(), Vec::new(), None));
    commit(&store, &[ended(&all[0]), Entry::Ended(failed(all[1].clone())), Entry::Ended(failed(all[2].clone()))]);
    let expected = [Some(JobOutcome::Completed), Some(JobOutcome::Failed), Some(JobOutcome::Failed), None];
    assert_eq!(all.each_ref().map(|job| outcome(&store, job)), expected);
    commit(&store, &[discarded]);
    assert_eq!(all.each_ref().map(|job| outcome(&store, job)), expected);
    assert_eq!(prune(&store, 10_000), 2);
    assert_eq!(
        all.each_ref().map(|known| job(&store, known)).map(|known| known.is_some()),
        [false, false, false, true]
    );
    assert_eq!(all.each_ref().map(|job| outcome(&store, job)), expected);
    assert_eq!(all.each_ref().map(of_key), all.each_ref().map(id));
    // A key that is used again is that of the newer job, and so is the outcome of an id.
    let mut again = rich_accepted(5, &lane);
    again.accepted.idempotency_key = all[0].accepted.idempotency_key.clone();
    let mut failing = all[0].clone();
    (failing.order, failing.accepted.idempotency_key) = (6, None);
    commit(&store, &[Entry::Accepted(again.clone()), Entry::Accepted(failing.clone())]);
    assert_eq!((of_key(&all[0]), outcome(&store, &all[0])), (id(&again), None));
    commit(&store, &[ended(&again), Entry::Ended(failed(failing))]);
    assert_eq!(prune(&store, 10_000), 2);
    assert_eq!((of_key(&all[0]), outcome(&store, &all[0])), (id(&again), Some(JobOutcome::Failed)));
    assert_eq!(outcome(&store, &accepted(9, &lane, Vec::new())), None);
}

pub(crate) fn outcomes_are_forgotten_by_number_and_age<S: OperationStore>(make: Make<'_, S>) {
    let outcomes_age_max = Duration::from_millis(100_000);
    let retention =
        JobRetention { completed_max: 0, failed_max: 0, outcomes_max: 16, outcomes_age_max, ..JobRetention::default() };
    let store = make(retention);
    let lane = Writer::new("d").lane;
    let all: Vec<_> = (1..=60).map(|order| rich_accepted(order, &lane)).collect();
    let remembered = |jobs: &[JournaledJob]| {
        let count = jobs.iter().filter(|job| outcome(&store, job).is_some()).count();
        let key = |job: &&JournaledJob| job.accepted.idempotency_key.clone().expect("it has one");
        let keys = jobs.iter().filter(|job| store.job_of_key(&key(job)).expect("readable").is_some()).count();
        assert_eq!(count, keys);
        count
    };
    for (job, ms) in all.iter().zip(1_000..) {
        commit(&store, &[at(completed(job.clone(), Vec::new(), None), ms)]);
        assert_eq!(prune(&store, ms), 1);
    }
    let count = remembered(&all);
    assert!((14..=16).contains(&count), "{count} of the last are remembered");
    assert_eq!(remembered(&all[60 - count..]), count, "the last are");
    assert_eq!((prune(&store, 100_000), remembered(&all)), (0, count));
    assert_eq!((prune(&store, 120_000), remembered(&all)), (0, 0));
}

pub(crate) fn a_failed_dependency_is_recorded_with_the_job<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let lane = Writer::new("d").lane;
    let [mut first, mut second, third] = [1, 2, 3].map(|order| rich_accepted(order, &lane));
    let failed_by = |name: &str| {
        let error = JobError { error_code: JobErrorCode::IoError, error_message: format!("{name} failed") };
        FailedDependency { job_id: JobId::from(name), error }
    };
    let entry = |job: &JournaledJob, failed: &FailedDependency| Entry::DependencyFailed {
        job_id: job.accepted.job.id.clone(),
        order: job.order,
        failed: failed.clone(),
    };
    commit(&store, &[Entry::Accepted(first.clone()), Entry::Accepted(third.clone())]);
    // Of a job in the journal, of one in the same batch, and of one that is not there.
    let (a, b) = (failed_by("a"), failed_by("b"));
    commit(&store, &[entry(&first, &a), Entry::Accepted(second.clone()), entry(&second, &b)]);
    commit(&store, &[entry(&first, &b), entry(&accepted(9, &lane, Vec::new()), &a)]);
    first.failed_dependency = Some(a);
    second.failed_dependency = Some(b);
    assert_eq!(store.unfinished().expect("readable"), [first.clone(), second.clone(), third]);
    let ended = failed(first);
    commit(&store, &[Entry::Ended(ended.clone())]);
    let EndedJob { journaled, result, revision, .. } = ended;
    assert_eq!(job(&store, &journaled.clone()), Some(JobRecord::Failed { journaled, result, revision }));
}

pub(crate) fn what_is_left_of_a_budget_is_what_the_latest_end_said<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let all = jobs([1, 2, 3, 4]);
    let root = |job: &JournaledJob| job.lineage.root.clone();
    let spends = |job: &JournaledJob, root: &JobId, left| {
        let mut ended = completed(job.clone(), Vec::new(), None);
        ended.journaled.lineage.root = root.clone();
        ended.budget_left = left;
        Entry::Ended(ended)
    };
    let left = |root: &JobId| store.budget_left(root).expect("readable");
    let (one, other) = (root(&all[0]), root(&all[1]));
    assert_eq!((left(&one), left(&other)), (None, None));
    commit(&store, &[spends(&all[0], &one, Some(5)), spends(&all[2], &one, Some(3)), spends(&all[1], &other, Some(9))]);
    assert_eq!((left(&one), left(&other)), (Some(3), Some(9)));
    commit(&store, &[spends(&all[3], &one, None)]);
    assert_eq!(left(&one), Some(3));
    let again = jobs([5]);
    commit(&store, &[spends(&again[0], &one, Some(0))]);
    assert_eq!((left(&one), left(&other), left(&root(&again[0]))), (Some(0), Some(9), None));
}

pub(crate) fn there_is_room<S: OperationStore>(make: Make<'_, S>) {
    make(JobRetention::default()).check_room().expect("an empty store has room");
}
