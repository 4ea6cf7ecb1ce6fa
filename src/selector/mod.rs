//! Which peer: one file an algorithm, and the filters that compose with every one of them.
//!
//! A selector proposes entries of a pool; [`Filter`] says whether a peer may be taken (untried, eligible, past its slow
//! start or let in by it, below its limit and the bound on its load, or due for a trial) and takes it. Pools are walked
//! here (see `pools`), then, as a last resort, peers that are out only because they failed. Nothing of HTTP is known
//! here; the retry-safety of a request arrives as one bit, its key as a hash.
//!
//! Cost: O(1) expected at any number of peers while a tenth of them is eligible; a scan of the members below that,
//! bounded by their number.

pub(crate) mod least_request;
pub(crate) mod maglev;
pub(crate) mod peak_ewma;
mod pools;
pub(crate) mod random;
pub(crate) mod round_robin;
pub(crate) mod source_hash;

use crate::health;
use crate::random::{Random, mix};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::table::{
    Cycle, Entry, POOLS, PackedPolicy, PeerHandle, Seat, SeatedUpstream, Selector, Snapshot, State, Table, Tick, Tier,
    UpstreamId,
};

/// A worker's places in the cycle of one pool. Each worker starts at random, or all would start on one peer.
pub(crate) struct Cursor {
    turn: AtomicU32,
    spill: AtomicU32,
}

impl Cursor {
    pub fn at_random(random: &Random) -> Cursor {
        // The top bit marks a place not yet brought within a cycle: see `step`.
        let start = || AtomicU32::new(random.next() as u32 | UNPLACED);
        Cursor { turn: start(), spill: start() }
    }
}

impl Cursor {
    /// Goes to where another one stands.
    pub fn follow(&self, other: &Cursor) {
        self.turn.store(other.turn.load(Ordering::Relaxed), Ordering::Relaxed);
        self.spill.store(other.spill.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

const UNPLACED: u32 = 1 << 31;

/// The next place in a cycle of `len` (not 0).
#[inline]
fn step(place: &AtomicU32, len: usize) -> usize {
    let next = place.load(Ordering::Relaxed) as usize + 1;
    let next = if next < len { next } else { wrap(next, len) };
    place.store(next as u32, Ordering::Relaxed);
    next
}

#[cold]
fn wrap(next: usize, len: usize) -> usize {
    if next & UNPLACED as usize == 0 { 0 } else { ((next & 0x7fff_ffff) * len) >> 31 }
}

/// What a selector reads in the plain case: nothing was tried, no panic. Its `choose_plainly` finds the peer that its
/// `choose` would, or gives up with its turn untaken: at a limit, and where a trial may be due.
pub(crate) struct Plain<'a> {
    pub seat: &'a Seat,
    pub upstream: &'a SeatedUpstream,
    pub cycle: Cycle<'a>,
    pub cursor: &'a Cursor,
    pub random: &'a Random,
}

/// A peer without a limit, and what its state word said.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    pub entry: Entry,
    pub word: &'a AtomicU64,
    pub state: State,
}

impl Found<'_> {
    #[inline(always)]
    pub fn peer(&self) -> PeerHandle {
        PeerHandle::new(self.entry.slot(), self.state.generation())
    }
}

impl<'a> Plain<'a> {
    /// The place after this one, which stays: the cursor moves on when the choice is made.
    #[inline(always)]
    fn after(&self, place: &AtomicU32) -> Option<usize> {
        let next = place.load(Ordering::Relaxed) as usize + 1;
        if next < self.cycle.len() { Some(next) } else { wrap_plainly(next, self.cycle.len()) }
    }

    #[inline(always)]
    fn draw(&self) -> usize {
        self.random.below(self.cycle.len())
    }

    #[inline(always)]
    fn look(&self, place: usize) -> Option<Found<'a>> {
        self.look_at(self.cycle.at(place)?)
    }

    #[inline(always)]
    fn look_at(&self, entry: Entry) -> Option<Found<'a>> {
        if entry.is_limited() {
            return None;
        }
        let word = self.seat.state_word(entry.slot())?;
        Some(Found { entry, word, state: State::from_bits(word.load(Ordering::Acquire)) })
    }
}

#[cold]
fn wrap_plainly(next: usize, len: usize) -> Option<usize> {
    (len != 0).then(|| wrap(next, len))
}

/// What was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub peer: PeerHandle,
    /// Bits of `Choice::*`.
    pub flags: u8,
}

impl Choice {
    /// cbindgen:ignore
    /// A trial of a half-open peer.
    pub const TRIAL: u8 = 1;
    /// cbindgen:ignore
    /// Health was ignored, by policy.
    pub const PANIC: u8 = 2;
    /// cbindgen:ignore
    /// A backup.
    pub const BACKUP: u8 = 4;
    /// cbindgen:ignore
    /// The aggregate was raised and must be lowered.
    pub const COUNTED: u8 = 8;
    /// cbindgen:ignore
    /// A peer that is out was tried because nothing else was left.
    pub const LAST_RESORT: u8 = 16;
    /// cbindgen:ignore
    /// The upstream's count was raised and must be lowered.
    pub const BOUNDED: u8 = 32;
    /// cbindgen:ignore
    /// A peer of another zone than the gateway's.
    pub const FAR: u8 = 64;
    /// cbindgen:ignore
    /// Another policy decides beside: the report needs all the rules.
    pub const SHADOWED: u8 = 128;

    /// Notes the pool that it came from.
    fn from(mut self, pool: usize) -> Choice {
        self.flags |= if pool.is_multiple_of(2) { 0 } else { Choice::FAR };
        self
    }
}

/// Why nothing could be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// Every peer that is eligible and untried is at its limit.
    AtLimit,
    /// The upstream is at its limit.
    UpstreamAtLimit,
    /// None is eligible and untried.
    NoneEligible,
}

/// What a request allows, and what it brings.
pub(crate) struct Filter<'a> {
    pub table: &'a Table,
    pub upstream: UpstreamId,
    /// Slots that this request has tried.
    pub tried: &'a [u32],
    /// Whether the request may be a trial: it can be repeated if the trial fails.
    pub may_try: bool,
    pub random: &'a Random,
    pub now: u64,
    /// Health is ignored.
    pub panic: bool,
    /// The selector or the bound needs the aggregates.
    pub counted: bool,
    /// Of the request's key; 0: it has none.
    pub hash: u64,
    pub load: Load<'a>,
    /// Slow start and doubt are ignored: nobody else is left.
    pub in_need: bool,
    /// Peers that have failed since their last success are left to others.
    pub wary: bool,
}

/// The bound on a peer's requests in flight: its share of all, times a factor (Mirrokni, Thorup, Zadimoghaddam,
/// "Consistent hashing with bounded loads", SODA 2018).
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    /// Requests in flight on the upstream. `None`: load is not bounded.
    pub total: Option<&'a AtomicU64>,
    /// 0: it is counted, and not heeded.
    pub percent: u32,
    /// This request is among them already.
    pub held: bool,
}

/// A full share, in slow start's parts.
const FULL: u64 = 1 << 16;
/// What a peer gets at the beginning of its slow start.
const FLOOR: u64 = FULL / 10;

impl<'a> Filter<'a> {
    /// Whether the peer may be taken just so. Reads one word.
    #[inline]
    pub fn admits(&self, entry: Entry) -> Option<State> {
        let state = State::from_bits(self.table.state_word(entry.slot())?.load(Ordering::Acquire));
        let trusted = !self.wary || self.in_need || state.streak() == 0;
        let fit = state.is_eligible() && trusted && (!state.is_slow() || self.lets_in(entry, state))
            || self.panic && state.is_admitted_in_panic();
        (fit && !self.tried.contains(&entry.slot())).then_some(state)
    }

    /// Whether a pick may fall to a peer in slow start: the part of them that its time so far is of the whole, at least a
    /// tenth. A key is let in once for all: what it was let in at comes from its hash.
    #[cold]
    fn lets_in(&self, entry: Entry, state: State) -> bool {
        let of_key = || mix(self.hash ^ self.table.identity_bits(entry.slot()));
        let drawn = if self.hash == 0 { self.random.next() } else { of_key() };
        self.in_need || drawn >> 48 < self.ramp(state)
    }

    /// How far a peer has come in its slow start, in parts of 2^16.
    #[cold]
    fn ramp(&self, state: State) -> u64 {
        let whole = self.table.slow_start_ns(self.upstream).max(1);
        let past = Tick::at(self.now, self.table.epoch()).since(state.until()).min(whole);
        ((u128::from(past) << 16) / u128::from(whole)).max(u128::from(FLOOR)) as u64
    }

    /// A peer's weight times 256, less in slow start.
    #[inline]
    fn weight(&self, entry: Entry, state: State) -> u32 {
        let part = if state.is_slow() { self.ramp(state) } else { FULL };
        ((u64::from(entry.weight()) * part) >> 8).max(1) as u32
    }

    /// Whether only failures keep a peer out.
    fn is_only_ejected(&self, entry: Entry) -> bool {
        let word = self.table.state_word(entry.slot());
        word.is_some_and(|w| State::from_bits(w.load(Ordering::Acquire)).is_only_ejected())
    }

    /// Random bits; those of the key where there is one, so that what is drawn for a key stays.
    #[inline]
    fn draw(&self, salt: u64) -> u64 {
        if self.hash == 0 { self.random.next() } else { mix(self.hash ^ salt) }
    }

    /// Takes a peer that is admitted, unless it is at its limit.
    #[inline]
    pub fn take(&self, entry: Entry, state: State) -> Result<Choice, Refusal> {
        let mut flags = if entry.is_backup() { Choice::BACKUP } else { 0 };
        if self.panic {
            flags |= Choice::PANIC;
        }
        if self.counted || entry.is_limited() {
            self.reserve(entry)?;
            flags |= Choice::COUNTED;
        }
        if let Some(total) = self.load.total {
            if !self.load.held {
                total.fetch_add(1, Ordering::Relaxed);
            }
            flags |= Choice::BOUNDED;
        }
        if self.panic && !state.is_eligible() && self.is_trial_in_panic(entry) {
            flags |= Choice::TRIAL;
        }
        Ok(Choice { peer: PeerHandle::new(entry.slot(), state.generation()), flags })
    }

    /// Takes a proposed peer if it is admitted, or due for a trial that this request may be.
    #[inline]
    pub fn propose(&self, entry: Entry) -> Result<Choice, Refusal> {
        match self.admits(entry) {
            Some(state) => self.take(entry, state),
            None => self.attempt_trial(entry),
        }
    }

    /// Requests in flight on a peer, for comparing.
    #[inline]
    pub fn in_flight(&self, entry: Entry) -> u32 {
        self.table.aggregate(entry.slot()).map_or(0, |a| a.load(Ordering::Relaxed))
    }

    /// Raises the aggregate, not above the limit: exact over all processes.
    #[inline]
    fn reserve(&self, entry: Entry) -> Result<(), Refusal> {
        let Some(aggregate) = self.table.aggregate(entry.slot()) else { return Err(Refusal::NoneEligible) };
        if !entry.is_limited() && self.load.percent == 0 {
            aggregate.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let limit = if entry.is_limited() { self.table.peer_parameters(entry.slot()).limit } else { 0 };
        let below = |n: u32| ((limit == 0 || n < limit) && self.is_within_bound(entry, n)).then(|| n.wrapping_add(1));
        aggregate.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).map_or(Err(Refusal::AtLimit), |_| Ok(()))
    }

    /// Whether a peer with `n` requests in flight may get one more: n < factor · (all + 1) · weight / eligible weight.
    fn is_within_bound(&self, entry: Entry, n: u32) -> bool {
        let (Some(total), 1..) = (self.load.total, self.load.percent) else { return true };
        let all = total.load(Ordering::Relaxed).min(u64::from(u32::MAX)) + u64::from(!self.load.held);
        let weights = self.table.eligible_weight(self.upstream, entry.is_backup());
        let share = u128::from(all) * u128::from(entry.weight()) * u128::from(self.load.percent);
        u128::from(n) * u128::from(weights) * 100 < share
    }

    /// A peer that is taken although it is out may be due for a trial. Without one no peer would ever be well again, and
    /// a panic would outlast its cause.
    #[cold]
    fn is_trial_in_panic(&self, entry: Entry) -> bool {
        self.may_try && health::claim_trial(self.table, self.upstream, entry.slot(), self.now).is_some()
    }

    #[cold]
    fn attempt_trial(&self, entry: Entry) -> Result<Choice, Refusal> {
        if !self.may_try || self.tried.contains(&entry.slot()) {
            return Err(Refusal::NoneEligible);
        }
        match health::claim_trial(self.table, self.upstream, entry.slot(), self.now) {
            Some(state) => self.take_exceptionally(entry, state, Choice::TRIAL).inspect_err(|_| {
                // At its limit: the trial was not begun, and another request may begin it as soon as there is room.
                health::release_trial(self.table, PeerHandle::new(entry.slot(), state.generation()));
            }),
            None => Err(Refusal::NoneEligible),
        }
    }

    fn take_exceptionally(&self, entry: Entry, state: State, flag: u8) -> Result<Choice, Refusal> {
        let mut choice = self.take(entry, state)?;
        choice.flags |= flag;
        Ok(choice)
    }

    /// Gives back what taking reserved.
    pub fn undo(&self, choice: Choice) {
        if choice.flags & Choice::COUNTED != 0 {
            self.table.lower_aggregate(choice.peer.slot(), 1);
        }
        if choice.flags & Choice::BOUNDED != 0 {
            self.table.lower_in_flight(self.upstream);
        }
        if choice.flags & Choice::TRIAL != 0 {
            health::release_trial(self.table, choice.peer);
        }
    }
}

/// Picks a peer of an upstream.
#[inline]
pub(crate) fn select(
    filter: &Filter,
    policy: PackedPolicy,
    snapshot: &Snapshot,
    cursors: &[Cursor; POOLS],
) -> Result<Choice, Refusal> {
    match walk(filter, policy, snapshot, cursors) {
        // Others were tried, or are at their limits: a bound on load is no reason to turn a request away.
        Err(Refusal::AtLimit) if filter.load.percent != 0 => {
            let load = Load { percent: 0, ..filter.load };
            walk(&Filter { load, ..*filter }, policy, snapshot, cursors)
        }
        chosen => chosen,
    }
}

fn walk(
    filter: &Filter,
    policy: PackedPolicy,
    snapshot: &Snapshot,
    cursors: &[Cursor; POOLS],
) -> Result<Choice, Refusal> {
    let order = if policy.is_pooled() { pools::drawn(filter) } else { pools::IN_ORDER };
    let (mut refusal, first) = (Refusal::NoneEligible, order[0]);
    match from_pool(filter, policy.selector(), snapshot.pool(first), &cursors[first]) {
        Ok(choice) => return Ok(choice.from(first)),
        Err(Refusal::AtLimit | Refusal::UpstreamAtLimit) => refusal = Refusal::AtLimit,
        Err(Refusal::NoneEligible) => {}
    }
    beyond_first(filter, policy, snapshot, cursors, order, refusal)
}

#[inline]
fn from_pool(filter: &Filter, selector: Selector, tier: Tier, cursor: &Cursor) -> Result<Choice, Refusal> {
    match selector {
        _ if tier.members.is_empty() => Err(Refusal::NoneEligible),
        Selector::RoundRobin => round_robin::choose(filter, tier, cursor),
        Selector::LeastRequest => least_request::choose(filter, tier, cursor),
        Selector::Random => random::choose(filter, tier),
        Selector::PeakEwma => peak_ewma::choose(filter, tier, cursor),
        Selector::Maglev | Selector::SourceHash => maglev::choose(filter, tier),
    }
}

/// The other pools, and then peers that are out only because they failed, each at most ten times a second.
#[cold]
fn beyond_first(
    filter: &Filter,
    policy: PackedPolicy,
    snapshot: &Snapshot,
    cursors: &[Cursor; POOLS],
    order: [usize; POOLS],
    mut refusal: Refusal,
) -> Result<Choice, Refusal> {
    for pool in order.into_iter().skip(1) {
        match from_pool(filter, policy.selector(), snapshot.pool(pool), &cursors[pool]) {
            Ok(choice) => return Ok(choice.from(pool)),
            Err(Refusal::AtLimit | Refusal::UpstreamAtLimit) => refusal = Refusal::AtLimit,
            Err(Refusal::NoneEligible) => {}
        }
    }
    if refusal == Refusal::AtLimit {
        return Err(refusal);
    }
    for pool in order {
        if let Some(choice) = scan(filter, snapshot.pool(pool).members, |entry| {
            let untried = !filter.tried.contains(&entry.slot());
            let state = untried.then(|| health::claim_last_resort(filter.table, entry.slot(), filter.now)).flatten()?;
            filter.take_exceptionally(entry, state, Choice::LAST_RESORT).ok()
        }) {
            return Ok(choice.from(pool));
        }
    }
    Err(refusal)
}

/// The first member that `take` takes, from a random one on.
fn scan<T>(filter: &Filter, members: &[AtomicU64], take: impl Fn(Entry) -> Option<T>) -> Option<T> {
    let (before, after) = members.split_at_checked(filter.random.below(members.len()))?;
    after.iter().chain(before).find_map(|word| take(Entry::load(word)))
}

/// The slow end of every selector: some weighted draws at random, then a look at every member. A limit met on the way
/// is reported if nothing else is found.
#[cold]
fn search(filter: &Filter, tier: Tier) -> Result<Choice, Refusal> {
    let drawn = (0..DRAWS).filter_map(|_| tier.cycle.get(filter.random.below(tier.cycle.len()))).map(Entry::load);
    first_of(filter, tier, drawn, filter.random.below(tier.members.len()))
}

/// The first of `proposed` that can be taken, or else of all members from `start` on, slow start then ignored.
#[cold]
fn first_of(
    filter: &Filter,
    tier: Tier,
    mut proposed: impl Iterator<Item = Entry>,
    start: usize,
) -> Result<Choice, Refusal> {
    let mut refusal = Refusal::NoneEligible;
    let mut attempt = |filter: &Filter, entry: Entry| match filter.propose(entry) {
        Ok(choice) => Some(choice),
        Err(why) => {
            if why == Refusal::AtLimit {
                refusal = why;
            }
            None
        }
    };
    if let Some(choice) = proposed.find_map(|entry| attempt(filter, entry)) {
        return Ok(choice);
    }
    let (before, after) = tier.members.split_at_checked(start).unwrap_or((&[], tier.members));
    let in_need = Filter { in_need: true, ..*filter };
    after.iter().chain(before).find_map(|word| attempt(&in_need, Entry::load(word))).ok_or(refusal)
}

/// Draws before looking at every member: with a third of the peers eligible one in 650 picks gets that far.
const DRAWS: usize = 16;
