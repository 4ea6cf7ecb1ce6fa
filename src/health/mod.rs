//! Passive health: what outcomes do to a peer's state word.
//!
//! ```text
//!              a detector finds it failing, and others can carry the traffic
//!   healthy ───────────────────────────────────────────────────────────────▶ ejected ◀─┐
//!      ▲                                                                        │      │ the trial fails
//!      │        enough trials succeed               its time is over: one trial ▼      │
//!      └─────────────────────────────────────────────────────────────────── half-open ─┘
//! ```
//!
//! Every arrow is one CAS on one word, so it happens once over all processes, and emits one event.
//!
//! | detector | finds | in |
//! |---|---|---|
//! | refused | nobody listens, or no way leads there: at once, for asking twice more costs clients latency | here |
//! | streak | failures in a row, unless the others fail as well | here |
//! | rate | a larger share of failures than the others have | `rate` |
//! | pending | requests that hang while the others answer | `pending` |
//! | trial | a failed trial | here |
//!
//! An ejection lasts base · 1.5^(n-1), at most the maximum, less up to a quarter of jitter; n decays by one for each such
//! time of good service. Growth by half, not twofold: a peer that is well again waits for at most the last ejection,
//! a third of its outage. The n-th ejection ends after n times as many good trials as the first, for a peer that fails
//! every other request has luck now and then. The last usable peer is never ejected (see `floor`): it is *spared*.
//!
//! When no peer is eligible, those out for failures or by active checks (see `checks`) may still be tried as a last resort, each ten times a second
//! over all workers, by any request; one success then brings the peer back at once, because nothing better is there.
//!
//! Cost: one load on a success that changes nothing; one CAS on a change. Nothing here reads a clock.
//!
//! # Orderings
//! Every transition is an AcqRel CAS, and every look at a state word an Acquire load: who sees a peer ejected or healed
//! sees what was written before. `keep_time` and the time of the last resort are Relaxed: they order nothing else.

mod checks;
mod floor;
mod hesitation;
mod overload;
pub(crate) mod pending;
mod rate;
mod view;

pub(crate) use checks::{forget, set_down};
pub(crate) use floor::recount;
pub(crate) use hesitation::has_doubtful;
pub use view::PeerView;

use crate::cause::Cause;
use crate::error::{Error, TIDEGATE_ERR_NOT_FOUND};
use crate::random::Random;
use crate::sync::Ordering;
use crate::table::{Admin, Detector, EventKind, Health, PackedPolicy, PeerHandle, State, Table, Tick, UpstreamId};
use rate::Comparison;

/// A trial that was not reported for so long counts as lost: its worker died.
const TRIAL_LOST_NS: u64 = 10_000_000_000;
/// How often a peer that is out may be tried while nothing else is left.
const LAST_RESORT_NS: u64 = 100_000_000;

/// Good trials that end any ejection: as many as a state word counts.
const MOST_TRIALS: u32 = 7;

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
        if self.role == Role::LastResort && state.is_down() {
            checks::lift(self.table, self.peer, self.now);
        }
        if state.health() != Health::Healthy || state.streak() | state.ejections() != 0 {
            self.improve();
        }
    }

    /// The head of a good response has come: enough for a suspect to be back.
    #[inline]
    pub fn answered(&self) {
        if self.current().is_some_and(State::is_suspected) {
            self.improve();
        }
    }

    /// The attempt failed by the peer's fault. Whether that ejected it.
    #[cold]
    pub fn failure(&self, cause: Cause) -> bool {
        let hard = cause == Cause::CONNECTION_REFUSED || cause == Cause::DESTINATION_IP_UNROUTABLE;
        let threshold = self.policy.eject_failures();
        let compared = self.compare();
        while let Some(state) = self.current() {
            match state.health() {
                Health::Healthy => {}
                Health::HalfOpen if self.role == Role::Trial => {
                    if self.eject(state, state.with_health(Health::Ejected), cause, Detector::Trial) {
                        return true;
                    }
                    continue;
                }
                // It began before the ejection, or was a last resort: nothing new.
                Health::HalfOpen | Health::Ejected => return false,
            }
            let streak = (state.streak() + 1).max(if hard { threshold } else { 0 });
            let failing = state.with_streak(streak);
            let Some(detector) = self.judge(hard, failing, &compared) else {
                if self.change(state, failing) {
                    return false;
                }
                continue;
            };
            // A streak from a time when nobody could take over counts anew now that somebody can: it may have been
            // the load's doing.
            if detector == Detector::Streak && state.streak() >= threshold && self.has_well_other() {
                if self.change(state, state.with_streak(1)) {
                    return false;
                }
                continue;
            }
            if self.policy.judges_only() {
                return self.note(state, failing, cause, detector);
            }
            if !hard && (!compared.others_carry() || self.is_overload(cause)) {
                return self.spare(state, failing, cause, detector);
            }
            let Some(reservation) = floor::reserve(self, threshold) else {
                return self.spare(state, failing, cause, detector);
            };
            let done = self.eject(state, failing.with_health(Health::Ejected), cause, detector);
            reservation.settle(self, done.then_some(failing));
            if done {
                return true;
            }
        }
        self.table.count_late_outcome();
        false
    }

    /// The attempt failed, perhaps by the request's fault: not enough to eject, but no sign that the peer is well.
    #[cold]
    pub fn tarnish(&self) {
        let most = self.policy.eject_failures() - 1;
        while let Some(state) = self.current()
            && state.health() == Health::Healthy
            && state.streak() < most
        {
            if self.change(state, state.with_streak(state.streak() + 1)) {
                return;
            }
        }
    }

    /// The attempt failed by the request's fault, as it turns out: it does not count towards the peer's share. Its streak
    /// stays: the next good answer ends it, and where none comes it tells that all fail alike.
    #[cold]
    pub fn forgive(&self) {
        if self.current().is_some_and(|state| state.health() == Health::Healthy) {
            self.table.note_failures(self.peer.slot(), self.upstream, -1.0, self.now);
        }
    }

    /// The peer leaves requests unanswered, while others answer.
    #[cold]
    fn hang(&self) {
        let (cause, detector) = (Cause::HTTP_RESPONSE_TIMEOUT, Detector::Pending);
        let Some(state) = self.current().filter(|state| state.health() == Health::Healthy) else { return };
        if self.policy.judges_only() {
            self.note(state, state, cause, detector);
        } else if let Some(reservation) = floor::reserve(self, self.policy.eject_failures()) {
            let done = self.eject(state, state.suspected(), cause, detector);
            reservation.settle(self, done.then_some(state));
        }
    }

    /// The peer beside the others, this failure counted.
    fn compare(&self) -> Comparison {
        let healthy = self.current().is_some_and(|state| state.health() == Health::Healthy);
        let counts = healthy.then(|| self.table.note_failures(self.peer.slot(), self.upstream, 1.0, self.now));
        counts.flatten().map_or_else(Comparison::default, |(own, all)| Comparison::new(own, all))
    }

    /// Which detector wants it ejected, with this streak.
    fn judge(&self, hard: bool, failing: State, compared: &Comparison) -> Option<Detector> {
        let policy = self.policy;
        if hard && policy.detects_streaks() {
            return Some(Detector::Refused);
        }
        if policy.detects_streaks() && failing.streak() >= policy.eject_failures() && !compared.is_common() {
            return Some(Detector::Streak);
        }
        let peers = || self.table.snapshot(self.upstream).map_or(1, |snapshot| snapshot.member_count());
        let held = self.table.rates_held_until(self.upstream) > self.now;
        let outlier = policy.detects_rates() && !held && compared.is_outlier(policy.eject_rate_percent(), peers());
        outlier.then_some(Detector::Rate)
    }

    fn has_well_other(&self) -> bool {
        let (slot, below) = (self.peer.slot(), self.policy.eject_failures().min(floor::WELL_BELOW));
        floor::has_usable_peer(self.table, self.upstream, below, |other| other == slot)
    }

    /// Not ejected, because nobody could take over. What came of the failure otherwise.
    fn spare(&self, state: State, failing: State, cause: Cause, detector: Detector) -> bool {
        let (peer, upstream) = (self.peer, self.upstream);
        let event = EventKind::Spared { peer, upstream, cause, detector };
        self.tell(state, failing, detector, event)
    }

    /// Not ejected, because the policy says so.
    fn note(&self, state: State, failing: State, cause: Cause, detector: Detector) -> bool {
        let (peer, upstream) = (self.peer, self.upstream);
        let event = EventKind::Noted { peer, upstream, cause, detector };
        self.tell(state, failing, detector, event)
    }

    /// One event for a streak, however long it grows, and one for each share that was found anew.
    fn tell(&self, state: State, failing: State, detector: Detector, event: EventKind) -> bool {
        let threshold = self.policy.eject_failures();
        let again = matches!(detector, Detector::Streak | Detector::Refused) && state.streak() >= threshold;
        if self.change(state, failing) && !again {
            if detector == Detector::Rate {
                self.table.forget_failures(self.peer.slot(), self.upstream, self.now);
            }
            self.table.emit(event, self.now);
        }
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
                // The first answer after requests hung for the first time.
                (Health::Ejected, Role::Ordinary) if state.is_suspected() && state.ejections() <= 1 => {
                    state.with_health(Health::Healthy).with_streak(0).with_until(now)
                }
                (Health::HalfOpen, Role::Trial) => {
                    let successes = state.successes() + 1;
                    if successes >= (self.policy.half_open_successes() * state.ejections().max(1)).min(MOST_TRIALS) {
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
                    self.table.forget_failures(peer.slot(), upstream, self.now);
                    self.table.emit(EventKind::Healthy { peer, upstream }, self.now);
                    floor::recount(self.table, self.upstream, self.now);
                }
                return;
            }
        }
    }

    /// Ejects the peer that is in state `old`; `out` is the same, ejected.
    fn eject(&self, old: State, out: State, cause: Cause, detector: Detector) -> bool {
        let ejections = out.ejections() + 1;
        let longest = ejection_ns(self.table, self.upstream, ejections);
        let jitter = self.random.below((longest / 4) as usize) as u64;
        let until = Tick::at(self.now, self.table.epoch()).after(longest - jitter);
        let done = self.change(old, out.with_ejections(ejections).with_until(until));
        if done {
            let (peer, upstream, for_ms) = (self.peer, self.upstream, (longest - jitter) / 1_000_000);
            self.table.forget_failures(peer.slot(), upstream, self.now);
            self.table.note_ejection(peer.slot(), detector, cause);
            self.table.emit(EventKind::Ejected { peer, upstream, cause, for_ms, detector }, self.now);
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

/// A time-out: the peer said nothing.
pub(crate) fn is_silence(cause: Cause) -> bool {
    cause.properties().status == 504
}

/// How long the n-th ejection lasts, jitter not taken off.
fn ejection_ns(table: &Table, upstream: UpstreamId, n: u32) -> u64 {
    let (base, most) = table.ejection_ns(upstream);
    let steps = n.saturating_sub(1).min(20);
    let grown = (u128::from(base) * 3u128.pow(steps)) >> steps;
    u64::try_from(grown).unwrap_or(u64::MAX).min(most)
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
    if !state.is_last_resort() {
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
    State::from_bits(state).is_last_resort() && (last == 0 || now.abs_diff(last) >= LAST_RESORT_NS)
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
