//! What it costs to audit jobs for purity, and not to.

use std::sync::Arc;

use reductor_host::{AuditPolicy, ExecutorConfig, Reducer};

use super::machine;
use super::report::{Goal, Report, median};
use super::workload::{counter_rate, with_config};

pub(super) const SHARE_FIGURES: [&str; 2] = ["audit-share-percent", "audits-per-second"];
pub(super) const OFF_FIGURES: [&str; 1] = ["audit-off-cost-percent"];

const JOBS: usize = 200_000;
/// Pairs of rounds, one with the lots drawn and one without.
const PAIRS: usize = 9;
const PAIR_JOBS: usize = 60_000;

/// The share of the workers' time that audits take under load, where nothing else is said.
pub(super) fn share(report: &mut Report, counter: &Arc<dyn Reducer>) -> anyhow::Result<()> {
    let (mut percents, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let manager = with_config(&[counter], ExecutorConfig::default())?;
        counter_rate(&manager, JOBS, 64)?;
        manager.wait_until_idle_blocking();
        let stats = manager.audit_stats();
        anyhow::ensure!(stats.diverged == 0, "the counter is pure");
        percents.push(stats.auditing_ms.us as f64 / stats.working_ms.us as f64 * 100.0);
        rates.push(stats.audited as f64 / stats.working_ms.us as f64 * 1e6);
    }
    report.add("audit-share-percent", median(percents), "%", Some(Goal::AtMost(1.0)));
    report.add("audits-per-second", median(rates), "jobs/s", None);
    Ok(())
}

/// How much more CPU time a job takes when lots are drawn and time is measured, and no audit
/// follows, than when audits are switched off.
pub(super) fn off_cost(report: &mut Report, counter: &Arc<dyn Reducer>) -> anyhow::Result<()> {
    // So small a share draws no lot in years.
    let policies = [AuditPolicy::Never, AuditPolicy::Share(1e-12)];
    let mut percents = Vec::new();
    for pair in 0..=PAIRS {
        let mut cpu = [0.0; 2];
        for (cpu, audit) in cpu.iter_mut().zip(policies) {
            let manager = with_config(&[counter], ExecutorConfig { audit, ..ExecutorConfig::default() })?;
            let before = machine::cpu_time();
            counter_rate(&manager, PAIR_JOBS, 64)?;
            *cpu = (machine::cpu_time() - before).as_secs_f64();
            anyhow::ensure!(manager.audit_stats().audited == 0, "a job was audited");
        }
        // The first pair warms caches up.
        if pair > 0 {
            percents.push((cpu[1] / cpu[0] - 1.0) * 100.0);
        }
    }
    report.add("audit-off-cost-percent", median(percents), "%", Some(Goal::AtMost(1.0)));
    Ok(())
}
