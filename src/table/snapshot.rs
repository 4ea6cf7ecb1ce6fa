//! What a pick reads of an upstream: its members and the cycle of its schedule, by tier.
//!
//! A snapshot lies in the arena:
//!
//! | words | content |
//! |---|---|
//! | 0 | primaries: members, cycle << 32 |
//! | 1 | backups: members, cycle << 32 |
//! | 2 … | primaries' cycle, primaries' members, backups' members, backups' cycle: one [`Entry`] a word |
//!
//! The primaries' cycle comes first, so that a pick finds it by one word of lengths.
//!
//! Each upstream has two buffers. The writer (one at a time, see `control`) fills the one that is not published and
//! then stores `generation << 32 | offset` in the upstream's first word. When the arena has been given out, larger lists
//! get what the spare buffers hold, those of other upstreams too.
//!
//! # Orderings
//! The entries are stored Relaxed; the publishing store is Release and pairs with the reader's Acquire load of the
//! word, so a reader that sees a word sees the entries behind it. A reader may be overtaken by publications, and its
//! buffer filled anew under its eyes, for its own upstream or another: it therefore loads the word again behind an
//! Acquire fence, which pairs with the Release *fence* that the writer puts before it touches a buffer: if any entry
//! read was of the newer filling, the second load sees a newer word (one that another writer published is handed on by
//! the control word). Readers never wait: who reads torn data tries again, a bounded number of times, and then gives up.

use super::layout::upstream as word;
use super::schedule;
use super::{Table, UpstreamId};
use crate::error::{Error, TIDEGATE_ERR_FULL};
use crate::sync::{AtomicU64, Ordering, fence};

/// A member, as a pick sees it: slot, weight, flags, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry(u64);

const LIMITED: u64 = 1 << 48;
const BACKUP: u64 = 1 << 49;

impl Entry {
    pub(crate) fn new(slot: u32, weight: u16, limited: bool, backup: bool) -> Entry {
        let flag = |on: bool, bit: u64| if on { bit } else { 0 };
        Entry(u64::from(slot) | u64::from(weight) << 32 | flag(limited, LIMITED) | flag(backup, BACKUP))
    }

    #[inline]
    pub(crate) fn load(word: &AtomicU64) -> Entry {
        Entry(word.load(Ordering::Relaxed))
    }

    /// Its slot; not bounded.
    #[inline]
    pub fn slot(self) -> u32 {
        self.0 as u32
    }

    /// Its weight, at least 1.
    #[inline]
    pub fn weight(self) -> u32 {
        u32::from((self.0 >> 32) as u16).max(1)
    }

    /// Whether it has a limit on requests in flight.
    #[inline]
    pub fn is_limited(self) -> bool {
        self.0 & LIMITED != 0
    }

    /// Whether it is a backup.
    #[inline]
    pub fn is_backup(self) -> bool {
        self.0 & BACKUP != 0
    }
}

/// The peers of one priority. Empty slices where there are none.
#[derive(Clone, Copy)]
pub struct Tier<'a> {
    /// Each peer once.
    pub(crate) members: &'a [AtomicU64],
    /// Each peer as often as its weight says, evenly spread.
    pub(crate) cycle: &'a [AtomicU64],
}

/// The primaries' cycle, its bounds checked turn by turn: cheaper than a slice for a turn or two.
#[derive(Clone, Copy)]
pub(crate) struct Cycle<'a> {
    arena: &'a [AtomicU64],
    at: usize,
    len: usize,
}

impl<'a> Cycle<'a> {
    /// Of the snapshot that `published` names. Empty if there is none: the arena's first words stay 0.
    #[inline]
    pub(super) fn of(arena: &'a [AtomicU64], published: u64) -> Option<Cycle<'a>> {
        let offset = published as u32 as usize;
        let lengths = arena.get(offset)?.load(Ordering::Relaxed);
        Some(Cycle { arena, at: offset + 2, len: (lengths >> 32) as usize })
    }

    /// How many turns it has.
    #[inline]
    pub fn len(self) -> usize {
        self.len
    }

    /// What stands at a place below `len`.
    #[inline]
    pub fn at(self, place: usize) -> Option<Entry> {
        self.arena.get(self.at + place).map(Entry::load)
    }
}

/// A snapshot being read.
#[derive(Clone, Copy)]
pub struct Snapshot<'a> {
    word: u64,
    data: &'a [AtomicU64],
}

impl<'a> Snapshot<'a> {
    /// The primaries. Cheaper than `tiers`: a pick seldom needs more.
    #[inline]
    pub fn primaries(&self) -> Tier<'a> {
        let ([members, cycle], _) = self.lengths();
        Tier { members: self.range(2 + cycle, members), cycle: self.range(2, cycle) }
    }

    /// The backups.
    pub fn backups(&self) -> Tier<'a> {
        let ([primary_members, primary_cycle], [backup_members, backup_cycle]) = self.lengths();
        let members_at = 2 + primary_cycle + primary_members;
        let cycle_at = members_at + backup_members;
        Tier { members: self.range(members_at, backup_members), cycle: self.range(cycle_at, backup_cycle) }
    }

    /// All members, primaries first.
    pub fn members(&self) -> impl Iterator<Item = Entry> + 'a {
        let ([primary, cycle], [backup, _]) = self.lengths();
        self.range(2 + cycle, primary + backup).iter().map(Entry::load)
    }

    /// How many members there are.
    pub fn member_count(&self) -> usize {
        let ([primary, _], [backup, _]) = self.lengths();
        primary + backup
    }

    #[inline]
    fn lengths(&self) -> ([usize; 2], [usize; 2]) {
        let read = |i: usize| {
            let value = self.data.get(i).map_or(0, |w| w.load(Ordering::Relaxed));
            [value as u32 as usize, (value >> 32) as usize]
        };
        (read(0), read(1))
    }

    /// Whatever of the range lies within the arena: a damaged length misroutes and does no more.
    #[inline]
    fn range(&self, from: usize, len: usize) -> &'a [AtomicU64] {
        self.data.get(from..from + len).unwrap_or(&[])
    }
}

/// Offset 0 means "no snapshot", so nothing is given out there.
pub(super) const ARENA_START: usize = 8;

/// Words that a snapshot of up to `members` peers takes, its cycle included.
pub(super) const fn words_for(members: usize) -> usize {
    let words = 2 + members + cycle_room(members);
    words.next_multiple_of(8)
}

/// The longest cycle for so many members: weights in the proportion of 1 to 1000 still come out exactly in small
/// upstreams, and eight turns a peer in large ones.
const fn cycle_room(members: usize) -> usize {
    let room = members * 8;
    if room < 1024 { 1024 } else { room }
}

impl Table {
    /// The published snapshot of an upstream. `None` if there is none.
    #[inline]
    pub(crate) fn snapshot(&self, id: UpstreamId) -> Option<Snapshot<'_>> {
        let word = self.upstream_word(id, word::SNAPSHOT)?.load(Ordering::Acquire);
        let data = self.region.arena.get(word as u32 as usize..)?;
        (word as u32 != 0).then_some(Snapshot { word, data })
    }

    /// Whether nothing was published since the snapshot was taken: what was read of it can be trusted.
    #[inline]
    pub(crate) fn is_current(&self, id: UpstreamId, snapshot: &Snapshot<'_>) -> bool {
        fence(Ordering::Acquire);
        self.upstream_value(id, word::SNAPSHOT) == snapshot.word
    }

    /// Fills the spare buffer and publishes it. Only under the control lock.
    pub(super) fn publish(&self, id: UpstreamId, primaries: &[Entry], backups: &[Entry]) -> Result<(), Error> {
        let members = primaries.len() + backups.len();
        let (offset, room) = self.spare_buffer(id, members)?;
        let weights = |entries: &[Entry]| entries.iter().map(|e| e.weight() as u16).collect::<Vec<_>>();
        let cycles_room = room - 2 - members;
        let (primary_turns, backup_turns) = {
            // Backups get room for their exact weights only as far as the primaries leave it.
            let share = cycles_room * (primaries.len() + 1) / (members + 2);
            let share = share.clamp(primaries.len(), cycles_room - backups.len());
            let share = if backups.is_empty() { cycles_room } else { share };
            (schedule::turns(&weights(primaries), share), schedule::turns(&weights(backups), cycles_room - share))
        };
        // See Orderings: a reader that meets the new filling must find the word changed.
        fence(Ordering::Release);
        let mut at = offset;
        let mut put = |value: u64| {
            if let Some(word) = self.region.arena.get(at) {
                word.store(value, Ordering::Relaxed);
            }
            at += 1;
        };
        let length =
            |members: usize, turns: &[u32]| members as u64 | turns.iter().map(|&t| u64::from(t)).sum::<u64>() << 32;
        put(length(primaries.len(), &primary_turns));
        put(length(backups.len(), &backup_turns));
        schedule::fill(&primary_turns, |i| put(primaries[i].0));
        primaries.iter().chain(backups).for_each(|e| put(e.0));
        schedule::fill(&backup_turns, |i| put(backups[i].0));
        if let Some(word) = self.upstream_word(id, word::SNAPSHOT) {
            word.store(self.next_generation(id) << 32 | offset as u64, Ordering::Release);
        }
        Ok(())
    }

    /// The generation of the list that is published.
    pub(super) fn generation(&self, id: UpstreamId) -> u64 {
        self.upstream_value(id, word::SNAPSHOT) >> 32
    }

    /// The generation of the list that will be published next.
    pub(super) fn next_generation(&self, id: UpstreamId) -> u64 {
        self.generation(id).wrapping_add(1) & 0xffff_ffff
    }

    /// The buffer that is not published, with room for `members`; a larger one from the arena where it is too small.
    fn spare_buffer(&self, id: UpstreamId, members: usize) -> Result<(usize, usize), Error> {
        let published = self.upstream_value(id, word::SNAPSHOT) as u32 as usize;
        let read = |w: usize| {
            let value = self.upstream_value(id, w);
            let (offset, room) = (value as u32 as usize, (value >> 32) as usize);
            // A damaged entry is as good as none.
            if self.region.arena.get(offset..offset + room).is_some() { (offset, room) } else { (0, 0) }
        };
        let (a, b) = (read(word::BUFFER_A), read(word::BUFFER_B));
        let (which, spare) = if a.0 == published && published != 0 { (word::BUFFER_B, b) } else { (word::BUFFER_A, a) };
        if spare.0 != 0 && spare.1 >= words_for(members) {
            return Ok(spare);
        }
        // Grow in powers of two, so that all generations together take at most twice the last one.
        let room = words_for(members.next_power_of_two().clamp(16, self.region.capacity.peers.max(16) as usize));
        let offset = self.take_arena(room).or_else(|full| self.reuse_arena(room).ok_or(full))?;
        if let Some(word) = self.upstream_word(id, which) {
            word.store(offset as u64 | (room as u64) << 32, Ordering::Relaxed);
        }
        Ok((offset, room))
    }

    /// Finds words of the arena that were given out but that no published snapshot lies in, when none are left, and
    /// takes them from the spare buffers there. Only under the control lock: what was published before is seen.
    fn reuse_arena(&self, words: usize) -> Option<usize> {
        let all = || (0..self.region.capacity.upstreams).filter_map(UpstreamId::new);
        let buffer = |id, which| {
            let value = self.upstream_value(id, which);
            (value as u32 as usize, (value >> 32) as usize)
        };
        let published = |id| {
            let at = self.upstream_value(id, word::SNAPSHOT) as u32 as usize;
            [word::BUFFER_A, word::BUFFER_B].map(|w| buffer(id, w)).into_iter().find(|b| at != 0 && b.0 == at)
        };
        let mut kept: Vec<_> = all().filter_map(published).collect();
        kept.sort_unstable();
        let mut from = ARENA_START;
        for (at, room) in kept {
            if at >= from + words {
                break;
            }
            from = from.max(at + room);
        }
        if from + words > self.region.arena.len() {
            return None;
        }
        for (id, which) in all().flat_map(|id| [(id, word::BUFFER_A), (id, word::BUFFER_B)]) {
            let (at, room) = buffer(id, which);
            if at < from + words
                && from < at + room
                && let Some(word) = self.upstream_word(id, which)
            {
                word.store(0, Ordering::Relaxed);
            }
        }
        Some(from)
    }

    /// Gives out words of the arena that were never used. Only under the control lock.
    fn take_arena(&self, words: usize) -> Result<usize, Error> {
        let Some(used) = self.region.header.get(super::layout::header::ARENA_USED) else {
            return Err(Error::of(TIDEGATE_ERR_FULL));
        };
        let offset = used.load(Ordering::Relaxed) as usize;
        let end = offset.saturating_add(words);
        if offset == 0 || end > self.region.arena.len() || end > u32::MAX as usize {
            return Err(Error::new(
                TIDEGATE_ERR_FULL,
                format!(
                    "no room for another list of peers: {offset} of {} words are given out (raise max_peers)",
                    self.region.arena.len()
                ),
            ));
        }
        used.store(end as u64, Ordering::Relaxed);
        Ok(offset)
    }
}
