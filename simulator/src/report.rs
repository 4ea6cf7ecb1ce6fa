//! Tables for a terminal, and files of JSON.

use crate::result::Run;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Columns, aligned: the first to the left, the others to the right.
#[derive(Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these headings.
    pub fn new(headings: &[&str]) -> Table {
        Table { rows: vec![headings.iter().map(|&h| h.to_owned()).collect()] }
    }

    /// One more row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The text, each line ended.
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |c: usize| self.rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate();
            let line: Vec<String> =
                cells.map(|(i, (s, &w))| if i == 0 { format!("{s:<w$}") } else { format!("{s:>w$}") }).collect();
            let _ = writeln!(out, "{}", line.join("  ").trim_end());
        }
        out
    }
}

/// Milliseconds, to three digits or so.
pub fn ms(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// A share as a percentage.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0".to_owned(),
        p if p < 1.0 => format!("{p:.3}"),
        p => format!("{p:.2}"),
    }
}

/// Percentiles, errors and balance of runs, one a row.
pub fn summary(runs: &[Run]) -> String {
    let mut table = Table::new(&[
        "scenario",
        "selector",
        "requests",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p999 ms",
        "errors %",
        "attempts",
        "imbalance",
        "busy %",
        "ejected",
        "false",
    ]);
    for run in runs {
        let l = &run.latency_ms;
        table.row([
            run.name.clone(),
            run.selector.clone(),
            run.requests.to_string(),
            ms(l.p50),
            ms(l.p90),
            ms(l.p99),
            ms(l.p999),
            percent(run.error_share()),
            format!("{:.3}", run.attempts_per_request()),
            format!("{:.2}", run.imbalance),
            format!("{:.0}", run.utilisation * 100.0),
            run.health.ejections.to_string(),
            run.health.false_ejections.to_string(),
        ]);
    }
    table.text()
}

/// What else there is to say of one run: errors by cause, shares, each fault.
pub fn details(run: &Run) -> String {
    let mut out = String::new();
    for (cause, count) in &run.errors_by_cause {
        let _ = writeln!(out, "  {count} errors: {cause}");
    }
    if run.shares.len() <= SHARES_SHOWN {
        let shares: Vec<String> = run.shares.iter().map(|s| format!("{:.2}", s * 100.0)).collect();
        let _ = writeln!(out, "  share of the attempts, by peer, %: {}", shares.join(" "));
    }
    if !run.detections.is_empty() {
        let mut table = Table::new(&[
            "  fault",
            "peer",
            "from s",
            "to s",
            "ejected after s",
            "false half-opens",
            "false returns",
            "back after s",
        ]);
        for d in run.detections.iter().take(FAULTS_SHOWN) {
            let list = |times: &[Option<f64>]| {
                let each: Vec<String> =
                    times.iter().take(4).map(|t| t.map_or("never".to_owned(), |t| format!("{t:.3}"))).collect();
                each.join(" ")
            };
            table.row([
                format!("  {}", d.label),
                d.peer.to_string(),
                format!("{:.1}", d.from_s),
                format!("{:.1}", d.to_s),
                list(&d.delay_s),
                d.false_half_opens.to_string(),
                d.false_returns.to_string(),
                if d.delay_s.iter().any(Option::is_some) { list(&d.return_s) } else { "-".to_owned() },
            ]);
        }
        out += &table.text();
        if run.detections.len() > FAULTS_SHOWN {
            let _ = writeln!(out, "  … {} more in the JSON", run.detections.len() - FAULTS_SHOWN);
        }
    }
    out
}

const SHARES_SHOWN: usize = 16;
const FAULTS_SHOWN: usize = 20;

/// Prints a line. A reader that has left early (`| head`) is no error.
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Writes a value as JSON, and says where.
pub fn write_json(dir: &Path, name: &str, value: &impl serde::Serialize) -> io::Result<PathBuf> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join(format!("{name}.json"));
    std::fs::write(&path, serde_json::to_string_pretty(value)? + "\n")?;
    Ok(path)
}
