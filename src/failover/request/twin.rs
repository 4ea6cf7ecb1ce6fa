//! The twin of a request: the same request to the shadow of its upstream (see `failover::shadow`).
//!
//! It is made anew for each step, out of the live one: attempts become those on the twins of their peers. Kept between
//! the steps are only the peer and the flags of its open attempt. Cost: a copy of the request.

use super::{Manner, Request, Stage};
use crate::failover::record::Attempt;
use crate::health;
use crate::selector::Choice;
use crate::sync::Ordering;
use crate::table::{self, PeerHandle, UpstreamId};

impl Request {
    /// The upstream that decides beside this request's.
    #[inline]
    pub(in crate::failover) fn shadow(&self) -> Option<UpstreamId> {
        UpstreamId::new(self.shadow.checked_sub(1)?)
    }

    /// The same request there. The deadline and the hash of the key are the live ones.
    pub(in crate::failover) fn twin(&self, shadow: UpstreamId) -> Request {
        let (table, policy) = (self.table(), self.table().packed_policy(shadow));
        let mut record = self.record;
        for attempt in record.iter_mut().take(self.made as usize) {
            let twin = table.twin(attempt.peer());
            (attempt.slot, attempt.generation) = twin.map_or((u32::MAX, 0), |t| (t.slot(), t.generation()));
        }
        let own_limit = self.max_attempts == self.policy.max_attempts();
        let mut twin = Request {
            upstream: shadow,
            policy,
            manner: Manner::Careful,
            max_attempts: if own_limit { policy.max_attempts() } else { self.max_attempts },
            shadow: 0,
            record,
            ..*self
        };
        if self.state == Stage::Open {
            let peer = PeerHandle::from_number(self.twin);
            match twin.record.get_mut((self.made as usize).wrapping_sub(1)) {
                Some(attempt) if self.twin != 0 => {
                    (attempt.slot, attempt.generation, attempt.flags) =
                        (peer.slot(), peer.generation(), self.twin_flags);
                }
                _ => twin.state = Stage::Idle,
            }
        }
        twin
    }

    /// Opens the twin's `made`-th attempt on this peer, whatever speaks against it.
    pub(in crate::failover) fn open_on(&mut self, peer: PeerHandle, made: u32, now: u64) {
        let worker = self.worker();
        let (table, slot) = (worker.table(), peer.slot());
        let Some(cell) = worker.seat.attempts_word(slot) else { return };
        let mut flags = 0;
        if let Some(aggregate) = worker.seat.aggregate(slot)
            && (self.policy.counts() || table.peer_parameters(slot).limit != 0)
        {
            aggregate.fetch_add(1, Ordering::Relaxed);
            flags |= Choice::COUNTED;
        }
        if let (true, Some(total)) = (self.policy.is_bounded(), table.in_flight_word(self.upstream)) {
            total.fetch_add(1, Ordering::Relaxed);
            flags |= Choice::BOUNDED;
        }
        if self.may_be_repeated() && health::claim_trial(table, self.upstream, slot, now).is_some() {
            flags |= Choice::TRIAL;
        }
        table::begin(cell, worker.seat.writers);
        self.note_in_flight(slot, now);
        self.made = made as u8;
        self.state = Stage::Open;
        if let Some(attempt) = self.record.get_mut((self.made as usize).wrapping_sub(1)) {
            *attempt = Attempt { slot, generation: peer.generation(), flags, ..Attempt::NONE };
        }
    }

    /// Keeps what the twin has open for the next step.
    pub(in crate::failover) fn keep_twin(&mut self, twin: &Request) {
        let open = twin.current().filter(|_| twin.state == Stage::Open && self.state == Stage::Open);
        (self.twin, self.twin_flags) = open.map_or((0, 0), |attempt| (attempt.peer().number(), attempt.flags));
        if let (true, Some(attempt)) = (open.is_some(), self.record.get_mut((self.made as usize).wrapping_sub(1))) {
            attempt.flags |= Choice::SHADOWED;
        }
    }

    /// Nothing is open there any more.
    pub(in crate::failover) fn drop_twin(&mut self) {
        self.twin = 0;
    }

    /// The peer of the last attempt.
    pub(in crate::failover) fn last_peer(&self) -> Option<PeerHandle> {
        self.current().map(Attempt::peer)
    }

    /// Lets the shadow's next pick begin where the live one's does.
    pub(in crate::failover) fn lend_cursors(&self, shadow: UpstreamId) {
        let worker = self.worker();
        if let (Some(own), Some(twin)) = (worker.place(self.upstream), worker.place(shadow)) {
            twin.cursors.iter().zip(&own.cursors).for_each(|(to, from)| to.follow(from));
        }
    }
}
