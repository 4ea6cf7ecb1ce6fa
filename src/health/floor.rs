//! The capacity floor: the last usable peer of an upstream is never ejected.
//!
//! Usable is a peer that is eligible and not itself failing (its streak is below the threshold). An ejection asks for
//! more: somebody whose last answers were good, or all would be ejected in turn where all fail alike; and, where every
//! usable peer has a limit, room below these for what the ejected one has in flight. Two workers could each
//! see the other's victim as the one that remains, so an ejection first reserves the right to it: one word an upstream
//! names the peer that is being ejected and since when, taken by CAS before the count and freed after the transition.
//! A second ejection meanwhile does not wait: it is put off until the peer's next failure. A reservation whose owner
//! died is void after a second. An owner that slept longer than that looks again after its transition, and so does whoever
//! succeeded it: who finds that nobody usable is left takes its own transition back.
//!
//! # Orderings
//! The CAS that reserves is AcqRel and pairs with the Release CAS that frees: who reserves next sees the transition of
//! who reserved before, and so does not count that peer as usable. Where the owner of a void reservation wakes up beside
//! its successor, each makes its transition and then looks for the other's, with a SeqCst fence between: the owner finds
//! the word changed and looks, or the successor, who always looks, sees the owner's transition. The panic word is Relaxed: advice, counted anew.

use super::Evidence;
use crate::sync::{AtomicU64, Ordering, fence};
use crate::table::{Health, State, Table, UpstreamId};

/// Two failures in a row are the first sign of a fault that all share.
pub(super) const WELL_BELOW: u32 = 2;
const VOID_AFTER_MS: u64 = 1000;
const TIME_BITS: u32 = 40;

/// The right to eject one peer.
pub(super) struct Reservation<'a> {
    word: &'a AtomicU64,
    mine: u64,
    /// Its owner before may be alive: asleep.
    succeeded: bool,
}

/// Reserves the right to eject the peer of `evidence`, if somebody usable remains.
pub(super) fn reserve<'a>(evidence: &Evidence<'a>, threshold: u32) -> Option<Reservation<'a>> {
    let word = evidence.table.ejecting_word(evidence.upstream)?;
    let now_ms = (evidence.now / 1_000_000) & ((1 << TIME_BITS) - 1);
    let held = word.load(Ordering::Relaxed);
    if held != 0 && now_ms.abs_diff(held & ((1 << TIME_BITS) - 1)) < VOID_AFTER_MS {
        return None;
    }
    let slot = evidence.peer.slot();
    let mine = (u64::from(slot) + 1) << TIME_BITS | now_ms;
    word.compare_exchange(held, mine, Ordering::AcqRel, Ordering::Relaxed).ok()?;
    let reservation = Reservation { word, mine, succeeded: held != 0 };
    let well = threshold.min(WELL_BELOW);
    if has_usable_peer(evidence.table, evidence.upstream, well, |other| other == slot)
        && has_room(evidence.table, evidence.upstream, slot, threshold)
    {
        Some(reservation)
    } else {
        reservation.release();
        None
    }
}

impl Reservation<'_> {
    fn release(&self) {
        let _ = self.word.compare_exchange(self.mine, 0, Ordering::Release, Ordering::Relaxed);
    }

    /// Frees it after the transition; `ejected` is what the peer's state was, where there was one.
    pub fn settle(self, evidence: &Evidence, ejected: Option<State>) {
        if let Some(before) = ejected
            && self.was_shared()
            && !has_usable_peer(evidence.table, evidence.upstream, evidence.policy.eject_failures(), |_| false)
            && let Some(state) = evidence.current()
            && state.health() == Health::Ejected
        {
            evidence.change(state, before);
        }
        self.release();
    }

    /// Whether another may have made its transition under a reservation of the same time.
    fn was_shared(&self) -> bool {
        fence(Ordering::SeqCst);
        self.succeeded || self.word.load(Ordering::Acquire) != self.mine
    }
}

/// Whether any member but those `without` can take traffic and is not itself failing. Linear, but it ends at the first.
pub(super) fn has_usable_peer(
    table: &Table,
    upstream: UpstreamId,
    threshold: u32,
    without: impl Fn(u32) -> bool,
) -> bool {
    let usable = |slot: u32| {
        let state = State::from_bits(table.state_word(slot).map_or(0, |w| w.load(Ordering::Acquire)));
        !without(slot) && state.is_eligible() && state.streak() < threshold
    };
    table.snapshot(upstream).is_some_and(|snapshot| snapshot.members().any(|entry| usable(entry.slot())))
}

/// Whether the limits of the other usable peers leave room for what this one has in flight.
fn has_room(table: &Table, upstream: UpstreamId, slot: u32, threshold: u32) -> bool {
    let in_flight = |slot: u32| table.aggregate(slot).map_or(0, |a| u64::from(a.load(Ordering::Relaxed)));
    let needed = in_flight(slot).max(1);
    let Some(snapshot) = table.snapshot(upstream) else { return false };
    let mut room = 0u64;
    snapshot.members().filter(|entry| entry.slot() != slot).any(|entry| {
        let state = State::from_bits(table.state_word(entry.slot()).map_or(0, |w| w.load(Ordering::Acquire)));
        let limit = u64::from(table.peer_parameters(entry.slot()).limit);
        let usable = state.is_eligible() && state.streak() < threshold;
        let free = if limit == 0 { needed } else { limit.saturating_sub(in_flight(entry.slot())) };
        room += if usable { free } else { 0 };
        room >= needed
    })
}

/// Counts anew what picks read of all members: whether the panic policy applies, whether somebody may be due for a
/// trial, shares and keys. Called after every transition, so that a pick need not count.
pub(crate) fn recount(table: &Table, upstream: UpstreamId, now: u64) {
    let percent = table.packed_policy(upstream).panic_percent() as usize;
    let (Some(word), Some(snapshot)) = (table.panic_word(upstream), table.snapshot(upstream)) else { return };
    let (mut eligible, mut ailing) = (0, false);
    for entry in snapshot.members().take(table.capacity().peers as usize) {
        let state = State::from_bits(table.state_word(entry.slot()).map_or(0, |w| w.load(Ordering::Acquire)));
        eligible += usize::from(state.is_eligible());
        ailing |= state.is_only_ejected();
    }
    let panic = percent != 0 && eligible * 100 < percent * snapshot.member_count();
    word.store(u64::from(panic) | u64::from(ailing) << 1, Ordering::Relaxed);
    table.refresh(upstream, now);
}
