//! Shadow mode: a second policy decides beside the live one, and what differs is counted.
//!
//! The shadow is an upstream of its own with a twin of each peer (see `table::shadow`). For each step of a live request
//! the same step is made by a *twin request* on the shadow, by the same rules, from the same places in the cycles and with
//! the same random numbers; then the twin attempt is moved to the twin of the peer that the live pick took, for only
//! that one's outcome will be known. So each decision is compared by itself, as if all before it had been the live ones,
//! while the health, the load and the budget of the shadow follow its own policy on the evidence of the live traffic.
//! The same policy decides the same, exactly with one worker; several may see each other's writes at different times.
//!
//! Refused: to change anything of the live upstream. Random numbers drawn for the twin are given back.
//! Cost: nothing without a shadow; with one each request takes the long path twice. No allocation.

use super::request::Request;
use super::{Decision, Outcome, Picked, Verdict};
use crate::error::Error;
use crate::table::{Compared, Health, UpstreamId};

/// As `Request::pick_alone`.
#[cold]
pub(super) fn pick(live: &mut Request, shadow: UpstreamId, now: u64) -> Result<Option<Picked>, Error> {
    let mut twin = live.twin(shadow);
    live.lend_cursors(shadow);
    let before = live.random().seed();
    let picked = live.pick_alone(now)?;
    let after = live.random().seed();
    live.random().reseed(before);
    let expected = twin.pick_alone(now).ok().flatten();
    live.random().reseed(after);
    let table = live.table();
    let on = picked.and_then(|p| table.twin(p.peer));
    if picked.is_some() && on.is_none() {
        // The list changes just now: nothing to compare.
        twin.end_alone(now);
        return Ok(picked);
    }
    let other = on != expected.map(|e| e.peer);
    let ignored = expected.is_some_and(|e| e.flags & PANIC != 0);
    let out = other
        && on.and_then(|peer| table.state(peer)).is_some_and(|state| {
            let takes = if ignored { state.is_admitted_in_panic() } else { state.is_eligible() };
            !takes
        });
    table.count_compared(
        shadow,
        &Compared {
            picks: 1,
            picks_other: u64::from(other),
            picks_out: u64::from(out),
            answers: u64::from(on.is_some() != expected.is_some()),
            ..Compared::default()
        },
    );
    if other {
        twin.end_alone(now);
        if let Some(peer) = on {
            twin.open_on(peer, live.attempts(), now);
        }
    }
    live.keep_twin(&twin);
    Ok(picked)
}

/// As `Request::head_alone`.
#[cold]
pub(super) fn head(live: &mut Request, shadow: UpstreamId, outcome: &Outcome, now: u64) -> Result<Decision, Error> {
    let mut twin = live.twin(shadow);
    let peer = live.last_peer();
    let (decided, expected) = step(live, &mut twin, now, |request| request.head_alone(outcome, now))?;
    let Some(mut expected) = expected else { return Ok(decided) };
    if decided.verdict == Verdict::Retry && twin.is_open() {
        // The live attempt is closed, and the shadow would have let it go on: what it knows of it is all it learns.
        let seed = live.random().seed();
        if let Ok(after) = twin.report_alone(outcome, now) {
            expected.flags |= after.flags;
        }
        live.random().reseed(seed);
    }
    compare(live, shadow, peer, &twin, (&decided, &expected));
    live.keep_twin(&twin);
    Ok(decided)
}

/// As `Request::report_alone`.
#[cold]
pub(super) fn report(live: &mut Request, shadow: UpstreamId, outcome: &Outcome, now: u64) -> Result<Decision, Error> {
    let mut twin = live.twin(shadow);
    let peer = live.last_peer();
    let (decided, expected) = step(live, &mut twin, now, |request| request.report_alone(outcome, now))?;
    let Some(expected) = expected else { return Ok(decided) };
    compare(live, shadow, peer, &twin, (&decided, &expected));
    live.keep_twin(&twin);
    Ok(decided)
}

/// As `Request::end_alone`.
#[cold]
pub(super) fn end(live: &mut Request, shadow: UpstreamId, now: u64) {
    live.twin(shadow).end_alone(now);
    live.end_alone(now);
    live.drop_twin();
}

/// The same step of both, with the same random numbers. No second decision where the twin has no attempt open.
fn step(
    live: &mut Request,
    twin: &mut Request,
    now: u64,
    make: impl Fn(&mut Request) -> Result<Decision, Error>,
) -> Result<(Decision, Option<Decision>), Error> {
    let before = live.random().seed();
    let decided = make(live)?;
    if !twin.is_open() {
        return Ok((decided, None));
    }
    if twin.last_peer().and_then(|peer| live.table().state(peer)).is_none() {
        // Removed meanwhile: its outcome would be counted as one that came late.
        twin.end_alone(now);
        live.drop_twin();
        return Ok((decided, None));
    }
    let after = live.random().seed();
    live.random().reseed(before);
    let expected = make(twin);
    live.random().reseed(after);
    Ok((decided, expected.ok()))
}

fn compare(
    live: &Request,
    shadow: UpstreamId,
    peer: Option<crate::table::PeerHandle>,
    twin: &Request,
    (decided, expected): (&Decision, &Decision),
) {
    let table = live.table();
    let is_well = |peer: Option<crate::table::PeerHandle>| {
        peer.and_then(|p| table.state(p)).is_some_and(|state| state.health() == Health::Healthy)
    };
    let ejected = |decision: &Decision| decision.flags & Decision::EJECTED != 0;
    let (retried, would_retry) = (decided.verdict == Verdict::Retry, expected.verdict == Verdict::Retry);
    let same_answer = decided.verdict == expected.verdict
        && (decided.verdict != Verdict::Answer || decided.status == expected.status);
    table.count_compared(
        shadow,
        &Compared {
            outcomes: 1,
            ejections_more: u64::from(ejected(expected) && is_well(peer)),
            ejections_fewer: u64::from(ejected(decided) && is_well(twin.last_peer())),
            retries_more: u64::from(would_retry && !retried),
            retries_fewer: u64::from(retried && !would_retry),
            answers: u64::from(!retried && !would_retry && !same_answer),
            ..Compared::default()
        },
    );
}

/// TIDEGATE_PICK_PANIC.
const PANIC: u32 = 2;
