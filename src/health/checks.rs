//! What active checks do to a peer's state word: one bit, apart from what live traffic says and from a person's word.
//!
//! A peer that is down is not eligible, and no trial goes to it. A green check lifts that bit and nothing else, so it
//! never ends an ejection that live traffic made. Where checks say that all peers are down, the panic policy applies as
//! it is configured; without one, peers are tried as a last resort, and one success there lifts the bit at once: a page
//! that is broken on every peer must not take a service away that works.
//!
//! Cost: one CAS and one event for a change, one load otherwise; then a count of the members for the panic policy.

use super::floor;
use crate::cause::Cause;
use crate::error::{Error, TIDEGATE_ERR_NOT_FOUND};
use crate::sync::Ordering;
use crate::table::{EventKind, Health, PeerHandle, State, Table, Tick, UpstreamId};

/// Takes a peer out, or back in. Whether that changed anything.
pub(crate) fn set_down(
    table: &Table,
    peer: PeerHandle,
    down: bool,
    cause: Cause,
    status: u16,
    now: u64,
) -> Result<bool, Error> {
    table.writable()?;
    let gone = || Error::of(TIDEGATE_ERR_NOT_FOUND);
    let word = table.state_word(peer.slot()).ok_or_else(gone)?;
    loop {
        let state = table.state(peer).ok_or_else(gone)?;
        if state.is_down() == down {
            return Ok(false);
        }
        let next = state.with_down(down);
        // The time of the last change for the better; that of an ejection stays.
        let better = !down && state.health() == Health::Healthy;
        let slow = table.peer_upstream(peer.slot()).is_some_and(|upstream| table.slow_start_ns(upstream) != 0);
        let next = if better { next.with_until(Tick::at(now, table.epoch())).with_slow_start(slow) } else { next };
        if word.compare_exchange(state.bits(), next.bits(), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            let upstream = table.peer_upstream(peer.slot()).ok_or_else(gone)?;
            let status = u64::from(status);
            let kind =
                if down { EventKind::Down { peer, upstream, cause, status } } else { EventKind::Up { peer, upstream } };
            table.emit(kind, now);
            floor::recount(table, upstream, now);
            return Ok(true);
        }
    }
}

/// Takes all peers of an upstream back in: nobody checks it any more.
pub(crate) fn forget(table: &Table, upstream: UpstreamId, now: u64) -> Result<(), Error> {
    table.writable()?;
    let down = |slot: u32| {
        let state = State::from_bits(table.state_word(slot)?.load(Ordering::Acquire));
        (state.is_live() && state.is_down()).then(|| PeerHandle::new(slot, state.generation()))
    };
    let Some(snapshot) = table.snapshot(upstream) else { return Ok(()) };
    for peer in snapshot.members().filter_map(|entry| down(entry.slot())) {
        // One that has been removed meanwhile, or belongs to another upstream by now, is not in question.
        if table.peer_upstream(peer.slot()) == Some(upstream) {
            let _ = set_down(table, peer, false, Cause::NONE, 0, now);
        }
    }
    Ok(())
}

/// Takes a peer back in that served a request although checks had found it dead.
#[cold]
pub(super) fn lift(table: &Table, peer: PeerHandle, now: u64) {
    let _ = set_down(table, peer, false, Cause::NONE, 0, now);
}
