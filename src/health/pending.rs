//! Requests that hang: a peer that answers nothing while the others answer is noticed before its time-outs end.
//!
//! Whoever reports an answer notes the time of it with the peer, to within [`STEP_NS`]; who does so looks at one other
//! peer, drawn at random, once a millisecond at most in each worker. So the peers of an upstream watch each other as
//! long as they answer, and where nobody answers nobody is suspected. A look at a silent peer goes by what the last one saw:
//!
//! ```text
//!   no answer for a while  ──▶ note how many attempts it has had           (1)
//!   since (1) three more, no answer ──▶ note the time                      (2)
//!   since (2) no answer for longer than others take ──▶ suspect it
//! ```
//!
//! Three requests then began after its last answer and have waited that long: twice what nineteen of twenty answers of
//! this upstream take, and 50 ms at the least. A download that goes on since its head came is not among them. A suspect
//! gets no ordinary requests. Its first answer brings it back, unless this is not the first time lately (`ejections`);
//! then, or when its time is over, trials do.
//!
//! Cost: a report loads one word and, once in a step, stores it; a look is one load while the other peer answers, a sum
//! over its lanes while it does not.
//!
//! # Orderings
//! All Relaxed: each word is a hint by itself, the last look's note wins. The transition is one CAS like any other.

use super::{Evidence, Role};
use crate::random::Random;
use crate::sync::Ordering;
use crate::table::{PeerHandle, State, Table, UpstreamId};

/// How exactly answers are timed.
pub(crate) const STEP_NS: u64 = 8_000_000;
/// Silence below this is not looked into.
const QUIET_NS: u64 = 20_000_000;
/// So many requests must hang.
const HANGING: u32 = 3;
/// For how many of the time that most answers take.
const TIMES: f32 = 2.0;

const TIME: u64 = (1 << 30) - 1;

/// What the last look noted: stage << 62 | milliseconds << 32 | attempts.
#[derive(Clone, Copy)]
struct Note(u64);

impl Note {
    fn new(stage: u64, ms: u32, attempts: u32) -> Note {
        Note(stage << 62 | (u64::from(ms) & TIME) << 32 | u64::from(attempts))
    }

    fn stage(self) -> u64 {
        self.0 >> 62
    }

    fn attempts(self) -> u32 {
        self.0 as u32
    }

    /// Milliseconds from then to now; a note from the future is from now.
    fn age_ms(self, now_ms: u32) -> u64 {
        let age = u64::from(now_ms).wrapping_sub(self.0 >> 32) & TIME;
        if age > TIME / 2 { 0 } else { age }
    }
}

/// Notes an answer of a peer, and looks at another drawn by `random`, if it is given. `took_ns`: how long it took; 0: no
/// measure.
#[cold]
#[inline(never)]
pub(crate) fn answered(
    table: &Table,
    upstream: UpstreamId,
    slot: u32,
    took_ns: u64,
    random: Option<&Random>,
    now: u64,
) {
    let Some(word) = table.answered_word(slot) else { return };
    let last = word.load(Ordering::Relaxed);
    if now.saturating_sub(last) < STEP_NS {
        return;
    }
    word.store(now, Ordering::Relaxed);
    let Some(random) = random else { return };
    if took_ns != 0 {
        note_slow_answer(table, upstream, took_ns);
    }
    let policy = table.packed_policy(upstream);
    let Some(snapshot) = table.snapshot(upstream).filter(|_| policy.detects_pending()) else { return };
    let Some(entry) = snapshot.members().nth(random.below(snapshot.member_count().max(1))) else { return };
    if entry.slot() != slot {
        look(table, upstream, entry.slot(), random, now);
    }
}

fn look(table: &Table, upstream: UpstreamId, slot: u32, random: &Random, now: u64) -> Option<()> {
    let answered = table.answered_word(slot)?.load(Ordering::Relaxed);
    let state = State::from_bits(table.state_word(slot)?.load(Ordering::Acquire));
    if now.saturating_sub(answered) < QUIET_NS || !state.is_eligible() || table.peer_upstream(slot) != Some(upstream) {
        return None;
    }
    let word = table.pending_word(slot)?;
    let (attempts, in_flight) = table.slot_counts(slot);
    let (attempts, now_ms) = (attempts as u32, table.tally_ms(now));
    let note = Note(word.load(Ordering::Relaxed));
    let begin = || word.store(Note::new(1, now_ms, attempts).0, Ordering::Relaxed);
    let silent_ms = now.saturating_sub(answered) / 1_000_000;
    if note.stage() == 0 || silent_ms <= note.age_ms(now_ms) {
        begin();
        return None;
    }
    if note.stage() == 1 {
        if attempts.wrapping_sub(note.attempts()) >= HANGING && in_flight >= HANGING {
            word.store(Note::new(2, now_ms, attempts).0, Ordering::Relaxed);
        }
        return None;
    }
    if in_flight < HANGING {
        // They were given up.
        begin();
        return None;
    }
    if note.age_ms(now_ms) * 1_000_000 < patience_ns(table, upstream) {
        return None;
    }
    begin();
    let (peer, policy) = (PeerHandle::new(slot, state.generation()), table.packed_policy(upstream));
    Evidence { table, upstream, peer, role: Role::Ordinary, policy, now, random }.hang();
    Some(())
}

fn patience_ns(table: &Table, upstream: UpstreamId) -> u64 {
    let usual = table.slow_answer_word(upstream).map_or(0.0, |w| slow_ns(w.load(Ordering::Relaxed)));
    ((usual * TIMES) as u64).max(table.pending_ns(upstream))
}

fn slow_ns(bits: u64) -> f32 {
    Some(f32::from_bits(bits as u32)).filter(|ns| ns.is_finite()).map_or(0.0, |ns| ns.clamp(0.0, 1e12))
}

/// Follows the 95th percentile by steps of a fixed proportion (Robbins and Monro 1951): 19 down for one up.
fn note_slow_answer(table: &Table, upstream: UpstreamId, took_ns: u64) {
    let Some(word) = table.slow_answer_word(upstream) else { return };
    let (old, took) = (slow_ns(word.load(Ordering::Relaxed)), took_ns as f32);
    let new = match () {
        _ if old == 0.0 => took * 2.0,
        _ if took > old => old * 1.19,
        _ => old * 0.99,
    };
    word.store(u64::from(new.clamp(1e4, 1e12).to_bits()), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_keeps_its_parts_and_its_age() {
        let note = Note::new(2, 1_000, u32::MAX);
        assert_eq!((note.stage(), note.attempts(), note.age_ms(1_250)), (2, u32::MAX, 250));
        assert_eq!(note.age_ms(900), 0);
        assert_eq!(Note::new(1, u32::MAX, 0).age_ms(4), 5);
    }
}
