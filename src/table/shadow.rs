//! The shadow of an upstream: another upstream of the same table, with a policy of its own and a *twin* of each peer,
//! whose name is the live one's with "~shadow" behind it.
//!
//! Because it is an upstream, all that decides for a live one decides for it, on words of its own: nothing that it
//! does can reach the live one. `failover::shadow` runs the two side by side and counts here what differs. A shadow
//! emits no events. It takes one upstream and as many peers again out of the table's capacities; if a later list finds no
//! room for the twins, the shadow is taken off rather than the list refused.
//!
//! What people and active checks say of a peer is not the policy's business: `sync_shadows` copies it to the twins,
//! with every tick.
//!
//! # Orderings
//! A TWIN word is stored Release behind the twin's declaration and loaded Acquire by requests. It may be stale: whoever
//! uses a twin looks at its generation, as for any handle. The counters are Relaxed.

use super::layout::{peer as peer_word, upstream as word};
use super::{PeerHandle, PeerSpec, Policy, State, Table, UpstreamId};
use crate::error::{Error, TIDEGATE_ERR_NOT_FOUND};
use crate::sync::Ordering;

/// In a shadow's own word: it is one.
const IS_SHADOW: u64 = 1 << 32;
const SUFFIX: &[u8] = b"~shadow";

/// What a shadow compared, and how often it would have decided otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize)]
pub struct Compared {
    /// Picks, those that found nobody too.
    pub picks: u64,
    /// It would have picked another peer (with the same random draws), or nobody, or somebody instead of nobody.
    pub picks_other: u64,
    /// The peer picked would have been out.
    pub picks_out: u64,
    /// Outcomes and heads judged.
    pub outcomes: u64,
    /// Ejections that would have happened and did not.
    pub ejections_more: u64,
    /// Ejections that happened and would not have.
    pub ejections_fewer: u64,
    /// Retries that would have been made.
    pub retries_more: u64,
    /// Retries that would not have been made.
    pub retries_fewer: u64,
    /// What the client got would have been something else: one of them a response or an answer that the other is not.
    pub answers: u64,
}

impl Compared {
    fn words(&self) -> [u64; word::COMPARED_WORDS] {
        [
            self.picks,
            self.picks_other,
            self.picks_out,
            self.outcomes,
            self.ejections_more,
            self.ejections_fewer,
            self.retries_more,
            self.retries_fewer,
            self.answers,
        ]
    }

    fn of_words(words: [u64; word::COMPARED_WORDS]) -> Compared {
        let [picks, picks_other, picks_out, outcomes, more, fewer, retries_more, retries_fewer, answers] = words;
        Compared {
            picks,
            picks_other,
            picks_out,
            outcomes,
            ejections_more: more,
            ejections_fewer: fewer,
            retries_more,
            retries_fewer,
            answers,
        }
    }
}

impl Table {
    /// Lets a second policy decide beside an upstream's own; `None`: no longer. The counters begin anew unless the
    /// policy is the one before.
    pub fn set_shadow(&self, id: UpstreamId, policy: Option<&Policy>, now: u64) -> Result<(), Error> {
        let name = self.upstream_name(id).ok_or_else(|| Error::of(TIDEGATE_ERR_NOT_FOUND))?;
        if self.shadow_of(id).is_some() {
            return Err(Error::invalid("upstream: it is a shadow itself"));
        }
        let Some(policy) = policy else { return self.take_off_shadow(id, now) };
        let name = [&name[..], SUFFIX].concat();
        let before = self.find_upstream(&name).ok().map(|shadow| self.policy_words(shadow));
        let shadow = self.open_upstream(&name, policy)?;
        self.set_word(shadow, word::SHADOW, u64::from(id.number()) | IS_SHADOW);
        let is_new = self.shadow(id).is_none();
        if is_new || before != Some(self.policy_words(shadow)) {
            (0..word::COMPARED_WORDS).for_each(|i| self.set_word(shadow, word::COMPARED + i, 0));
        }
        let (peers, specs) = self.declared(id);
        let twins = self.declare(shadow, &specs, now)?;
        self.pair(&peers, &twins);
        if is_new {
            self.sync(&peers, State::with_history_of);
        }
        self.set_word(id, word::SHADOW, u64::from(shadow.number()) + 1);
        self.mark_shadowed(id, true);
        crate::health::recount(self, shadow, now);
        Ok(())
    }

    fn take_off_shadow(&self, id: UpstreamId, now: u64) -> Result<(), Error> {
        let Some(shadow) = self.shadow(id) else { return Ok(()) };
        self.mark_shadowed(id, false);
        self.set_word(id, word::SHADOW, 0);
        self.declare(shadow, &[], now).map(|_| ())
    }

    /// Follows a new list. See the module for what happens without room.
    pub(super) fn declare_twins(&self, id: UpstreamId, specs: &[PeerSpec], peers: &[PeerHandle], now: u64) {
        let Some(shadow) = self.shadow(id) else { return };
        match self.declare(shadow, specs, now) {
            Ok(twins) => self.pair(peers, &twins),
            Err(_) => {
                let _ = self.take_off_shadow(id, now);
            }
        }
    }

    fn pair(&self, peers: &[PeerHandle], twins: &[PeerHandle]) {
        for (peer, twin) in peers.iter().zip(twins) {
            if let Some(word) = self.peer_word(peer.slot(), peer_word::TWIN) {
                word.store(twin.number(), Ordering::Release);
            }
        }
    }

    /// The published list, as it was declared.
    fn declared(&self, id: UpstreamId) -> (Vec<PeerHandle>, Vec<PeerSpec>) {
        let spec = |peer: &PeerHandle| {
            let slot = peer.slot();
            Some(PeerSpec {
                address: self.slot_address(slot),
                name: self.slot_name(slot).into(),
                parameters: self.peer_parameters(slot),
                admin: self.state(*peer)?.admin(),
            })
        };
        self.members(id).into_iter().filter_map(|peer| Some((peer, spec(&peer)?))).unzip()
    }

    /// Copies to the twins what people and active checks say of the peers.
    pub(crate) fn sync_shadows(&self) {
        for id in self.upstream_ids().filter(|&id| self.shadow(id).is_some()) {
            self.sync(&self.members(id), State::with_standing_of);
        }
    }

    fn sync(&self, peers: &[PeerHandle], copy: impl Fn(State, State) -> State) {
        for (live, twin) in peers.iter().filter_map(|&peer| Some((self.state(peer)?, self.twin(peer)?))) {
            let next = |bits: u64| {
                let next = copy(State::from_bits(bits), live).bits();
                (next != bits).then_some(next)
            };
            if let Some(word) = self.state_word(twin.slot()) {
                let _ = word.fetch_update(Ordering::AcqRel, Ordering::Relaxed, next);
            }
        }
    }

    /// The upstream that shadows this one.
    pub(crate) fn shadow(&self, id: UpstreamId) -> Option<UpstreamId> {
        let stored = self.upstream_value(id, word::SHADOW);
        let number = u32::try_from(stored).ok()?.checked_sub(1)?;
        UpstreamId::new(number).filter(|&shadow| self.has_upstream(shadow))
    }

    /// The upstream that this one shadows, or shadowed.
    pub(crate) fn shadow_of(&self, id: UpstreamId) -> Option<UpstreamId> {
        let stored = self.upstream_value(id, word::SHADOW);
        if stored & IS_SHADOW != 0 { UpstreamId::new(stored as u32) } else { None }
    }

    /// The peer that stands for this one in the shadow.
    #[inline]
    pub(crate) fn twin(&self, peer: PeerHandle) -> Option<PeerHandle> {
        let stored = self.peer_word(peer.slot(), peer_word::TWIN)?.load(Ordering::Acquire);
        let twin = PeerHandle::from_number(stored);
        (stored != 0 && self.state(twin).is_some()).then_some(twin)
    }

    /// What the shadow of an upstream compared. `None`: it has none.
    pub fn compared(&self, id: UpstreamId) -> Option<Compared> {
        let shadow = self.shadow(id)?;
        Some(Compared::of_words(std::array::from_fn(|i| self.upstream_value(shadow, word::COMPARED + i))))
    }

    /// Adds to what a shadow compared.
    pub(crate) fn count_compared(&self, shadow: UpstreamId, more: &Compared) {
        for (i, n) in more.words().into_iter().enumerate().filter(|&(_, n)| n != 0) {
            if let Some(word) = self.upstream_word(shadow, word::COMPARED + i) {
                word.fetch_add(n, Ordering::Relaxed);
            }
        }
    }

    fn set_word(&self, id: UpstreamId, which: usize, value: u64) {
        if let Some(word) = self.upstream_word(id, which) {
            word.store(value, Ordering::Relaxed);
        }
    }
}
