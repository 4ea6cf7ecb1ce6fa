//! How long to wait for a peer before another one is asked: advice on time-outs and hedges, from the latency seen.
//!
//! The advice is a factor over what 99 % of the upstream's responses took (see `table::timing`), at least the operator's
//! floor; the host bounds it by its own time-outs from above. It is given only where another attempt may follow: until a
//! connection stands for any request, then for one that may be repeated, and in both cases only while a peer is
//! untried. Each time-out that was cut short makes the next one of the request four times as long, and the third
//! response is waited for as long as the operator says: a request that is slow by nature is not sent around for ever.
//!
//! When the time is over the host asks again ([`Request::expire`]): the attempt is given up only if a retry is granted,
//! which takes a token of the budget like any other. So no request fails that would have been answered within the
//! operator's time, and however wrong the estimate is, what it costs is bounded by the retry budget. While latencies
//! keep their distribution fewer than 1 % of the attempts are cut short by construction, and fewer than 0.4 % of those
//! with a tail like Pareto's with α ≥ 1 (tests/patience.rs).
//!
//! An attempt that was given up counts as evidence against the peer, of a softer kind: see `health::hesitation`. It is a
//! sample as well, or a general slowdown would never be learned; but not of a peer that has been silent before, for that
//! one's silence says nothing of the others.
//! Cost of the advice: a handful of loads. Reference: Dean and Barroso, "The Tail at Scale", CACM 2013.

use super::decide::{self, Decision, Verdict, Why};
use super::request::Request;
use super::{Outcome, Phase, budget};
use crate::cause::Cause;
use crate::error::Error;
use crate::table::Span;

/// Advice on the open attempt; 0: none, the host's own time-out holds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Times {
    /// From the pick to the head.
    pub timeout_ns: u64,
    /// From the pick until a new connection stands, TLS included.
    pub connect_timeout_ns: u64,
    /// From the pick: after this a second attempt beside the first would pay.
    pub hedge_ns: u64,
}

/// How many times the quantile.
const FACTOR: u64 = 3;
/// A SYN that is lost is sent again after a second: waiting for less than this for a connection gains little, and on a
/// busy machine loses much.
const LEAST_CONNECT_NS: u64 = 250_000_000;
/// A request's attempts that may be cut short while they wait for a response.
const MOST_CUTS: u8 = 2;

impl Request {
    /// Advice on the open attempt's time-outs.
    pub fn times(&self, now: u64) -> Times {
        let floor = self.table().timeout_floor_ns(self.upstream());
        if floor == 0 || !self.is_open() || self.forbids_retry() || !self.has_attempts_left() {
            return Times::default();
        }
        let found = self.table().found_spans(self.upstream());
        if found.head_p99_ns | found.connect_p99_ns == 0 || !self.has_candidate(now) {
            return Times::default();
        }
        let longer = |ns: u64, least: u64| match ns {
            0 => 0,
            _ => ns.saturating_mul(FACTOR).max(least).saturating_mul(1 << (2 * self.cuts().min(8))),
        };
        let cut = if self.may_be_cut() { longer(found.head_p99_ns, floor) } else { 0 };
        let hedges = cut != 0 && budget::has(self.table(), self.upstream(), now);
        Times {
            timeout_ns: cut,
            connect_timeout_ns: longer(found.connect_p99_ns, LEAST_CONNECT_NS.max(floor)),
            hedge_ns: if hedges { found.head_p95_ns } else { 0 },
        }
    }

    /// The advised time is over. RETRY: the attempt is closed; WAIT: it goes on, until the host's own time-out.
    pub fn expire(&mut self, outcome: &Outcome, now: u64) -> Result<Decision, Error> {
        self.expect_open(now)?;
        let connecting = outcome.phase <= Phase::Tls;
        if !connecting && !self.may_be_cut() || outcome.phase >= Phase::Body {
            return Ok(Decision { verdict: Verdict::Wait, reason: Why::NotSafe, ..Decision::deliver(self) });
        }
        let cause = match outcome.cause {
            Cause::NONE if connecting => Cause::CONNECTION_TIMEOUT,
            Cause::NONE => Cause::CONNECTION_READ_TIMEOUT,
            cause => cause,
        };
        match decide::retry(self, outcome, cause, now) {
            Ok(wait_ns) => {
                let took = self.took_ns(0, outcome.total_ns, now);
                if !connecting && !self.is_peer_failing() {
                    self.table().note_span(self.upstream(), Span::Head, took);
                }
                let flags = self.give_up(outcome, cause, took, now);
                Ok(Decision { verdict: Verdict::Retry, wait_ns, flags, cause, ..Decision::deliver(self) })
            }
            Err(reason) => Ok(Decision { verdict: Verdict::Wait, reason, cause, ..Decision::deliver(self) }),
        }
    }

    /// Whether the wait for this attempt's response may be cut short.
    fn may_be_cut(&self) -> bool {
        self.may_be_repeated() && self.cuts() < MOST_CUTS
    }
}
