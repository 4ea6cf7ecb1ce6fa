//! What the module costs: CPU time a request of nginx with Tidegate and of nginx alone, on this machine, side by side.
//!
//! Two gateways of one worker each stand before the same backends, with the same configuration but for the balancer.
//! They are loaded in turn, A B, B A, A B, …, by a closed loop over a few keep-alive connections, each run a fixed
//! number of requests; every response is checked. What counts is the time that the gateway's worker was on a CPU, so
//! neighbours on the machine disturb it less than they disturb a clock; each pair gives one ratio, and the median of
//! those is the result. The first pair warms up and is left out.
//!
//! Measured is the costly case for a ratio: short GETs over warm connections, no TLS, no log, no disk. Exit status 0
//! whether or not the goal is met; 1 if nothing could be measured.

mod cpu;
mod figures;
mod stage;

use std::process::ExitCode;

use clap::Parser;

use figures::{Pair, Spread};
use stage::{Side, Stage};

/// CPU a request of nginx with Tidegate's module beside stock nginx
#[derive(Parser)]
struct Options {
    /// round_robin (beside nginx's own) or least_request (beside nginx's `random two least_conn`)
    #[arg(long, default_value = "round_robin")]
    selector: String,
    /// Pairs that count
    #[arg(long, default_value_t = 15)]
    pairs: usize,
    /// Requests of a run
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// The client's connections, each with one request under way
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Backends
    #[arg(long, default_value_t = 4)]
    backends: usize,
}

fn main() -> ExitCode {
    match measure(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench-nginx: {why}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<(), String> {
    let stage = Stage::set(&options.selector, options.backends)?;
    println!(
        "{}: {} requests a run over {} connections, {} backends; gateway {}",
        options.selector, options.requests, options.connections, options.backends, stage.placement
    );
    println!("CPU of the gateway's worker, us a request\n\n pair    stock  tidegate   ratio");
    let mut pairs = Vec::new();
    for i in 0..=options.pairs {
        let run = |side| stage.run(side, options.connections, options.requests);
        let pair = if i % 2 == 0 {
            let stock_us = run(Side::Stock)?;
            Pair { stock_us, tidegate_us: run(Side::Tidegate)? }
        } else {
            let tidegate_us = run(Side::Tidegate)?;
            Pair { stock_us: run(Side::Stock)?, tidegate_us }
        };
        let note = if i == 0 { "  (warm-up, not counted)" } else { "" };
        println!("{i:5} {:8.2} {:9.2} {:7.3}{note}", pair.stock_us, pair.tidegate_us, pair.ratio());
        if i > 0 {
            pairs.push(pair);
        }
    }
    stage.close()?;

    let ratio = Spread::of(pairs.iter().map(Pair::ratio)).ok_or("no pair was asked for")?;
    let median = |of: fn(&Pair) -> f64| Spread::of(pairs.iter().map(of)).map_or(0.0, |spread| spread.median);
    let (stock, tidegate) = (median(|pair| pair.stock_us), median(|pair| pair.tidegate_us));
    println!("\nmedians: stock {stock:.2} us, tidegate {tidegate:.2} us a request");
    println!("ratio:   min {:.3}, median {:.3}, max {:.3} of {} pairs", ratio.min, ratio.median, ratio.max, pairs.len());
    let verdict = if ratio.median <= GOAL { "PASS" } else { "OVER" };
    println!("{verdict}: the goal is a median ratio of at most {GOAL:.2}");
    Ok(())
}

/// What the module may cost.
const GOAL: f64 = 1.05;
