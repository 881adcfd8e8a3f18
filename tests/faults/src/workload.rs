//! What the clients of a run submit: seeded, so that a seed names a run.

use fastrand::Rng;
use reductor_core::{DocumentId, JobId};
use serde_json::{Value, json};

use crate::record::{Intent, Outcome};

/// What a run does.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Names the run.
    pub seed: u64,
    /// Which process of the run this is: names of jobs never come twice.
    pub round: u64,
    /// Clients at once.
    pub clients: u64,
    /// Jobs of each.
    pub jobs: u64,
    /// Bytes of the largest operations.
    pub text_bytes_max: usize,
}

impl Plan {
    /// Texts of this size fill tables soon: they are written, and merged.
    pub const FILLS_TABLES: usize = 500_000;
}

/// Documents of every model that all clients use. Each client has as many for itself.
const DOCUMENTS: u64 = 2;

/// What one client submits, in order.
pub(crate) struct Jobs {
    plan: Plan,
    client: u64,
    rng: Rng,
    next: u64,
    items: u64,
}

impl Jobs {
    pub(crate) fn new(plan: Plan, client: u64) -> Self {
        let seed = plan.seed ^ (plan.round << 40) ^ (client << 20);
        Self { plan, client, rng: Rng::with_seed(seed), next: 0, items: 0 }
    }

    /// Chance, for the client's own choices.
    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// The next job, which may depend on an earlier one.
    pub(crate) fn next(&mut self, before: Option<&JobId>) -> Option<Intent> {
        if self.next == self.plan.jobs {
            return None;
        }
        self.next += 1;
        let (model, mut actions, outcome) = self.actions();
        let name = format!("r{}-c{}-j{}", self.plan.round, self.client, self.next);
        let ids: Vec<String> = (0..actions.len()).map(|number| format!("{name}-a{number}")).collect();
        for (action, id) in actions.iter_mut().zip(&ids) {
            action["id"] = json!(id);
        }
        // What fails has documents of its own, so that it can be retried while others go on.
        let whose = match (outcome, self.rng.bool()) {
            (Outcome::Fails, _) => format!("dead-{}", self.client),
            (Outcome::Completes, true) => "all".to_owned(),
            (Outcome::Completes, false) => format!("own-{}", self.client),
        };
        let document = format!("{}-{whose}-{}", model.rsplit('/').next().unwrap_or(model), self.rng.u64(..DOCUMENTS));
        let mut submission = json!({
            "documentId": document, "documentType": model, "actions": actions, "idempotencyKey": name,
        });
        if let Some(before) = before.filter(|_| self.rng.u8(..8) == 0) {
            submission["dependsOn"] = json!([before]);
        }
        let submission = submission.to_string();
        let document = DocumentId::from(document);
        let client = format!("r{}-c{}", self.plan.round, self.client);
        Some(Intent { name, client, number: self.next, document, submission, actions: ids, outcome })
    }

    fn actions(&mut self) -> (&'static str, Vec<Value>, Outcome) {
        let relay = |action: Value, outcome| ("faults/relay", vec![action], outcome);
        match self.rng.u8(..12) {
            0..3 => {
                let count = self.rng.usize(1..=4);
                let action = |_| json!({"type": "INCREMENT", "input": {"by": self.rng.u8(..)}});
                ("example/counter", (0..count).map(action).collect(), Outcome::Completes)
            }
            3..5 => {
                let count = self.rng.usize(1..=3);
                ("example/todo-list", (0..count).map(|_| self.item()).collect(), Outcome::Completes)
            }
            5..8 => {
                let text = self.text();
                relay(json!({"type": "NOTE", "input": {"text": text}}), Outcome::Completes)
            }
            8 | 9 => relay(json!({"type": "PASS_ON"}), Outcome::Completes),
            10 => relay(json!({"type": "STUMBLE"}), Outcome::Completes),
            _ => relay(json!({"type": "REFUSE"}), Outcome::Fails),
        }
    }

    fn item(&mut self) -> Value {
        self.items += 1;
        let id = format!("r{}-c{}-i{}", self.plan.round, self.client, self.items);
        json!({"type": "ADD", "input": {"id": id, "text": format!("item {}", self.items)}})
    }

    /// A text that does not compress, small more often than large, but where the store's tables
    /// in memory are to be filled.
    fn text(&mut self) -> String {
        let max = self.plan.text_bytes_max.max(1);
        let bytes = if max >= Plan::FILLS_TABLES || self.rng.u8(..4) == 0 {
            self.rng.usize(..max)
        } else {
            self.rng.usize(..max.min(200))
        };
        (0..bytes).map(|_| self.rng.alphanumeric()).collect()
    }
}
