//! Weighted random choice: a place of the published cycle drawn evenly, in which every peer stands as often as its
//! weight says. The cycle serves as the table of Walker's alias method (ACM TOMS 3(3), 1977), with exact shares and
//! nothing to build.
//!
//! Bound: n picks of a peer with share p are n·p ± 6·√(n·p·(1−p)) but for one time in 10^8, whatever other workers and
//! other gateways do: nothing is shared that a herd could follow. A peer that is out costs another draw, so that its
//! traffic is spread over the others by weight. Cost: three cache lines (upstream, cycle, state), no locked instruction.

use super::{Choice, DRAWS, Filter, Found, Plain, Refusal, search};
use crate::table::{Entry, Tier};

#[inline]
pub(crate) fn choose(filter: &Filter, tier: Tier) -> Result<Choice, Refusal> {
    let drawn = tier.cycle.get(filter.random.below(tier.cycle.len())).map(Entry::load);
    match drawn.map(|entry| filter.propose(entry)) {
        Some(Ok(choice)) => Ok(choice),
        _ => search(filter, tier),
    }
}

/// [`choose`] in the plain case.
#[inline(always)]
pub(crate) fn choose_plainly<'a>(plain: &Plain<'a>) -> Option<Found<'a>> {
    for _ in 0..DRAWS {
        // The rules must meet the same peer, or those that need them would be drawn twice for one pick.
        let Some(found) = plain.look(plain.draw()).filter(|found| !found.state.needs_rules()) else { break };
        if found.state.is_plainly_eligible() {
            return Some(found);
        }
    }
    plain.random.undraw();
    None
}
