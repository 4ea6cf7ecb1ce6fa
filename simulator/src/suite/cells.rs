//! Eighteen cells: three loads, three shapes of service time, two sizes of pool, under antagonists.
//!
//! What counts is the 99th percentile relative to power of two choices on requests in flight (`least_request`), and the
//! geometric mean of that over the cells.

use super::{Selector, base, goal};
use crate::engine;
use crate::jobs::parallel;
use crate::report::{Table, ms};
use crate::result::Run;
use crate::traffic::Shape;
use crate::units::{Nanos, Positive};
use serde::Serialize;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

const LOADS: [f64; 3] = [0.5, 0.7, 0.85];
const SHAPES: [(Shape, &str); 3] =
    [(Shape::Exponential, "exponential"), (Shape::Lognormal, "lognormal"), (Shape::Bimodal, "bimodal")];
/// Peers, and seconds counted: about as many requests in each.
const POOLS: [(u32, u64); 2] = [(10, 600), (100, 100)];
/// What the others are measured by.
const REFERENCE: &str = "least_request";

/// One cell with one selector.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Share of the capacity.
    pub load: f64,
    /// Of the service times.
    pub shape: String,
    /// In the pool.
    pub peers: u32,
    /// One for each selector.
    pub runs: Vec<Run>,
}

/// All cells.
#[derive(Debug, Serialize)]
pub struct Cells {
    /// By name.
    pub selectors: Vec<String>,
    /// Each with every selector.
    pub cells: Vec<Cell>,
    /// Of all runs.
    pub requests: u64,
}

/// Runs them.
pub fn run(seed: u64, selectors: &[Selector], quick: bool) -> Result<Cells, Box<dyn Error>> {
    let mut jobs = vec![];
    let mut cells = vec![];
    for (peers, seconds) in POOLS {
        for (shape, name) in SHAPES {
            for load in LOADS {
                let mut scenario = base("cell", include_str!("../../scenarios/cell.toml"), seed)?;
                (scenario.pool.peers, scenario.service.kind) = (peers, shape);
                scenario.arrivals.load = Positive(load);
                let counted = Nanos::from_s(if quick { seconds / 10 } else { seconds });
                scenario.duration = Nanos(scenario.warm_up.0 + counted.0);
                scenario.name = format!("{peers} peers, {name}, {load}");
                cells.push(Cell { load, shape: name.to_owned(), peers, runs: vec![] });
                jobs.extend(selectors.iter().map(|s| (cells.len() - 1, scenario.clone(), s.clone())));
            }
        }
    }
    let runs = parallel(&jobs, |(cell, scenario, s)| (*cell, engine::run(scenario, (s.0, &s.1), false)));
    let mut requests = 0;
    for (cell, run) in runs {
        let run = run?;
        requests += run.requests;
        cells[cell].runs.push(run);
    }
    Ok(Cells { selectors: selectors.iter().map(|s| s.1.clone()).collect(), cells, requests })
}

impl Cells {
    /// p99 of a selector over that of the reference, cell by cell.
    pub fn ratios(&self, selector: &str) -> Vec<f64> {
        let p99 = |cell: &Cell, name: &str| {
            cell.runs.iter().find(|run| run.selector == name).map_or(f64::NAN, |run| run.latency_ms.p99)
        };
        self.cells.iter().map(|cell| p99(cell, selector) / p99(cell, REFERENCE)).collect()
    }

    /// The geometric mean over the cells.
    pub fn mean_ratio(&self, selector: &str) -> f64 {
        let ratios = self.ratios(selector);
        (ratios.iter().map(|r| r.ln()).sum::<f64>() / ratios.len() as f64).exp()
    }

    /// The table.
    pub fn text(&self) -> String {
        let mut out = format!("p99 in ms, and relative to {REFERENCE}: 18 cells with antagonists\n");
        let mut headings = vec!["cell"];
        headings.extend(self.selectors.iter().map(String::as_str));
        let mut table = Table::new(&headings);
        let ratios: Vec<Vec<f64>> = self.selectors.iter().map(|s| self.ratios(s)).collect();
        for (i, cell) in self.cells.iter().enumerate() {
            let values =
                cell.runs.iter().zip(&ratios).map(|(run, of)| format!("{} ({:.2})", ms(run.latency_ms.p99), of[i]));
            table.row(std::iter::once(cell.runs[0].name.clone()).chain(values));
        }
        let means = self.selectors.iter().map(|s| format!("{:.2}", self.mean_ratio(s)));
        table.row(std::iter::once("geometric mean".to_owned()).chain(means));
        out += &table.text();
        let errors: u64 = self.cells.iter().flat_map(|c| &c.runs).map(|run| run.errors).sum();
        let false_ejections: u64 = self.cells.iter().flat_map(|c| &c.runs).map(|run| run.health.false_ejections).sum();
        let _ = writeln!(out, "errors: {errors} of {}; false ejections: {false_ejections}", self.requests);
        if self.selectors.iter().any(|s| s == "peak_ewma") {
            let _ = writeln!(out, "{}", goal("peak_ewma", self.mean_ratio("peak_ewma"), 0.55));
        } else {
            out += "goal: peak_ewma at most 0.55: the library has no such selector yet\n";
        }
        out
    }

    /// The ratios as bars.
    pub fn plot(&self, out: &Path) -> Result<(), Box<dyn Error>> {
        let ratios: Vec<Vec<f64>> = self.selectors.iter().map(|s| self.ratios(s)).collect();
        let group = |(i, cell): (usize, &Cell)| (cell.runs[0].name.clone(), ratios.iter().map(|r| r[i]).collect());
        let groups: Vec<(String, Vec<f64>)> = self.cells.iter().enumerate().map(group).collect();
        let names: Vec<&str> = self.selectors.iter().map(String::as_str).collect();
        crate::plot::bars(out, "cells", &format!("p99 / p99 of {REFERENCE}"), &names, &groups)?;
        Ok(())
    }
}
