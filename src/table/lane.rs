//! Who serves requests: leases, and the lanes of counters that go with them.
//!
//! A lease is one word, so that taking and losing it is one CAS:
//!
//! | bits | field |
//! |---|---|
//! | 63 | being cleared: the process named is taking a dead worker's counts off |
//! | 41–62 | process id |
//! | 0–40 | the process's start time in clock ticks since boot, so that a reused id is not mistaken |
//!
//! 0 is free. The holder of lease `i` is the only writer of lane `i`: one word a peer, attempts << 24 | in flight, so a
//! pick or a report is one plain store. Attempts are never cleared: a later holder counts on, and the sum over all
//! lanes less a base kept with the peer is the peer's count.
//!
//! # Reuse of slots
//! A slot may go to another peer only when no request is in flight on it. A pick stores its count first and then reads
//! the state word again; whoever frees slots clears the state word first and then reads the counts. Both would need a
//! full fence between the two to be sure of each other. The pick's is left out, for it would cost every request a
//! locked instruction; in its place the other side makes every thread of the machine pass one ([`settle`], membarrier).
//!
//! # Orderings
//! A lane's words are Relaxed: they are counts, read for display and for sums that are repaired. The CAS that takes a
//! lease is AcqRel and pairs with the store that frees it (Release): a new holder sees the cleared words. A process that
//! died has made no store after its last one; its lane is cleared by CAS from whatever value that was, by one process
//! at a time, for the lease says who; if that one dies too, the next takes over, for clearing twice is clearing once.
//! Whoever takes a lane clears it again: counts that stand in a free lane, however they came there, end with that.

use super::layout::{LEASE_WORDS, peer as peer_word};
use super::{PeerHandle, Table, UpstreamId};
use crate::error::{Error, TIDEGATE_ERR_FULL};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

const CLEARING: u64 = 1 << 63;
const PID_SHIFT: u32 = 41;
const START_MASK: u64 = (1 << PID_SHIFT) - 1;
const IN_FLIGHT: u64 = (1 << 24) - 1;
const ATTEMPT: u64 = 1 << 24;

/// A process: its id and when it started. Another process never has the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessIdentity(u64);

impl ProcessIdentity {
    /// This process. Reads /proc; where that is missing, the id alone must do.
    pub fn current() -> ProcessIdentity {
        let pid = std::process::id();
        ProcessIdentity(u64::from(pid) << PID_SHIFT & !CLEARING | start_time(pid).unwrap_or(0))
    }

    pub(super) fn from_bits(word: u64) -> ProcessIdentity {
        ProcessIdentity(word & !CLEARING)
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// The process id.
    pub fn pid(self) -> u32 {
        (self.0 >> PID_SHIFT) as u32
    }

    /// Whether that process is still there. Makes system calls: never on the request path.
    #[allow(unsafe_code)]
    pub fn is_alive(self) -> bool {
        let pid = self.pid();
        if pid == 0 || pid > i32::MAX as u32 {
            return false;
        }
        // SAFETY: signal 0 only asks whether the process is there.
        let answer = unsafe { libc::kill(pid as i32, 0) };
        let refusal = std::io::Error::last_os_error().raw_os_error();
        if answer != 0 && refusal == Some(libc::ESRCH) {
            return false;
        }
        match (std::fs::read_to_string(format!("/proc/{pid}/stat")), self.0 & START_MASK) {
            (Ok(stat), then) => start_in(&stat).is_some_and(|now| now == then || then == 0),
            // It ended meanwhile; or we may not look (hidepid), or there is no /proc: then it lives, for to take the
            // lane of a live process is worse than to wait for a dead one's.
            (Err(_), _) => answer != 0 || !std::path::Path::new("/proc/self/stat").exists(),
        }
    }
}

/// The start time of a process that has not ended, in clock ticks since boot.
fn start_time(pid: u32) -> Option<u64> {
    start_in(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The same in the text of /proc/PID/stat: field 22.
fn start_in(stat: &str) -> Option<u64> {
    // The second field, a name in parentheses, may hold anything: start behind its end.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X");
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    // A zombie has ended, unless only its first thread has; a stopped process has not.
    if ended && threads <= 1 {
        return None;
    }
    Some(fields.nth(1)?.parse::<u64>().ok()? & START_MASK)
}

/// A lease that this process holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lane {
    index: u32,
    identity: ProcessIdentity,
}

impl Lane {
    /// Its number.
    pub fn index(self) -> u32 {
        self.index
    }
}

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
    /// Takes a lane: a free one, or else one that a dead worker left.
    pub fn join(&self) -> Result<Lane, Error> {
        self.writable()?;
        self.take_free_lane().or_else(|| (self.reclaim(0) > 0).then(|| self.take_free_lane()).flatten()).ok_or_else(
            || {
                Error::new(
                    TIDEGATE_ERR_FULL,
                    format!("all {} workers of the table are alive (raise max_workers)", self.region.capacity.workers),
                )
            },
        )
    }

    fn take_free_lane(&self) -> Option<Lane> {
        let identity = ProcessIdentity::current();
        (0..self.region.capacity.workers).find_map(|index| {
            self.lease(index)?.compare_exchange(0, identity.bits(), Ordering::AcqRel, Ordering::Relaxed).ok()?;
            self.clear_lane(index);
            Some(Lane { index, identity })
        })
    }

    /// Gives a lane back; what is still in flight on it is taken off.
    pub fn leave(&self, lane: Lane) {
        self.clear_lane(lane.index);
        if let Some(lease) = self.lease(lane.index) {
            let _ = lease.compare_exchange(lane.identity.bits(), 0, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// Takes off what dead workers left in flight and frees their lanes. How many lanes that were.
    pub fn reclaim(&self, now: u64) -> usize {
        if self.writable().is_err() {
            return 0;
        }
        let me = ProcessIdentity::current();
        let dead = (0..self.region.capacity.workers).filter(|&index| {
            let Some(lease) = self.lease(index) else { return false };
            let holder = lease.load(Ordering::Relaxed);
            if holder == 0 || ProcessIdentity::from_bits(holder) == me || ProcessIdentity::from_bits(holder).is_alive()
            {
                return false;
            }
            let mine = me.bits() | CLEARING;
            if lease.compare_exchange(holder, mine, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                return false;
            }
            let taken = self.clear_lane(index);
            let _ = lease.compare_exchange(mine, 0, Ordering::Release, Ordering::Relaxed);
            self.emit(super::EventKind::WorkerReclaimed { lane: index, taken }, now);
            true
        });
        dead.count()
    }

    /// Whether this process still holds the lane.
    pub(crate) fn holds(&self, lane: Lane) -> bool {
        self.lease(lane.index).is_some_and(|l| l.load(Ordering::Relaxed) == lane.identity.bits())
    }

    /// The live workers, for status output: lane and process id.
    pub(crate) fn workers(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        (0..self.region.capacity.workers).filter_map(|index| {
            let holder = self.lease(index)?.load(Ordering::Relaxed);
            (holder != 0 && holder & CLEARING == 0).then(|| (index, ProcessIdentity::from_bits(holder).pid()))
        })
    }

    fn lease(&self, index: u32) -> Option<&AtomicU64> {
        self.region.leases.get(index as usize * LEASE_WORDS)
    }

    /// Sets the in-flight counts of a lane to 0 and takes them off the aggregates. How many requests that were.
    fn clear_lane(&self, index: u32) -> u64 {
        let mut taken = 0;
        for slot in 0..self.region.capacity.peers {
            let Some(cell) = self.lane_cell(index, slot) else { break };
            let mut value = cell.load(Ordering::Relaxed);
            while value & IN_FLIGHT != 0 {
                match cell.compare_exchange_weak(value, value & !IN_FLIGHT, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => {
                        let n = value & IN_FLIGHT;
                        taken += n;
                        self.lower_aggregate(slot, n as u32);
                        break;
                    }
                    Err(seen) => value = seen,
                }
            }
        }
        taken
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

    /// Attempts that any peer in this slot got, and requests in flight: the sums over all lanes.
    pub(crate) fn slot_counts(&self, slot: u32) -> (u64, u32) {
        let mut counts = (0u64, 0u32);
        for lane in 0..self.region.capacity.workers {
            let value = self.lane_cell(lane, slot).map_or(0, |c| c.load(Ordering::Relaxed));
            counts.0 = counts.0.wrapping_add(value >> 24);
            counts.1 = counts.1.saturating_add((value & IN_FLIGHT) as u32);
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

/// Makes what every thread stored before visible, and every load of theirs after this one's: the fence that picks leave
/// out. A few milliseconds; only where slots are about to be reused.
#[allow(unsafe_code)]
pub(super) fn settle() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: the call takes two integers and changes no memory of ours.
    if unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0) } != 0 {
        // Without it (a kernel older than 4.3): no store buffer keeps a store for as long as this.
        std::thread::sleep(std::time::Duration::from_millis(5));
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
        let (aggregate, cell) = (table.aggregate(slot).unwrap(), table.lane_cell(lane.index, slot).unwrap());
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

    #[test]
    fn a_process_ends_with_its_last_thread() {
        let stat = |state: &str, threads: u32| {
            format!("12 (a) b) {state} 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 {threads} 0 4711 9 9")
        };
        assert_eq!(start_in(&stat("S", 3)), Some(4711));
        assert_eq!(start_in(&stat("T", 1)), Some(4711));
        assert_eq!(start_in(&stat("Z", 1)), None);
        assert_eq!(start_in(&stat("Z", 2)), Some(4711), "its main thread has left, another serves");
        assert_eq!(start_time(std::process::id()), Some(ProcessIdentity::current().0 & START_MASK));
    }
}
