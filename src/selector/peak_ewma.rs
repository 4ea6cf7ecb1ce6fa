//! Least cost: latency × (requests in flight + 1) / weight, latency an average that peaks at once and decays (Finagle's
//! peak EWMA). Of up to 128 peers the cheapest of all is taken, by a run over packed keys; of more the cheapest of four
//! drawn at random, the exact choice's tail at a constant price.
//!
//! A failed attempt counts as one of at least a second, so that a peer that fails fast does not draw the traffic. A peer
//! that was never measured, or that was out, begins at the mean of the others. Equal costs are decided by where a run
//! begins, which is drawn.
//!
//! Bound: of up to 128 peers the one taken has the least cost of all eligible ones, as last stored, to within 1/100 of a
//! doubling for each logarithm in it (about 3 %); of N more it is among the cheapest f·N with probability 1 − (1 − f)^4.
//! Weights divide the cost: under load requests in flight keep to them; an idle upstream prefers the heavier peers, and
//! the others are asked as their estimates decay. Cost: two atomic adds (pick and report) on the peer's aggregate; at 128
//! peers eight more lines than `least_request`. Estimates, keys and their orderings: `table::latency`.

use super::{Choice, Cursor, Filter, Found, Plain, Refusal, search, step};
use crate::sync::Ordering;
use crate::table::{Entry, Tier};

/// At most so many keys are compared at every pick.
const EXACT: usize = 128;
/// So many are drawn of more.
const DRAWN: usize = 4;
const LANES: usize = 8;
/// The least that a failure counts as.
pub(crate) const FAILURE_NS: u64 = 1_000_000_000;

#[inline]
pub(crate) fn choose(filter: &Filter, tier: Tier, cursor: &Cursor) -> Result<Choice, Refusal> {
    // No cost leads to a peer that is out: each pick looks at one more, for a trial may be due.
    if !tier.cycle.is_empty()
        && let Some(entry) = tier.cycle.get(step(&cursor.turn, tier.cycle.len())).map(Entry::load)
        && filter.is_only_ejected(entry)
        && let Ok(choice) = filter.propose(entry)
    {
        return Ok(choice);
    }
    let members = tier.members.len();
    let now = filter.table.latency_stamp(filter.upstream, filter.now);
    let start = filter.random.below(members);
    let cost = |place: usize| {
        let entry = Entry::load(tier.members.get(place)?);
        let state = filter.admits(entry)?;
        let cost = filter.table.latency().cost(entry.slot(), filter.weight(entry, state), filter.in_flight(entry), now);
        Some((cost, entry, state))
    };
    let least = if members <= EXACT {
        (start..members).chain(0..start).filter_map(cost).min_by_key(|c| c.0)
    } else {
        (0..DRAWN).filter_map(|_| cost(filter.random.below(members))).min_by_key(|c| c.0)
    };
    match least {
        Some((_, entry, state)) => filter.take(entry, state).or_else(|_| search(filter, tier)),
        None => search(filter, tier),
    }
}

/// [`choose`] in the plain case.
#[inline(always)]
pub(crate) fn choose_plainly<'a>(plain: &Plain<'a>, now: u32) -> Option<Found<'a>> {
    if plain.upstream.has_ailing() {
        let turn = plain.after(&plain.cursor.turn)?;
        if plain.look(turn)?.state.needs_rules() {
            return None;
        }
        plain.cursor.turn.store(turn as u32, Ordering::Relaxed);
    }
    let members = plain.cycle.members();
    let place = if members <= EXACT {
        let keys = plain.seat.latency.keys(plain.cycle.offset(), members.next_multiple_of(LANES))?;
        plain.seat.least.least(keys, now, plain.random.below(members))?
    } else {
        cheapest_of_four(plain, members, now)?
    };
    let found = plain.look_at(plain.cycle.member(place)?)?;
    found.state.is_plainly_eligible().then_some(found)
}

/// One random number serves for all four: 16 bits each, of at most 65,536 members.
#[inline(always)]
fn cheapest_of_four(plain: &Plain, members: usize, now: u32) -> Option<usize> {
    let keys = plain.seat.latency.keys(plain.cycle.offset(), members)?;
    let bits = plain.random.next();
    let drawn = |i: usize| {
        let place = ((bits >> (16 * i) & 0xffff) as usize * members) >> 16;
        Some((keys.get(place)?.load(Ordering::Relaxed).wrapping_sub(now) as i32, place))
    };
    let mut least = drawn(0)?;
    for i in 1..DRAWN {
        let other = drawn(i)?;
        least = if other.0 < least.0 { other } else { least };
    }
    Some(least.1)
}
