//! What is in flight: the workers' lanes of counters, and the aggregates.
//!
//! The holder of lease `i` (see `lease`) is the only writer of lane `i`: one word a peer, attempts << 24 | in flight, so
//! a pick or a report is one plain store. Attempts are never cleared: a later holder counts on, and the sum over all
//! lanes less a base kept with the peer is the peer's count. Requests in flight are the sum over the lanes that are not
//! out.
//!
//! # Reuse of slots
//! A slot may go to another peer only when no request is in flight on it, in a lane that is out neither. A pick stores its count first and then reads
//! the state word again; whoever frees slots clears the state word first and then reads the counts. Both would need a
//! full fence between the two to be sure of each other. The pick's is left out, for it would cost every request a
//! locked instruction; in its place the other side makes every thread that may pick pass one ([`Table::settle`],
//! membarrier(2)): at once by an interrupt to each processor that runs a thread of a process that registered, and every
//! process does before it takes a lane; a thread that does not run passes a fence when it is put off or on a processor.
//! A child of fork cannot pick before it joins for itself, nor can a program before it has joined after exec, which
//! ends the registration. Where a process could not register (Linux older than 4.16, a filter of system calls) it says so
//! in the header, for ever, and from then on whoever settles waits for all threads of the machine to pass through the
//! scheduler.
//!
//! # Orderings
//! A lane's words are Relaxed: they are counts, read for display and for sums that are repaired. How lanes change hands
//! is ordered by their leases. The SeqCst fence of `settle`, with what the kernel adds, pairs with the compiler fence
//! between a pick's store and its load; and with the SeqCst fence after a process has said that it could not register:
//! either whoever settles sees that word and waits for all, or that process sees what was vacated before.

use super::layout::{header, peer as peer_word};
use super::{PeerHandle, Table, UpstreamId};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

const IN_FLIGHT: u64 = (1 << 24) - 1;
const ATTEMPT: u64 = 1 << 24;

/// Who writes a lane's words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writers {
    One,
    Many,
}

/// Adds to a word: by a store where this thread is its only writer.
#[inline]
fn add(word: &AtomicU64, delta: u64, writers: Writers) {
    match writers {
        Writers::One => word.store(word.load(Ordering::Relaxed).wrapping_add(delta), Ordering::Relaxed),
        Writers::Many => {
            word.fetch_add(delta, Ordering::Relaxed);
        }
    }
}

impl Table {
    /// Sets the in-flight counts of a lane to 0 and, if they are in the aggregates, takes them off there. How many
    /// requests that were.
    pub(super) fn clear_lane(&self, index: u32, in_aggregates: bool) -> u64 {
        let mut taken = 0;
        for slot in 0..self.region.capacity.peers {
            let Some(cell) = self.lane_cell(index, slot) else { break };
            let mut value = cell.load(Ordering::Relaxed);
            while value & IN_FLIGHT != 0 {
                match cell.compare_exchange_weak(value, value & !IN_FLIGHT, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => {
                        let n = value & IN_FLIGHT;
                        taken += n;
                        if in_aggregates {
                            self.lower_aggregate(slot, n as u32);
                        }
                        break;
                    }
                    Err(seen) => value = seen,
                }
            }
        }
        taken
    }

    /// Requests in flight in one lane.
    pub(super) fn lane_in_flight(&self, index: u32) -> u64 {
        let count = |slot| self.lane_cell(index, slot).map_or(0, |c| c.load(Ordering::Relaxed) & IN_FLIGHT);
        (0..self.region.capacity.peers).map(count).sum()
    }

    /// Whether no lane holds a request on the slot, not even one that is out: only then may another peer have it.
    pub(super) fn is_quiet(&self, slot: u32) -> bool {
        let quiet = |lane| self.lane_cell(lane, slot).is_none_or(|c| c.load(Ordering::Relaxed) & IN_FLIGHT == 0);
        (0..self.region.capacity.workers).all(quiet)
    }

    fn lane_cell(&self, lane: u32, slot: u32) -> Option<&AtomicU64> {
        (slot < self.region.capacity.peers)
            .then(|| self.region.lanes.get(lane as usize * self.region.lane_row + slot as usize))
            .flatten()
    }

    /// Requests of an upstream since the table was made: the sum over all lanes.
    pub(crate) fn requests(&self, id: UpstreamId) -> u64 {
        let row = self.region.requests_row;
        let sum = |sum: u64, lane: usize| {
            let word = self.region.requests.get(lane * row + id.index());
            sum.wrapping_add(word.map_or(0, |w| w.load(Ordering::Relaxed)))
        };
        (0..self.region.capacity.workers as usize).fold(0, sum)
    }

    /// Attempts that any peer in this slot got, the sum over all lanes; and requests in flight, over those not out.
    pub(crate) fn slot_counts(&self, slot: u32) -> (u64, u32) {
        let mut counts = (0u64, 0u32);
        for lane in 0..self.region.capacity.workers {
            let value = self.lane_cell(lane, slot).map_or(0, |c| c.load(Ordering::Relaxed));
            counts.0 = counts.0.wrapping_add(value >> 24);
            if value & IN_FLIGHT != 0 && !self.is_lane_out(lane) {
                counts.1 = counts.1.saturating_add((value & IN_FLIGHT) as u32);
            }
        }
        counts
    }

    /// Attempts that this peer got, and requests in flight on it.
    pub(crate) fn peer_counts(&self, peer: PeerHandle) -> (u64, u32) {
        let (attempts, in_flight) = self.slot_counts(peer.slot());
        (attempts.wrapping_sub(self.peer_word_or_zero(peer.slot(), peer_word::PICKS_BASE)), in_flight)
    }

    /// The aggregate of requests in flight on a peer: maintained where a selector or a limit needs it.
    #[inline]
    pub(crate) fn aggregate(&self, slot: u32) -> Option<&AtomicU32> {
        self.region.aggregates.get(slot as usize)
    }

    /// Lowers an aggregate, not below 0.
    pub(crate) fn lower_aggregate(&self, slot: u32, by: u32) {
        if let Some(aggregate) = self.aggregate(slot) {
            let lower = |n: u32| (n != 0).then(|| n.saturating_sub(by));
            let _ = aggregate.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower);
        }
    }

    /// Brings aggregates to the sums of their lanes, both ways. Above is what a worker leaves that dies between the two:
    /// a pick raises the aggregate before its lane, and a report lowers it after. Below is one whose peer came to be
    /// counted with requests in flight, or was brought down here while a worker stood still between the two.
    ///
    /// What is under way shows other counts at the second look, or another aggregate at the CAS; what slips through is
    /// a count off by one until the next time. Linear in the peers that are counted, times the workers.
    pub(crate) fn scrub(&self) {
        for slot in 0..self.region.capacity.peers {
            let Some(aggregate) = self.aggregate(slot) else { break };
            let seen = aggregate.load(Ordering::Relaxed);
            let counted = self.is_counted(slot);
            if seen == 0 && !counted {
                continue;
            }
            let sums = self.slot_counts(slot);
            if (seen > sums.1 || seen < sums.1 && counted) && self.slot_counts(slot) == sums {
                let _ = aggregate.compare_exchange(seen, sums.1, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
        for id in self.upstream_ids().filter(|&id| self.packed_policy(id).is_bounded()) {
            let Some(total) = self.in_flight_word(id) else { continue };
            let seen = total.load(Ordering::Relaxed);
            let sum = || self.members(id).iter().map(|p| u64::from(self.slot_counts(p.slot()).1)).sum::<u64>();
            let counted = sum();
            if seen != counted && sum() == counted {
                let _ = total.compare_exchange(seen, counted, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// Whether a selector or a limit needs the peer's aggregate.
    fn is_counted(&self, slot: u32) -> bool {
        self.peer_parameters(slot).limit != 0
            || self.peer_upstream(slot).is_some_and(|id| self.packed_policy(id).counts())
    }
}

impl Table {
    /// Has the kernel fence this process whenever somebody settles. Before it takes a lane: see [`Table::settle`].
    pub(super) fn register_to_settle(&self) {
        if !is_fenced_swiftly() {
            self.region.header[header::SLOW_FENCE].store(1, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
    }

    /// Makes what every worker stored before visible, and every load of theirs after this one's: the fence that picks
    /// leave out. Only where slots are about to be reused. Below 10 µs; milliseconds (one grace period of the kernel)
    /// where a worker joined whom the kernel would not fence otherwise.
    pub(super) fn settle(&self) {
        fence(Ordering::SeqCst);
        // What membarrier makes of the picks' compiler fences, and of the fence above.
        #[cfg(not(loom))]
        membarrier(self.region.header[header::SLOW_FENCE].load(Ordering::Relaxed) != 0);
    }
}

#[cfg(loom)]
fn is_fenced_swiftly() -> bool {
    true
}

#[cfg(not(loom))]
#[allow(unsafe_code)]
fn is_fenced_swiftly() -> bool {
    const REGISTER_GLOBAL_EXPEDITED: libc::c_int = 4;
    // SAFETY: the call takes two integers and changes no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, REGISTER_GLOBAL_EXPEDITED, 0) == 0 }
}

#[cfg(not(loom))]
#[allow(unsafe_code)]
fn membarrier(slow: bool) {
    const GLOBAL: libc::c_int = 1;
    const GLOBAL_EXPEDITED: libc::c_int = 2;
    // SAFETY: the call takes two integers and changes no memory of ours.
    let fenced = |command: libc::c_int| unsafe { libc::syscall(libc::SYS_membarrier, command, 0) == 0 };
    if slow || !fenced(GLOBAL_EXPEDITED) {
        // Without either (a kernel older than 4.3): no store buffer keeps a store for as long as this.
        let _ = fenced(GLOBAL) || {
            std::thread::sleep(std::time::Duration::from_millis(5));
            true
        };
    }
}

/// Counts an attempt in a lane.
#[inline]
pub(crate) fn begin(cell: &AtomicU64, writers: Writers) {
    add(cell, ATTEMPT + 1, writers);
}

/// Counts its end.
#[inline]
pub(crate) fn end(cell: &AtomicU64, writers: Writers) {
    // A lane whose count was cleared (the lease was lost) must not go below 0 into the attempts.
    if cell.load(Ordering::Relaxed) & IN_FLIGHT != 0 {
        add(cell, 1u64.wrapping_neg(), writers);
    }
}

/// Takes one request off an aggregate, which a scrub may have done already. How many are left.
#[inline]
pub(crate) fn lower(aggregate: &AtomicU32) -> u32 {
    match aggregate.fetch_sub(1, Ordering::Relaxed) {
        0 => {
            aggregate.fetch_add(1, Ordering::Relaxed);
            0
        }
        n => n - 1,
    }
}

/// Counts a request in a lane.
#[inline]
pub(crate) fn count_request(cell: &AtomicU64, writers: Writers) {
    add(cell, 1, writers);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Address, Admin, Capacity, PeerSpec, Policy};

    /// A table with one peer that is counted for its limit; the peer's slot.
    fn counted() -> (Table, u32) {
        let table = Table::anonymous(&Capacity::new(1, 4, 4, 16).unwrap(), 0).unwrap();
        let upstream = table.open_upstream(b"app", &Policy::default()).unwrap();
        let address = Address::new(&[1, 0, b'a', 0]).unwrap();
        let spec = PeerSpec::new(address, b"", 1, 0, 9, Admin::Enabled).unwrap();
        let slot = table.set_peers(upstream, &[spec], 0).unwrap()[0].slot();
        (table, slot)
    }

    #[test]
    fn a_scrub_beside_a_worker_that_stands_still_is_made_good() {
        let (table, slot) = counted();
        let lane = table.join().unwrap();
        let (aggregate, cell) = (table.aggregate(slot).unwrap(), table.lane_cell(lane.index(), slot).unwrap());
        aggregate.fetch_add(1, Ordering::Relaxed);
        // Here the worker is stopped for a while.
        table.scrub();
        begin(cell, Writers::One);
        assert_eq!(aggregate.load(Ordering::Relaxed), 0);
        table.scrub();
        assert_eq!(aggregate.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_lane_is_empty_when_it_is_taken() {
        let (table, slot) = counted();
        // A store of a worker that was reclaimed too early, or any bytes.
        for lane in 0..4 {
            table.lane_cell(lane, slot).unwrap().store(5 << 24 | 3, Ordering::Relaxed);
        }
        for _ in 0..4 {
            table.join().unwrap();
        }
        assert_eq!(table.slot_counts(slot), (20, 0));
    }
}
