//! The bits of a peer's state word: everything that decides whether the peer may be picked, in one `u64`, so that
//! every transition is one CAS that happens once over all processes.
//!
//! | bits | field | meaning |
//! |---|---|---|
//! | 0–15 | generation | counts the peers that had this slot; 0 never |
//! | 16 | live | the slot holds a peer |
//! | 17–18 | admin | 0 enabled, 1 draining, 2 disabled |
//! | 19 | down | out by active checks |
//! | 20–21 | passive | 0 healthy, 1 ejected, 2 half-open, 3 suspected: ejected until it answers |
//! | 22–26 | streak | consecutive failures, saturating at 31 |
//! | 27–30 | ejections | how many, decaying; the exponent of the next ejection |
//! | 31–33 | successes | of the trials |
//! | 34 | trial | a trial is under way |
//! | 35 | slow start | the peer comes to its full share bit by bit, since `until` |
//! | 37–63 | until | time in units of 16 ms since the table's epoch, modulo 2^27 (24 days) |
//!
//! `until` is the end of the ejection while ejected, the time at which the trial counts as lost while half-open, and
//! the time of the last change for the better while healthy. Comparisons are right for distances below 12 days.
//! `health::keep_time` brings a time that lies further back nearer, or an ejection of a peer that nobody asks for
//! would end and begin again. Decoding is total: any 64 bits are some state.

use super::peer::Admin;

/// One value of a state word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct State(u64);

/// What live traffic says of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Health {
    /// It takes its share.
    Healthy = 1,
    /// It is out.
    Ejected = 2,
    /// It is on trial.
    HalfOpen = 3,
}

impl Health {
    /// Its number in the ABI.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// Its name in status output.
    pub fn name(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Ejected => "ejected",
            Health::HalfOpen => "half_open",
        }
    }
}

const GENERATION_MASK: u64 = 0xffff;
const LIVE: u64 = 1 << 16;
const DOWN: u64 = 1 << 19;
const TRIAL: u64 = 1 << 34;
const SLOW: u64 = 1 << 35;
const ADMIN: Field = Field { at: 17, bits: 2 };
const PASSIVE: Field = Field { at: 20, bits: 2 };
const STREAK: Field = Field { at: 22, bits: 5 };
const EJECTIONS: Field = Field { at: 27, bits: 4 };
const SUCCESSES: Field = Field { at: 31, bits: 3 };
const UNTIL: Field = Field { at: 37, bits: 27 };
/// Live, enabled, not down, passively healthy.
const ELIGIBLE_MASK: u64 = LIVE | ADMIN.mask() | DOWN | PASSIVE.mask();

const TIME_UNIT_NS: u64 = 16_000_000;
/// The most failures in a row that a state word can tell apart.
pub(crate) const MAX_STREAK: u32 = STREAK.max();

#[derive(Clone, Copy)]
struct Field {
    at: u32,
    bits: u32,
}

impl Field {
    const fn max(self) -> u32 {
        (1 << self.bits) - 1
    }

    const fn mask(self) -> u64 {
        (self.max() as u64) << self.at
    }

    const fn read(self, word: u64) -> u32 {
        (word >> self.at) as u32 & self.max()
    }

    /// Values beyond the field saturate.
    const fn write(self, word: u64, value: u32) -> u64 {
        let value = if value > self.max() { self.max() } else { value };
        word & !self.mask() | (value as u64) << self.at
    }
}

impl State {
    /// Any bits are some state.
    #[inline]
    pub fn from_bits(word: u64) -> State {
        State(word)
    }

    /// The word.
    #[inline]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// A peer that was just added to a slot of this generation.
    pub fn added(generation: u16, admin: Admin, time: Tick) -> State {
        State(u64::from(generation) | LIVE).with_admin(admin).with_until(time)
    }

    /// The same slot without a peer.
    pub fn removed(self) -> State {
        State(self.0 & !LIVE)
    }

    /// Whether the slot holds a peer.
    #[inline]
    pub fn is_live(self) -> bool {
        self.0 & LIVE != 0
    }

    /// Whether it may be picked without further ado.
    #[inline]
    pub fn is_eligible(self) -> bool {
        self.0 & ELIGIBLE_MASK == LIVE
    }

    /// Whether it may be picked without further ado and takes its full share.
    #[inline]
    pub fn is_plainly_eligible(self) -> bool {
        self.0 & (ELIGIBLE_MASK | SLOW) == LIVE
    }

    /// Whether it comes to its share bit by bit.
    #[inline]
    pub fn is_slow(self) -> bool {
        self.0 & SLOW != 0
    }

    /// Whether the peer is of this generation and there, and nothing speaks against it: a success changes nothing.
    #[inline]
    pub(crate) fn is_unblemished(self, generation: u16) -> bool {
        const BLEMISHES: u64 = PASSIVE.mask() | STREAK.mask() | EJECTIONS.mask();
        self.0 & (GENERATION_MASK | LIVE | BLEMISHES) == u64::from(generation) | LIVE
    }

    /// Whether both are the same peer; `other` was live.
    #[inline]
    pub(crate) fn is_same_peer(self, other: State) -> bool {
        (self.0 ^ other.0) & (GENERATION_MASK | LIVE) == 0
    }

    /// Whether only passive evidence keeps it out: the peers that trials and last resorts may go to.
    #[inline]
    pub fn is_only_ejected(self) -> bool {
        self.0 & (LIVE | ADMIN.mask() | DOWN) == LIVE && self.health() != Health::Healthy
    }

    /// Whether a pick that meets it needs all the rules: a trial may be due, or a slow start goes on.
    #[inline]
    pub(crate) fn needs_rules(self) -> bool {
        self.is_only_ejected() || self.is_eligible() && self.is_slow()
    }

    /// Whether active checks keep it out.
    pub fn is_down(self) -> bool {
        self.0 & DOWN != 0
    }

    /// Whether it may be tried where nothing better is left: out by evidence of any kind, not by a person's word.
    pub fn is_last_resort(self) -> bool {
        self.0 & (LIVE | ADMIN.mask()) == LIVE && !self.is_eligible()
    }

    /// Whether a panicking pick may take it: health is ignored, a person's word is not.
    pub fn is_admitted_in_panic(self) -> bool {
        self.0 & (LIVE | ADMIN.mask()) == LIVE
    }

    /// The slot's generation.
    #[inline]
    pub fn generation(self) -> u16 {
        self.0 as u16
    }

    /// The administrative state; the unused value reads as disabled.
    pub fn admin(self) -> Admin {
        Admin::from_number(ADMIN.read(self.0)).unwrap_or(Admin::Disabled)
    }

    /// What live traffic says.
    #[inline]
    pub fn health(self) -> Health {
        match PASSIVE.read(self.0) {
            0 => Health::Healthy,
            2 => Health::HalfOpen,
            _ => Health::Ejected,
        }
    }

    /// Whether it is out because it left requests unanswered, and an answer brings it back.
    #[inline]
    pub fn is_suspected(self) -> bool {
        PASSIVE.read(self.0) == 3
    }

    /// Out until it answers.
    pub fn suspected(self) -> State {
        State(PASSIVE.write(self.with_health(Health::Ejected).0, 3))
    }

    /// Consecutive failures.
    #[inline]
    pub fn streak(self) -> u32 {
        STREAK.read(self.0)
    }

    /// Ejections, decayed.
    #[inline]
    pub fn ejections(self) -> u32 {
        EJECTIONS.read(self.0)
    }

    /// Successful trials.
    pub fn successes(self) -> u32 {
        SUCCESSES.read(self.0)
    }

    /// Whether a trial is under way.
    pub fn has_trial(self) -> bool {
        self.0 & TRIAL != 0
    }

    /// The time in it: see the module's table.
    #[inline]
    pub fn until(self) -> Tick {
        Tick(UNTIL.read(self.0))
    }

    /// With another administrative state.
    pub fn with_admin(self, admin: Admin) -> State {
        State(ADMIN.write(self.0, admin.number()))
    }

    /// With other passive health; trials start anew.
    pub fn with_health(self, health: Health) -> State {
        let code = match health {
            Health::Healthy => 0,
            Health::Ejected => 1,
            Health::HalfOpen => 2,
        };
        State(SUCCESSES.write(PASSIVE.write(self.0, code), 0)).with_trial(false)
    }

    /// In slow start, or not.
    pub fn with_slow_start(self, slow: bool) -> State {
        State(if slow { self.0 | SLOW } else { self.0 & !SLOW })
    }

    /// Out by active checks, or not.
    pub fn with_down(self, down: bool) -> State {
        State(if down { self.0 | DOWN } else { self.0 & !DOWN })
    }

    /// With another streak.
    pub fn with_streak(self, streak: u32) -> State {
        State(STREAK.write(self.0, streak))
    }

    /// With another count of ejections.
    pub fn with_ejections(self, n: u32) -> State {
        State(EJECTIONS.write(self.0, n))
    }

    /// With another count of successful trials.
    pub fn with_successes(self, n: u32) -> State {
        State(SUCCESSES.write(self.0, n))
    }

    /// With or without a trial under way.
    pub fn with_trial(self, trial: bool) -> State {
        State(if trial { self.0 | TRIAL } else { self.0 & !TRIAL })
    }

    /// With another time.
    pub fn with_until(self, time: Tick) -> State {
        State(UNTIL.write(self.0, time.0))
    }
}

/// A time in a state word: units of 16 ms since the table's epoch, wrapping after 24 days.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tick(u32);

impl Tick {
    /// The tick of `now`.
    #[inline]
    pub fn at(now: u64, epoch: u64) -> Tick {
        Tick((now.saturating_sub(epoch) / TIME_UNIT_NS) as u32 & UNTIL.max())
    }

    /// The first tick at or after `ns` from here.
    pub fn after(self, ns: u64) -> Tick {
        // Half the range at the most, or the comparison below would turn round.
        let units = ns.div_ceil(TIME_UNIT_NS).min(u64::from(UNTIL.max() / 2)) as u32;
        Tick(self.0.wrapping_add(units) & UNTIL.max())
    }

    /// A tick at most `ns` before this one.
    pub fn before(self, ns: u64) -> Tick {
        let units = (ns / TIME_UNIT_NS).min(u64::from(UNTIL.max() / 2)) as u32;
        Tick(self.0.wrapping_sub(units) & UNTIL.max())
    }

    /// Nanoseconds from `earlier` to here; 0 if it is not earlier.
    #[inline]
    pub fn since(self, earlier: Tick) -> u64 {
        let distance = self.0.wrapping_sub(earlier.0) & UNTIL.max();
        if distance > UNTIL.max() / 2 { 0 } else { u64::from(distance) * TIME_UNIT_NS }
    }

    /// Whether this time has come at `now`.
    #[inline]
    pub fn has_come(self, now: Tick) -> bool {
        now.0.wrapping_sub(self.0) & UNTIL.max() <= UNTIL.max() / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_do_not_disturb_each_other(bits: u64, streak in 0u32..40, ejections in 0u32..20, successes in 0u32..9) {
            let s = State::from_bits(bits);
            let t = s.with_streak(streak).with_ejections(ejections).with_successes(successes);
            prop_assert_eq!(t.streak(), streak.min(31));
            prop_assert_eq!(t.ejections(), ejections.min(15));
            prop_assert_eq!(t.successes(), successes.min(7));
            prop_assert_eq!(t.generation(), s.generation());
            prop_assert_eq!(t.until(), s.until());
            prop_assert_eq!(t.health(), s.health());
            prop_assert_eq!(t.is_eligible(), s.is_eligible());
        }

        #[test]
        fn times_compare_rightly_across_the_wrap(start: u64, ns in 0u64..900_000_000_000) {
            let start = start >> 1;
            let (now, later) = (Tick::at(start, 0), Tick::at(start, 0).after(ns));
            prop_assert!(later.since(now) >= ns && later.since(now) < ns + TIME_UNIT_NS);
            prop_assert_eq!(later.has_come(now), ns == 0);
            prop_assert!(now.has_come(later));
        }

        #[test]
        fn any_bits_are_some_state(bits: u64) {
            let s = State::from_bits(bits);
            let _ = (s.admin(), s.health(), s.is_only_ejected(), s.is_admitted_in_panic());
            prop_assert!(!s.is_eligible() || s.is_admitted_in_panic());
        }
    }
}
