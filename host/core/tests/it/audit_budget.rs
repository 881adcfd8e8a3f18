//! What audits may cost, with times that a test makes up.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use reductor_core::AuditBudget;

fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

/// Works through jobs of these lengths in microseconds, and audits those that are drawn, each for
/// `audit` of its job's time. Returns the time of the work, audits included, of the audits, and
/// how many there were.
fn work(share: f64, jobs: impl IntoIterator<Item = u64>, audit: impl Fn(u64) -> u64, seed: u64) -> (u64, u64, u32) {
    let mut budget = AuditBudget::new(share);
    let mut lots = fastrand::Rng::with_seed(seed);
    let (mut working, mut auditing, mut audits) = (0, 0, 0);
    for job in jobs {
        let mut time = job;
        if lots.f64() < budget.chance() {
            let spent = audit(job);
            budget.spend(us(spent));
            (auditing, audits) = (auditing + spent, audits + 1);
            time += spent;
        }
        budget.earn(us(time), 1);
        working += time;
    }
    (working, auditing, audits)
}

#[test]
fn nothing_is_audited_before_anything_is_earned() {
    assert_eq!(AuditBudget::new(1.0).chance(), 0.0);
}

#[test]
fn most_of_the_share_is_used_and_no_more_than_it() {
    for share in [0.001, 0.01, 0.1] {
        let (working, auditing, _) = work(share, (0..2_000_000).map(|_| 7), |_| 150, 1);
        let used = auditing as f64 / working as f64;
        assert!(used <= share && used > share * 0.5, "{used} of {share}");
    }
}

#[test]
fn a_costly_audit_is_paid_back_before_the_next() {
    let mut budget = AuditBudget::new(0.01);
    budget.earn(us(1_000), 1);
    budget.spend(us(5_000));
    budget.earn(us(480_000), 10);
    budget.earn(us(30_000), 1);
    assert_eq!(budget.chance(), 0.0, "another one like it would overdraw the budget");
    budget.earn(us(500_000), 10);
    assert!(budget.chance() > 0.0);
}

#[test]
fn jobs_that_take_long_are_audited_too() {
    let second = 1_000_000;
    let (working, auditing, audits) = work(0.01, (0..5_000).map(|_| second), |job| job, 1);
    assert!(audits > 25, "{audits} audits");
    assert!(auditing as f64 <= working as f64 * 0.01 + second as f64);
}

#[test]
fn a_quiet_day_is_not_followed_by_an_hour_of_audits() {
    let mut budget = AuditBudget::new(0.01);
    budget.earn(Duration::from_secs(86_400), 1_000_000);
    let mut audits = 0;
    while budget.chance() > 0.0 {
        budget.spend(us(1_000));
        audits += 1;
        assert!(audits <= 101, "more than a tenth of a second was saved up");
    }
}

#[test]
fn every_job_has_the_same_chance_as_long_as_jobs_are_alike() {
    let (mut budget, mut chances) = (AuditBudget::new(0.01), Vec::new());
    for number in 0..10_000 {
        budget.earn(us(10), 1);
        if number > 3_000 {
            chances.push(budget.chance());
        }
    }
    let (least, most) = chances.iter().fold((1.0_f64, 0.0_f64), |(a, b), it| (a.min(*it), b.max(*it)));
    assert!(least > 0.0 && most / least < 1.01, "{least} to {most}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// However long jobs and their audits take, and whichever are drawn: the share is kept, but
    /// for what was saved up and the latest audit, which nobody can know before.
    #[test]
    fn audits_keep_within_their_share(
        jobs in vec(1_u64..50_000, 1..2_000),
        (share, times, seed) in (0.0..1.0_f64, 0_u64..40, any::<u64>()),
    ) {
        let longest = jobs.iter().max().copied().unwrap_or_default() * times;
        let (working, auditing, _) = work(share, jobs, |job| job * times, seed);
        prop_assert!(auditing as f64 <= share * working as f64 + longest as f64 + 1.0);
    }
}
