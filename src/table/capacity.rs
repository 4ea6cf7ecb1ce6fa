//! What the pools of an upstream can carry: which share of the traffic goes to each, and the weights behind it.
//!
//! *Gradual overflow* (Envoy's priorities): the health of a priority is factor · eligible weight / weight, at most 1;
//! the primaries get their health's share of the sum, at most 1. With a factor of 140 % the backups get nothing while
//! 72 % of the primaries' weight is eligible, 30 % of the traffic at half. Without a factor the backups get what is left
//! when no primary can be taken.
//!
//! *Near first*: gateways are taken to be spread evenly over the zones in which peers are declared, so a zone's own
//! gateways bring 1/Z of the traffic. What the near peers can carry of that, near eligible weight · Z / eligible weight,
//! at most 1, stays near; the rest goes to the far ones. A zone with a tenth of the capacity keeps a third of a third.
//!
//! All is counted anew after each transition, each declaration and with every tick, and read as one word. Cost: linear
//! in the members; a pick reads one word.

use super::layout::upstream as word;
use super::snapshot::Entry;
use super::{State, Table, UpstreamId};
use crate::sync::Ordering;

/// A share of the traffic in parts of 2^16.
const ALL: u64 = 1 << 16;
const BITS: u32 = 20;

/// The shares, as a pick reads them. Any bits are some shares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shares(u64);

impl Shares {
    /// Of the primaries.
    #[inline]
    pub fn primary(self) -> u32 {
        self.field(0)
    }

    /// Of the near peers of a priority in that priority's traffic.
    #[inline]
    pub fn near(self, backup: bool) -> u32 {
        self.field(1 + u32::from(backup))
    }

    #[inline]
    fn field(self, n: u32) -> u32 {
        (self.0 >> (n * BITS)) as u32 & ((1 << BITS) - 1)
    }
}

/// What one priority has.
#[derive(Clone, Default)]
struct Level {
    weight: u64,
    eligible: u64,
    near: u64,
    /// A bit for each zone met.
    zones: [u64; 4],
}

impl Level {
    /// Its health in parts of 2^16.
    fn health(&self, overflow_percent: u32) -> u64 {
        let full = self.weight * 100;
        (self.eligible * u64::from(overflow_percent) * ALL).checked_div(full).unwrap_or(0).min(ALL)
    }

    fn near_share(&self) -> u64 {
        let zones = self.zones.iter().map(|bits| u64::from(bits.count_ones())).sum::<u64>();
        (self.near * zones * ALL).checked_div(self.eligible).unwrap_or(ALL).min(ALL)
    }
}

impl Table {
    /// The shares of an upstream's pools.
    #[inline]
    pub(crate) fn shares(&self, id: UpstreamId) -> Shares {
        Shares(self.upstream_value(id, word::SHARES))
    }

    /// The eligible weight of a priority, at least 1.
    #[inline]
    pub(crate) fn eligible_weight(&self, id: UpstreamId, backup: bool) -> u32 {
        let value = self.upstream_value(id, word::WEIGHTS);
        (if backup { value >> 32 } else { value } as u32).max(1)
    }

    /// Counts what the pools can carry. Linear in the members.
    pub(crate) fn refresh_shares(&self, id: UpstreamId) {
        let Some(snapshot) = self.snapshot(id) else { return };
        let spread = self.spread(id);
        let mut levels = [Level::default(), Level::default()];
        let eligible = |entry: &Entry| {
            State::from_bits(self.state_word(entry.slot()).map_or(0, |w| w.load(Ordering::Acquire))).is_eligible()
        };
        for entry in snapshot.members().take(self.region.capacity.peers as usize) {
            let (level, weight) = (&mut levels[usize::from(entry.is_backup())], u64::from(entry.weight()));
            level.weight += weight;
            level.zones[usize::from(entry.zone() / 64)] |= 1 << (entry.zone() % 64);
            if eligible(&entry) {
                level.eligible += weight;
                level.near += if entry.pool(spread.zone) % 2 == 0 { weight } else { 0 };
            }
        }
        let [first, second] = levels.each_ref().map(|l| l.health(spread.overflow_percent));
        let primary = match (spread.overflow_percent, first + second) {
            (0, _) | (_, 0) => ALL,
            (_, sum) => (first * ALL / sum.min(ALL)).min(ALL),
        };
        let [near, backup_near] = levels.each_ref().map(Level::near_share);
        let least = |n: u64| n.min(u64::from(u32::MAX));
        for (which, value) in [
            (word::SHARES, primary | near << BITS | backup_near << (2 * BITS)),
            (word::WEIGHTS, least(levels[0].eligible) | least(levels[1].eligible) << 32),
        ] {
            if let Some(word) = self.upstream_word(id, which) {
                word.store(value, Ordering::Relaxed);
            }
        }
    }

    /// Counts anew all that picks read of the members' states.
    pub(crate) fn refresh(&self, id: UpstreamId, now: u64) {
        self.refresh_shares(id);
        self.refresh_keys(id, now);
    }
}
