//! What a client is told when no response can be passed on: status, cause, Retry-After.
//!
//! The last attempt's failure decides (502, 504). 503 means that we chose not to try: no attempt was made at all, or
//! the attempts only showed again what was known, that nobody is there: the last one never reached its peer, and no
//! usable peer is left. RFC 9209 calls that `destination_unavailable`, and a client can be told when to come back.

use super::request::Request;
use crate::cause::Cause;
use crate::health;
use crate::selector::Refusal;

/// What to tell.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// 500, 502, 503 or 504.
    pub status: u32,
    /// The cause to name.
    pub cause: Cause,
    /// Seconds, 0: none.
    pub retry_after_s: u32,
    /// The status that an upstream had answered with, 0: none.
    pub received_status: u32,
}

/// Retry-After when nothing says otherwise, and its bounds.
const SOONEST_S: u64 = 1;
const LATEST_S: u64 = 3600;

/// The cause that a failed request is answered with, after its last outcome.
pub(super) fn cause(request: &Request, last: Cause) -> Cause {
    let unreached = last == Cause::CONNECTION_REFUSED || last == Cause::DESTINATION_IP_UNROUTABLE;
    if unreached && !health::has_usable_peer(request.table(), request.upstream()) {
        return Cause::NO_ELIGIBLE_PEER;
    }
    last
}

/// The cause when nothing could be picked.
pub(super) fn cause_of_refusal(request: &Request, refusal: Refusal) -> Cause {
    match (request.last_cause(), refusal) {
        (Cause::NONE, Refusal::AtLimit | Refusal::UpstreamAtLimit) => limit(refusal),
        (Cause::NONE, Refusal::NoneEligible) => Cause::NO_ELIGIBLE_PEER,
        // The response that was dropped for a retry can't be had back.
        (Cause::UPSTREAM_STATUS, _) => Cause::NO_ELIGIBLE_PEER,
        (failure, _) => cause(request, failure),
    }
}

/// The limit that was met.
pub(super) fn limit(refusal: Refusal) -> Cause {
    if refusal == Refusal::UpstreamAtLimit { Cause::UPSTREAM_LIMIT } else { Cause::PEER_LIMIT }
}

/// Seconds after which trying again makes sense; 0: nothing is known. Up to a quarter more, and of short waits up to a
/// second more, so that not all come at once.
pub(super) fn retry_after_s(request: &Request, cause: Cause, now: u64) -> u32 {
    if cause.properties().status != 503 {
        return 0;
    }
    let wait_s = health::next_trial_ns(request.table(), request.upstream(), now).div_ceil(1_000_000_000);
    // The peer that would be the next to be asked may have said itself when.
    let wait_s = if wait_s == 0 { u64::from(request.told_retry_after_s()) } else { wait_s };
    let wait_s = wait_s.clamp(SOONEST_S, LATEST_S);
    (wait_s + request.random().below(spread(wait_s) as usize + 1) as u64) as u32
}

/// The most seconds that are added to a wait.
fn spread(wait_s: u64) -> u64 {
    (wait_s / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quarter of less than four seconds is none, and a wait without a spread brings every client back at once.
    #[test]
    fn every_wait_is_spread() {
        for wait_s in SOONEST_S..=LATEST_S {
            let most = spread(wait_s);
            assert!(most >= 1 && most <= wait_s && (wait_s < 8 || most <= wait_s / 4), "{wait_s}: {most}");
        }
    }
}
