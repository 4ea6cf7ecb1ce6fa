//! What a run showed, as numbers: the JSON that is written is this struct.

use crate::pool::Peer;
use crate::scenario::Scenario;
use crate::tally::{Point, Tally};
use crate::watch::{Detection, HealthCounts, Watch};
use serde::Serialize;
use std::collections::BTreeMap;
use tidegate::cause::Cause;

/// One run of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// The scenario.
    pub name: String,
    /// By its name in the library.
    pub selector: String,
    /// Everything random followed from it.
    pub seed: u64,
    /// Peers.
    pub peers: u32,
    /// Gateways.
    pub gateways: u32,
    /// Requests counted: those that began after the warm-up.
    pub requests: u64,
    /// Attempts that they made.
    pub attempts: u64,
    /// Requests that were not answered well.
    pub errors: u64,
    /// By cause.
    pub errors_by_cause: BTreeMap<String, u64>,
    /// Latency of the requests that went well, in milliseconds.
    pub latency_ms: Latency,
    /// Each peer's share of the attempts.
    pub shares: Vec<f64>,
    /// The busiest peer's attempts over the mean.
    pub imbalance: f64,
    /// The mean share of the peers' places that was busy.
    pub utilisation: f64,
    /// What the core did about each fault.
    pub detections: Vec<Detection>,
    /// Over the whole run.
    pub health: HealthCounts,
    /// When counting began, in seconds from the start.
    pub warm_up_s: f64,
    /// The course over time, if it was asked for.
    pub series: Vec<Point>,
    /// Of this machine; differs from run to run, and is the only thing that does.
    pub wall_s: f64,
}

/// Percentiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Latency {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Run {
    pub(crate) fn of(
        scenario: &Scenario,
        selector: &str,
        peers: &[Peer],
        mut tally: Tally,
        watch: Watch,
        wall_s: f64,
    ) -> Run {
        let attempts = peers.iter().map(|p| p.attempts).sum::<u64>();
        let most = peers.iter().map(|p| p.attempts).max().unwrap_or(0);
        let places = peers.len() as f64 * f64::from(scenario.pool.concurrency);
        let counted_ns = (scenario.duration.0 - scenario.warm_up.0) as f64;
        let share = |n: u64, of: u64| if of == 0 { 0.0 } else { n as f64 / of as f64 };
        let (detections, health) = watch.finish();
        let name = |(&cause, &n): (&u32, &u64)| (cause_name(cause), n);
        Run {
            name: scenario.name.clone(),
            selector: selector.to_owned(),
            seed: scenario.seed,
            peers: scenario.pool.peers,
            gateways: scenario.pool.gateways,
            requests: tally.requests,
            attempts: tally.attempts,
            errors: tally.errors.values().sum(),
            errors_by_cause: tally.errors.iter().map(name).collect(),
            latency_ms: Latency {
                mean: tally.latency_us.mean() / 1e3,
                p50: tally.quantile_ms(0.5),
                p90: tally.quantile_ms(0.9),
                p99: tally.quantile_ms(0.99),
                p999: tally.quantile_ms(0.999),
                max: tally.latency_us.max() as f64 / 1e3,
            },
            shares: peers.iter().map(|p| share(p.attempts, attempts)).collect(),
            imbalance: share(most, attempts) * peers.len() as f64,
            utilisation: peers.iter().map(|p| p.busy_ns).sum::<u64>() as f64 / counted_ns / places,
            detections,
            health,
            warm_up_s: scenario.warm_up.seconds(),
            series: tally.series(),
            wall_s,
        }
    }

    /// Errors as a share of the requests.
    pub fn error_share(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.errors as f64 / self.requests as f64 }
    }

    /// Attempts a request.
    pub fn attempts_per_request(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.attempts as f64 / self.requests as f64 }
    }

    /// The same but for the time that it took on this machine: equal for equal seeds.
    pub fn facts(&self) -> String {
        serde_json::to_string(&Run { wall_s: 0.0, ..self.clone() }).unwrap_or_default()
    }
}

fn cause_name(cause: u32) -> String {
    Cause::from_number(cause).map_or("unknown", Cause::name).to_owned()
}
