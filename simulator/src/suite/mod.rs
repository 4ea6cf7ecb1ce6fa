//! What `make sim` runs: the cells, the black hole, the grid of faults; their tables, and whether the goals are met.
//!
//! Every selector that the library offers takes part. The base scenarios are those of `scenarios/`, so that each run of
//! the suite can be made alone from its file. A goal that is missed is printed as missed; the command fails only where
//! a promise is broken (`grid::PoolResult::broken_promises`).

pub mod cells;
pub mod grid;
mod hole;

use crate::report::{percent, say, write_json};
use crate::scenario::Scenario;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

/// A selector of the library: its number and its name.
pub type Selector = (u32, String);

/// Runs all of it and prints the tables; JSON and plots go to `out`.
pub fn run(seed: u64, selectors: &[Selector], quick: bool, out: &Path) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let mut requests = 0;
    say(format_args!("seed {seed}{}\n", if quick { ", quick" } else { "" }));

    let cells = cells::run(seed, selectors, quick)?;
    say(format_args!("{}", cells.text()));
    write_json(out, "cells", &cells)?;
    cells.plot(out)?;
    requests += cells.requests;
    say(format_args!(""));

    let holes = hole::run(seed, selectors, quick)?;
    say(format_args!("{}", hole::text(&holes)));
    write_json(out, "black-hole", &holes)?;
    crate::plot::compare(out, "black-hole", &holes)?;
    requests += holes.iter().map(|run| run.requests).sum::<u64>();

    let grid = grid::run(seed, selectors, if quick { 10 } else { 1 })?;
    say(format_args!("{}", grid.text()));
    write_json(out, "grid", &grid)?;
    grid.plot(out)?;
    requests += grid.pools.iter().map(|pool| pool.requests).sum::<u64>();

    let wall = began.elapsed().as_secs_f64();
    say(format_args!("{requests} requests in {wall:.0} s: {:.2} million a second", requests as f64 / wall / 1e6));
    say(format_args!("JSON and SVG in {}", out.display()));
    let broken = grid.broken_promises();
    if broken.is_empty() { Ok(()) } else { Err(format!("a promise is broken: {}", broken.join("; ")).into()) }
}

/// A base scenario that is known to be right.
fn base(name: &str, text: &str, seed: u64) -> Result<Scenario, Box<dyn Error>> {
    let mut scenario = Scenario::parse(text).map_err(|e| format!("{name}: {e}"))?;
    (scenario.name, scenario.seed) = (name.to_owned(), seed);
    Ok(scenario)
}

fn goal(what: &str, value: f64, most: f64) -> String {
    format!("goal: {what} at most {most}: {value:.3}, {}", if value <= most { "met" } else { "missed" })
}

fn goal_percent(what: &str, share: f64, most: f64) -> String {
    let met = if share <= most { "met" } else { "missed" };
    format!("goal: {what} at most {} %: {} %, {met}", percent(most), percent(share))
}
