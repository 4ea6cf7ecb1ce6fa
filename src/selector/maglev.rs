//! Consistent hashing: the same key goes to the same peer (Maglev: Eisenbud et al., NSDI 2016; table: `table::maglev`).
//!
//! The table knows nothing of health. A key whose peer can't be taken (out, tried, at its limit, above the bound on
//! load, not yet let in by slow start) hashes on, up to sixteen times, and then goes to the first member that can be
//! taken from a place that the key decides: so no other key moves, each goes back when its peer does, and what a peer
//! leaves is spread over the others by weight. A request without a key is spread at random.
//!
//! Bound: a peer's part of evenly spread keys is its weight's share of the table's M entries to within one. M is a prime
//! of 4,093 at least and about 32 a peer, counted to the next power of two; beside other pools 509 and 16. With a load bound of c no peer is given more than
//! ⌈c · (all + 1) · w / W⌉ requests in flight (Mirrokni et al., SODA 2018), where another can be taken. Cost: four cache
//! lines (upstream, table, member, state), no locked instruction; with a bound three atomic updates.

use super::{Choice, DRAWS, Filter, Found, Plain, Refusal, first_of};
use crate::random::mix;
use crate::table::{Entry, Tier};

/// The hash of a key, never 0.
pub(crate) fn hash(key: &[u8]) -> u64 {
    crate::random::hash(key).max(1)
}

#[inline]
pub(crate) fn choose(filter: &Filter, tier: Tier) -> Result<Choice, Refusal> {
    if filter.hash == 0 {
        return choose(&Filter { hash: filter.random.next().max(1), ..*filter }, tier);
    }
    let at = |hash: u64| tier.members.get(tier.table.place(hash)?).map(Entry::load);
    let proposed = (0..DRAWS as u64).filter_map(|n| at(rehash(filter.hash, n)));
    let start = filter.draw(SCAN) as u128 * tier.members.len() as u128;
    first_of(filter, tier, proposed, (start >> 64) as usize)
}

/// [`choose`] in the plain case, for a key.
#[inline(always)]
pub(crate) fn choose_plainly<'a>(plain: &Plain<'a>, hash: u64) -> Option<Found<'a>> {
    for n in 0..DRAWS as u64 {
        let found = plain.look_at(plain.cycle.hashed(rehash(hash, n))?)?;
        if found.state.is_plainly_eligible() {
            return Some(found);
        }
        if found.state.needs_rules() {
            return None;
        }
    }
    None
}

/// Where a key goes after `n` peers that could not be taken.
#[inline(always)]
fn rehash(hash: u64, n: u64) -> u64 {
    if n == 0 { hash } else { mix(hash.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))) }
}

const SCAN: u64 = 0x9fb2_1c65_1e98_df25;
