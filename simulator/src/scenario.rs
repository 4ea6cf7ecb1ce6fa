//! A scenario: pool, traffic, policy and faults, read from TOML.
//!
//! Every field has a default but what makes the scenario what it is. A field that nobody knows, a value out of its range
//! and a parameter that its kind does not take are refused, with the line where the reader knows it. What the fields
//! mean stands here; `docs/tuning.md` shows how to use them.

use crate::fault::Fault;
use crate::timeline::Deploy;
use crate::traffic::{Arrivals, Service};
use crate::units::{Nanos, Positive, Share};
use serde::Deserialize;
use std::fmt;
use std::path::Path;
use tidegate::ffi::upstream::tidegate_upstream_options;

/// One scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name in tables and files; default: the file's.
    #[serde(default)]
    pub name: String,
    /// One line on what it shows.
    #[serde(default)]
    pub about: String,
    /// All that is random follows from it.
    #[serde(default = "one")]
    pub seed: u64,
    /// How long clients keep coming.
    pub duration: Nanos,
    /// Requests that begin before are not counted.
    #[serde(default)]
    pub warm_up: Nanos,
    /// A selector by its name in the library; default: the library's.
    pub selector: Option<String>,
    /// Peers and gateways.
    pub pool: Pool,
    /// When clients come.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// How long a peer takes.
    #[serde(default)]
    pub service: Service,
    /// What clients and gateways put up with.
    #[serde(default)]
    pub requests: Requests,
    /// How the upstream is used; what is not set is the library's default.
    #[serde(default)]
    pub policy: Policy,
    /// Neighbours that slow peers down for a while, at random times.
    pub antagonists: Option<Antagonists>,
    /// What breaks.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Fault>,
    /// A rolling deploy.
    pub deploy: Option<Deploy>,
}

/// Peers and gateways.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// 1 to 5,000.
    pub peers: u32,
    /// Requests that a peer works on at a time; others queue, first come first served.
    #[serde(default = "eight")]
    pub concurrency: u32,
    /// Weights, repeated as often as needed; capacity does not follow them.
    #[serde(default)]
    pub weights: Vec<u32>,
    /// Requests in flight that the library may send to one peer; 0: no limit.
    #[serde(default)]
    pub max_in_flight: u32,
    /// 1 to 50, each one worker; a client goes to any of them.
    #[serde(default = "one_gateway")]
    pub gateways: u32,
    /// Whether they share a table.
    #[serde(default = "yes")]
    pub shared: bool,
    /// Network time of an attempt, there and back.
    #[serde(default = "round_trip")]
    pub round_trip: Nanos,
}

/// What clients and gateways put up with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Requests {
    /// POSTs among the requests: they are not repeated once sent. The rest are GETs.
    pub posts: Share,
    /// The gateway's time-out for a connection.
    pub connect_timeout: Nanos,
    /// The gateway's time-out for an attempt.
    pub attempt_timeout: Nanos,
    /// No retry starts later than this after the request; unset: the policy's.
    pub deadline: Option<Nanos>,
    /// The client leaves after this; unset: never.
    pub patience: Option<Nanos>,
    /// The gateway keeps a response until it is whole, so that one that breaks off can be fetched elsewhere.
    pub hold_back: bool,
}

impl Default for Requests {
    fn default() -> Requests {
        Requests {
            posts: Share(0.0),
            connect_timeout: Nanos::from_s(1),
            attempt_timeout: Nanos::from_s(2),
            deadline: None,
            patience: None,
            hold_back: false,
        }
    }
}

/// The fields of `tidegate_upstream_options`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Most attempts of a request.
    pub max_attempts: u32,
    /// Panic below this percentage of eligible peers; 0: refuse instead.
    pub panic_percent: u32,
    /// Consecutive failures that eject.
    pub eject_failures: u32,
    /// Statuses that count as failures.
    pub failure_statuses: Vec<u32>,
    /// First ejection.
    pub eject_base: Nanos,
    /// Longest ejection.
    pub eject_max: Nanos,
    /// Trials that must succeed.
    pub half_open_successes: u32,
    /// Retries as a share of the requests.
    pub retry_budget: Option<Share>,
    /// Retries a second in any case.
    pub retry_budget_min_per_s: u32,
    /// First bound of the backoff.
    pub backoff_base: Nanos,
    /// Its largest bound.
    pub backoff_max: Nanos,
    /// Time for all attempts.
    pub deadline: Nanos,
}

impl Policy {
    /// Sets what is set.
    pub(crate) fn write(&self, options: &mut tidegate_upstream_options) {
        use tidegate::ffi::upstream as abi;
        options.max_attempts = self.max_attempts;
        if self.panic_percent != 0 {
            (options.panic, options.panic_percent) = (abi::TIDEGATE_PANIC_SPREAD, self.panic_percent);
        }
        options.eject_failures = self.eject_failures;
        options.failure_statuses = self.failure_statuses.iter().filter_map(|&s| status_bit(s)).sum();
        (options.eject_base_ns, options.eject_max_ns) = (self.eject_base.0, self.eject_max.0);
        options.half_open_successes = self.half_open_successes;
        // 0 would be the default; one in a million is as good as none.
        options.retry_budget_ppm = self.retry_budget.map_or(0, |s| ((s.0 * 1e6) as u32).max(1));
        options.retry_budget_min_per_s = self.retry_budget_min_per_s;
        (options.backoff_base_ns, options.backoff_max_ns) = (self.backoff_base.0, self.backoff_max.0);
        options.deadline_ns = self.deadline.0;
    }
}

fn status_bit(status: u32) -> Option<u32> {
    [500, 502, 503, 504, 429, 403, 404].iter().position(|&s| s == status).map(|bit| 1 << bit)
}

/// Neighbours on the peers' machines: each of these peers is slowed again and again.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Antagonists {
    /// Peers that have such neighbours.
    pub share: Share,
    /// Mean time between two slowdowns of a peer.
    pub every: Nanos,
    /// Mean length of one.
    pub lasts: Nanos,
    /// The slowest: a slowdown is by a factor between 1 and this, evenly spread.
    pub factor: Positive,
}

/// Why a scenario is refused.
#[derive(Debug)]
pub struct Wrong(String);

impl Wrong {
    pub(crate) fn new(text: impl Into<String>) -> Wrong {
        Wrong(text.into())
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl Scenario {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Scenario, Wrong> {
        let place = path.display();
        let text = std::fs::read_to_string(path).map_err(|e| Wrong(format!("{place}: {e}")))?;
        let mut scenario = Scenario::parse(&text).map_err(|e| Wrong(format!("{place}: {e}")))?;
        if scenario.name.is_empty() {
            scenario.name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        }
        Ok(scenario)
    }

    /// Reads and checks a text.
    pub fn parse(text: &str) -> Result<Scenario, Wrong> {
        let scenario: Scenario = toml::from_str(text).map_err(|e| Wrong(e.to_string()))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// What the types can't say.
    pub fn check(&self) -> Result<(), Wrong> {
        let within = |what: &str, value: u64, least: u64, most: u64| match value {
            v if (least..=most).contains(&v) => Ok(()),
            v => Err(Wrong(format!("{what} is {v}: {least} to {most}"))),
        };
        within("pool.peers", self.pool.peers.into(), 1, 5000)?;
        within("pool.gateways", self.pool.gateways.into(), 1, 50)?;
        within("pool.concurrency", self.pool.concurrency.into(), 1, 100_000)?;
        for &weight in &self.pool.weights {
            within("a weight in pool.weights", weight.into(), 1, 65535)?;
        }
        for &status in &self.policy.failure_statuses {
            if status_bit(status).is_none() {
                return Err(Wrong(format!(
                    "policy.failure_statuses has {status}: 500, 502, 503, 504, 429, 403 and 404 are known"
                )));
            }
        }
        if self.warm_up >= self.duration {
            return Err(Wrong("warm_up is not shorter than duration: nothing would be counted".into()));
        }
        if self.requests.attempt_timeout.0 == 0 || self.requests.connect_timeout.0 == 0 {
            return Err(Wrong("requests: a time-out of 0 would fail every attempt".into()));
        }
        self.arrivals.check()?;
        self.service.check()?;
        for (i, fault) in self.faults.iter().enumerate() {
            fault.check(self.pool.peers).map_err(|e| Wrong(format!("fault {} ({}): {e}", i + 1, fault.kind.name())))?;
        }
        self.deploy.as_ref().map_or(Ok(()), |d| d.check(self.pool.peers))
    }

    /// Requests a second on average, before any burst: as given, or from the load that the peers are to carry.
    pub fn rate(&self) -> f64 {
        let capacity = f64::from(self.pool.peers) * f64::from(self.pool.concurrency) / self.service.mean_s();
        self.arrivals.rate.map_or_else(|| self.arrivals.load.0 * capacity, |rate| rate.0)
    }
}

fn one() -> u64 {
    1
}

fn eight() -> u32 {
    8
}

fn one_gateway() -> u32 {
    1
}

fn yes() -> bool {
    true
}

fn round_trip() -> Nanos {
    Nanos(200_000)
}
