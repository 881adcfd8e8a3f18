//! Figures, as a table or as JSON.

use serde::Serialize;

use super::machine::Machine;
use crate::output;

/// Everything that one run of a bench measured.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    results: Vec<Figure>,
}

/// One figure.
#[derive(Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    goal: Option<Goal>,
}

/// What a figure should reach.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Serialize for Goal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (Self::AtMost(value) | Self::AtLeast(value)) = self;
        serializer.serialize_f64(*value)
    }
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { machine: Machine::here(), results: Vec::new() }
    }

    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str, goal: Option<Goal>) {
        self.results.push(Figure { name: name.into(), value, unit, goal });
    }

    pub(crate) fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            return output::pretty(self);
        }
        let mut text = format!("{}\n", self.machine);
        for Figure { name, value, unit, goal } in &self.results {
            let verdict = match goal {
                None => String::new(),
                Some(Goal::AtMost(goal)) => format!("goal ≤ {goal}{}", if value <= goal { "" } else { ", missed" }),
                Some(Goal::AtLeast(goal)) => format!("goal ≥ {goal}{}", if value >= goal { "" } else { ", missed" }),
            };
            text += format!("\n{name:<36}{:>12} {unit:<8}{verdict}", shown(*value)).trim_end();
        }
        output::text(&text)
    }
}

/// Three significant digits or more.
fn shown(value: f64) -> String {
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

/// The measurement that so many percent of all are not above.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// The middle of some measurements.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
