//! Failures and generated answers, counted by cause. Rare enough to be counted by atomic adds.

use super::layout::{CAUSES, header, peer as peer_word};
use super::{PeerHandle, Table, UpstreamId};
use crate::cause::Cause;
use crate::error::{Error, TIDEGATE_ERR_NOT_FOUND};
use crate::sync::Ordering;

const _: () = assert!(Cause::ALL.len() <= CAUSES);

impl Table {
    /// Counts a failed attempt on a peer.
    pub(crate) fn count_peer_failure(&self, peer: PeerHandle, upstream: UpstreamId, cause: Cause, charged: bool) {
        if let Some(count) = self.region.peer_causes.get(peer.slot() as usize * CAUSES + cause.number() as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if charged && let Some(failures) = self.peer_word(peer.slot(), peer_word::FAILURES) {
            failures.fetch_add(1, Ordering::Relaxed);
        }
        self.count_upstream(upstream, cause);
    }

    /// Counts a failed attempt, or an answer that was generated without one.
    pub(crate) fn count_upstream(&self, upstream: UpstreamId, cause: Cause) {
        if let Some(count) = self.region.upstream_causes.get(upstream.index() * CAUSES + cause.number() as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often an upstream met a cause.
    pub fn upstream_cause_count(&self, upstream: UpstreamId, cause: Cause) -> Result<u64, Error> {
        if !self.has_upstream(upstream) {
            return Err(Error::of(TIDEGATE_ERR_NOT_FOUND));
        }
        let count = self.region.upstream_causes.get(upstream.index() * CAUSES + cause.number() as usize);
        Ok(count.map_or(0, |c| c.load(Ordering::Relaxed)))
    }

    /// How often a peer met a cause.
    pub(crate) fn peer_cause_count(&self, peer: PeerHandle, cause: Cause) -> u32 {
        let count = self.region.peer_causes.get(peer.slot() as usize * CAUSES + cause.number() as usize);
        count.map_or(0, |c| c.load(Ordering::Relaxed))
    }

    /// Failures charged to a peer.
    pub(crate) fn peer_failures(&self, peer: PeerHandle) -> u64 {
        self.peer_word_or_zero(peer.slot(), peer_word::FAILURES)
    }

    /// Counts an outcome for a peer that had been removed.
    pub(crate) fn count_late_outcome(&self) {
        self.region.header[header::LATE_OUTCOMES].fetch_add(1, Ordering::Relaxed);
    }

    /// How many of those there were.
    pub(crate) fn late_outcomes(&self) -> u64 {
        self.region.header[header::LATE_OUTCOMES].load(Ordering::Relaxed)
    }

    pub(super) fn clear_peer_counters(&self, slot: u32) {
        let start = slot as usize * CAUSES;
        for count in self.region.peer_causes.get(start..start + CAUSES).unwrap_or(&[]) {
            count.store(0, Ordering::Relaxed);
        }
    }
}
