//! Whom to check, and when: one entry a peer, brought up to date with the published lists, and the times due.
//!
//! Times due stand in a heap; an entry whose time changed leaves its old one behind, told by a version. Entries are made
//! with their first check at a random point of the interval, so that neither a start nor a takeover nor a long sleep
//! makes all checks fall together.
//!
//! What traffic says moves a check. A new failure or an ejection brings it forward: doubt is looked into. Answers since
//! the last check, none of them charged to the peer, put it off by an interval, twice in a row at most: a peer that
//! serves needs no proof. Cost: a state word a peer ten times a second; the lanes of a peer when it is due and its
//! upstream had requests.

use super::probe::Idle;
use super::spec::Spec;
use crate::random::Random;
use crate::table::{Address, Health, PeerHandle, State, Table, UpstreamId};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

/// An upstream that is checked.
#[derive(Clone)]
pub(super) struct Watch {
    pub upstream: UpstreamId,
    pub spec: Arc<Spec>,
    /// The published list that the entries stand for; `None`: none yet.
    membership: Option<u64>,
}

impl Watch {
    pub fn new(upstream: UpstreamId, spec: Spec) -> Watch {
        Watch { upstream, spec: Arc::new(spec), membership: None }
    }
}

/// A peer that is checked.
pub(super) struct Entry {
    /// The place of its upstream in the list of watches.
    pub watch: usize,
    pub peer: PeerHandle,
    pub address: Address,
    /// Successes in a row while down, failures in a row while up.
    pub passed: u32,
    pub failed: u32,
    /// A check is under way.
    pub open: bool,
    pub idle: Option<Idle>,
    due: u64,
    version: u32,
    /// When it was checked last.
    checked: u64,
    /// As it was looked at last.
    seen: State,
    put_off: u32,
    answered: u64,
    charged: u64,
    requests: u64,
}

/// All entries, and the order in which they are due.
#[derive(Default)]
pub(super) struct Roster {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    due: BinaryHeap<Reverse<(u64, usize, u32)>>,
    versions: u32,
}

/// In a row that traffic may put off a check.
const MOST_PUT_OFF: u32 = 2;

impl Roster {
    pub fn get(&mut self, index: usize) -> Option<&mut Entry> {
        self.entries.get_mut(index)?.as_mut()
    }

    /// The entry, if it still stands for this peer.
    pub fn of(&mut self, index: usize, peer: PeerHandle) -> Option<&mut Entry> {
        self.get(index).filter(|entry| entry.peer == peer)
    }

    pub fn clear(&mut self, watches: &mut [Watch]) {
        *self = Roster { versions: self.versions, ..Roster::default() };
        watches.iter_mut().for_each(|w| w.membership = None);
    }

    /// Sets when an entry is due.
    pub fn set_due(&mut self, index: usize, due: u64) {
        self.versions = self.versions.wrapping_add(1);
        let version = self.versions;
        if let Some(entry) = self.get(index) {
            (entry.due, entry.version) = (due, version);
            self.due.push(Reverse((due, index, version)));
        }
    }

    /// When the next one is due.
    pub fn next_due(&mut self) -> Option<u64> {
        loop {
            let &Reverse((due, index, version)) = self.due.peek()?;
            if self.get(index).is_some_and(|e| e.version == version && !e.open) {
                return Some(due);
            }
            self.due.pop();
        }
    }

    /// Takes one that is due. It has no time any more until `set_due`.
    pub fn take_due(&mut self, now: u64) -> Option<usize> {
        (self.next_due()? <= now).then(|| self.due.pop()).flatten().map(|Reverse((_, index, _))| index)
    }

    /// Spreads what has become due meanwhile over an interval: after a long sleep.
    pub fn spread(&mut self, watches: &[Watch], now: u64, random: &Random) {
        while let Some(index) = self.take_due(now) {
            let interval = self.get(index).map_or(0, |e| watches[e.watch].spec.interval_ns);
            self.set_due(index, now + 1 + random.below(interval as usize) as u64);
        }
    }

    /// Brings the entries up to date where a list was published. Linear in the peers, then.
    pub fn refresh(&mut self, table: &Table, watches: &mut [Watch], now: u64, random: &Random) {
        for (place, watch) in watches.iter_mut().enumerate() {
            let word = table.membership_word(watch.upstream);
            if watch.membership == Some(word) {
                continue;
            }
            let is_first = watch.membership.is_none();
            watch.membership = Some(word);
            let mut gone: HashMap<PeerHandle, usize> = HashMap::new();
            for (index, entry) in self.entries.iter().enumerate() {
                if let Some(entry) = entry.as_ref().filter(|e| e.watch == place) {
                    gone.insert(entry.peer, index);
                }
            }
            for peer in table.members(watch.upstream) {
                if gone.remove(&peer).is_some() {
                    continue;
                }
                let (Ok(address), Some(seen)) = (table.peer_address(peer), table.state(peer)) else { continue };
                // A new peer among known ones is looked at soon.
                let within = if is_first { watch.spec.interval_ns } else { watch.spec.fast_ns };
                let index = self.insert(Entry {
                    watch: place,
                    peer,
                    address,
                    passed: 0,
                    failed: 0,
                    open: false,
                    idle: None,
                    due: 0,
                    version: 0,
                    checked: 0,
                    seen,
                    put_off: 0,
                    answered: 0,
                    charged: 0,
                    requests: 0,
                });
                self.set_due(index, now + random.below(within as usize) as u64);
            }
            for index in gone.into_values() {
                self.entries[index] = None;
                self.free.push(index);
            }
        }
    }

    fn insert(&mut self, entry: Entry) -> usize {
        match self.free.pop() {
            Some(index) => {
                self.entries[index] = Some(entry);
                index
            }
            None => {
                self.entries.push(Some(entry));
                self.entries.len() - 1
            }
        }
    }

    /// Brings forward the checks of peers that failed in traffic since the last look. How many.
    pub fn hurry(&mut self, table: &Table, watches: &[Watch], now: u64, random: &Random) -> u64 {
        let mut hurried = Vec::new();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            let Some(entry) = entry else { continue };
            let spec = &watches[entry.watch].spec;
            let Some(state) = table.state(entry.peer) else { continue };
            let ejected = state.health() == Health::Ejected && entry.seen.health() != Health::Ejected;
            let worse = ejected || state.streak() > entry.seen.streak();
            entry.seen = state;
            // Not twice within a fast interval, whatever traffic says.
            let soon =
                now.max(entry.checked.saturating_add(spec.fast_ns)) + random.below(spec.fast_ns as usize / 4) as u64;
            if worse && !entry.open && !spec.ignore_traffic && soon < entry.due {
                hurried.push((index, soon));
            }
        }
        hurried.iter().for_each(|&(index, due)| self.set_due(index, due));
        hurried.len() as u64
    }
}

impl Entry {
    /// Whether traffic makes the check that is due superfluous.
    pub fn is_put_off(&mut self, table: &Table, watch: &Watch) -> bool {
        let Some(state) = table.state(self.peer) else { return false };
        let requests = table.requests(watch.upstream);
        if watch.spec.ignore_traffic || std::mem::replace(&mut self.requests, requests) == requests {
            return false;
        }
        let (attempts, in_flight) = table.peer_counts(self.peer);
        let answered = attempts.saturating_sub(u64::from(in_flight));
        let charged = table.peer_failures(self.peer);
        let more = answered > std::mem::replace(&mut self.answered, answered) && self.checked != 0;
        let none_charged = std::mem::replace(&mut self.charged, charged) == charged;
        let calm = state.is_eligible() && state.streak() == 0 && self.failed == 0;
        let yes = more && none_charged && calm && self.put_off < MOST_PUT_OFF;
        self.put_off = if yes { self.put_off + 1 } else { 0 };
        yes
    }

    /// Notes a check that begins.
    pub fn begin(&mut self, now: u64) {
        (self.open, self.checked) = (true, now.max(1));
    }
}
