//! Who makes the active checks for all workers: one checker at a time, by a word that it keeps beating.
//!
//! | bits | field |
//! |---|---|
//! | 40–63 | token: how many tenures there were |
//! | 0–39 | time of the last beat in milliseconds since the table's epoch; 0: nobody |
//!
//! Taking, beating and leaving are one CAS each from the value that was read, so a checker that was stopped for too long
//! finds its next beat refused: the token has moved on, and what it still has under way is not reported. A second word
//! names the holder's process. A holder that has ended is succeeded at once, one that only fell silent after a lapse that
//! the successor chooses. Whoever reads the name between a taking and the store of it may succeed a holder that lives:
//! then that one stops at its next beat, and nothing is lost but a round of checks.
//!
//! # Orderings
//! The CAS that takes is AcqRel and pairs with the Release CAS that leaves: a successor sees the transitions that the one
//! before it made. Beats are Relaxed: they order nothing. The name is Relaxed: a wrong one costs what is said above.

use super::identity::Life;
use super::layout::header;
use super::{ProcessIdentity, Table};
use crate::sync::{AtomicU64, Ordering};

const TOKEN: u64 = 1 << 40;
const TIME: u64 = TOKEN - 1;

/// A checker's hold on the table: the word as it wrote it last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tenure(u64);

impl Tenure {
    /// Which tenure it is, since the table was made.
    pub fn token(self) -> u64 {
        self.0 >> 40
    }
}

impl Table {
    fn watch(&self) -> &AtomicU64 {
        &self.region.header[header::WATCH]
    }

    fn beat_at(&self, now: u64) -> u64 {
        ((now.saturating_sub(self.epoch()) / 1_000_000) & TIME).max(1)
    }

    /// Takes over, if nobody checks or whoever did has ended or been silent for `lapse_ns`.
    pub(crate) fn take_watch(&self, now: u64, lapse_ns: u64) -> Option<Tenure> {
        let (word, beat) = (self.watch(), self.beat_at(now));
        let held = word.load(Ordering::Acquire);
        let holder = self.region.header[header::WATCHER].load(Ordering::Relaxed);
        let me = ProcessIdentity::current();
        // A beat far ahead is damage, or a clock that nobody shares: it lapses as well.
        let lapsed = beat.abs_diff(held & TIME) >= lapse_ns.div_ceil(1_000_000);
        let ended = || matches!(ProcessIdentity::from_bits(holder).life(me), Life::Ended);
        if held & TIME != 0 && !lapsed && !ended() {
            return None;
        }
        let mine = (held & !TIME).wrapping_add(TOKEN) | beat;
        word.compare_exchange(held, mine, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        self.region.header[header::WATCHER].store(me.bits(), Ordering::Relaxed);
        Some(Tenure(mine))
    }

    /// Says that the holder lives; false if it is the holder no more.
    pub(crate) fn beat_watch(&self, tenure: &mut Tenure, now: u64) -> bool {
        let next = tenure.0 & !TIME | self.beat_at(now);
        let done = self.watch().compare_exchange(tenure.0, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        tenure.0 = if done { next } else { tenure.0 };
        done
    }

    /// Whether nobody has taken over.
    pub(crate) fn holds_watch(&self, tenure: Tenure) -> bool {
        self.watch().load(Ordering::Relaxed) == tenure.0
    }

    /// Who checks, for status output: which tenure, its process, and the time since its last beat; `None`: nobody.
    pub(crate) fn watcher(&self, now: u64) -> Option<(u64, u32, u64)> {
        let word = self.watch().load(Ordering::Relaxed);
        let holder = ProcessIdentity::from_bits(self.region.header[header::WATCHER].load(Ordering::Relaxed));
        let silent_ms = self.beat_at(now).saturating_sub(word & TIME);
        (word & TIME != 0).then(|| (Tenure(word).token(), holder.pid(), silent_ms))
    }

    /// Leaves it to whoever looks next.
    pub(crate) fn leave_watch(&self, tenure: Tenure) {
        let _ = self.watch().compare_exchange(tenure.0, tenure.0 & !TIME, Ordering::Release, Ordering::Relaxed);
    }
}
