//! Passive health: what outcomes do to a peer's state word.
//!
//! ```text
//!            streak reaches the threshold, and others can carry the traffic
//!   healthy ───────────────────────────────────────────────────────────────▶ ejected ◀─┐
//!      ▲                                                                        │      │ the trial fails
//!      │        enough trials succeed               its time is over: one trial ▼      │
//!      └─────────────────────────────────────────────────────────────────── half-open ─┘
//! ```
//!
//! Every arrow is one CAS on one word, so it happens once over all processes, and emits one event. A refused or
//! unroutable connection ejects at once: nobody is there, and asking twice more costs clients latency. An ejection
//! lasts base · 2^(n-1), at most the maximum, less up to a quarter of jitter; n decays by one for each such time of
//! good service. The last usable peer is never ejected (see `floor`): it is *spared*, and keeps its streak.
//!
//! When no peer is eligible, those out only for failures may still be tried as a last resort, each ten times a second
//! over all workers, by any request; one success then brings the peer back at once, because nothing better is there.
//!
//! Cost: one load on a success that changes nothing; one CAS on a change. Nothing here reads a clock.
//!
//! # Orderings
//! Every transition is an AcqRel CAS, and every look at a state word an Acquire load: who sees a peer ejected or healed
//! sees what was written before. `keep_time` and the time of the last resort are Relaxed: they order nothing else.

mod floor;
mod hesitation;
mod view;

pub(crate) use floor::recount;
pub(crate) use hesitation::has_doubtful;
pub use view::PeerView;

use crate::cause::Cause;
use crate::error::{Error, TIDEGATE_ERR_NOT_FOUND};
use crate::random::Random;
use crate::sync::Ordering;
use crate::table::{Admin, EventKind, Health, PackedPolicy, PeerHandle, State, Table, Tick, UpstreamId};

/// A trial that was not reported for so long counts as lost: its worker died.
const TRIAL_LOST_NS: u64 = 10_000_000_000;
/// How often a peer that is out may be tried while nothing else is left.
const LAST_RESORT_NS: u64 = 100_000_000;

const DAY_NS: u64 = 86_400_000_000_000;

/// How an attempt came to its peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Ordinary,
    Trial,
    LastResort,
}

/// The outcome of an attempt, as far as health goes.
pub(crate) struct Evidence<'a> {
    pub table: &'a Table,
    pub upstream: UpstreamId,
    pub peer: PeerHandle,
    pub role: Role,
    pub policy: PackedPolicy,
    pub now: u64,
    /// For jitter.
    pub random: &'a Random,
}

impl Evidence<'_> {
    /// The attempt went well.
    #[inline]
    pub fn success(&self) {
        let Some(state) = self.current() else { return self.table.count_late_outcome() };
        if state.health() != Health::Healthy || state.streak() | state.ejections() != 0 {
            self.improve();
        }
    }

    /// The attempt failed by the peer's fault. Whether that ejected it.
    #[cold]
    pub fn failure(&self, cause: Cause) -> bool {
        let hard = cause == Cause::CONNECTION_REFUSED || cause == Cause::DESTINATION_IP_UNROUTABLE;
        let threshold = self.policy.eject_failures();
        while let Some(state) = self.current() {
            let next = match state.health() {
                Health::Healthy => {
                    let streak = (state.streak() + 1).max(if hard { threshold } else { 0 });
                    let failing = state.with_streak(streak);
                    if streak < threshold {
                        failing
                    } else if let Some(reservation) = floor::reserve(self, threshold) {
                        let done = self.eject(state, failing, cause);
                        reservation.settle(self, done.then_some(failing));
                        if done {
                            return true;
                        }
                        continue;
                    } else {
                        if self.change(state, failing) && state.streak() < threshold {
                            let (peer, upstream) = (self.peer, self.upstream);
                            self.table.emit(EventKind::Spared { peer, upstream, cause }, self.now);
                        }
                        return false;
                    }
                }
                Health::HalfOpen if self.role == Role::Trial => {
                    if self.eject(state, state, cause) {
                        return true;
                    }
                    continue;
                }
                // It began before the ejection, or was a last resort: nothing new.
                Health::HalfOpen | Health::Ejected => return false,
            };
            if self.change(state, next) {
                return false;
            }
        }
        self.table.count_late_outcome();
        false
    }

    /// The attempt says nothing of the peer: a trial's place is free again.
    #[cold]
    pub fn nothing(&self) {
        if self.role == Role::Trial {
            release_trial(self.table, self.peer);
        }
    }

    #[cold]
    fn improve(&self) {
        let now = Tick::at(self.now, self.table.epoch());
        while let Some(state) = self.current() {
            // Where nobody else can take traffic there is nothing to come back to bit by bit.
            let slow = || {
                let (slot, threshold) = (self.peer.slot(), self.policy.eject_failures());
                self.table.slow_start_ns(self.upstream) != 0
                    && floor::has_usable_peer(self.table, self.upstream, threshold, |other| other == slot)
            };
            let healthy = || state.with_health(Health::Healthy).with_streak(0).with_until(now).with_slow_start(slow());
            let next = match (state.health(), self.role) {
                (Health::Healthy, _) => {
                    // The time of the last change is that of the slow start, while it goes on.
                    let past = now.since(state.until());
                    let ramping = state.is_slow() && past < self.table.slow_start_ns(self.upstream);
                    let state = state.with_slow_start(ramping);
                    let calm = state.ejections() > 0
                        && !ramping
                        && now.since(state.until()) > ejection_ns(self.table, self.upstream, state.ejections());
                    let state = state.with_streak(0);
                    if calm { state.with_ejections(state.ejections() - 1).with_until(now) } else { state }
                }
                (Health::HalfOpen, Role::Trial) => {
                    let successes = state.successes() + 1;
                    if successes >= self.policy.half_open_successes() {
                        healthy()
                    } else {
                        state.with_successes(successes).with_trial(false)
                    }
                }
                (Health::Ejected | Health::HalfOpen, Role::LastResort) => healthy(),
                // It began before the ejection: no proof that the peer is well now.
                (Health::Ejected | Health::HalfOpen, _) => return,
            };
            if self.change(state, next) {
                if next.health() != state.health() {
                    let (peer, upstream) = (self.peer, self.upstream);
                    self.table.emit(EventKind::Healthy { peer, upstream }, self.now);
                    floor::recount(self.table, self.upstream, self.now);
                }
                return;
            }
        }
    }

    /// Ejects the peer that is in state `old`; `failing` is the same with the streak that led to it.
    fn eject(&self, old: State, failing: State, cause: Cause) -> bool {
        let ejections = failing.ejections() + 1;
        let longest = ejection_ns(self.table, self.upstream, ejections);
        let jitter = self.random.below((longest / 4) as usize) as u64;
        let until = Tick::at(self.now, self.table.epoch()).after(longest - jitter);
        let done = self.change(old, failing.with_health(Health::Ejected).with_ejections(ejections).with_until(until));
        if done {
            let (peer, upstream, for_ms) = (self.peer, self.upstream, (longest - jitter) / 1_000_000);
            self.table.emit(EventKind::Ejected { peer, upstream, cause, for_ms }, self.now);
            floor::recount(self.table, self.upstream, self.now);
        }
        done
    }

    /// Whether the peer has failed since its last success, or is out.
    pub fn is_failing(&self) -> bool {
        self.current().is_none_or(|state| state.streak() != 0 || state.health() != Health::Healthy)
    }

    #[inline]
    fn current(&self) -> Option<State> {
        self.table.state(self.peer)
    }

    /// The transition from `old`, if it is still that. AcqRel: whoever sees the new state sees what led to it.
    fn change(&self, old: State, new: State) -> bool {
        if old == new {
            return true;
        }
        self.table.state_word(self.peer.slot()).is_some_and(|word| {
            word.compare_exchange(old.bits(), new.bits(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    }
}

/// How long the n-th ejection lasts, jitter not taken off.
fn ejection_ns(table: &Table, upstream: UpstreamId, n: u32) -> u64 {
    let (base, most) = table.ejection_ns(upstream);
    base.saturating_mul(1 << n.saturating_sub(1).min(20)).min(most)
}

/// Begins a trial of this peer, if one is due: the state behind it.
pub(crate) fn claim_trial(table: &Table, upstream: UpstreamId, slot: u32, now: u64) -> Option<State> {
    let word = table.state_word(slot)?;
    let state = State::from_bits(word.load(Ordering::Acquire));
    let tick = Tick::at(now, table.epoch());
    let first = match state.health() {
        _ if !state.is_only_ejected() => return None,
        Health::Ejected if state.until().has_come(tick) => true,
        Health::HalfOpen if !state.has_trial() || state.until().has_come(tick) => false,
        _ => return None,
    };
    let next = if first { state.with_health(Health::HalfOpen) } else { state };
    let next = next.with_trial(true).with_until(tick.after(TRIAL_LOST_NS));
    word.compare_exchange(state.bits(), next.bits(), Ordering::AcqRel, Ordering::Relaxed).ok()?;
    if first {
        table.emit(EventKind::HalfOpen { peer: PeerHandle::new(slot, next.generation()), upstream }, now);
    }
    Some(next)
}

/// Frees the place of a trial that says nothing.
pub(crate) fn release_trial(table: &Table, peer: PeerHandle) {
    let Some(word) = table.state_word(peer.slot()) else { return };
    while let Some(state) = table.state(peer)
        && state.health() == Health::HalfOpen
        && state.has_trial()
    {
        let next = state.with_trial(false).bits();
        if word.compare_exchange(state.bits(), next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return;
        }
    }
}

/// Ends the slow starts that are over, and brings times that lie a week back nearer, before they seem to lie ahead (see
/// `table::state`). Once in a while; linear in the peers.
pub(crate) fn keep_time(table: &Table, now: u64) {
    let tick = Tick::at(now, table.epoch());
    for (slot, word) in (0..table.capacity().peers).map_while(|slot| Some((slot, table.state_word(slot)?))) {
        let state = State::from_bits(word.load(Ordering::Relaxed));
        if state.is_slow() && state.is_eligible() {
            let whole = table.peer_upstream(slot).map_or(0, |id| table.slow_start_ns(id));
            if tick.since(state.until()) >= whole {
                let next = state.with_slow_start(false).bits();
                let _ = word.compare_exchange(state.bits(), next, Ordering::Relaxed, Ordering::Relaxed);
            }
            continue;
        }
        let counts = state.is_live() && (state.health() != Health::Healthy || state.ejections() != 0);
        if counts && tick.since(state.until()) > 7 * DAY_NS {
            let next = state.with_until(tick.before(6 * DAY_NS)).bits();
            let _ = word.compare_exchange(state.bits(), next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Whether this peer may be tried although it is out, because nothing else is left: its state.
pub(crate) fn claim_last_resort(table: &Table, slot: u32, now: u64) -> Option<State> {
    let state = State::from_bits(table.state_word(slot)?.load(Ordering::Acquire));
    if !state.is_only_ejected() {
        return None;
    }
    let word = table.last_resort_word(slot)?;
    let last = word.load(Ordering::Relaxed);
    let due = last == 0 || now.abs_diff(last) >= LAST_RESORT_NS;
    (due && word.compare_exchange(last, now.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok()).then_some(state)
}

/// Whether a last resort is due on this peer.
pub(crate) fn has_last_resort(table: &Table, slot: u32, now: u64) -> bool {
    let state = table.state_word(slot).map_or(0, |w| w.load(Ordering::Acquire));
    let last = table.last_resort_word(slot).map_or(0, |w| w.load(Ordering::Relaxed));
    State::from_bits(state).is_only_ejected() && (last == 0 || now.abs_diff(last) >= LAST_RESORT_NS)
}

/// Whether a trial is due on this peer.
pub(crate) fn has_trial(table: &Table, slot: u32, now: u64) -> bool {
    let state = State::from_bits(table.state_word(slot).map_or(0, |w| w.load(Ordering::Acquire)));
    let over = state.until().has_come(Tick::at(now, table.epoch()));
    state.is_only_ejected() && (over || state.health() == Health::HalfOpen && !state.has_trial())
}

/// Whether any peer can take traffic, and is not itself failing.
pub(crate) fn has_usable_peer(table: &Table, upstream: UpstreamId) -> bool {
    floor::has_usable_peer(table, upstream, table.packed_policy(upstream).eject_failures(), |_| false)
}

/// Nanoseconds until a peer that is out may be tried, the least over all.
pub(crate) fn next_trial_ns(table: &Table, upstream: UpstreamId, now: u64) -> u64 {
    let tick = Tick::at(now, table.epoch());
    let wait = |slot: u32| {
        let state = State::from_bits(table.state_word(slot)?.load(Ordering::Acquire));
        state.is_only_ejected().then(|| state.until().since(tick))
    };
    let Some(snapshot) = table.snapshot(upstream) else { return 0 };
    snapshot.members().filter_map(|entry| wait(entry.slot())).min().unwrap_or(0)
}

/// A person's word on a peer.
pub(crate) fn set_admin(table: &Table, peer: PeerHandle, admin: Admin, now: u64) -> Result<(), Error> {
    table.writable()?;
    // Or a declaration that is older than this would be carried out after it.
    table.finish_for_the_dead();
    let word = table.state_word(peer.slot()).ok_or_else(|| Error::of(TIDEGATE_ERR_NOT_FOUND))?;
    loop {
        let state = table.state(peer).ok_or_else(|| Error::of(TIDEGATE_ERR_NOT_FOUND))?;
        if state.admin() == admin {
            return Ok(());
        }
        let next = state.with_admin(admin).bits();
        if word.compare_exchange(state.bits(), next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            let upstream = table.peer_upstream(peer.slot()).ok_or_else(|| Error::of(TIDEGATE_ERR_NOT_FOUND))?;
            table.emit(EventKind::AdminChanged { peer, upstream, admin }, now);
            floor::recount(table, upstream, now);
            return Ok(());
        }
    }
}
