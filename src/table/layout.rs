//! Capacities, and where everything lies in the region. Offsets are computed from the capacities alone, so a header
//! holds no offset that could lead astray.

use crate::error::{Error, TIDEGATE_ERR_INVALID};

/// "TIDEGATE", read as a little-endian word.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"TIDEGATE");
/// Grows whenever the meaning of a word changes.
pub(super) const LAYOUT_VERSION: u32 = 3;

pub(super) const MAX_UPSTREAMS: u32 = 4096;
pub(super) const MAX_PEERS: u32 = 65536;
pub(super) const MAX_WORKERS: u32 = 1024;
pub(super) const MAX_EVENTS: u32 = 65536;

/// Words of the header, by position.
pub(super) mod header {
    pub(in crate::table) const MAGIC: usize = 0;
    /// Layout version | feature bits << 32.
    pub(in crate::table) const VERSION: usize = 1;
    pub(in crate::table) const SIZE: usize = 2;
    /// Upstreams | peers << 32.
    pub(in crate::table) const CAPACITY: usize = 3;
    /// Workers | events << 32.
    pub(in crate::table) const CAPACITY_2: usize = 4;
    pub(in crate::table) const EPOCH: usize = 5;
    /// The process that changes the membership, 0: none.
    pub(in crate::table) const CONTROL: usize = 6;
    /// Words of the arena that are given out.
    pub(in crate::table) const ARENA_USED: usize = 7;
    /// Outcomes for peers that had been removed.
    pub(in crate::table) const LATE_OUTCOMES: usize = 8;
    /// When the last round of tick work began.
    pub(in crate::table) const TICK: usize = 9;
    /// The boot that the times are of, low and high half, and what a time namespace adds to its clocks: see `origin`.
    pub(in crate::table) const BOOT: usize = 10;
    pub(in crate::table) const BOOT_HIGH: usize = 11;
    pub(in crate::table) const MONOTONIC_SHIFT: usize = 12;
    pub(in crate::table) const BOOTTIME_SHIFT: usize = 13;
    /// The same process once more, stored second: tells an owner from a damaged word.
    pub(in crate::table) const CONTROL_SEAL: usize = 14;
    /// Not 0 once a worker joined that the kernel does not fence swiftly: see `lane`, Reuse of slots.
    pub(in crate::table) const SLOW_FENCE: usize = 15;
    /// Number of the newest event; on a line of its own, because every event writes it.
    pub(in crate::table) const EVENT_HEAD: usize = 16;
    /// Events not written because their slot was being written.
    pub(in crate::table) const EVENTS_LOST: usize = 17;
    /// Who makes the active checks: its tenure, and its process; on a line of their own, for it beats. See `watch`.
    pub(in crate::table) const WATCH: usize = 24;
    pub(in crate::table) const WATCHER: usize = 25;
    pub(in crate::table) const WORDS: usize = 32;
}

/// Words of an upstream slot, by position. The first line is what a pick and a report read.
pub(super) mod upstream {
    /// Generation << 32 | arena offset of the published snapshot, 0: none.
    pub(in crate::table) const SNAPSHOT: usize = 0;
    /// The packed part of the policy.
    pub(in crate::table) const POLICY: usize = 1;
    pub(in crate::table) const DEADLINE: usize = 2;
    pub(in crate::table) const BUDGET: usize = 3;
    pub(in crate::table) const EJECT_BASE: usize = 4;
    pub(in crate::table) const EJECT_MAX: usize = 5;
    /// Parts per million | least per second << 32.
    pub(in crate::table) const BUDGET_POLICY: usize = 6;
    /// Bits: the panic policy applies; some peers are only ejected.
    pub(in crate::table) const PANIC: usize = 7;
    pub(in crate::table) const BACKOFF_BASE: usize = 8;
    pub(in crate::table) const BACKOFF_MAX: usize = 9;
    /// The peer being ejected (slot + 1) and since when: see `health::floor`.
    pub(in crate::table) const EJECTING: usize = 10;
    /// Arena offset and words of the two snapshot buffers.
    pub(in crate::table) const BUFFER_A: usize = 11;
    pub(in crate::table) const BUFFER_B: usize = 12;
    /// Length of the name; stored last when an upstream is made.
    pub(in crate::table) const NAME_LEN: usize = 13;
    pub(in crate::table) const NAME: usize = 14;
    pub(in crate::table) const NAME_WORDS: usize = 8;
    /// When an idle connection was last closed under a request; 0: never.
    pub(in crate::table) const RACE: usize = 22;
    /// Most bytes and longest time of a hold-back; 0 bytes: none.
    pub(in crate::table) const HOLD_BYTES: usize = 23;
    pub(in crate::table) const HOLD: usize = 24;
    /// How fast estimates of latency decay: see `latency::rate`.
    pub(in crate::table) const DECAY: usize = 25;
    /// The packed part of how traffic is spread over pools: see `policy`.
    pub(in crate::table) const SPREAD: usize = 26;
    /// Slow start in nanoseconds, 0: none.
    pub(in crate::table) const SLOW_START: usize = 27;
    /// What the pools can carry: see `capacity`.
    pub(in crate::table) const SHARES: usize = 28;
    /// Eligible weights of the two priorities.
    pub(in crate::table) const WEIGHTS: usize = 29;
    /// Requests in flight, where load is bounded.
    pub(in crate::table) const IN_FLIGHT: usize = 30;
    /// The upstream that shadows this one, + 1; or, with bit 32, the one that this one shadows: see `shadow`.
    pub(in crate::table) const SHADOW: usize = 48;
    /// In a shadow: what it compared.
    pub(in crate::table) const COMPARED: usize = 49;
    pub(in crate::table) const COMPARED_WORDS: usize = 9;
    pub(in crate::table) const WORDS: usize = 64;
}

/// Words of a peer slot that only the control plane, reports of failures and status read.
pub(super) mod peer {
    /// Upstream + 1; 0: never used.
    pub(in crate::table) const UPSTREAM: usize = 0;
    /// Weight | priority << 16 | zone << 24 | limit << 32.
    pub(in crate::table) const PARAMETERS: usize = 1;
    /// Attempts that were made before this peer got the slot.
    pub(in crate::table) const PICKS_BASE: usize = 2;
    pub(in crate::table) const FAILURES: usize = 3;
    /// When it was last tried although its ejection had not ended.
    pub(in crate::table) const LAST_RESORT: usize = 4;
    /// Length of the address | length of the name << 32.
    pub(in crate::table) const LENGTHS: usize = 5;
    pub(in crate::table) const ADDRESS: usize = 6;
    pub(in crate::table) const ADDRESS_WORDS: usize = 14;
    pub(in crate::table) const NAME: usize = 20;
    pub(in crate::table) const NAME_WORDS: usize = 8;
    /// Parameters that come into force with a list: see `membership`.
    pub(in crate::table) const NEXT_PARAMETERS: usize = 28;
    /// Generation of that list | administrative state << 32 | 1 << 34; 0: none.
    pub(in crate::table) const NEXT: usize = 29;
    /// Which detector ejected it last, the cause << 8.
    pub(in crate::table) const EJECTED_BY: usize = 30;
    /// The handle of the peer that stands for it in the shadow of its upstream; 0: none.
    pub(in crate::table) const TWIN: usize = 31;
    pub(in crate::table) const WORDS: usize = 32;
}

/// Words of the tallies, by position: see `table::tally`.
pub(super) mod tally {
    pub(in crate::table) const ANSWERED: usize = 0;
    pub(in crate::table) const PENDING: usize = 1;
    pub(in crate::table) const COUNTS: usize = 2;
    pub(in crate::table) const MARK: usize = 3;
    pub(in crate::table) const WORDS: usize = 4;

    /// Of an upstream.
    pub(in crate::table) const ALL_COUNTS: usize = 0;
    pub(in crate::table) const ALL_MARK: usize = 1;
    /// Attempts, less requests.
    pub(in crate::table) const EXTRA: usize = 2;
    /// The time that most answers take.
    pub(in crate::table) const SLOW_ANSWER: usize = 3;
    /// Least time for which requests hang, in nanoseconds.
    pub(in crate::table) const LEAST_PENDING: usize = 4;
    /// Until when no share of failures ejects.
    pub(in crate::table) const RATES_HELD: usize = 5;
    pub(in crate::table) const UPSTREAM_WORDS: usize = 8;
}

/// Words of what is known, and said, of an upstream's time and admission, by position: see `timing` and `admission`.
pub(super) mod timing {
    /// What the last round found in the histograms.
    pub(in crate::table) const FOUND: usize = 0;
    /// Least time-out that is advised; 0: none is.
    pub(in crate::table) const FLOOR: usize = 1;
    /// Longest Retry-After of a peer that is honoured; 0: none is.
    pub(in crate::table) const RETRY_AFTER: usize = 2;
    /// Longest time in the queue.
    pub(in crate::table) const QUEUE_TIME: usize = 3;
    /// Most in flight | most in the queue << 32.
    pub(in crate::table) const ADMISSION: usize = 4;
    /// Requests in the queue.
    pub(in crate::table) const WAITING: usize = 5;
    /// Requests that ever were.
    pub(in crate::table) const QUEUED: usize = 6;
    /// The adaptive limit in 256ths; 0: it was never set.
    pub(in crate::table) const LIMIT: usize = 7;
    /// The latency that the adaptive limit takes for normal, in nanoseconds.
    pub(in crate::table) const NORMAL: usize = 8;
    /// Latency since the last round: the sum in nanoseconds, and how many.
    pub(in crate::table) const SUM: usize = 9;
    pub(in crate::table) const COUNT: usize = 10;
    /// A pick met the limit since the last round.
    pub(in crate::table) const MET: usize = 11;
    /// When an attempt was last given up before the operator's time-out; 0: never.
    pub(in crate::table) const DOUBT: usize = 12;
    pub(in crate::table) const WORDS: usize = 16;
}

/// Counters kept by cause; more than there are causes, so that new ones need no new layout.
pub(super) const CAUSES: usize = 48;
/// Words of an event.
pub(super) const EVENT_WORDS: usize = 8;
/// Words of a lease: a line, so that joining disturbs nobody.
pub(super) const LEASE_WORDS: usize = 8;

/// What stands in a lease's line behind the lease itself, by position.
pub(super) mod lease {
    /// The time of its holder's last tick.
    pub(in crate::table) const BEAT: usize = 1;
    /// How long its holder may be silent; 0: see `lease`.
    pub(in crate::table) const PATIENCE: usize = 2;
}

/// Capacities of a table, within their bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Most upstreams.
    pub upstreams: u32,
    /// Most peers.
    pub peers: u32,
    /// Most workers.
    pub workers: u32,
    /// Events kept, a power of two.
    pub events: u32,
}

impl Capacity {
    /// Checks them; 0 is a default.
    pub fn new(upstreams: u32, peers: u32, workers: u32, events: u32) -> Result<Capacity, Error> {
        let within = |what: &str, value: u32, default: u32, most: u32| match value {
            0 => Ok(default),
            n if n <= most => Ok(n),
            n => Err(Error::new(TIDEGATE_ERR_INVALID, format!("{what} is {n}: at most {most}"))),
        };
        let capacity = Capacity {
            upstreams: within("max_upstreams", upstreams, 64, MAX_UPSTREAMS)?,
            peers: within("max_peers", peers, 1024, MAX_PEERS)?,
            workers: within("max_workers", workers, 64, MAX_WORKERS)?,
            events: within("events", events, 1024, MAX_EVENTS)?,
        };
        if !capacity.events.is_power_of_two() {
            return Err(Error::invalid(format!("events is {events}: must be a power of two")));
        }
        Ok(capacity)
    }
}

/// Sections of the region: (offset, length), both in words of 8 bytes; every section starts on a line of 64 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub leases: (usize, usize),
    pub upstreams: (usize, usize),
    pub upstream_causes: (usize, usize),
    pub states: (usize, usize),
    /// Aggregates: two `u32` a word.
    pub aggregates: (usize, usize),
    /// Estimates of latency, and the places of their keys.
    pub estimates: (usize, usize),
    pub places: (usize, usize),
    /// Two `u32` a word.
    pub keys: (usize, usize),
    /// What passive health remembers of peers, and of upstreams.
    pub tallies: (usize, usize),
    pub upstream_tallies: (usize, usize),
    pub lanes: (usize, usize),
    pub lane_row: usize,
    pub requests: (usize, usize),
    pub requests_row: usize,
    /// Requests in the queue, by worker and upstream: rows as of `requests`.
    pub waiting: (usize, usize),
    pub timings: (usize, usize),
    /// Two `u32` a word.
    pub histograms: (usize, usize),
    /// One a peer: see `health::hesitation`.
    pub hesitations: (usize, usize),
    pub peers: (usize, usize),
    /// Two `u32` a word.
    pub peer_causes: (usize, usize),
    pub events: (usize, usize),
    pub arena: (usize, usize),
    /// In bytes.
    pub size: usize,
}

impl Layout {
    pub fn of(c: &Capacity) -> Result<Layout, Error> {
        let (u, p, w, e) = (c.upstreams as usize, c.peers as usize, c.workers as usize, c.events as usize);
        let mut at = header::WORDS;
        let mut section = |words: usize| {
            let here = at;
            at = here.saturating_add(line(words));
            (here, words)
        };
        let (lane_row, requests_row) = (line(p), line(u));
        // Two buffers of a small upstream for each, and two generations of growth for all peers.
        let arena = line(u * 2 * super::snapshot::words_for(16) + 2 * super::snapshot::words_for(p) * 2);
        let layout = Layout {
            leases: section(w * LEASE_WORDS),
            upstreams: section(u * upstream::WORDS),
            upstream_causes: section(u * CAUSES),
            states: section(p),
            aggregates: section(p.div_ceil(2)),
            estimates: section(p),
            places: section(p),
            // One for each line of the arena, and the last vector.
            keys: section((arena / 8 + super::minimum::LANES * 2).div_ceil(2)),
            tallies: section(p * tally::WORDS),
            upstream_tallies: section(u * tally::UPSTREAM_WORDS),
            lanes: section(w.saturating_mul(lane_row)),
            lane_row,
            requests: section(w.saturating_mul(requests_row)),
            requests_row,
            waiting: section(w.saturating_mul(requests_row)),
            timings: section(u * timing::WORDS),
            histograms: section(u * super::timing::HISTOGRAMS * super::timing::BUCKETS / 2),
            hesitations: section(p),
            peers: section(p * peer::WORDS),
            peer_causes: section(p * CAUSES / 2),
            events: section(e * EVENT_WORDS),
            arena: section(arena),
            size: 0,
        };
        Ok(Layout { size: at * 8, ..layout })
    }
}

/// Rounded up to whole lines.
fn line(words: usize) -> usize {
    words.next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_peers_fit_in_16_mib() {
        let size = |peers| Layout::of(&Capacity::new(64, peers, 64, 1024).unwrap()).unwrap().size;
        let (of_none, of_all) = (size(1), size(10_000));
        println!("table of 10,000 peers: {of_all} bytes; a peer: {} bytes", (of_all - of_none) / 9_999);
        assert!(of_all <= 16 << 20, "{of_all} bytes");
    }
}
