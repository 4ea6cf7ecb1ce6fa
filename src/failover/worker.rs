//! A worker: one process or thread that serves requests, its lane, its places in the cycles, its random numbers.

use crate::error::{Error, TIDEGATE_ERR_FORKED, TIDEGATE_ERR_FULL, TIDEGATE_ERR_SYSTEM};
use crate::random::{Random, mix};
use crate::selector::Cursor;
use crate::sync::{AtomicU64, Ordering};
use crate::table::{POOLS, Seat, SeatedUpstream, Table, UpstreamId, Writers};
use crossbeam_utils::CachePadded;
use std::sync::Arc;

/// A place in a table. Freed by `drop`, which leaves the lane unless this is another process than the one that joined.
pub struct Worker {
    pub(crate) seat: Seat,
    present: Presence,
    /// How long it may be silent; 0: see `table::lease`.
    patience_ns: u64,
    /// One an upstream.
    places: Box<[Place]>,
    /// Written by every pick: kept off the lines that other threads of a shared worker read.
    pub(crate) random: CachePadded<Random>,
}

/// A worker's place in one upstream.
pub(crate) struct Place {
    /// One a pool.
    pub cursors: [Cursor; POOLS],
    pub upstream: SeatedUpstream,
    /// When this worker last looked at a peer beside the one that answered.
    looked: AtomicU64,
}

/// A look may read a word of every worker: so often at the most, or large pools would pay for one with every report.
const LOOK_NS: u64 = 1_000_000;

impl Place {
    /// Whether it is time to look at another peer.
    #[inline(always)]
    pub fn is_look_due(&self, now: u64) -> bool {
        now.wrapping_sub(self.looked.load(Ordering::Relaxed)) >= LOOK_NS
    }

    pub fn note_look(&self, now: u64) {
        self.looked.store(now, Ordering::Relaxed);
    }
}

/// At most this long after the last round the next one is due.
const TICK_NS: u64 = 500_000_000;

impl Worker {
    /// Takes a lane that it keeps for as long as its process is seen to live.
    pub fn join(table: Arc<Table>, shared: bool, seed: u64, now: u64) -> Result<Box<Worker>, Error> {
        Worker::join_patiently(table, shared, seed, 0, now)
    }

    /// Takes a lane. `patience_ns`: see `table::lease`.
    pub fn join_patiently(
        table: Arc<Table>,
        shared: bool,
        seed: u64,
        patience_ns: u64,
        now: u64,
    ) -> Result<Box<Worker>, Error> {
        table.writable()?;
        let present = Presence::new(shared)?;
        // Who died before us is taken off now: a worker that replaces it need not wait for a tick.
        table.reclaim(now);
        table.finish_for_the_dead();
        let lane = table.join()?;
        table.beat(lane, patience_ns, now);
        let own = mix(now ^ u64::from(std::process::id()).rotate_left(32)) ^ mix(u64::from(lane.index()) + 1);
        let random = Random::new(if seed == 0 { own } else { seed });
        let writers = if shared { Writers::Many } else { Writers::One };
        let seat = Seat::new(table, lane, writers).ok_or_else(|| Error::of(TIDEGATE_ERR_FULL))?;
        let place = |upstream| Place {
            cursors: std::array::from_fn(|_| Cursor::at_random(&random)),
            upstream,
            looked: AtomicU64::new(0),
        };
        let places = seat.upstreams().map(place).collect();
        Ok(Box::new(Worker { seat, present, patience_ns, places, random: CachePadded::new(random) }))
    }

    /// Does what falls due, once over all workers.
    pub fn tick(&self, now: u64) -> Result<(), Error> {
        self.check(now)?;
        let lane = self.seat.lane();
        if !self.table().holds(lane) {
            self.table().regain(lane, now)?;
        }
        self.table().beat(lane, self.patience_ns, now);
        let word = self.table().tick_word();
        let last = word.load(Ordering::Relaxed);
        if now.abs_diff(last) < TICK_NS
            || word.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return Ok(());
        }
        let table = self.table();
        table.reclaim(now);
        table.finish_for_the_dead();
        table.scrub();
        table.sync_shadows();
        table.age_spans();
        super::concurrency::adapt(table);
        crate::health::keep_time(table, now);
        // Whoever died between a transition and this left it undone.
        table.upstream_ids().for_each(|id| crate::health::recount(table, id, now));
        Ok(())
    }

    /// Its lane's number.
    pub fn lane_index(&self) -> u32 {
        self.seat.lane().index()
    }

    /// Whether this is still the process that joined, and its lane is in the sums, if need be again: to be asked before
    /// anything shared is written. Two loads: no system call on the request path.
    #[inline]
    pub(crate) fn check(&self, now: u64) -> Result<(), Error> {
        if self.present.is_here() && !self.seat.is_out() {
            return Ok(());
        }
        if !self.present.is_here() {
            return Err(Error::of(TIDEGATE_ERR_FORKED));
        }
        self.table().regain(self.seat.lane(), now)
    }

    /// Whether this is the process that joined, and one thread of it.
    #[inline(always)]
    pub(crate) fn is_alone(&self) -> bool {
        self.present.is_alone()
    }

    /// The same, and there is nothing for `check` to do.
    #[inline(always)]
    pub(crate) fn is_alone_and_in(&self) -> bool {
        self.present.is_alone() && !self.seat.is_out()
    }

    #[inline]
    pub(crate) fn place(&self, id: UpstreamId) -> Option<&Place> {
        self.places.get(id.index())
    }

    #[inline]
    pub(crate) fn table(&self) -> &Table {
        self.seat.table()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.present.is_here() {
            self.table().leave(self.seat.lane());
        }
    }
}

/// A page that the kernel zeroes in a forked child: tells a child from the process that joined without asking for the
/// process id, which costs a system call. While it is there, the page says how many threads the worker has, so that one
/// load tells the plain case.
struct Presence {
    /// Of std, not of the facade: the kernel writes it too.
    page: *mut std::sync::atomic::AtomicU64,
}

const PAGE: usize = 4096;
/// What the page says; 0 in a child.
const ALONE: u64 = 1;
const SHARED: u64 = 2;

#[allow(unsafe_code)]
mod presence {
    use super::*;

    // SAFETY: the page is only read after `new`, through an atomic.
    unsafe impl Send for Presence {}
    // SAFETY: as above.
    unsafe impl Sync for Presence {}

    impl Presence {
        pub(super) fn new(shared: bool) -> Result<Presence, Error> {
            // SAFETY: a fresh private mapping; results are checked; the word lies at its start.
            unsafe {
                let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
                let page = libc::mmap(std::ptr::null_mut(), PAGE, access, flags, -1, 0);
                let failed = |what: &str| {
                    let error = std::io::Error::last_os_error();
                    Error::new(TIDEGATE_ERR_SYSTEM, format!("{what}: {error}"))
                };
                if page == libc::MAP_FAILED {
                    return Err(failed("mapping a page"));
                }
                let presence = Presence { page: page.cast() };
                if libc::madvise(page, PAGE, libc::MADV_WIPEONFORK) != 0 {
                    return Err(failed("madvise(MADV_WIPEONFORK), which needs Linux 4.14"));
                }
                (*presence.page).store(if shared { SHARED } else { ALONE }, Ordering::Relaxed);
                Ok(presence)
            }
        }

        #[inline]
        pub(super) fn is_here(&self) -> bool {
            self.says() != 0
        }

        #[inline]
        pub(super) fn is_alone(&self) -> bool {
            self.says() == ALONE
        }

        #[inline]
        fn says(&self) -> u64 {
            // SAFETY: the page is mapped for as long as we live.
            unsafe { (*self.page).load(Ordering::Relaxed) }
        }
    }

    impl Drop for Presence {
        fn drop(&mut self) {
            // SAFETY: it is our mapping, and nobody reads it after us.
            unsafe { libc::munmap(self.page.cast(), PAGE) };
        }
    }
}
