//! One peer becomes ten times slower, behind a real nginx under a fixed rate: what clients see before and after.
//!
//! For each selector in turn: nginx with two workers before some backends that each take a fixed time; load without a
//! fault; then one backend takes ten times as long. The account begins `settle` after that. Printed are median, 99th
//! percentile and the slow peer's part of the picks; the goal, which only the selectors that heed latency can meet, is
//! a p99 within 1.5 of that without the fault. Times are wall-clock: run it on a machine that does nothing else. Exit
//! status 0 whether or not the goal is met; 1 if nothing could be measured.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::Parser;
use tidegate_testbed::{Backend, Behaviour, Config, Executions, Load, Nginx, Report, Scratch};

/// p99 behind nginx with one slow peer, by selector
#[derive(Parser)]
struct Options {
    /// Selectors, in this order
    #[arg(default_values = ["peak_ewma", "least_request", "round_robin"])]
    selectors: Vec<String>,
    /// Requests a second
    #[arg(long, default_value = "300")]
    rate: u32,
    /// Backends
    #[arg(long, default_value = "4")]
    backends: usize,
    /// How long a backend takes, in milliseconds
    #[arg(long, default_value = "20")]
    service_ms: u64,
    /// Seconds of each account
    #[arg(long, default_value = "8")]
    seconds: u64,
    /// Seconds between the fault and its account
    #[arg(long, default_value = "2")]
    settle: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    println!(
        "{} backends of {} ms, {} requests a second; one of them takes {} ms; {} s each, from {} s after the fault on\n",
        options.backends,
        options.service_ms,
        options.rate,
        options.service_ms * SLOWER,
        options.seconds,
        options.settle
    );
    println!(
        "{:<14} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7}  slow peer's part",
        "selector", "p50 ms", "p99 ms", "p50 after", "p99 after", "ratio", "failed"
    );
    for selector in &options.selectors {
        if let Err(why) = measure(&options, selector) {
            eprintln!("bench-slow: {selector}: {why}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn measure(options: &Options, selector: &str) -> Result<(), String> {
    let scratch = Scratch::new("bench-slow");
    let executions = Executions::open(scratch.path().join("executions")).map_err(|e| e.to_string())?.into();
    let mut backends = Vec::new();
    for i in 0..options.backends {
        let mut backend = Backend::start(&format!("b{i}"), 0, &executions).map_err(|e| e.to_string())?;
        backend.set(slow(options.service_ms)).map_err(|e| e.to_string())?;
        backends.push(backend);
    }
    let servers: Vec<_> = backends.iter().map(|b| b.addr().to_string()).collect();
    let config = Config::tidegate()
        .upstream("app", &format!("tidegate {selector};"), &servers, "keepalive 64;")
        .http("proxy_http_version 1.1;\nproxy_set_header Connection \"\";")
        .server("location / { proxy_pass http://app; }");
    let nginx = Nginx::start(&config)?;
    let duration = Duration::from_secs(WARM_UP_S + 2 * options.seconds + options.settle + 1);
    let load = Load { rate: options.rate, post_percent: 0, duration, ..Load::new(nginx.addr()) };
    let running = load.start();
    sleep(Duration::from_secs(WARM_UP_S));
    let before = running.next_interval();
    sleep(Duration::from_secs(options.seconds));
    running.next_interval();
    backends[0].set(slow(options.service_ms * SLOWER)).map_err(|e| e.to_string())?;
    sleep(Duration::from_secs(options.settle));
    let served = || backends.iter().map(Backend::requests).collect::<Vec<_>>();
    let (start, after) = (served(), running.next_interval());
    sleep(Duration::from_secs(options.seconds));
    running.next_interval();
    let end = served();
    let (before, after) = (running.settled(before), running.settled(after));
    running.stop();
    running.finish();

    let ms = |report: &Report, percent: f64| report.percentile(percent).as_secs_f64() * 1000.0;
    let picks: Vec<u64> = start.iter().zip(&end).map(|(a, b)| b - a).collect();
    let ratio = ms(&after, 99.0) / ms(&before, 99.0);
    let failed = [&before, &after].map(|r| r.done() - r.get.good).iter().sum::<u64>();
    println!(
        "{selector:<14} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {ratio:>7.2} {failed:>7}  {} of {} ({:.2} %)  {}",
        ms(&before, 50.0),
        ms(&before, 99.0),
        ms(&after, 50.0),
        ms(&after, 99.0),
        picks[0],
        picks.iter().sum::<u64>(),
        100.0 * picks[0] as f64 / picks.iter().sum::<u64>().max(1) as f64,
        if ratio <= GOAL { "PASS" } else { "OVER" }
    );
    Ok(())
}

fn slow(ms: u64) -> Behaviour {
    Behaviour::Slow(Duration::from_millis(ms))
}

/// How much longer the slow peer takes.
const SLOWER: u64 = 10;
const WARM_UP_S: u64 = 2;
/// The p99 after the fault, in those before it.
const GOAL: f64 = 1.5;
