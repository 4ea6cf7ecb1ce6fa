//! Who could not be picked, and why: counts over the members of an upstream, one reason each.
//!
//! Counting is linear, so it is done only where a pick was out of the ordinary: a retry, a trial, a last resort, a
//! panic, a backup, another zone, a refusal. The plain pick, which nearly every request is, counts nothing; whoever asks
//! for its record gets the counts of that later time, marked as such. Only the first [`MOST`] members are looked at.
//! Cost: a state word and an entry of the list for each.

use super::record::Attempt;
use crate::sync::Ordering;
use crate::table::{Admin, Entry, Health, State, Table, UpstreamId};

/// At most so many members are looked at.
pub(crate) const MOST: usize = 256;

/// Why a member was not picked, or that it could have been.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It was picked, or could have been.
    Candidate = 0,
    /// The request had tried it.
    Tried = 1,
    /// Out for failures in traffic, and not on trial with this request.
    Ejected = 2,
    /// Out by active checks.
    Down = 3,
    /// Drained by a person.
    Draining = 4,
    /// Disabled by a person.
    Disabled = 5,
    /// It had as many requests in flight as it may.
    AtLimit = 6,
    /// In slow start, which lets it in to a part of the picks.
    SlowStart = 7,
    /// Of the other side of the zone.
    Zone = 8,
    /// Of the other priority.
    Priority = 9,
}

/// How many standings there are.
pub(crate) const STANDINGS: usize = 10;

/// What a line of text calls them.
pub(super) const WORDS: [&str; STANDINGS] = [
    "candidates",
    "tried",
    "ejected",
    "down",
    "draining",
    "disabled",
    "at its limit",
    "in slow start",
    "of another zone",
    "of another priority",
];

/// The members of an upstream by standing, at one pick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standings {
    /// How many members there were.
    pub members: u32,
    /// How many of them stood so: indexed by [`Standing`].
    pub counts: [u16; STANDINGS],
}

impl Standings {
    /// cbindgen:ignore
    pub(super) const NONE: Standings = Standings { members: 0, counts: [0; STANDINGS] };

    /// Whether only a part of the members was looked at.
    pub fn is_partial(&self) -> bool {
        self.members as usize > MOST
    }
}

/// What a pick came to.
pub(super) struct Pick<'a> {
    pub table: &'a Table,
    pub upstream: UpstreamId,
    /// What was tried before it.
    pub tried: &'a [Attempt],
    pub chosen: Option<u32>,
    pub panic: bool,
}

impl Pick<'_> {
    /// Counts.
    pub fn standings(&self) -> Standings {
        let mut standings = Standings::NONE;
        let Some(snapshot) = self.table.snapshot(self.upstream) else { return standings };
        standings.members = snapshot.member_count() as u32;
        let zone = self.table.spread(self.upstream).zone;
        let looked_at = || snapshot.members().take(MOST);
        let pool = self.chosen.and_then(|slot| looked_at().find(|e| e.slot() == slot)).map(|e| e.pool(zone));
        for entry in looked_at() {
            standings.counts[self.standing(entry, zone, pool) as usize] += 1;
        }
        standings
    }

    fn standing(&self, entry: Entry, zone: u8, chosen_pool: Option<usize>) -> Standing {
        let slot = entry.slot();
        let state = State::from_bits(self.table.state_word(slot).map_or(0, |w| w.load(Ordering::Acquire)));
        let passed_over = |pool: usize| match chosen_pool {
            Some(chosen) if chosen / 2 != pool / 2 => Standing::Priority,
            Some(chosen) if chosen != pool => Standing::Zone,
            _ => Standing::Candidate,
        };
        match state.admin() {
            _ if self.chosen == Some(slot) => Standing::Candidate,
            _ if self.tried.iter().any(|attempt| attempt.slot == slot) => Standing::Tried,
            Admin::Draining => Standing::Draining,
            Admin::Disabled => Standing::Disabled,
            Admin::Enabled if self.panic || state.is_eligible() => match () {
                () if entry.is_limited() && self.is_at_limit(slot) => Standing::AtLimit,
                () if state.is_slow() => Standing::SlowStart,
                () => passed_over(entry.pool(zone)),
            },
            Admin::Enabled if state.health() == Health::Healthy => Standing::Down,
            Admin::Enabled => Standing::Ejected,
        }
    }

    fn is_at_limit(&self, slot: u32) -> bool {
        let limit = self.table.peer_parameters(slot).limit;
        limit != 0 && self.table.aggregate(slot).is_some_and(|a| a.load(Ordering::Relaxed) >= limit)
    }
}
