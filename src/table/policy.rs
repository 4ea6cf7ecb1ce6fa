//! How an upstream is used: parsed once at the edge, stored as words, read back by the request path.

use super::layout::upstream as word;
use super::{Table, UpstreamId};
use crate::error::Error;
use crate::sync::Ordering;

/// How a peer is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Selector {
    /// Weighted smooth round robin.
    #[default]
    RoundRobin = 1,
    /// Weighted power of two choices on requests in flight.
    LeastRequest = 2,
    /// Weighted random choice.
    Random = 3,
    /// Least of latency × (requests in flight + 1) / weight.
    PeakEwma = 4,
    /// Consistent hashing of a key.
    Maglev = 5,
    /// Consistent hashing of a client's address.
    SourceHash = 6,
}

impl Selector {
    /// Its name in configurations and status output.
    pub fn name(self) -> &'static str {
        match self {
            Selector::RoundRobin => "round_robin",
            Selector::LeastRequest => "least_request",
            Selector::Random => "random",
            Selector::PeakEwma => "peak_ewma",
            Selector::Maglev => "maglev",
            Selector::SourceHash => "source_hash",
        }
    }

    /// By its number in the ABI.
    #[inline]
    pub fn from_number(n: u32) -> Option<Selector> {
        Some(match n {
            1 => Selector::RoundRobin,
            2 => Selector::LeastRequest,
            3 => Selector::Random,
            4 => Selector::PeakEwma,
            5 => Selector::Maglev,
            6 => Selector::SourceHash,
            _ => return None,
        })
    }

    /// Whether it compares requests in flight, so that the aggregates of all its peers are kept.
    #[inline]
    pub(crate) fn counts(self) -> bool {
        matches!(self, Selector::LeastRequest | Selector::PeakEwma)
    }

    /// Whether it compares estimates of latency.
    #[inline]
    pub(crate) fn needs_latency(self) -> bool {
        self == Selector::PeakEwma
    }

    /// Whether it looks a peer up by a hash.
    #[inline]
    pub(crate) fn is_hashed(self) -> bool {
        matches!(self, Selector::Maglev | Selector::SourceHash)
    }
}

/// How an upstream is used. `Policy::default()` is what `docs/` promises as defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// How a peer is chosen.
    pub selector: Selector,
    /// Ignore health while fewer peers than this percentage are eligible; 0: never.
    pub panic_percent: u32,
    /// Most attempts of a request; 0: every peer once.
    pub max_attempts: u32,
    /// Consecutive failures that eject.
    pub eject_failures: u32,
    /// Bits of `TIDEGATE_STATUS_*`.
    pub failure_statuses: u32,
    /// First ejection.
    pub eject_base_ns: u64,
    /// Longest ejection.
    pub eject_max_ns: u64,
    /// Successful trials before a peer is healthy again.
    pub half_open_successes: u32,
    /// Retries per million requests; `u32::MAX`: no budget.
    pub retry_budget_ppm: u32,
    /// Retries a second in any case.
    pub retry_budget_min_per_s: u32,
    /// First bound of the backoff.
    pub backoff_base_ns: u64,
    /// Its largest bound.
    pub backoff_max_ns: u64,
    /// Time for all attempts; 0: no limit.
    pub deadline_ns: u64,
    /// Most of a response that is held back; 0: none.
    pub hold_bytes: u32,
    /// Longest time that it is held back.
    pub hold_ns: u64,
    /// How fast an estimate of latency decays: to 1/e in this time.
    pub latency_decay_ns: u64,
    /// How long a peer that is new or well again takes to come to its full share; 0: at once.
    pub slow_start_ns: u64,
    /// Backups take a part of the traffic while the primaries' eligible weight, times this percentage, is below their
    /// weight; 0: only what no primary can take.
    pub overflow_percent: u32,
    /// No peer gets more than this percentage of its share of the requests in flight; 0: no bound.
    pub load_bound_percent: u32,
    /// The zone that this gateway is in; 0: none.
    pub zone: u8,
    /// Bits of `TIDEGATE_HEALTH_*`: detectors that are off, and whether they judge only.
    pub health: u32,
    /// A share of failures so many percent above the others' ejects.
    pub eject_rate_percent: u32,
    /// Requests that hang for less than this are none.
    pub eject_pending_ns: u64,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            selector: Selector::RoundRobin,
            panic_percent: 0,
            max_attempts: 0,
            eject_failures: 5,
            failure_statuses: 2 | 4 | 8,
            eject_base_ns: 1_000_000_000,
            eject_max_ns: 60_000_000_000,
            half_open_successes: 2,
            retry_budget_ppm: 200_000,
            retry_budget_min_per_s: 10,
            backoff_base_ns: 25_000_000,
            backoff_max_ns: 250_000_000,
            deadline_ns: 0,
            hold_bytes: 65_536,
            hold_ns: 50_000_000,
            latency_decay_ns: 1_000_000_000,
            slow_start_ns: 10_000_000_000,
            overflow_percent: 0,
            load_bound_percent: 0,
            zone: 0,
            health: 0,
            eject_rate_percent: 3,
            eject_pending_ns: 50_000_000,
        }
    }
}

/// More attempts than this a request never makes.
pub(crate) const MOST_ATTEMPTS: u32 = 16;
const ALL_STATUSES: u32 = 0x7f;
/// Streaks off, rates off, pending off, judge only.
const ALL_HEALTH: u32 = 0xf;
const NO_STATUS: u32 = 0x8000_0000;
const NO_HOLD: u32 = u32::MAX;
/// A host may have as much in memory for each request.
const MOST_HELD: u32 = 16 << 20;

impl Policy {
    /// Checks every bound.
    pub fn checked(mut self) -> Result<Policy, Error> {
        let at_most = |what: &str, value: u32, most: u32| match value {
            n if n <= most => Ok(()),
            n => Err(Error::invalid(format!("{what} is {n}: at most {most}"))),
        };
        at_most("panic_percent", self.panic_percent, 100)?;
        at_most("max_attempts", self.max_attempts, MOST_ATTEMPTS)?;
        at_most("eject_failures", self.eject_failures, super::state::MAX_STREAK)?;
        at_most("half_open_successes", self.half_open_successes, 7)?;
        if self.hold_bytes == NO_HOLD {
            self.hold_bytes = 0;
        }
        at_most("hold_bytes", self.hold_bytes, MOST_HELD)?;
        at_most("health", self.health, ALL_HEALTH)?;
        at_most("eject_rate_percent", self.eject_rate_percent, 100)?;
        at_most("overflow_percent", self.overflow_percent, 1000)?;
        at_most("load_bound_percent", self.load_bound_percent, 1000)?;
        for (what, percent) in
            [("overflow_percent", self.overflow_percent), ("load_bound_percent", self.load_bound_percent)]
        {
            if (1..100).contains(&percent) {
                return Err(Error::invalid(format!("{what} is {percent}: at least 100")));
            }
        }
        if !(10_000_000..=3_600_000_000_000).contains(&self.latency_decay_ns) {
            return Err(Error::invalid(format!("latency_decay_ns is {}: 10 ms to 1 h", self.latency_decay_ns)));
        }
        if self.failure_statuses == NO_STATUS {
            self.failure_statuses = 0;
        }
        if self.failure_statuses & !ALL_STATUSES != 0 {
            return Err(Error::invalid(format!(
                "failure_statuses is {:#x}: not TIDEGATE_STATUS_* bits",
                self.failure_statuses
            )));
        }
        if self.eject_base_ns > self.eject_max_ns {
            return Err(Error::invalid(format!(
                "eject_base_ns is {}: more than eject_max_ns, {}",
                self.eject_base_ns, self.eject_max_ns
            )));
        }
        if self.backoff_base_ns > self.backoff_max_ns {
            return Err(Error::invalid(format!(
                "backoff_base_ns is {}: more than backoff_max_ns, {}",
                self.backoff_base_ns, self.backoff_max_ns
            )));
        }
        Ok(self)
    }

    /// The part that a pick and a report read, in one word.
    fn packed(&self) -> u64 {
        self.selector as u64
            | u64::from(self.max_attempts) << 8
            | u64::from(self.eject_failures) << 16
            | u64::from(self.half_open_successes) << 24
            | u64::from(self.panic_percent) << 32
            | u64::from(self.failure_statuses) << 40
            | u64::from(self.overflow_percent != 0 || self.zone != 0) << 48
            | u64::from(self.load_bound_percent != 0) << 49
            | u64::from(self.health) << 50
            | u64::from(self.eject_rate_percent) << 54
    }
}

/// The packed part, read back. Any bits are some policy.
#[derive(Clone, Copy)]
pub(crate) struct PackedPolicy(u64);

impl PackedPolicy {
    #[inline]
    pub fn selector(self) -> Selector {
        Selector::from_number(self.0 as u32 & 0xff).unwrap_or_default()
    }

    /// `selector().needs_latency()`, in fewer steps.
    #[inline(always)]
    pub fn selector_is_measured(self) -> bool {
        self.0 as u8 == Selector::PeakEwma as u8
    }

    /// Whether traffic is spread over several pools at once.
    #[inline]
    pub fn is_pooled(self) -> bool {
        self.0 >> 48 & 1 != 0
    }

    /// Whether the load of each peer is bounded by its share.
    #[inline]
    pub fn is_bounded(self) -> bool {
        self.0 >> 49 & 1 != 0
    }

    /// Whether the aggregates of all peers are kept.
    #[inline]
    pub fn counts(self) -> bool {
        self.selector().counts() || self.is_bounded()
    }

    pub fn max_attempts(self) -> u32 {
        (self.0 >> 8 & 0xff) as u32
    }

    pub fn eject_failures(self) -> u32 {
        ((self.0 >> 16 & 0xff) as u32).clamp(1, super::state::MAX_STREAK)
    }

    /// Whether failures in a row eject, and refused connections.
    pub fn detects_streaks(self) -> bool {
        self.0 >> 50 & 1 == 0
    }

    /// Whether a share of failures above the others' ejects.
    pub fn detects_rates(self) -> bool {
        self.0 >> 51 & 1 == 0
    }

    /// Whether requests that hang eject.
    pub fn detects_pending(self) -> bool {
        self.0 >> 52 & 1 == 0
    }

    /// Whether nobody is ejected, only told of.
    pub fn judges_only(self) -> bool {
        self.0 >> 53 & 1 != 0
    }

    pub fn eject_rate_percent(self) -> u32 {
        (self.0 >> 54 & 0x7f) as u32
    }

    pub fn half_open_successes(self) -> u32 {
        ((self.0 >> 24 & 0xff) as u32).clamp(1, 7)
    }

    #[inline]
    pub fn panic_percent(self) -> u32 {
        (self.0 >> 32 & 0xff) as u32
    }

    /// Whether this status of a response counts as a failure.
    #[inline]
    pub fn is_failure(self, status: u16) -> bool {
        let bit = match status {
            500 => 1,
            502 => 2,
            503 => 4,
            504 => 8,
            429 => 16,
            403 => 32,
            404 => 64,
            _ => 0,
        };
        (self.0 >> 40) & bit != 0
    }
}

/// How traffic is spread over the pools of an upstream.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub overflow_percent: u32,
    pub load_bound_percent: u32,
    pub zone: u8,
}

impl Table {
    pub(super) fn write_policy(&self, id: UpstreamId, policy: &Policy) {
        let set = |w: usize, value: u64| {
            if let Some(word) = self.upstream_word(id, w) {
                word.store(value, Ordering::Relaxed);
            }
        };
        set(word::POLICY, policy.packed());
        set(word::DEADLINE, policy.deadline_ns);
        set(word::EJECT_BASE, policy.eject_base_ns);
        set(word::EJECT_MAX, policy.eject_max_ns);
        set(word::BUDGET_POLICY, u64::from(policy.retry_budget_ppm) | u64::from(policy.retry_budget_min_per_s) << 32);
        set(word::BACKOFF_BASE, policy.backoff_base_ns);
        set(word::BACKOFF_MAX, policy.backoff_max_ns);
        set(word::HOLD_BYTES, u64::from(policy.hold_bytes));
        set(word::HOLD, policy.hold_ns);
        set(word::DECAY, super::latency::rate(policy.latency_decay_ns));
        set(word::SLOW_START, policy.slow_start_ns);
        self.set_pending_ns(id, policy.eject_pending_ns);
        let percents = u64::from(policy.overflow_percent) | u64::from(policy.load_bound_percent) << 16;
        set(word::SPREAD, percents | u64::from(policy.zone) << 32);
    }

    /// How traffic is spread over the pools.
    #[inline]
    pub(crate) fn spread(&self, id: UpstreamId) -> Spread {
        let value = self.upstream_value(id, word::SPREAD);
        Spread {
            overflow_percent: value as u32 & 0xffff,
            load_bound_percent: (value >> 16) as u32 & 0xffff,
            zone: (value >> 32) as u8,
        }
    }

    /// How long a peer takes to come to its full share; 0: it has it at once.
    #[inline]
    pub(crate) fn slow_start_ns(&self, id: UpstreamId) -> u64 {
        self.upstream_value(id, word::SLOW_START)
    }

    /// The packed part of an upstream's policy.
    #[inline]
    pub(crate) fn packed_policy(&self, id: UpstreamId) -> PackedPolicy {
        PackedPolicy(self.upstream_value(id, word::POLICY))
    }

    pub(crate) fn deadline_ns(&self, id: UpstreamId) -> u64 {
        self.upstream_value(id, word::DEADLINE)
    }

    /// First and longest ejection.
    pub(crate) fn ejection_ns(&self, id: UpstreamId) -> (u64, u64) {
        (self.upstream_value(id, word::EJECT_BASE), self.upstream_value(id, word::EJECT_MAX))
    }

    /// First and largest bound of the backoff.
    pub(crate) fn backoff_ns(&self, id: UpstreamId) -> (u64, u64) {
        (self.upstream_value(id, word::BACKOFF_BASE), self.upstream_value(id, word::BACKOFF_MAX))
    }

    /// Most bytes and longest time of a hold-back.
    pub(crate) fn hold(&self, id: UpstreamId) -> (u32, u64) {
        (self.upstream_value(id, word::HOLD_BYTES) as u32, self.upstream_value(id, word::HOLD))
    }

    /// Retries per million requests, and per second in any case.
    pub(crate) fn budget_policy(&self, id: UpstreamId) -> (u32, u32) {
        let value = self.upstream_value(id, word::BUDGET_POLICY);
        (value as u32, (value >> 32) as u32)
    }
}
