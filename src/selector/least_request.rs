//! Weighted power of two choices on requests in flight (Mitzenmacher, IEEE TPDS 12(10), 2001).
//!
//! The first candidate is the next of the round robin, the second a weighted draw at random; the one with fewer
//! requests in flight for its weight is taken, compared by cross-multiplication, the first where they are equal. So an
//! idle upstream gets exactly the shares of its weights, smoothly, and a loaded one levels in_flight / weight over all
//! workers. Bound: that of two choices, a largest load of ln ln n / ln 2 + O(1) above the mean. Cost: two atomic adds
//! (pick and report) on the peer's aggregate; five cache lines.

use super::{Choice, Cursor, Filter, Found, Plain, Refusal, search, step};
use crate::sync::Ordering;
use crate::table::{Entry, State, Tier};

#[inline]
pub(crate) fn choose(filter: &Filter, tier: Tier, cursor: &Cursor) -> Result<Choice, Refusal> {
    if tier.cycle.is_empty() {
        // The list was published for another selector.
        return search(filter, tier);
    }
    let admitted = |place: usize| {
        let entry = Entry::load(tier.cycle.get(place)?);
        filter.admits(entry).map(|state| (entry, state))
    };
    let first = step(&cursor.turn, tier.cycle.len());
    let draw = || filter.random.below(tier.cycle.len());
    let one = match admitted(first) {
        Some(one) => Some(one),
        None => match propose_out(filter, tier, first) {
            Some(trial) => return Ok(trial),
            None => admitted(step(&cursor.spill, tier.cycle.len())),
        },
    };
    let other = admitted(draw());
    let (entry, state) = match (one, other) {
        (Some(a), Some(b)) => lighter(filter, a, b),
        (Some(a), None) | (None, Some(a)) => a,
        (None, None) => return search(filter, tier),
    };
    filter.take(entry, state).or_else(|_| search(filter, tier))
}

/// A peer that is out may be due for a trial.
#[cold]
fn propose_out(filter: &Filter, tier: Tier, place: usize) -> Option<Choice> {
    filter.attempt_trial(Entry::load(tier.cycle.get(place)?)).ok()
}

#[inline]
fn lighter(filter: &Filter, a: (Entry, State), b: (Entry, State)) -> (Entry, State) {
    let load = |of: Entry, weight_of: Entry| u64::from(filter.in_flight(of)) * u64::from(weight_of.weight());
    if load(b.0, a.0) < load(a.0, b.0) { b } else { a }
}

/// [`choose`] in the plain case.
#[inline(always)]
pub(crate) fn choose_plainly<'a>(plain: &Plain<'a>) -> Option<Found<'a>> {
    let turn = plain.after(&plain.cursor.turn)?;
    let first = plain.look(turn)?;
    let other = plain.look(plain.draw())?;
    let found = if first.state.is_plainly_eligible() { first } else { instead(plain, first)? };
    let found = match (found.state.is_plainly_eligible(), other.state.is_plainly_eligible()) {
        (true, true) => lighter_plainly(plain, found, other)?,
        (true, false) => found,
        (false, true) => other,
        (false, false) => return None,
    };
    plain.cursor.turn.store(turn as u32, Ordering::Relaxed);
    Some(found)
}

/// The candidate in place of a peer that is out and not due for a trial.
#[inline(always)]
fn instead<'a>(plain: &Plain<'a>, out: Found<'a>) -> Option<Found<'a>> {
    if out.state.needs_rules() {
        return None;
    }
    let spill = plain.after(&plain.cursor.spill)?;
    let found = plain.look(spill)?;
    plain.cursor.spill.store(spill as u32, Ordering::Relaxed);
    Some(found)
}

#[inline(always)]
fn lighter_plainly<'a>(plain: &Plain<'a>, a: Found<'a>, b: Found<'a>) -> Option<Found<'a>> {
    let in_flight = |of: Found| plain.seat.aggregate(of.entry.slot()).map(|a| u64::from(a.load(Ordering::Relaxed)));
    let a_load = in_flight(a)? * u64::from(b.entry.weight());
    let b_load = in_flight(b)? * u64::from(a.entry.weight());
    Some(if b_load < a_load { b } else { a })
}
