//! What a pick reads of an upstream: its members and the cycle of its schedule, by pool.
//!
//! A *pool* is the peers of one priority, near or far: near are those of the upstream's own zone, or all if it has none.
//! A snapshot lies in the arena:
//!
//! | words | content |
//! |---|---|
//! | 0 to 3 | primaries near and far, backups near and far: members, turns of the cycle << 32 |
//! | 4 to 7 | the same pools: entries of the look-up table |
//! | 8 … | the first pool's cycle, then all members, pool by pool, then the cycles of the other pools |
//!
//! Members and cycles are of one [`Entry`] a word. A pool that is *hashed* has a look-up table in place of its cycle
//! (see `maglev`) of entries of 16 bits, four a word, each the place of a member in its pool. The first
//! pool's cycle comes first, so that a pick finds it by one word of lengths.
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
use super::{Table, UpstreamId};
use super::{maglev, schedule};
use crate::error::{Error, TIDEGATE_ERR_FULL};
use crate::sync::{AtomicU64, Ordering, fence};

/// A member, as a pick sees it: slot, weight, flags and zone, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry(u64);

const LIMITED: u64 = 1 << 48;
const BACKUP: u64 = 1 << 49;

impl Entry {
    pub(crate) fn new(slot: u32, weight: u16, limited: bool, backup: bool, zone: u8) -> Entry {
        let flag = |on: bool, bit: u64| if on { bit } else { 0 };
        let flags = flag(limited, LIMITED) | flag(backup, BACKUP);
        Entry(u64::from(slot) | u64::from(weight) << 32 | flags | u64::from(zone) << 56)
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

    /// Its zone, 0: none.
    pub fn zone(self) -> u8 {
        (self.0 >> 56) as u8
    }

    /// The pool it belongs to in an upstream of this zone.
    pub(super) fn pool(self, zone: u8) -> usize {
        usize::from(self.is_backup()) * 2 + usize::from(zone != 0 && self.zone() != zone)
    }
}

/// The peers of one pool. Empty slices where there are none.
#[derive(Clone, Copy)]
pub struct Tier<'a> {
    /// Each peer once.
    pub(crate) members: &'a [AtomicU64],
    /// Each peer as often as its weight says, evenly spread. Empty where the pool is hashed.
    pub(crate) cycle: &'a [AtomicU64],
    /// Where the pool is hashed.
    pub(crate) table: LookUp<'a>,
}

/// A look-up table: four places of members a word.
#[derive(Clone, Copy)]
pub(crate) struct LookUp<'a> {
    words: &'a [AtomicU64],
    len: usize,
}

impl LookUp<'_> {
    /// The member at the entry that a hash leads to; not bounded. `None`: there is no table.
    #[inline]
    pub fn place(self, hash: u64) -> Option<usize> {
        let at = spread(hash, self.len);
        self.words.get(at / 4).map(|word| place_in(word, at))
    }
}

/// A number below `len` for a hash, by multiplication rather than division.
#[inline(always)]
fn spread(hash: u64, len: usize) -> usize {
    ((u128::from(hash) * len as u128) >> 64) as usize
}

#[inline(always)]
fn place_in(word: &AtomicU64, at: usize) -> usize {
    (word.load(Ordering::Relaxed) >> (at % 4 * 16)) as usize & 0xffff
}

/// The first pool's cycle, its bounds checked turn by turn: cheaper than a slice for a turn or two.
#[derive(Clone, Copy)]
pub(crate) struct Cycle<'a> {
    arena: &'a [AtomicU64],
    at: usize,
    len: usize,
    /// The word of lengths.
    lengths: u64,
}

impl<'a> Cycle<'a> {
    /// Of the snapshot that `published` names. Empty if there is none: the arena's first words stay 0.
    #[inline]
    pub(super) fn of(arena: &'a [AtomicU64], published: u64) -> Option<Cycle<'a>> {
        let offset = published as u32 as usize;
        let lengths = arena.get(offset)?.load(Ordering::Relaxed);
        Some(Cycle { arena, at: offset + HEADER, len: (lengths >> 32) as usize, lengths })
    }

    /// The member that a hash leads to, where the pool is hashed.
    #[inline(always)]
    pub fn hashed(self, hash: u64) -> Option<Entry> {
        let entries = self.arena.get(self.at - HEADER + POOLS)?.load(Ordering::Relaxed) as u32 as usize;
        if entries == 0 {
            return None;
        }
        let at = spread(hash, entries);
        let place = place_in(self.arena.get(self.at + at / 4)?, at);
        self.at_member(entries.div_ceil(4), place)
    }

    /// The `place`-th member.
    #[inline(always)]
    pub fn member(self, place: usize) -> Option<Entry> {
        self.at_member(self.len, place)
    }

    #[inline(always)]
    fn at_member(self, cycle_words: usize, place: usize) -> Option<Entry> {
        if place >= self.members() {
            return None;
        }
        self.arena.get(self.at + cycle_words + place).map(Entry::load)
    }

    /// How many members the pool has.
    #[inline(always)]
    pub fn members(self) -> usize {
        self.lengths as u32 as usize
    }

    /// Where the snapshot lies in the arena.
    #[inline(always)]
    pub fn offset(self) -> usize {
        self.at - HEADER
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
    /// The primaries that are near. Cheaper than `pool`: a pick seldom needs more.
    #[inline]
    pub fn primaries(&self) -> Tier<'a> {
        let length = self.length(0);
        self.tier(length, HEADER + length.words(), HEADER)
    }

    /// A pool by its number: primaries near and far, backups near and far. Empty beyond.
    pub fn pool(&self, pool: usize) -> Tier<'a> {
        if pool == 0 {
            return self.primaries();
        }
        let before = (0..pool.min(POOLS)).map(|p| self.length(p));
        let members_at = HEADER + self.length(0).words() + before.clone().map(|l| l.members).sum::<usize>();
        let cycle_at = HEADER + self.member_count() + before.map(Length::words).sum::<usize>();
        let length = if pool < POOLS { self.length(pool) } else { Length::of(0, 0) };
        self.tier(length, members_at, cycle_at)
    }

    /// All members, pool by pool.
    pub fn members(&self) -> impl Iterator<Item = Entry> + 'a {
        self.range(HEADER + self.length(0).words(), self.member_count()).iter().map(Entry::load)
    }

    /// How many members there are.
    pub fn member_count(&self) -> usize {
        (0..POOLS).map(|p| self.length(p).members).sum()
    }

    /// Where it lies in the arena.
    pub(super) fn offset(&self) -> usize {
        self.word as u32 as usize
    }

    #[inline]
    fn length(&self, pool: usize) -> Length {
        let read = |word: usize| self.data.get(word).map_or(0, |w| w.load(Ordering::Relaxed));
        Length::of(read(pool), read(POOLS + pool))
    }

    #[inline]
    fn tier(&self, length: Length, members_at: usize, cycle_at: usize) -> Tier<'a> {
        let (members, words) = (self.range(members_at, length.members), self.range(cycle_at, length.words()));
        let (cycle, table) = if length.entries == 0 { (words, &[][..]) } else { (&[][..], words) };
        Tier { members, cycle, table: LookUp { words: table, len: length.entries } }
    }

    /// Whatever of the range lies within the arena: a damaged length misroutes and does no more.
    #[inline]
    fn range(&self, from: usize, len: usize) -> &'a [AtomicU64] {
        self.data.get(from..from + len).unwrap_or(&[])
    }
}

/// A word of lengths, read.
#[derive(Clone, Copy)]
struct Length {
    members: usize,
    turns: usize,
    /// Of the look-up table, 0: the pool has a cycle.
    entries: usize,
}

impl Length {
    #[inline]
    fn of(lengths: u64, entries: u64) -> Length {
        Length { members: lengths as u32 as usize, turns: (lengths >> 32) as usize, entries: entries as u32 as usize }
    }

    /// Words that the cycle or table takes.
    #[inline]
    fn words(self) -> usize {
        if self.entries == 0 { self.turns } else { self.entries.div_ceil(4) }
    }
}

const HEADER: usize = 2 * POOLS;
/// Pools of an upstream.
pub(crate) const POOLS: usize = 4;

/// Offset 0 means "no snapshot", so nothing is given out there.
pub(super) const ARENA_START: usize = 8;

/// Words that a snapshot of up to `members` peers takes, its cycle included.
pub(super) const fn words_for(members: usize) -> usize {
    let words = HEADER + members + cycle_room(members);
    words.next_multiple_of(8)
}

/// The longest cycle for so many members: weights in the proportion of 1 to 1000 still come out exactly in small
/// upstreams, and eight turns a peer in large ones.
const fn cycle_room(members: usize) -> usize {
    let room = members * 8;
    if room < 1024 { 1024 } else { room }
}

fn cycle_words(pool: &[Entry], room: usize) -> Vec<u64> {
    let weights: Vec<u16> = pool.iter().map(|e| e.weight() as u16).collect();
    let mut words = Vec::new();
    schedule::fill(&schedule::turns(&weights, room), |i| words.push(pool[i].0));
    words
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
    pub(super) fn publish(&self, id: UpstreamId, entries: &[Entry]) -> Result<(), Error> {
        let (offset, room) = self.spare_buffer(id, entries.len())?;
        let (zone, hashed) = (self.spread(id).zone, self.packed_policy(id).selector().is_hashed());
        let pools: [Vec<Entry>; POOLS] =
            std::array::from_fn(|pool| entries.iter().copied().filter(|e| e.pool(zone) == pool).collect());
        // Each pool's part of the room by its members: at least eight turns a peer.
        let rooms = pools.each_ref().map(|p| (room - HEADER - entries.len()) * p.len() / entries.len().max(1));
        let shared = pools.iter().filter(|p| !p.is_empty()).count() > 1;
        let cycles: [Vec<u64>; POOLS] = std::array::from_fn(|pool| {
            if hashed { self.look_up_words(&pools[pool], shared) } else { cycle_words(&pools[pool], rooms[pool]) }
        });
        // See Orderings: a reader that meets the new filling must find the word changed.
        fence(Ordering::Release);
        let mut at = offset;
        let mut put = |value: u64| {
            if let Some(word) = self.region.arena.get(at) {
                word.store(value, Ordering::Relaxed);
            }
            at += 1;
        };
        for (pool, cycle) in pools.iter().zip(&cycles) {
            put(pool.len() as u64 | if hashed { 0 } else { (cycle.len() as u64) << 32 });
        }
        for (pool, cycle) in pools.iter().zip(&cycles) {
            put(if hashed { maglev::size(pool.len(), cycle.len()) as u64 } else { 0 });
        }
        cycles[0].iter().for_each(|&word| put(word));
        pools.iter().flatten().for_each(|e| put(e.0));
        cycles[1..].iter().flatten().for_each(|&word| put(word));
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

    /// The look-up table of a pool, packed. Its size is that of many pools, lest all keys move when one peer comes or
    /// goes; `shared`: other pools need room beside it.
    fn look_up_words(&self, pool: &[Entry], shared: bool) -> Vec<u64> {
        let class = pool.len().next_power_of_two().clamp(16, self.region.capacity.peers.max(16) as usize);
        let room = if shared { (class * 4).max(128) } else { cycle_room(class) };
        let backend = |e: &Entry| maglev::Backend { weight: e.weight(), hash: self.identity_hash(e.slot()) };
        let table = maglev::build(&pool.iter().map(backend).collect::<Vec<_>>(), maglev::size(pool.len(), room));
        let pack = |four: &[u16]| four.iter().rev().fold(0, |word, &place| word << 16 | u64::from(place));
        table.chunks(4).map(pack).collect()
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
