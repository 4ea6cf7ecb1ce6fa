//! The table: the one region of memory that holds all state of all upstreams, shared between processes.
//!
//! It owns the layout, membership, the workers' lanes, the peers' state words, counters and events; it decides
//! nothing: which transition a state word makes is the business of `health`, which peer is picked that of `selector`.
//! Nothing in it is a pointer. Everything is an array of atomics, reached through [`Region`], whose sections were
//! measured once from a header that was checked: an index that comes out of the region is bounded by the slice it is
//! used on, so hostile bytes misroute and do no more.
//!
//! | file | concept |
//! |---|---|
//! | `layout` | capacities, sections, the header |
//! | `region` | the memory, and the only pointer arithmetic |
//! | `file` | tables in named files |
//! | `origin` | which boot and clock a table's times are of |
//! | `control` | who may change the membership |
//! | `membership` | upstreams and declared lists of peers |
//! | `peer` | what is written of one peer: identity, address, parameters |
//! | `policy` | how an upstream is used |
//! | `snapshot` | what a pick reads: members and schedule, double-buffered |
//! | `schedule` | weights spread evenly over a cycle |
//! | `maglev` | the look-up tables of the hashing selectors |
//! | `capacity` | what each pool can carry, and the share it gets |
//! | `state` | the bits of a peer's state word |
//! | `identity` | which process |
//! | `lease` | who holds a lane, and how that ends |
//! | `lane` | in-flight counts |
//! | `latency` | how long each peer takes, and the keys that order peers by cost |
//! | `timing` | how long an upstream's responses take |
//! | `admission` | limits and queue of an upstream |
//! | `minimum` | the least of many keys |
//! | `shadow` | the upstream that decides beside another |
//! | `seat` | what one worker's requests touch, found once |
//! | `detector` | the names of what can eject a peer |
//! | `tally` | what passive health remembers: attempts, failures, answers |
//! | `events` | the ring of events |
//! | `watch` | who makes the active checks |
//!
//! Costs: a pick reads one word of the upstream, one entry of its snapshot and one state word, and writes one word of
//! its own lane. Design: RCU-like publication with validation by a generation word; Linux's seqlock is the nearest
//! relative.

mod admission;
mod capacity;
mod control;
mod counters;
mod detector;
mod events;
mod file;
mod identity;
mod lane;
mod latency;
mod layout;
mod lease;
mod maglev;
mod membership;
mod minimum;
mod origin;
mod peer;
mod policy;
mod region;
mod schedule;
mod seat;
mod shadow;
mod snapshot;
mod state;
mod tally;
mod watch;

pub use detector::Detector;
mod timing;

pub(crate) use admission::Adaptive;
pub use events::{Event, EventKind};
pub use file::{FileOptions, Replaced};
pub use identity::ProcessIdentity;
pub(crate) use lane::{Writers, begin, count_request, end, lower};
pub(crate) use latency::Latency;
pub use layout::Capacity;
pub use lease::Lane;
pub(crate) use minimum::Method as LeastMethod;
pub use peer::{Address, Admin, PeerHandle, PeerSpec};
pub(crate) use policy::{MOST_ATTEMPTS, PackedPolicy};
pub use policy::{Policy, Selector};
pub(crate) use seat::{Published, Seat, SeatedUpstream};
pub use shadow::Compared;
pub(crate) use snapshot::{Cycle, POOLS};
pub use snapshot::{Entry, Snapshot, Tier};
pub use state::{Health, State, Tick};
pub(crate) use tally::Counts;
pub(crate) use timing::Span;
pub(crate) use watch::Tenure;

use crate::error::Error;
use crate::sync::{AtomicU64, Ordering};
use parking_lot::Mutex;
use region::Region;

/// The number of an upstream in its table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UpstreamId(u32);

impl UpstreamId {
    /// Any number below the largest capacity; whether the table has such an upstream is checked when it is used.
    pub fn new(n: u32) -> Option<UpstreamId> {
        (n < layout::MAX_UPSTREAMS).then_some(UpstreamId(n))
    }

    /// Its number in the ABI.
    pub fn number(self) -> u32 {
        self.0
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A process's handle on a table.
pub struct Table {
    region: Region,
    /// Threads of this process that change the membership take turns here; processes do so by a word in the header.
    set_up: Mutex<()>,
}

impl Table {
    /// How many bytes a table of these capacities takes.
    pub fn size_for(capacity: &Capacity) -> Result<usize, Error> {
        Ok(layout::Layout::of(capacity)?.size)
    }

    /// A table in anonymous shared memory that processes forked later share.
    pub fn anonymous(capacity: &Capacity, now: u64) -> Result<Table, Error> {
        Region::anonymous(capacity, now).map(Table::from_region)
    }

    /// A table in the caller's memory.
    ///
    /// # Safety
    /// `memory` points to `size` bytes that nothing else uses while the table or another handle on it lives.
    #[allow(unsafe_code)]
    pub unsafe fn create_at(memory: *mut u8, size: usize, capacity: &Capacity, now: u64) -> Result<Table, Error> {
        // SAFETY: the caller's promise is the same.
        unsafe { Region::create_at(memory, size, capacity, now) }.map(Table::from_region)
    }

    /// A handle on a table that is there already.
    ///
    /// # Safety
    /// `memory` points to `size` readable and writable bytes that stay mapped while the handle lives.
    #[allow(unsafe_code)]
    pub unsafe fn attach_at(memory: *mut u8, size: usize) -> Result<Table, Error> {
        // SAFETY: the caller's promise is the same.
        unsafe { Region::attach_at(memory, size) }.map(Table::from_region)
    }

    /// Its capacities.
    pub fn capacity(&self) -> &Capacity {
        &self.region.capacity
    }

    /// How many bytes it takes.
    pub fn size(&self) -> usize {
        self.region.size
    }

    /// When it was made: the zero of the times in its state words.
    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        self.region.epoch
    }

    /// A peer's state word.
    #[inline]
    pub(crate) fn state_word(&self, slot: u32) -> Option<&AtomicU64> {
        self.region.states.get(slot as usize)
    }

    /// What the state word of this peer says, if the peer is still there.
    pub(crate) fn state(&self, peer: PeerHandle) -> Option<State> {
        let state = State::from_bits(self.state_word(peer.slot())?.load(Ordering::Acquire));
        (state.is_live() && state.generation() == peer.generation()).then_some(state)
    }

    /// Another process's handle on it: under a model nothing can be mapped twice.
    #[cfg(all(loom, test))]
    pub(crate) fn of_another_process(&self) -> Table {
        Table::from_region(self.region.again())
    }

    fn from_region(region: Region) -> Table {
        Table { region, set_up: Mutex::new(()) }
    }
}
