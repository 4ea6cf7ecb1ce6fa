//! Weighted smooth round robin in O(1): each worker walks the published cycle (see `table::schedule`), in which every
//! peer stands as often as its weight says, evenly spread.
//!
//! Bound: among eligible peers a worker's picks are never a whole turn off a peer's share, for weights that fit the
//! cycle; over W workers, never W turns. The turns of a peer that can't be taken go to a second walk of the same cycle,
//! so that they are spread over all instead of falling to whoever stands next; if that meets another such peer, to
//! weighted draws at random. Cost: three cache lines (upstream, cycle, state), no locked instruction.

use super::{Choice, Cursor, DRAWS, Filter, Found, Plain, Refusal, search, step};
use crate::sync::Ordering;
use crate::table::{Entry, Tier};

#[inline]
pub(crate) fn choose(filter: &Filter, tier: Tier, cursor: &Cursor) -> Result<Choice, Refusal> {
    if tier.cycle.is_empty() {
        // The list was published for another selector.
        return search(filter, tier);
    }
    let at = |place: usize| tier.cycle.get(place).map(Entry::load);
    let proposed = at(step(&cursor.turn, tier.cycle.len()));
    if let Some(entry) = proposed
        && let Some(state) = filter.admits(entry)
        && let Ok(choice) = filter.take(entry, state)
    {
        return Ok(choice);
    }
    if let Some(entry) = proposed
        && let Ok(choice) = filter.attempt_trial(entry)
    {
        return Ok(choice);
    }
    if let Some(entry) = at(step(&cursor.spill, tier.cycle.len()))
        && let Ok(choice) = filter.propose(entry)
    {
        return Ok(choice);
    }
    search(filter, tier)
}

/// [`choose`] while the peer whose turn it is is eligible.
#[inline(always)]
pub(crate) fn choose_in_turn<'a>(plain: &Plain<'a>) -> Option<Found<'a>> {
    let turn = plain.after(&plain.cursor.turn)?;
    let found = plain.look(turn)?;
    if !found.state.is_plainly_eligible() {
        return None;
    }
    plain.cursor.turn.store(turn as u32, Ordering::Relaxed);
    Some(found)
}

/// [`choose`] in the plain case.
#[inline(always)]
pub(crate) fn choose_plainly<'a>(plain: &Plain<'a>) -> Option<Found<'a>> {
    let turn = plain.after(&plain.cursor.turn)?;
    let found = plain.look(turn)?;
    let found = if found.state.is_plainly_eligible() { found } else { instead(plain, found)? };
    plain.cursor.turn.store(turn as u32, Ordering::Relaxed);
    Some(found)
}

/// Who gets the turn of a peer that is out and not due for a trial.
#[inline(always)]
fn instead<'a>(plain: &Plain<'a>, out: Found<'a>) -> Option<Found<'a>> {
    let spill = plain.after(&plain.cursor.spill)?;
    let (mut found, mut before) = (plain.look(spill)?, out);
    for _ in 0..DRAWS {
        if before.state.needs_rules() {
            return None;
        }
        if found.state.is_plainly_eligible() {
            plain.cursor.spill.store(spill as u32, Ordering::Relaxed);
            return Some(found);
        }
        (before, found) = (found, plain.look(plain.draw())?);
    }
    None
}
