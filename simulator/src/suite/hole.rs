//! A black hole: one of ten peers answers 502 in a millisecond, and every rule that likes fast peers likes it best.

use super::{Selector, base, goal_percent};
use crate::engine;
use crate::jobs::parallel;
use crate::report::{Table, ms, percent};
use crate::result::Run;
use crate::units::Nanos;
use std::error::Error;

pub(super) fn run(seed: u64, selectors: &[Selector], quick: bool) -> Result<Vec<Run>, Box<dyn Error>> {
    let mut scenario = base("black-hole", include_str!("../../scenarios/black-hole.toml"), seed)?;
    if quick {
        scenario.duration = Nanos::from_s(25);
    }
    let runs = parallel(selectors, |s| engine::run(&scenario, (s.0, &s.1), true));
    Ok(runs.into_iter().collect::<Result<_, _>>()?)
}

pub(super) fn text(runs: &[Run]) -> String {
    let mut out = "black hole: peer 3 of 10 answers 502 in 1 ms from 15 s to 45 s\n".to_owned();
    let mut table =
        Table::new(&["selector", "requests", "errors %", "its share %", "p99 ms", "ejected after s", "half-opens"]);
    for run in runs {
        let fault = &run.detections[0];
        table.row([
            run.selector.clone(),
            run.requests.to_string(),
            percent(run.error_share()),
            percent(run.shares[fault.peer as usize]),
            ms(run.latency_ms.p99),
            fault.delay_s[0].map_or("never".to_owned(), |t| format!("{t:.3}")),
            fault.false_half_opens.to_string(),
        ]);
    }
    out += &table.text();
    for run in runs {
        out += &goal_percent(&format!("errors of {}", run.selector), run.error_share(), 0.0002);
        out.push('\n');
    }
    out
}
