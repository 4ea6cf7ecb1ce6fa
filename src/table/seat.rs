//! A worker's place at a table: its lane, and the sections that its requests touch, found once when it joins.
//!
//! It refuses to decide anything, and to be used for another lane. Each access is one bound and one load; by way of
//! `Table` it would be three dependent ones. The sections are those of the region (see `region`) and live as long as
//! the table that the seat holds.

use super::layout::{tally, upstream as word};
use super::lease::is_out;
use super::{Cycle, Lane, Latency, LeastMethod, Table, UpstreamId, Writers, latency};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};
use std::sync::Arc;

type Words = &'static [AtomicU64];

/// A place at a table.
pub(crate) struct Seat {
    states: Words,
    arena: Words,
    aggregates: &'static [AtomicU32],
    tallies: Words,
    pub latency: Latency,
    pub least: LeastMethod,
    /// The lane's words, one a peer slot.
    attempts: Words,
    /// The lane's words, one an upstream.
    requests: Words,
    pub writers: Writers,
    lease: &'static AtomicU64,
    lane: Lane,
    table: Arc<Table>,
}

impl Seat {
    /// Of the worker that holds `lane`. `None`: the table has no such lane.
    pub fn new(table: Arc<Table>, lane: Lane, writers: Writers) -> Option<Seat> {
        let lease = table.lease(lane.index())?;
        let region = &table.region;
        let row = |words: Words, row: usize, len: u32| {
            let start = lane.index() as usize * row;
            words.get(start..start + len as usize).unwrap_or(&[])
        };
        Some(Seat {
            states: region.states,
            arena: region.arena,
            aggregates: region.aggregates,
            tallies: region.tallies,
            latency: region.latency,
            least: LeastMethod::best(),
            attempts: row(region.lanes, region.lane_row, region.capacity.peers),
            requests: row(region.requests, region.requests_row, region.capacity.upstreams),
            writers,
            lease,
            lane,
            table,
        })
    }

    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Whether the lane is left out of the sums. One load, of a line that nobody writes between ticks.
    #[inline(always)]
    pub fn is_out(&self) -> bool {
        is_out(self.lease)
    }

    /// A peer's state word.
    #[inline]
    pub fn state_word(&self, slot: u32) -> Option<&AtomicU64> {
        self.states.get(slot as usize)
    }

    /// The word that counts this worker's attempts on a peer.
    #[inline]
    pub fn attempts_word(&self, slot: u32) -> Option<&AtomicU64> {
        self.attempts.get(slot as usize)
    }

    /// The word that counts this worker's requests to an upstream.
    #[inline]
    pub fn requests_word(&self, id: UpstreamId) -> Option<&AtomicU64> {
        self.requests.get(id.index())
    }

    /// When the peer last answered: see `table::tally`.
    #[inline(always)]
    pub fn answered_word(&self, slot: u32) -> Option<&AtomicU64> {
        self.tallies.get(slot as usize * tally::WORDS + tally::ANSWERED)
    }

    /// The aggregate of requests in flight on a peer.
    #[inline]
    pub fn aggregate(&self, slot: u32) -> Option<&AtomicU32> {
        self.aggregates.get(slot as usize)
    }

    /// All upstreams that the table has room for, in the order of their ids.
    pub fn upstreams(&self) -> impl Iterator<Item = SeatedUpstream> + use<> {
        let upstreams = self.table.region.upstreams.chunks_exact(word::WORDS);
        upstreams.filter_map(|words| words.try_into().ok().map(SeatedUpstream))
    }

    /// What is published for an upstream: the word, and the primaries' cycle that it names.
    #[inline]
    pub fn published<'a>(&'a self, upstream: &'a SeatedUpstream) -> Option<(Published<'a>, Cycle<'a>)> {
        let word = &upstream.0[word::SNAPSHOT];
        let value = word.load(Ordering::Acquire);
        Some((Published { word, value }, Cycle::of(self.arena, value)?))
    }
}

/// An upstream as a seat knows it, its words; of use only together with the seat, which keeps the table alive.
pub(crate) struct SeatedUpstream(&'static [AtomicU64; word::WORDS]);

impl SeatedUpstream {
    /// The time of its estimates of latency.
    #[inline(always)]
    pub fn latency_stamp(&self, now: u64) -> u32 {
        latency::stamp(self.0[word::DECAY].load(Ordering::Relaxed), now)
    }

    /// Whether picks may have to bring out peers to trial, or to ignore health.
    #[inline(always)]
    pub fn has_ailing(&self) -> bool {
        self.0[word::PANIC].load(Ordering::Relaxed) != 0
    }
}

/// What named a cycle when it was read.
#[derive(Clone, Copy)]
pub(crate) struct Published<'a> {
    word: &'a AtomicU64,
    value: u64,
}

impl Published<'_> {
    /// Whether nothing was published since: what was read of the cycle can be trusted. The fence is the reader's half
    /// of the pair that `snapshot` describes.
    #[inline]
    pub fn is_current(self) -> bool {
        fence(Ordering::Acquire);
        self.word.load(Ordering::Relaxed) == self.value
    }
}
