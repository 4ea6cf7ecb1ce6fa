//! `tidegate-sim`: scenarios from files, selectors beside each other, and the suite.

use clap::{Parser, Subcommand};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tidegate_simulator::result::Run;
use tidegate_simulator::scenario::Scenario;
use tidegate_simulator::{engine, host, jobs, plot, report, suite};

/// Tidegate's core in virtual time: what a selector and the health detectors make of traffic and faults.
#[derive(Parser)]
#[command(name = "tidegate-sim")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run scenarios, each with its own selector
    Run {
        /// TOML files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Instead of the scenario's
        #[arg(long)]
        seed: Option<u64>,
        /// Instead of the scenario's; `list` names them
        #[arg(long)]
        selector: Option<String>,
        /// Where JSON and SVG go
        #[arg(long, default_value = "build/sim")]
        out: PathBuf,
    },
    /// Run scenarios with every selector, and lay them beside each other
    Compare {
        /// TOML files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Instead of the scenario's
        #[arg(long)]
        seed: Option<u64>,
        /// Only these
        #[arg(long, value_delimiter = ',')]
        selectors: Vec<String>,
        /// Where JSON and SVG go
        #[arg(long, default_value = "build/sim")]
        out: PathBuf,
    },
    /// The suite: cells of load and service time, a black hole, a grid of faults
    Suite {
        /// The seed of everything
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Only these selectors
        #[arg(long, value_delimiter = ',')]
        selectors: Vec<String>,
        /// A part of the runs in a tenth of the time
        #[arg(long)]
        quick: bool,
        /// Where JSON and SVG go
        #[arg(long, default_value = "build/sim")]
        out: PathBuf,
    },
    /// List the selectors of the library, and the scenarios in a directory
    List {
        /// Where to look
        #[arg(default_value = "simulator/scenarios")]
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { files, seed, selector, out } => run(&files, seed, selector.as_deref(), &out),
        Command::Compare { files, seed, selectors, out } => compare(&files, seed, &selectors, &out),
        Command::Suite { seed, selectors, quick, out } => whole_suite(seed, &selectors, quick, &out),
        Command::List { dir } => list(&dir),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), Box<dyn Error>>;
type Selectors = Vec<(u32, String)>;

fn read(files: &[PathBuf], seed: Option<u64>) -> Result<Vec<Scenario>, Box<dyn Error>> {
    let mut scenarios = vec![];
    for file in files {
        let mut scenario = Scenario::read(file)?;
        scenario.seed = seed.unwrap_or(scenario.seed);
        scenarios.push(scenario);
    }
    Ok(scenarios)
}

/// One selector by its name, or the library's default, which is the first.
fn find(known: &Selectors, name: Option<&str>) -> Result<(u32, String), Box<dyn Error>> {
    let names: Vec<&str> = known.iter().skip(1).map(|(_, name)| name.as_str()).collect();
    let found = known.iter().find(|(_, known)| name.is_none_or(|name| name == known)).cloned();
    let name = name.unwrap_or("");
    found.ok_or_else(|| format!("no selector \"{name}\": the library has {}", names.join(", ")).into())
}

fn chosen(names: &[String]) -> Result<Selectors, Box<dyn Error>> {
    let known = host::selectors()?;
    if names.is_empty() {
        return Ok(known.into_iter().skip(1).collect());
    }
    names.iter().map(|name| find(&known, Some(name))).collect()
}

fn run(files: &[PathBuf], seed: Option<u64>, selector: Option<&str>, out: &Path) -> Done {
    let (scenarios, known) = (read(files, seed)?, host::selectors()?);
    let mut pairs = vec![];
    for scenario in &scenarios {
        pairs.push((scenario, find(&known, selector.or(scenario.selector.as_deref()))?));
    }
    let runs = all(&pairs)?;
    report::say(format_args!("{}", report::summary(&runs)));
    for run in &runs {
        report::say(format_args!("{}, {}, seed {}", run.name, run.selector, run.seed));
        report::say(format_args!("{}", report::details(run)));
        wrote(&report::write_json(out, &run.name, run)?);
        wrote(&plot::course(out, run)?);
    }
    report::say(format_args!("{}", effort(&runs)));
    Ok(())
}

fn compare(files: &[PathBuf], seed: Option<u64>, selectors: &[String], out: &Path) -> Done {
    let (scenarios, chosen) = (read(files, seed)?, chosen(selectors)?);
    for scenario in &scenarios {
        let pairs: Vec<_> = chosen.iter().map(|selector| (scenario, selector.clone())).collect();
        let runs = all(&pairs)?;
        report::say(format_args!("{}", report::summary(&runs)));
        let name = format!("{}-compare", scenario.name);
        wrote(&report::write_json(out, &name, &runs)?);
        wrote(&plot::compare(out, &name, &runs)?);
        report::say(format_args!("{}", effort(&runs)));
    }
    Ok(())
}

fn whole_suite(seed: u64, selectors: &[String], quick: bool, out: &Path) -> Done {
    suite::run(seed, &chosen(selectors)?, quick, out)
}

fn list(dir: &Path) -> Done {
    let known = host::selectors()?;
    for (number, name) in known.iter().skip(1) {
        let default = if *name == known[0].1 { " (default)" } else { "" };
        report::say(format_args!("selector {number}  {name}{default}"));
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(|e| format!("{}: {e}", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    for file in files {
        report::say(format_args!("{}  {}", file.display(), Scenario::read(&file)?.about));
    }
    Ok(())
}

fn all(pairs: &[(&Scenario, (u32, String))]) -> Result<Vec<Run>, Box<dyn Error>> {
    let runs = jobs::parallel(pairs, |(scenario, selector)| engine::run(scenario, (selector.0, &selector.1), true));
    Ok(runs.into_iter().collect::<Result<_, _>>()?)
}

fn effort(runs: &[Run]) -> String {
    let requests: u64 = runs.iter().map(|run| run.requests).sum();
    let wall: f64 = runs.iter().map(|run| run.wall_s).sum();
    format!("{requests} requests in {wall:.2} s of one core: {:.2} million a second", requests as f64 / wall / 1e6)
}

fn wrote(path: &Path) {
    report::say(format_args!("wrote {}", path.display()));
}
