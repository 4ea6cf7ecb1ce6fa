//! Upstreams and their declared lists of peers.
//!
//! A declaration names the whole list, and takes effect as a whole by the one store that publishes it. Before that, new
//! peers are written to free slots, and what changes of the old ones (limit, weight, administrative state) is noted beside
//! them, with the generation of the list that it belongs to. After it, the notes are carried out and peers that are not
//! in the list removed; a process that dies there is finished for by whoever finds it dead: the next to change the
//! membership, at the latest the next tick ([`Table::finish_for_the_dead`]). Notes of a list that was never published
//! are dropped, and peers that it would have brought removed.
//!
//! A slot is given to another peer only when no request is in flight on it in any lane: the handle of an open request
//! stays valid for its whole life.
//!
//! # Orderings
//! Writers take turns (see `control`), so only what readers meet is ordered. An upstream's NAME_LEN is stored Release
//! and loaded Acquire by who looks for a name. A state word is stored Release when a slot is occupied, behind all that
//! is written of the peer, and loaded Acquire by whoever reads that; vacating is AcqRel and stands before `settle`.

use super::layout::{header, peer as peer_word, upstream as word};
use super::peer::{Address, word_of};
use super::snapshot::{Entry, Snapshot};
use super::state::Tick;
use super::{Admin, EventKind, PeerHandle, PeerSpec, Policy, State, Table, UpstreamId};
use crate::error::{Error, TIDEGATE_ERR_FULL, TIDEGATE_ERR_NOT_FOUND};
use crate::sync::{AtomicU64, Ordering};
use std::collections::HashMap;

type Identity = (Address, Vec<u8>);

/// Bits of a note: see `layout::peer::NEXT`.
const GENERATION: u64 = 0xffff_ffff;
const ADMIN_SHIFT: u32 = 32;
const NOTED: u64 = 1 << 34;
/// How often counts that move are looked at before they are left to the next tick.
const LOOKS: u32 = 4;

impl Table {
    /// Finds or makes an upstream and sets its policy.
    pub fn open_upstream(&self, name: &[u8], policy: &Policy) -> Result<UpstreamId, Error> {
        if name.is_empty() || name.len() >= word::NAME_WORDS * 8 || !name.iter().all(u8::is_ascii_graphic) {
            return Err(Error::invalid("name of the upstream: 1 to 63 bytes of printable ASCII without spaces"));
        }
        let _control = self.control()?;
        let id = match self.find_upstream(name) {
            Ok(id) => id,
            Err(_) => {
                let id = self.free_upstream()?;
                for i in 0..word::NAME_WORDS {
                    self.set_upstream(id, word::NAME + i, word_of(name.get(i * 8..).unwrap_or(&[])));
                }
                id
            }
        };
        self.write_policy(id, policy);
        if let Some(len) = self.upstream_word(id, word::NAME_LEN) {
            // Last, and Release: who finds the upstream finds its policy.
            len.store(name.len() as u64, Ordering::Release);
        }
        Ok(id)
    }

    /// Finds an upstream by its name.
    pub fn find_upstream(&self, name: &[u8]) -> Result<UpstreamId, Error> {
        self.upstream_ids().find(|&id| self.upstream_name(id).as_deref() == Some(name)).ok_or_else(|| {
            Error::new(TIDEGATE_ERR_NOT_FOUND, format!("no upstream is called \"{}\"", name.escape_ascii()))
        })
    }

    /// An upstream's name, if there is such an upstream.
    pub fn upstream_name(&self, id: UpstreamId) -> Option<Vec<u8>> {
        let len = self.upstream_word(id, word::NAME_LEN)?.load(Ordering::Acquire) as usize;
        if len == 0 {
            return None;
        }
        let words = (0..word::NAME_WORDS).flat_map(|i| self.upstream_value(id, word::NAME + i).to_ne_bytes());
        Some(words.take(len).collect())
    }

    /// All upstreams.
    pub fn upstream_ids(&self) -> impl Iterator<Item = UpstreamId> + '_ {
        (0..self.region.capacity.upstreams)
            .filter_map(UpstreamId::new)
            .take_while(|&id| self.upstream_value(id, word::NAME_LEN) != 0)
    }

    /// Whether there is such an upstream.
    #[inline]
    pub(crate) fn has_upstream(&self, id: UpstreamId) -> bool {
        self.upstream_value(id, word::NAME_LEN) != 0
    }

    /// The `index`-th member of the published list.
    pub fn peer_at(&self, id: UpstreamId, index: u32) -> Result<Option<PeerHandle>, Error> {
        if !self.has_upstream(id) {
            return Err(Error::of(TIDEGATE_ERR_NOT_FOUND));
        }
        Ok(self.members(id).get(index as usize).copied())
    }

    /// A word that changes with every list that is published.
    pub(crate) fn membership_word(&self, id: UpstreamId) -> u64 {
        self.upstream_word(id, word::SNAPSHOT).map_or(0, |w| w.load(Ordering::Acquire))
    }

    /// The members of an upstream that are there now, all of one list; none if it never stood still. For the control plane
    /// and status output.
    pub(crate) fn members(&self, id: UpstreamId) -> Vec<PeerHandle> {
        for _ in 0..CHANGES_BORNE {
            let Some(snapshot) = self.snapshot(id) else { break };
            let members = self.live_members(id, &snapshot);
            if self.is_current(id, &snapshot) {
                return members;
            }
        }
        Vec::new()
    }

    fn live_members(&self, id: UpstreamId, snapshot: &Snapshot) -> Vec<PeerHandle> {
        let live = |entry: Entry| {
            let state = State::from_bits(self.state_word(entry.slot())?.load(Ordering::Acquire));
            (state.is_live() && self.peer_upstream(entry.slot()) == Some(id))
                .then(|| PeerHandle::new(entry.slot(), state.generation()))
        };
        // No more than there can be: a damaged length could name every slot many times.
        snapshot.members().take(self.region.capacity.peers as usize).filter_map(live).collect()
    }

    /// Declares an upstream's peers. The handles come in the order of the list.
    pub fn set_peers(&self, id: UpstreamId, specs: &[PeerSpec], now: u64) -> Result<Vec<PeerHandle>, Error> {
        if !self.has_upstream(id) {
            return Err(Error::new(TIDEGATE_ERR_NOT_FOUND, format!("there is no upstream {}", id.number())));
        }
        let wanted = identities(specs)?;
        let _control = self.control()?;
        // What a writer that died left is finished or dropped, or its notes could be taken for ours.
        self.finish(id);
        let present = self.present(id);
        let mut free = self.free_slots();
        let new = wanted.keys().filter(|identity| !present.contains_key(*identity)).count();
        if new > free.len() {
            return Err(Error::new(
                TIDEGATE_ERR_FULL,
                format!("{new} peers are new and {} slots are free (raise max_peers)", free.len()),
            ));
        }
        // Least-request needs the aggregates of all its peers, a limit that of its own.
        let counted = self.packed_policy(id).counts();
        // At the first declaration all are new: none has others to spare it.
        let slow = self.slow_start_ns(id) != 0 && !present.is_empty();
        let mut handles = Vec::with_capacity(specs.len());
        let mut entries = Vec::with_capacity(specs.len());
        let mut added = Vec::new();
        for spec in specs {
            let slot = match present.get(&(spec.address.clone(), spec.name.to_vec())) {
                Some(&slot) => slot,
                None => {
                    let slot = free.pop().ok_or_else(|| Error::of(TIDEGATE_ERR_FULL))?;
                    added.push(slot);
                    self.occupy(slot, id, spec, slow, now);
                    slot
                }
            };
            let p = spec.parameters;
            self.note(slot, id, spec);
            if counted || p.limit != 0 {
                // Before the list is published, for from then on picks are counted.
                self.start_counting(slot);
            }
            entries.push(Entry::new(slot, p.weight, p.limit != 0, p.backup, p.zone));
            let generation =
                self.state_word(slot).map_or(0, |w| State::from_bits(w.load(Ordering::Relaxed)).generation());
            handles.push(PeerHandle::new(slot, generation));
        }
        if let Err(error) = self.publish(id, &entries) {
            added.iter().for_each(|&slot| self.vacate(slot));
            handles.iter().for_each(|peer| self.drop_note(peer.slot()));
            return Err(error);
        }
        // Nothing can fail any more.
        self.finish(id);
        // Picks that had read the old list may have begun without being counted.
        let is_counted = |spec: &PeerSpec| counted || spec.parameters.limit != 0;
        let pairs = specs.iter().zip(&handles);
        pairs.filter(|(spec, _)| is_counted(spec)).for_each(|(_, peer)| self.start_counting(peer.slot()));
        self.refresh(id, now);
        self.emit(EventKind::Membership { upstream: id, peers: specs.len() as u64 }, now);
        Ok(handles)
    }

    /// The live slots of an upstream, by identity.
    fn present(&self, id: UpstreamId) -> HashMap<Identity, u32> {
        (0..self.region.capacity.peers)
            .filter(|&slot| self.is_live(slot) && self.peer_upstream(slot) == Some(id))
            .map(|slot| ((self.slot_address(slot), self.slot_name(slot)), slot))
            .collect()
    }

    /// Slots without a peer and without a request in flight, the lowest last, to be taken first.
    fn free_slots(&self) -> Vec<u32> {
        let was_used = |slot: u32| self.peer_upstream(slot).is_some() && !self.is_live(slot);
        if (0..self.region.capacity.peers).any(was_used) {
            self.settle();
        }
        let free = |slot: &u32| !self.is_live(*slot) && self.is_quiet(*slot);
        (0..self.region.capacity.peers).rev().filter(free).collect()
    }

    fn is_live(&self, slot: u32) -> bool {
        self.state_word(slot).is_some_and(|w| State::from_bits(w.load(Ordering::Relaxed)).is_live())
    }

    fn occupy(&self, slot: u32, id: UpstreamId, spec: &PeerSpec, slow: bool, now: u64) {
        let Some(state) = self.state_word(slot) else { return };
        self.clear_peer_counters(slot);
        self.clear_latency(slot);
        let attempts = self.slot_counts(slot).0;
        self.clear_tally(slot, attempts, now);
        self.write_slot(slot, id, spec, attempts);
        let generation = match State::from_bits(state.load(Ordering::Relaxed)).generation().wrapping_add(1) {
            0 => 1,
            n => n,
        };
        // Release: who sees the peer live sees what is written of it.
        let added = State::added(generation, spec.admin, Tick::at(now, self.epoch())).with_slow_start(slow);
        state.store(added.bits(), Ordering::Release);
    }

    fn vacate(&self, slot: u32) {
        self.change_state(slot, State::removed);
    }

    /// Notes what a slot's peer will be from the next list of its upstream on.
    fn note(&self, slot: u32, id: UpstreamId, spec: &PeerSpec) {
        let set = |w: usize, value: u64| {
            if let Some(word) = self.peer_word(slot, w) {
                // Release: in the order written, for a death comes between any two.
                word.store(value, Ordering::Release);
            }
        };
        set(peer_word::NEXT_PARAMETERS, spec.parameters.to_bits());
        set(peer_word::NEXT, self.next_generation(id) | u64::from(spec.admin.number()) << ADMIN_SHIFT | NOTED);
    }

    fn drop_note(&self, slot: u32) {
        if let Some(word) = self.peer_word(slot, peer_word::NEXT) {
            word.store(0, Ordering::Release);
        }
    }

    /// Carries out what the published list says: of its members what was noted, and no others stay. Any number of times
    /// is once. Only under the control lock.
    pub(super) fn finish(&self, id: UpstreamId) {
        let published = self.generation(id);
        let peers = self.region.capacity.peers as usize;
        let mut members = vec![false; peers];
        let snapshot = self.snapshot(id);
        for entry in snapshot.iter().flat_map(|s| s.members().take(peers)) {
            if let Some(member) = members.get_mut(entry.slot() as usize) {
                *member = true;
            }
        }
        let own = |slot: &u32| self.is_live(*slot) && self.peer_upstream(*slot) == Some(id);
        for slot in (0..self.region.capacity.peers).filter(own) {
            if !members.get(slot as usize).is_some_and(|&member| member) {
                self.vacate(slot);
            }
            let note = self.peer_word_or_zero(slot, peer_word::NEXT);
            if note == 0 {
                continue;
            }
            if note & GENERATION == published
                && let Some(parameters) = self.peer_word(slot, peer_word::PARAMETERS)
                && let Some(admin) = Admin::from_number((note >> ADMIN_SHIFT) as u32 & 3)
            {
                parameters.store(self.peer_word_or_zero(slot, peer_word::NEXT_PARAMETERS), Ordering::Relaxed);
                self.change_state(slot, |state| state.with_admin(admin));
            }
            self.drop_note(slot);
        }
    }

    /// Finishes the declaration of a process that died on the way. Waits for nobody.
    pub(crate) fn finish_for_the_dead(&self) {
        if let Some(_control) = self.succeed() {
            self.upstream_ids().for_each(|id| self.finish(id));
        }
    }

    fn change_state(&self, slot: u32, change: impl Fn(State) -> State) {
        if let Some(state) = self.state_word(slot) {
            let next = |bits: u64| Some(change(State::from_bits(bits)).bits());
            let _ = state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, next);
        }
    }

    /// Raises an aggregate that was not maintained so far to the sum of its lanes: by what is missing, for picks and
    /// reports may be under way. Never short of what is in flight, unless a pick stands still between its two counts;
    /// requests that end uncounted leave it too high. Both last until the next `scrub`.
    fn start_counting(&self, slot: u32) {
        let Some(aggregate) = self.aggregate(slot) else { return };
        for _ in 0..LOOKS {
            let (seen, sum) = (aggregate.load(Ordering::Relaxed), self.slot_counts(slot).1);
            if seen >= sum {
                return;
            }
            if aggregate.load(Ordering::Relaxed) == seen && self.slot_counts(slot).1 == sum {
                aggregate.fetch_add(sum - seen, Ordering::Relaxed);
                return;
            }
        }
    }

    fn free_upstream(&self) -> Result<UpstreamId, Error> {
        (0..self.region.capacity.upstreams)
            .filter_map(UpstreamId::new)
            .find(|&id| self.upstream_value(id, word::NAME_LEN) == 0)
            .ok_or_else(|| {
                Error::new(
                    TIDEGATE_ERR_FULL,
                    format!("all {} upstreams are in use (raise max_upstreams)", self.region.capacity.upstreams),
                )
            })
    }

    /// A word of an upstream slot.
    #[inline]
    pub(crate) fn upstream_word(&self, id: UpstreamId, word: usize) -> Option<&AtomicU64> {
        debug_assert!(word < word::WORDS);
        self.region.upstreams.get(id.index() * word::WORDS + word)
    }

    #[inline]
    pub(super) fn upstream_value(&self, id: UpstreamId, word: usize) -> u64 {
        self.upstream_word(id, word).map_or(0, |w| w.load(Ordering::Relaxed))
    }

    fn set_upstream(&self, id: UpstreamId, word: usize, value: u64) {
        if let Some(word) = self.upstream_word(id, word) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// The word of the retry budget.
    pub(crate) fn budget_word(&self, id: UpstreamId) -> Option<&AtomicU64> {
        self.upstream_word(id, word::BUDGET)
    }

    /// Requests in flight on an upstream whose peers' load is bounded.
    pub(crate) fn in_flight_word(&self, id: UpstreamId) -> Option<&AtomicU64> {
        self.upstream_word(id, word::IN_FLIGHT)
    }

    /// Takes one request off that count, not below 0.
    pub(crate) fn lower_in_flight(&self, id: UpstreamId) {
        if let Some(total) = self.in_flight_word(id) {
            let _ = total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        }
    }

    /// The word of the ejection under way.
    pub(crate) fn ejecting_word(&self, id: UpstreamId) -> Option<&AtomicU64> {
        self.upstream_word(id, word::EJECTING)
    }

    /// When an idle connection was last closed under a request.
    pub(crate) fn race_word(&self, id: UpstreamId) -> Option<&AtomicU64> {
        self.upstream_word(id, word::RACE)
    }

    /// What the eligible peers call for: bit 0, so few are left that the panic policy applies; bit 1, some are only
    /// ejected, and may be due for a trial.
    pub(crate) fn panic_word(&self, id: UpstreamId) -> Option<&AtomicU64> {
        self.upstream_word(id, word::PANIC)
    }

    /// When the last round of tick work began.
    pub(crate) fn tick_word(&self) -> &AtomicU64 {
        &self.region.header[header::TICK]
    }
}

/// How often a list is read anew that was published over while it was read.
const CHANGES_BORNE: u32 = 16;

/// The identities of a list; two of the same are an error.
fn identities(specs: &[PeerSpec]) -> Result<HashMap<Identity, usize>, Error> {
    let mut seen = HashMap::with_capacity(specs.len());
    for (i, spec) in specs.iter().enumerate() {
        if let Some(first) = seen.insert((spec.address.clone(), spec.name.to_vec()), i) {
            return Err(Error::invalid(format!("peers[{i}]: {} is the same peer as peers[{first}]", spec.address)));
        }
    }
    Ok(seen)
}
