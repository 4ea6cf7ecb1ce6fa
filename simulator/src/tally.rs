//! Counts over the requests of a run: latencies, errors by cause, attempts, and their course over time.
//!
//! Latency is the client's: from its arrival to the end of its response, retries included. Only requests that went well
//! enter the percentiles, or a peer that fails fast would improve them; the others are errors.
//!
//! Cost: a few stores a request. The histogram keeps three significant digits (HdrHistogram).

use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;

/// Points of the course over time.
const POINTS: usize = 100;
/// An hour in microseconds: whatever takes longer counts as that.
const LONGEST_US: u64 = 3_600_000_000;

/// One point of the course over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Seconds from the warm-up's end, at its beginning.
    pub at_s: f64,
    /// Requests that ended in it.
    pub requests: u64,
    /// Of them, errors.
    pub errors: u64,
    /// In milliseconds.
    pub p50_ms: f64,
    /// See `p50_ms`.
    pub p99_ms: f64,
}

pub(crate) struct Tally {
    from: u64,
    to: u64,
    pub latency_us: Histogram<u64>,
    pub errors: BTreeMap<u32, u64>,
    pub requests: u64,
    pub attempts: u64,
    series: Vec<(Vec<u32>, u64)>,
}

impl Tally {
    /// Counts the requests that begin between these times.
    pub fn new(from: u64, to: u64, with_series: bool) -> Tally {
        let empty = Histogram::new_with_max(LONGEST_US, 3)
            .unwrap_or_else(|_| unreachable!("three digits up to an hour are allowed"));
        Tally {
            from,
            to,
            latency_us: empty,
            errors: BTreeMap::new(),
            requests: 0,
            attempts: 0,
            series: vec![(vec![], 0); if with_series { POINTS } else { 0 }],
        }
    }

    #[inline]
    pub fn counts(&self, at: u64) -> bool {
        at >= self.from && at < self.to
    }

    /// A request that counts is over: well, or with this cause.
    #[inline]
    pub fn close(&mut self, began: u64, now: u64, attempts: u32, cause: Option<u32>) {
        self.requests += 1;
        self.attempts += u64::from(attempts);
        let took_us = ((now - began) / 1000).clamp(1, LONGEST_US);
        match cause {
            None => self.latency_us.saturating_record(took_us),
            Some(cause) => *self.errors.entry(cause).or_default() += 1,
        }
        if !self.series.is_empty() {
            let index = (now - self.from) as u128 * POINTS as u128 / (self.to - self.from) as u128;
            let (took, errors) = &mut self.series[(index as usize).min(POINTS - 1)];
            match cause {
                None => took.push(took_us as u32),
                Some(_) => *errors += 1,
            }
        }
    }

    /// In milliseconds, of the requests that went well.
    pub fn quantile_ms(&self, q: f64) -> f64 {
        self.latency_us.value_at_quantile(q) as f64 / 1e3
    }

    /// The course over time.
    pub fn series(&mut self) -> Vec<Point> {
        let length_s = (self.to - self.from) as f64 / 1e9 / POINTS as f64;
        let point = |(i, (took, errors)): (usize, &mut (Vec<u32>, u64))| {
            took.sort_unstable();
            let at = |q: f64| took.get((took.len() as f64 * q) as usize).map_or(0.0, |&us| f64::from(us) / 1e3);
            let requests = took.len() as u64 + *errors;
            Point { at_s: i as f64 * length_s, requests, errors: *errors, p50_ms: at(0.5), p99_ms: at(0.99) }
        };
        self.series.iter_mut().enumerate().map(point).collect()
    }
}
