//! The ring of events: what happened to peers, upstreams and workers, in order, for whoever reads it.
//!
//! A writer takes the next number from the head, claims that number's slot, writes seven words and publishes. Each
//! slot begins with a stamp: 2·number while it is being written, 2·number + 1 when it is whole. A slot whose writer
//! died stays claimed until the ring comes round; then its successor takes it over. A reader takes an event only if
//! the stamp is the whole one before and after it read the words, and the words' checksum fits, so an event that two
//! writers mixed (one of them stopped for a whole round of the ring) is skipped, not shown.
//!
//! Nobody waits: a writer that finds its slot claimed by a newer number gives up and counts a lost event.
//!
//! # Orderings
//! The stamp's claim is AcqRel and the words follow Relaxed behind a Release fence, so that a reader who sees a word of
//! the new event sees the claim too; the publishing store is Release and pairs with the reader's first Acquire load.
//! The reader's second load stands behind an Acquire fence, which pairs with the writer's Release fence. The checksum
//! stands behind all of them: loom finds no reader that is deceived where one of the fences is missing (see `model`).

use super::layout::{EVENT_WORDS, header};
use super::{Admin, Detector, PeerHandle, Replaced, Table, UpstreamId};
use crate::cause::Cause;
use crate::sync::{Ordering, fence};

/// One event, as read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// From 1, without gaps.
    pub number: u64,
    /// When.
    pub time_ns: u64,
    /// What.
    pub kind: Kind,
    /// Its upstream's id.
    pub upstream: u32,
    /// Its peer's handle, 0: none.
    pub peer: u64,
    /// The outcome that caused it.
    pub cause: Cause,
    /// The lane of the worker that died; of an event about a peer, the detector.
    pub worker: u32,
    /// See `EventKind`.
    pub value: u64,
}

/// The kind of an event, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind(u32);

impl Kind {
    /// Its number in the ABI; one that this library does not know may come from a newer one.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// What happened, to whom.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug)]
pub enum EventKind {
    /// A peer was ejected, for so many milliseconds.
    Ejected { peer: PeerHandle, upstream: UpstreamId, cause: Cause, for_ms: u64, detector: Detector },
    /// An ejection ended with a first trial.
    HalfOpen { peer: PeerHandle, upstream: UpstreamId },
    /// The trials succeeded.
    Healthy { peer: PeerHandle, upstream: UpstreamId },
    /// A peer would have been ejected, but nothing else could carry the traffic.
    Spared { peer: PeerHandle, upstream: UpstreamId, cause: Cause, detector: Detector },
    /// A peer would have been ejected, but the policy is to judge only.
    Noted { peer: PeerHandle, upstream: UpstreamId, cause: Cause, detector: Detector },
    /// A person changed it.
    AdminChanged { peer: PeerHandle, upstream: UpstreamId, admin: Admin },
    /// A list of peers was published.
    Membership { upstream: UpstreamId, peers: u64 },
    /// Active checks found it dead; the status it answered, 0: none.
    Down { peer: PeerHandle, upstream: UpstreamId, cause: Cause, status: u64 },
    /// Active checks found it well again, or live traffic did.
    Up { peer: PeerHandle, upstream: UpstreamId },
    /// A dead worker's lane was cleared.
    WorkerReclaimed { lane: u32, taken: u64 },
    /// A silent worker's lane was left out of the sums.
    WorkerOut { lane: u32, taken: u64 },
    /// It is back.
    WorkerBack { lane: u32, held: u64 },
    /// This table took the place of another: its first event.
    TableReplaced { reason: Replaced },
}

impl EventKind {
    /// kind, upstream, peer, cause, worker or detector, value
    fn parts(self) -> (u32, u32, u64, Cause, u32, u64) {
        match self {
            EventKind::Ejected { peer, upstream, cause, for_ms, detector } => {
                (1, upstream.number(), peer.number(), cause, detector.number(), for_ms)
            }
            EventKind::HalfOpen { peer, upstream } => (2, upstream.number(), peer.number(), Cause::NONE, 0, 0),
            EventKind::Healthy { peer, upstream } => (3, upstream.number(), peer.number(), Cause::NONE, 0, 0),
            EventKind::Spared { peer, upstream, cause, detector } => {
                (4, upstream.number(), peer.number(), cause, detector.number(), 0)
            }
            EventKind::Noted { peer, upstream, cause, detector } => {
                (11, upstream.number(), peer.number(), cause, detector.number(), 0)
            }
            EventKind::AdminChanged { peer, upstream, admin } => {
                (5, upstream.number(), peer.number(), Cause::NONE, 0, u64::from(admin.number()))
            }
            EventKind::Membership { upstream, peers } => (6, upstream.number(), 0, Cause::NONE, 0, peers),
            EventKind::WorkerReclaimed { lane, taken } => (7, 0, 0, Cause::NONE, lane, taken),
            EventKind::TableReplaced { reason } => (8, 0, 0, Cause::NONE, 0, reason as u64),
            EventKind::Down { peer, upstream, cause, status } => {
                (20, upstream.number(), peer.number(), cause, 0, status)
            }
            EventKind::Up { peer, upstream } => (21, upstream.number(), peer.number(), Cause::NONE, 0, 0),
            EventKind::WorkerOut { lane, taken } => (9, 0, 0, Cause::NONE, lane, taken),
            EventKind::WorkerBack { lane, held } => (10, 0, 0, Cause::NONE, lane, held),
        }
    }
}

impl Table {
    /// Writes an event.
    #[cold]
    pub(crate) fn emit(&self, kind: EventKind, now: u64) {
        let (kind, upstream, peer, cause, worker, value) = kind.parts();
        // Wrapping: a damaged head may hold any number.
        let number = self.region.header[header::EVENT_HEAD].fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let claim = number.wrapping_mul(2);
        let body = [
            now,
            u64::from(kind) | u64::from(upstream) << 32,
            peer,
            u64::from(cause.number()) | u64::from(worker) << 32,
            value,
        ];
        let lost = || {
            self.region.header[header::EVENTS_LOST].fetch_add(1, Ordering::Relaxed);
        };
        let Some([stamp, words @ ..]) = self.event_slot(number) else { return lost() };
        let seen = stamp.load(Ordering::Relaxed);
        if seen >= claim || stamp.compare_exchange(seen, claim, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return lost();
        }
        fence(Ordering::Release);
        for (word, value) in words.iter().zip(body.iter().chain([&checksum(number, &body)])) {
            word.store(*value, Ordering::Relaxed);
        }
        // Only the own claim is published: a successor may have taken over from a writer that slept here.
        // Then this event is lost, and may have spoiled the successor's.
        if stamp.compare_exchange(claim, claim + 1, Ordering::Release, Ordering::Relaxed).is_err() {
            lost();
        }
    }

    /// The oldest event above `after` that is still there.
    pub fn event_after(&self, after: u64) -> Option<Event> {
        let newest = self.region.header[header::EVENT_HEAD].load(Ordering::Relaxed);
        let kept = u64::from(self.region.capacity.events);
        let oldest = newest.saturating_sub(kept).max(after);
        // A damaged head could be far ahead: a round of the ring is enough in any case.
        (oldest..newest).take(kept as usize).find_map(|n| self.read_event(n + 1))
    }

    /// Events not written because their place was being written.
    #[cfg(all(loom, test))]
    pub(crate) fn events_lost(&self) -> u64 {
        self.region.header[header::EVENTS_LOST].load(Ordering::Relaxed)
    }

    fn read_event(&self, number: u64) -> Option<Event> {
        let [stamp, words @ ..] = self.event_slot(number)? else { return None };
        let whole = number.checked_mul(2)? + 1;
        if stamp.load(Ordering::Acquire) != whole {
            return None;
        }
        let mut body = [0; 6];
        for (value, word) in body.iter_mut().zip(words) {
            *value = word.load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        let [time_ns, kind, peer, cause, value, sum] = body;
        if stamp.load(Ordering::Relaxed) != whole || sum != checksum(number, &body[..5]) {
            return None;
        }
        Some(Event {
            number,
            time_ns,
            kind: Kind(kind as u32),
            upstream: (kind >> 32) as u32,
            peer,
            cause: Cause::from_number(cause as u32)?,
            worker: (cause >> 32) as u32,
            value,
        })
    }

    fn event_slot(&self, number: u64) -> Option<&[crate::sync::AtomicU64]> {
        let index = (number as usize) & (self.region.capacity.events as usize - 1);
        self.region.events.get(index * EVENT_WORDS..(index + 1) * EVENT_WORDS)
    }
}

/// Tells a whole event from a mixture of two: FNV-1a over the words, the number first, which is multiplied like every
/// word: numbers and times of two events often differ in the same bits.
fn checksum(number: u64, body: &[u64]) -> u64 {
    [number]
        .iter()
        .chain(body)
        .fold(0xcbf2_9ce4_8422_2325, |sum, word| (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29))
}
