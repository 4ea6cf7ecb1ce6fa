//! The comparison: the same faults, load and backends before stock nginx, HAProxy, Envoy and nginx with Tidegate, one
//! after the other, and one table of what clients saw.
//!
//! A cell is one fault at one proxy: fresh backends, a fresh proxy, a second of health, then the fault under open-loop
//! load. A proxy that isn't installed is named as absent, never left out in silence. It asserts nothing: figures on a
//! shared machine are for reading. Exit status 2 if it could not run.

mod cell;
mod config;
mod daemon;
mod document;
mod envoy;
mod fault;
mod figures;
mod gateway;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use tidegate_testbed::process_backend;

use cell::Setting;
use document::{Document, Row};
use fault::{FAULTS, Fault};
use figures::Figures;
use gateway::Kind;

/// Stock nginx, HAProxy, Envoy and nginx with Tidegate under the same faults
#[derive(Parser)]
struct Options {
    /// Only these faults, by name
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these proxies; nginx-least-conn takes part where load matters
    #[arg(long, value_delimiter = ',', default_value = "nginx,nginx-least-conn,haproxy,envoy,tidegate")]
    proxies: Vec<Kind>,
    /// Seconds of load in each cell
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Requests a second
    #[arg(long, default_value_t = 300)]
    rate: u32,
    /// Tidegate's selector, with parameters if need be
    #[arg(long, default_value = "peak_ewma")]
    selector: String,
    /// Write the report into this file (docs/comparison.md)
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// A remark for the report: what else the machine did
    #[arg(long, default_value = "")]
    remark: String,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(clap::Subcommand)]
enum Role {
    /// What a cell starts four times
    #[command(hide = true)]
    Backend(process_backend::Args),
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.role {
        Some(Role::Backend(args)) => process_backend::run(args).map_err(|e| e.to_string()),
        None => compare(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("compare: {why}");
            ExitCode::from(2)
        }
    }
}

fn compare(options: &Options) -> Result<(), String> {
    let begun = Instant::now();
    let faults = chosen(&options.only)?;
    let length = Duration::try_from_secs_f64(options.seconds).map_err(|e| format!("--seconds: {e}"))?;
    let setting = Setting { rate: options.rate, length, selector: options.selector.clone() };
    let (mut proxies, mut absent) = (Vec::new(), Vec::new());
    for &kind in &options.proxies {
        match kind.version() {
            Some(version) => proxies.push((kind, version)),
            None => absent.push(kind),
        }
    }
    for (kind, version) in &proxies {
        println!("{}: {version}", kind.name());
    }
    for kind in &absent {
        println!("{}: absent. {}", kind.name(), kind.how_to_get());
    }
    println!();
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for fault in faults {
        println!("{}: {}\n  {}", fault.name, fault.what, figures::HEADINGS);
        let present = proxies.iter().map(|(kind, _)| *kind).filter(|kind| fault.by_load || *kind != Kind::LeastConn);
        let present: Vec<_> = present.collect();
        let mut runs = vec![Vec::new(); present.len()];
        for (i, &kind) in (0..fault.rounds).flat_map(|_| present.iter().enumerate()) {
            let figures = match cell::run(kind, fault, &setting) {
                Ok(figures) => figures,
                // One that failed doesn't take the others with it.
                Err(why) => {
                    println!("  {:<18}failed: {why}", kind.name());
                    failed.push(format!("{} at {}: {why}", fault.name, kind.name()));
                    continue;
                }
            };
            println!("  {:<18}{figures}", kind.name());
            figures.samples.iter().for_each(|sample| println!("  {:<18}  {sample}", ""));
            runs[i].push(figures);
        }
        let cells = present.iter().zip(runs);
        let cells = cells.filter_map(|(&kind, runs)| Some((kind, Figures::median(runs)?))).collect();
        println!();
        rows.push(Row { fault, cells });
    }
    verdict::losses(&rows).iter().for_each(|loss| println!("loses in {loss}"));
    rows.iter()
        .filter_map(|row| Some((row.fault.name, verdict::missed(row)?)))
        .for_each(|(name, missed)| println!("misses a goal in {name}: {missed}"));
    if let Some(path) = &options.write {
        let document = Document {
            setting: &setting,
            proxies: &proxies,
            absent: &absent,
            rows: &rows,
            failed: &failed,
            remark: &options.remark,
            took: begun.elapsed(),
        };
        std::fs::write(path, document.to_string()).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Fault>, String> {
    if let Some(unknown) = names.iter().find(|name| !FAULTS.iter().any(|fault| fault.name == **name)) {
        let all: Vec<_> = FAULTS.iter().map(|fault| fault.name).collect();
        return Err(format!("there is no fault {unknown:?}, but {}", all.join(", ")));
    }
    Ok(FAULTS.iter().filter(|fault| names.is_empty() || names.iter().any(|name| *name == fault.name)).collect())
}
