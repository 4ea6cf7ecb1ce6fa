//! What the module costs: CPU time a request of nginx with Tidegate and of nginx alone, on this machine, side by side.
//!
//! Two gateways of one worker each stand before the same backends, with the same configuration but for the balancer.
//! A closed loop over a few keep-alive connections asks a fixed number of requests of each, every response checked; a
//! pair of runs takes turns of some milliseconds, A B, B A, A B, …, so that whatever else the machine does falls on
//! both. What counts is the time that the gateway's worker was on a CPU. Each pair gives one ratio, and the median of
//! those is the result. The first pair warms up and is left out.
//!
//! Measured is the costly case for a ratio: short GETs over warm connections, no TLS, no log, no disk. Exit status 0
//! whether or not the goal is met; 1 if nothing could be measured.

mod cpu;
mod figures;
mod stage;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Parser;

use figures::{Pair, Spread};
use stage::{Side, Stage};

/// CPU a request of nginx with Tidegate's module beside stock nginx
#[derive(Parser)]
struct Options {
    /// round_robin (beside nginx's own), least_request (beside nginx's `random two least_conn`), or none: the
    /// module is loaded but balances nothing, which shows the error of the measurement
    #[arg(long, default_value = "round_robin")]
    selector: String,
    /// Pairs that count
    #[arg(long, default_value = "15")]
    pairs: NonZeroUsize,
    /// Requests to each gateway in a pair of runs
    #[arg(long, default_value = "20000")]
    requests: NonZeroUsize,
    /// The client's connections, each with one request under way
    #[arg(long, default_value = "16")]
    connections: NonZeroUsize,
    /// Bytes of a response's body
    #[arg(long, default_value = "1024")]
    body: usize,
    /// Backends
    #[arg(long, default_value = "4")]
    backends: NonZeroUsize,
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
    let stage = Stage::set(&options.selector, options.backends.get(), options.body)?;
    println!(
        "{}: {} requests to each in a pair, over {} connections, {} backends, {} bytes of body; gateway {}",
        options.selector, options.requests, options.connections, options.backends, options.body, stage.placement
    );
    println!("CPU of the gateway's worker, us a request\n\n pair    stock  tidegate   ratio");
    let mut pairs = Vec::new();
    for i in 0..=options.pairs.get() {
        let first = if i % 2 == 0 { Side::Stock } else { Side::Tidegate };
        let pair = stage.pair(first, options.connections.get(), options.requests.get())?;
        let note = if i == 0 { "  (warm-up, not counted)" } else { "" };
        println!("{i:5} {:8.2} {:9.2} {:7.3}{note}", pair.stock_us, pair.tidegate_us, pair.ratio());
        if i > 0 {
            pairs.push(pair);
        }
    }
    stage.close()?;

    let ratio = Spread::of(pairs.iter().map(Pair::ratio)).ok_or("no pair was asked for")?;
    let median_of = |of: fn(&Pair) -> f64| Spread::of(pairs.iter().map(of)).map_or(0.0, |spread| spread.median);
    let (stock, tidegate) = (median_of(|pair| pair.stock_us), median_of(|pair| pair.tidegate_us));
    println!("\nmedians: stock {stock:.2} us, tidegate {tidegate:.2} us a request");
    let Spread { min, median, max } = ratio;
    println!("ratio:   min {min:.3}, median {median:.3}, max {max:.3} of {} pairs", pairs.len());
    let verdict = if median <= GOAL { "PASS" } else { "OVER" };
    println!("{verdict}: the goal is a median ratio of at most {GOAL:.2}");
    Ok(())
}

/// What the module may cost.
const GOAL: f64 = 1.05;
