//! Time-outs that are the load's doing: a pool that lost a peer, and can't carry what that one carried.
//!
//! How much a peer can carry nobody knows beforehand. But a peer that times out on some requests and answers others, while
//! an eighth of its pool has been ejected lately, is more likely overloaded than ill: ejecting it in turn would bring the
//! rest down. So it is spared, and those come back at once that were out for a *share* of failures alone: they did part of
//! their work. For a while no share ejects on this upstream then.
//!
//! Cost: linear in the members, where a detector has found a peer that times out.

use super::{Evidence, floor};
use crate::cause::Cause;
use crate::sync::Ordering;
use crate::table::{Detector, EventKind, Health, PeerHandle, State, Tick};

/// A peer that answered within this time is not silent.
const ANSWERS_NS: u64 = 1_000_000_000;
/// For so long no share of failures ejects after an overload.
const HOLD_NS: u64 = 30_000_000_000;

impl Evidence<'_> {
    /// Whether this failure is the load's doing. Brings back who may carry a part of it.
    pub(super) fn is_overload(&self, cause: Cause) -> bool {
        let answered = self.table.answered_word(self.peer.slot()).map_or(0, |w| w.load(Ordering::Relaxed));
        if !super::is_silence(cause) || self.now.saturating_sub(answered) >= ANSWERS_NS {
            return false;
        }
        let Some(snapshot) = self.table.snapshot(self.upstream) else { return false };
        let states = || {
            snapshot.members().filter(|entry| entry.slot() != self.peer.slot()).filter_map(|entry| {
                let word = self.table.state_word(entry.slot())?;
                Some((entry.slot(), State::from_bits(word.load(Ordering::Acquire))))
            })
        };
        let members = snapshot.member_count();
        let lately_out = states().filter(|(_, state)| state.is_live() && state.ejections() > 0).count();
        if lately_out * 8 < members.max(8) {
            return false;
        }
        let mut relieved = false;
        for (slot, state) in states().filter(|(slot, state)| state.is_only_ejected() && self.did_part(*slot)) {
            relieved |= self.bring_back(slot, state);
        }
        if relieved {
            self.table.hold_rates(self.upstream, self.now.saturating_add(HOLD_NS));
            floor::recount(self.table, self.upstream, self.now);
        }
        true
    }

    fn did_part(&self, slot: u32) -> bool {
        self.table.last_ejection(slot).is_some_and(|(detector, _)| detector == Detector::Rate)
    }

    fn bring_back(&self, slot: u32, state: State) -> bool {
        let (peer, upstream) = (PeerHandle::new(slot, state.generation()), self.upstream);
        let now = Tick::at(self.now, self.table.epoch());
        let next = state.with_health(Health::Healthy).with_streak(0).with_until(now);
        let done = Evidence { peer, ..*self }.change(state, next);
        if done {
            self.table.forget_failures(slot, upstream, self.now);
            self.table.emit(EventKind::Healthy { peer, upstream }, self.now);
        }
        done
    }
}
