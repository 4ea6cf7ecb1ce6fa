//! The plain case, which nearly every request is: one pick of a healthy peer, and one success.
//!
//! Each function here does what the rules of `request` would do, or nothing at all: `None` leaves no trace but a random
//! number drawn, and the rules are asked from the beginning. Plain is a first attempt by a worker with one thread,
//! without panic, on a peer that is eligible and has no limit; and the success of such a worker's ordinary attempt on a
//! peer without a blemish. Cost: no call, no loop while the peer whose turn it is is eligible. What was seen of the peer is proven
//! afterwards as in `Request::choose`: the count stands in the lane first, then the state word and what is published are
//! read again.

use super::{Manner, Picked, Request, Stage};
use crate::failover::record::Attempt;
use crate::failover::worker::Place;
use crate::failover::{Decision, Verdict};
use crate::health::pending;
use crate::selector::{Choice, Found, Plain, least_request, maglev, peak_ewma, random, round_robin};
use crate::sync::{AtomicU32, AtomicU64, Ordering, compiler_fence};
use crate::table::{self, PeerHandle, Published, Selector, State, Writers};

impl Request {
    /// The selector, if the next pick may be a plain one; maglev for all that look a hash up.
    #[inline(always)]
    pub(crate) fn plain_selector(&self) -> Option<Selector> {
        match u32::from_le_bytes([self.state as u8, self.manner as u8, self.made, u8::from(self.delivering)]) {
            FRESH_ROUND_ROBIN => Some(Selector::RoundRobin),
            FRESH_LEAST_REQUEST => Some(Selector::LeastRequest),
            FRESH_RANDOM => Some(Selector::Random),
            FRESH_PEAK_EWMA => Some(Selector::PeakEwma),
            FRESH_HASHED => Some(Selector::Maglev),
            _ => None,
        }
    }

    /// The first pick.
    #[inline]
    pub(super) fn pick_plainly(&mut self, now: u64) -> Option<Picked> {
        match self.plain_selector()? {
            Selector::RoundRobin => self.pick_round_robin(now),
            Selector::LeastRequest => self.pick_least_request(now),
            Selector::Random => self.pick_random(now),
            Selector::PeakEwma => self.pick_peak_ewma(now),
            Selector::Maglev | Selector::SourceHash => self.pick_hashed(now),
        }
    }

    /// The first pick where `plain_selector` is round robin, while the peer whose turn it is is eligible.
    #[inline(always)]
    pub(crate) fn pick_in_turn(&mut self, now: u64) -> Option<Picked> {
        self.pick_uncounted(now, round_robin::choose_in_turn)
    }

    /// The first pick where `plain_selector` is round robin.
    #[inline(always)]
    pub(crate) fn pick_round_robin(&mut self, now: u64) -> Option<Picked> {
        self.pick_uncounted(now, round_robin::choose_plainly)
    }

    /// The first pick where `plain_selector` is random.
    #[inline(always)]
    pub(crate) fn pick_random(&mut self, now: u64) -> Option<Picked> {
        self.pick_uncounted(now, random::choose_plainly)
    }

    /// The first pick where `plain_selector` is maglev, for a request with a key.
    #[inline(always)]
    pub(crate) fn pick_hashed(&mut self, now: u64) -> Option<Picked> {
        let hash = self.hash;
        if hash == 0 {
            return None;
        }
        self.pick_uncounted(now, |plain| maglev::choose_plainly(plain, hash))
    }

    /// The first pick where `plain_selector` is peak EWMA.
    #[inline(always)]
    pub(crate) fn pick_peak_ewma(&mut self, now: u64) -> Option<Picked> {
        let (published, plain) = self.plain()?;
        let stamp = plain.upstream.latency_stamp(now);
        let found = peak_ewma::choose_plainly(&plain, stamp)?;
        let slot = found.entry.slot();
        let (cell, aggregate) = (plain.seat.attempts_word(slot)?, plain.seat.aggregate(slot)?);
        let before = aggregate.fetch_add(1, Ordering::Relaxed);
        if !self.begin(&found, published, cell) {
            return self.take_back(cell, Some(aggregate));
        }
        plain.seat.latency.note_pick(slot, before.wrapping_add(1), stamp, plain.upstream.latency_rate());
        let peer = found.peer();
        Some(self.open(peer, Choice::COUNTED, now))
    }

    #[inline(always)]
    fn pick_uncounted(&mut self, now: u64, choose: impl for<'a> Fn(&Plain<'a>) -> Option<Found<'a>>) -> Option<Picked> {
        let (published, plain) = self.plain()?;
        let found = choose(&plain)?;
        let cell = plain.seat.attempts_word(found.entry.slot())?;
        if !self.begin(&found, published, cell) {
            return self.take_back(cell, None);
        }
        let peer = found.peer();
        Some(self.open(peer, 0, now))
    }

    /// The first pick where `plain_selector` is least request.
    #[inline(always)]
    pub(crate) fn pick_least_request(&mut self, now: u64) -> Option<Picked> {
        let (published, plain) = self.plain()?;
        let found = least_request::choose_plainly(&plain)?;
        let cell = plain.seat.attempts_word(found.entry.slot())?;
        let aggregate = plain.seat.aggregate(found.entry.slot())?;
        aggregate.fetch_add(1, Ordering::Relaxed);
        if !self.begin(&found, published, cell) {
            return self.take_back(cell, Some(aggregate));
        }
        let peer = found.peer();
        Some(self.open(peer, Choice::COUNTED, now))
    }

    #[inline(always)]
    fn plain(&self) -> Option<(Published<'_>, Plain<'_>)> {
        let worker = self.worker();
        // Whether its lease is out, `start` has asked: to be stopped between the two is to be stopped within one of them.
        if !worker.is_alone() {
            return None;
        }
        let place = worker.place(self.upstream)?;
        let (published, cycle) = worker.seat.published(&place.upstream)?;
        let Place { cursors: [cursor, ..], upstream, .. } = place;
        Some((published, Plain { seat: &worker.seat, upstream, cycle, cursor, random: &worker.random }))
    }

    /// Counts the attempt. Whether the peer is still the one that was meant.
    #[inline(always)]
    fn begin(&self, found: &Found<'_>, published: Published<'_>, cell: &AtomicU64) -> bool {
        table::begin(cell, Writers::One);
        // The count stands before the state is read again: see `table::lane`, Reuse of slots.
        compiler_fence(Ordering::SeqCst);
        State::from_bits(found.word.load(Ordering::Acquire)).is_same_peer(found.state) && published.is_current()
    }

    #[cold]
    fn take_back(&self, cell: &AtomicU64, aggregate: Option<&AtomicU32>) -> Option<Picked> {
        table::end(cell, Writers::One);
        if let Some(aggregate) = aggregate {
            table::lower(aggregate);
        }
        None
    }

    #[inline(always)]
    fn open(&mut self, peer: PeerHandle, flags: u8, now: u64) -> Picked {
        self.state = Stage::Open;
        self.made = 1;
        self.began = now;
        self.record[0] = Attempt { slot: peer.slot(), generation: peer.generation(), flags, ..Attempt::NONE };
        Picked { peer, attempt: 1, flags: 0 }
    }

    /// Whether reports feed the estimates of latency.
    #[inline(always)]
    pub(crate) fn is_measured(&self) -> bool {
        self.policy.selector_is_measured()
    }

    /// The success of an ordinary attempt. `MEASURED`: what `is_measured` says.
    #[inline(always)]
    pub(crate) fn report_plainly<const MEASURED: bool>(
        &mut self,
        status: u32,
        head_ns: u64,
        total_ns: u64,
        now: u64,
    ) -> Option<Decision> {
        let worker = self.worker();
        if !worker.is_alone_and_in() || self.state != Stage::Open || status >= 400 {
            return None;
        }
        let index = (self.made as usize).wrapping_sub(1);
        let attempt = self.record.get(index)?;
        let seat = &worker.seat;
        let state = State::from_bits(seat.state_word(attempt.slot)?.load(Ordering::Acquire));
        if attempt.flags & !Choice::COUNTED != 0 || !state.is_unblemished(attempt.generation) {
            return None;
        }
        let answered = seat.answered_word(attempt.slot)?;
        if now.wrapping_sub(answered.load(Ordering::Relaxed)) >= pending::STEP_NS {
            // Now and then another peer is looked at too, by the rules.
            if worker.place(self.upstream)?.is_look_due(now) {
                return None;
            }
            answered.store(now, Ordering::Relaxed);
        }
        let cell = seat.attempts_word(attempt.slot)?;
        if attempt.flags == 0 {
            table::end(cell, Writers::One);
        } else {
            let aggregate = seat.aggregate(attempt.slot)?;
            table::end(cell, Writers::One);
            let in_flight = table::lower(aggregate);
            if MEASURED {
                let stamp = worker.place(self.upstream)?.upstream.latency_stamp(now);
                seat.latency.note(attempt.slot, self.took_ns(head_ns, total_ns, now), in_flight, stamp);
            }
        }
        let length = if total_ns == 0 { now.saturating_sub(self.began) } else { total_ns };
        let attempt = self.record.get_mut(index)?;
        attempt.status = status as u16;
        attempt.verdict = Verdict::Deliver as u8;
        attempt.set_length(length);
        self.received_status = status as u16;
        self.state = Stage::Ended;
        Some(Decision::deliver(self))
    }
}

const FRESH_ROUND_ROBIN: u32 = u32::from_le_bytes([Stage::Idle as u8, Manner::RoundRobin as u8, 0, 0]);
const FRESH_LEAST_REQUEST: u32 = u32::from_le_bytes([Stage::Idle as u8, Manner::LeastRequest as u8, 0, 0]);
const FRESH_PEAK_EWMA: u32 = u32::from_le_bytes([Stage::Idle as u8, Manner::PeakEwma as u8, 0, 0]);
const FRESH_HASHED: u32 = u32::from_le_bytes([Stage::Idle as u8, Manner::Hashed as u8, 0, 0]);
const FRESH_RANDOM: u32 = u32::from_le_bytes([Stage::Idle as u8, Manner::Random as u8, 0, 0]);
