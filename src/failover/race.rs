//! The idle-connection race, remembered: a peer closes a connection that it kept idle while a request is on its way.
//!
//! Nobody is at fault, and a request that may be repeated simply goes again. One that may not is lost, unless it takes a
//! new connection in the first place. That costs a handshake, so it is asked for only where the race has been seen: for
//! a minute after one, by any worker, on the same upstream. Cost: one load, for requests that can't be repeated.

use crate::sync::Ordering;
use crate::table::{Table, UpstreamId};

const REMEMBERED_NS: u64 = 60_000_000_000;

/// Notes a race.
pub(super) fn note(table: &Table, upstream: UpstreamId, now: u64) {
    if let Some(word) = table.race_word(upstream) {
        word.store(now.max(1), Ordering::Relaxed);
    }
}

/// Whether there was one lately.
pub(super) fn is_recent(table: &Table, upstream: UpstreamId, now: u64) -> bool {
    let last = table.race_word(upstream).map_or(0, |word| word.load(Ordering::Relaxed));
    last != 0 && now.abs_diff(last) < REMEMBERED_NS
}
