//! From an outcome to a decision: the rules of retrying, in the order in which they are asked.

use super::request::Request;
use super::{Outcome, Phase};
use super::{backoff, budget};
use crate::cause::{Cause, RetrySafety};

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Verdict {
    /// Pass the response on.
    Deliver = 1,
    /// Pick again.
    Retry = 2,
    /// Answer by ourselves.
    Answer = 3,
    /// Cut the client's connection.
    Abort = 4,
    /// Wait on.
    Wait = 5,
}

/// Why there is no retry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Why {
    /// There is one, or none is needed.
    None = 0,
    /// It can't help.
    Hopeless = 1,
    /// The request might run twice.
    NotSafe = 2,
    /// The body is gone.
    NotReplayable = 3,
    /// The client has a part of the response.
    Delivered = 4,
    /// All attempts are used.
    Attempts = 5,
    /// No other peer.
    NoPeer = 6,
    /// No time.
    Deadline = 7,
    /// No budget.
    Budget = 8,
    /// The host forbade it.
    Forbidden = 9,
}

/// A decision.
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    /// What to do.
    pub verdict: Verdict,
    /// Why not otherwise.
    pub reason: Why,
    /// What the request would be answered with.
    pub cause: Cause,
    /// ANSWER: its status.
    pub status: u16,
    /// RETRY: how long to wait.
    pub wait_ns: u64,
    /// ANSWER: Retry-After.
    pub retry_after_s: u32,
    /// Attempts so far.
    pub attempts: u32,
    /// Bits of `Decision::*`.
    pub flags: u32,
}

impl Decision {
    /// cbindgen:ignore
    /// The outcome was charged to the peer.
    pub const CHARGED: u32 = 1;
    /// cbindgen:ignore
    /// It ejected the peer.
    pub const EJECTED: u32 = 2;

    pub(super) fn deliver(request: &Request) -> Decision {
        Decision {
            verdict: Verdict::Deliver,
            reason: Why::None,
            cause: Cause::NONE,
            status: 0,
            wait_ns: 0,
            retry_after_s: 0,
            attempts: request.attempts(),
            flags: 0,
        }
    }
}

/// Whether to retry after a failure: how long to wait, or why not.
#[cold]
pub(super) fn retry(request: &Request, outcome: &Outcome, cause: Cause, now: u64) -> Result<u64, Why> {
    if outcome.has(Outcome::DELIVERED) {
        return Err(Why::Delivered);
    }
    if request.forbids_retry() {
        return Err(Why::Forbidden);
    }
    safety(request, outcome, cause)?;
    if outcome.has(Outcome::SENT) && !request.is_replayable() {
        return Err(Why::NotReplayable);
    }
    if !request.has_attempts_left() {
        return Err(Why::Attempts);
    }
    // A retry multiplies the load of an outage only if the attempt before put load on a peer.
    let put_load = outcome.has(Outcome::SENT) && cause != Cause::CONNECTION_REUSED_CLOSED;
    let bounds = request.table().backoff_ns(request.upstream());
    let wait_ns = backoff::wait_ns(request.attempts(), put_load, bounds, request.random());
    if request.is_past_deadline(now.saturating_add(wait_ns)) {
        return Err(Why::Deadline);
    }
    if !request.has_candidate(now) {
        return Err(Why::NoPeer);
    }
    if put_load && !budget::take(request.table(), request.upstream(), now) {
        return Err(Why::Budget);
    }
    Ok(wait_ns)
}

/// Whether repeating can help and can't run the request twice.
fn safety(request: &Request, outcome: &Outcome, cause: Cause) -> Result<(), Why> {
    // 421: another peer is meant. 425: too early, and not processed. Both are safe to repeat for any method.
    if cause == Cause::UPSTREAM_STATUS && matches!(outcome.status, 421 | 425) {
        return Ok(());
    }
    let proven = match cause.properties().retry {
        RetrySafety::Never => return Err(Why::Hopeless),
        RetrySafety::Always => true,
        RetrySafety::InHandshake => outcome.phase <= Phase::Tls,
        RetrySafety::IfUnsent | RetrySafety::Idempotent | RetrySafety::IfUnanswered => false,
    };
    if proven || !outcome.has(Outcome::SENT) || request.may_be_repeated() { Ok(()) } else { Err(Why::NotSafe) }
}
