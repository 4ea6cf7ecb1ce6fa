//! What stands behind the door under `--cfg loom`: words that become loom's, processes that die, faults that are planted.
//!
//! A table has thousands of words and a model touches a few dozen, so a word of a region is a plain value until the model
//! [`run`]s, and becomes one of loom's only if some thread of the model writes it. Which ones those are is found by
//! running: a store to a word that was thought constant is noted and makes the run void; the driver repeats it with that
//! word watched until no more are found. What nobody writes is a constant, and reading it needs no schedule. Words
//! outside regions (random numbers, cursors) are private to a worker and stay plain.
//!
//! A fault is planted at one call in the shipped code, named by its place, while the shipped code stays as it is: half
//! of an ordering is taken away, a fence is left out, a read-modify-write is split into two steps, or a second look at
//! a word is not taken. So every ordering can be shown to be needed.
//!
//! Everything of a model runs on one thread of the system: what is shared between its threads and is not itself under
//! test lies in a thread-local. No borrow of it is held over an access, because there loom switches threads.
//!
//! # Limits
//! Loom holds a load's choice among at most seven stores, and takes a SeqCst access for AcqRel; the code has none. A
//! compiler fence whose other side is membarrier is taken for a full fence, which membarrier makes of it: two of those
//! would be ordered with each other too, which nothing here relies on. Accesses are never of mixed sizes: every section
//! of a region has one.

#![allow(unsafe_code)]

use super::Ordering;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::Location;
use std::sync::{Arc, OnceLock, atomic};

/// Where in the code an access stands.
pub(crate) type Place = (&'static str, u32, u32);

/// What can be taken from an access.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Loss {
    /// The Acquire half of its ordering.
    Acquire,
    /// The Release half.
    Release,
    /// A fence as a whole.
    Fence,
    /// The unity of a read-modify-write.
    Unity,
    /// A second look: the value seen before is taken for the present one.
    Recheck,
}

/// A fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Fault {
    pub place: Place,
    pub loss: Loss,
}

#[derive(Default)]
struct Model {
    running: bool,
    words: u32,
    watched: BTreeSet<u32>,
    grown: bool,
    fault: Option<Fault>,
    losses: BTreeSet<Fault>,
    /// Which process a thread is of, and after how many accesses it dies.
    processes: HashMap<loom::thread::ThreadId, Process>,
    lives: BTreeMap<u32, Arc<loom::sync::atomic::AtomicBool>>,
    /// What a thread saw last of a word.
    seen: HashMap<(loom::thread::ThreadId, u32), u64>,
    sections: Vec<Section>,
    setting_up: u32,
}

#[derive(Clone, Copy)]
struct Process {
    number: u32,
    accesses_left: Option<u32>,
    dead: bool,
}

enum Section {
    Words(*mut [AtomicU64]),
    Halves(*mut [AtomicU32]),
}

thread_local! {
    static MODEL: RefCell<Model> = RefCell::default();
}

fn model<T>(with: impl FnOnce(&mut Model) -> T) -> T {
    MODEL.with_borrow_mut(with)
}

/// A model begins anew, for the first time or with another schedule.
pub(crate) fn reset() {
    let sections = model(|m| {
        (m.running, m.words, m.setting_up) = (false, 0, 0);
        m.processes.clear();
        m.lives.clear();
        m.seen.clear();
        std::mem::take(&mut m.sections)
    });
    for section in sections {
        // SAFETY: made by `Box::into_raw` below, and the table of the run before is gone.
        unsafe {
            match section {
                Section::Words(words) => drop(Box::from_raw(words)),
                Section::Halves(halves) => drop(Box::from_raw(halves)),
            }
        }
    }
}

/// Another model, perhaps with a fault in it.
pub(crate) fn plant(fault: Option<Fault>) {
    reset();
    model(|m| {
        m.watched.clear();
        m.losses.clear();
        m.fault = fault;
        m.grown = false;
    });
}

/// Whether a word was written that was thought constant, since this was asked last.
pub(crate) fn has_grown() -> bool {
    model(|m| std::mem::take(&mut m.grown))
}

/// What could be taken from the accesses that were met.
pub(crate) fn losses() -> BTreeSet<Fault> {
    model(|m| m.losses.clone())
}

/// The set-up is over: from here on loom watches. `processes` take part.
pub(crate) fn run(processes: std::ops::RangeInclusive<u32>) {
    let (sections, watched) = model(|m| {
        m.running = true;
        let sections: Vec<_> = m
            .sections
            .iter()
            .map(|section| match section {
                Section::Words(words) => Section::Words(*words),
                Section::Halves(halves) => Section::Halves(*halves),
            })
            .collect();
        (sections, m.watched.clone())
    });
    for section in sections {
        // SAFETY: live until `reset`; only shared references are made.
        unsafe {
            match section {
                Section::Words(words) => (*words).iter().for_each(|w| w.promote(&watched)),
                Section::Halves(halves) => (*halves).iter().for_each(|w| w.promote(&watched)),
            }
        }
    }
    for number in processes {
        let life = Arc::new(loom::sync::atomic::AtomicBool::new(true));
        model(|m| m.lives.insert(number, life));
    }
}

/// Whether a model runs on this thread.
pub(crate) fn is_running() -> bool {
    model(|m| m.running)
}

/// During the set-up: who does what follows.
pub(crate) fn set_up_as(number: u32) {
    model(|m| m.setting_up = number);
}

/// What dying unwinds with.
struct Died;

/// Starts a process. `dies_after`: so many accesses to watched words; then it does nothing more.
pub(crate) fn process(
    number: u32,
    dies_after: Option<u32>,
    act: impl FnOnce() + 'static,
) -> loom::thread::JoinHandle<bool> {
    loom::thread::spawn(move || {
        let me = loom::thread::current().id();
        let process = Process { number, accesses_left: dies_after, dead: false };
        model(|m| m.processes.insert(me, process));
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        if let Err(payload) = end {
            if !payload.is::<Died>() {
                std::panic::resume_unwind(payload);
            }
            end_life(number);
            return false;
        }
        true
    })
}

/// A process is dead for all: what it stored is in memory.
pub(crate) fn end_life(number: u32) {
    let life = model(|m| m.lives.get(&number).cloned());
    life.expect("a process of the model").store(false, Ordering::Release);
}

/// The process that this is, once a model has processes.
pub(crate) fn current_process() -> Option<u32> {
    match model(|m| (m.running, m.setting_up)) {
        (false, 0) => None,
        (false, number) => Some(number),
        (true, _) => {
            let me = loom::thread::current().id();
            model(|m| m.processes.get(&me).map(|p| p.number))
        }
    }
}

/// Whether a process lives; `None`: it is not one of a model.
pub(crate) fn is_alive(number: u32) -> Option<bool> {
    let life = model(|m| m.lives.get(&number).cloned());
    match life {
        Some(life) => Some(life.load(Ordering::Acquire)),
        None => model(|m| m.setting_up != 0).then_some(true),
    }
}

/// Waits: another thread first.
pub(crate) fn pause(time: std::time::Duration) {
    if model(|m| m.running) { loom::thread::yield_now() } else { std::thread::sleep(time) }
}

/// Counts an access; a process whose time has come dies here. Whether it is dead: then it does nothing any more, what
/// its destructors ask for included.
fn is_dead() -> bool {
    let me = loom::thread::current().id();
    let dies = model(|m| {
        let process = m.processes.get_mut(&me)?;
        if process.dead {
            return Some(false);
        }
        match &mut process.accesses_left {
            Some(0) => {
                process.dead = true;
                Some(true)
            }
            Some(n) => {
                *n -= 1;
                None
            }
            None => None,
        }
    });
    if dies == Some(true) {
        std::panic::resume_unwind(Box::new(Died));
    }
    dies.is_some()
}

fn place(caller: &'static Location<'static>) -> Place {
    (caller.file(), caller.line(), caller.column())
}

/// Whether this fault is planted; notes that it could be.
fn loses(place: Place, loss: Loss) -> bool {
    model(|m| {
        m.losses.insert(Fault { place, loss });
        m.fault == Some(Fault { place, loss })
    })
}

fn acquires(order: Ordering) -> bool {
    matches!(order, Ordering::Acquire | Ordering::AcqRel)
}

fn releases(order: Ordering) -> bool {
    matches!(order, Ordering::Release | Ordering::AcqRel)
}

/// What is left of an ordering.
fn weakened(order: Ordering, place: Place) -> Ordering {
    let acquire = acquires(order) && !loses(place, Loss::Acquire);
    let release = releases(order) && !loses(place, Loss::Release);
    match (acquire, release) {
        (true, true) => Ordering::AcqRel,
        (true, false) => Ordering::Acquire,
        (false, true) => Ordering::Release,
        (false, false) => Ordering::Relaxed,
    }
}

#[track_caller]
pub(crate) fn fence(order: Ordering) {
    let place = place(Location::caller());
    if model(|m| m.running) && !is_dead() && !loses(place, Loss::Fence) {
        loom::sync::atomic::fence(order);
    }
}

#[track_caller]
pub(crate) fn compiler_fence(order: Ordering) {
    fence(order);
}

/// A section of a new region.
pub(crate) fn words(len: usize) -> &'static [AtomicU64] {
    let raw = Box::into_raw((0..len).map(|_| AtomicU64::of_region()).collect::<Box<[_]>>());
    model(|m| m.sections.push(Section::Words(raw)));
    // SAFETY: lives until `reset`, after the table that it is made for.
    unsafe { &*raw }
}

/// As above, of half words.
pub(crate) fn halves(len: usize) -> &'static [AtomicU32] {
    let raw = Box::into_raw((0..len).map(|_| AtomicU32::of_region()).collect::<Box<[_]>>());
    model(|m| m.sections.push(Section::Halves(raw)));
    // SAFETY: as above.
    unsafe { &*raw }
}

macro_rules! word {
    ($name:ident, $int:ident) => {
        /// A word of a region, or a plain one.
        pub(crate) struct $name {
            /// 0: not of a region.
            key: u32,
            plain: atomic::$name,
            watched: OnceLock<loom::sync::atomic::$name>,
        }

        impl $name {
            pub fn new(value: $int) -> $name {
                $name { key: 0, plain: atomic::$name::new(value), watched: OnceLock::new() }
            }

            fn of_region() -> $name {
                let key = model(|m| {
                    m.words += 1;
                    m.words
                });
                $name { key, ..$name::new(0) }
            }

            fn promote(&self, watched: &BTreeSet<u32>) {
                if watched.contains(&self.key) {
                    let value = self.plain.load(Ordering::Relaxed);
                    self.watched.get_or_init(|| loom::sync::atomic::$name::new(value));
                }
            }

            /// Notes that somebody writes it.
            fn written(&self) {
                model(|m| {
                    if m.running && self.key != 0 && m.watched.insert(self.key) {
                        m.grown = true;
                    }
                });
            }

            fn saw(&self, value: $int) {
                let me = loom::thread::current().id();
                model(|m| m.seen.insert((me, self.key), u64::from(value)));
            }

            #[track_caller]
            pub fn load(&self, order: Ordering) -> $int {
                let Some(word) = self.watched.get() else { return self.plain.load(Ordering::Relaxed) };
                if is_dead() {
                    return 0;
                }
                let place = place(Location::caller());
                let me = loom::thread::current().id();
                if let Some(seen) = model(|m| m.seen.get(&(me, self.key)).copied())
                    && loses(place, Loss::Recheck)
                {
                    return seen as $int;
                }
                let value = word.load(weakened(order, place));
                self.saw(value);
                value
            }

            #[track_caller]
            pub fn store(&self, value: $int, order: Ordering) {
                let Some(word) = self.watched.get() else {
                    self.written();
                    return self.plain.store(value, Ordering::Relaxed);
                };
                if !is_dead() {
                    word.store(value, weakened(order, place(Location::caller())));
                    self.saw(value);
                }
            }

            #[track_caller]
            pub fn compare_exchange(
                &self,
                old: $int,
                new: $int,
                order: Ordering,
                otherwise: Ordering,
            ) -> Result<$int, $int> {
                let Some(word) = self.watched.get() else {
                    self.written();
                    return self.plain.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed);
                };
                if is_dead() {
                    return Err(!old);
                }
                let place = place(Location::caller());
                let order = weakened(order, place);
                if loses(place, Loss::Unity) {
                    let seen = word.load(if acquires(order) { Ordering::Acquire } else { Ordering::Relaxed });
                    self.saw(seen);
                    if seen != old {
                        return Err(seen);
                    }
                    word.store(new, if releases(order) { Ordering::Release } else { Ordering::Relaxed });
                    self.saw(new);
                    return Ok(seen);
                }
                let result = word.compare_exchange(old, new, order, otherwise);
                self.saw(result.map_or_else(|seen| seen, |_| new));
                result
            }

            #[track_caller]
            #[allow(dead_code)]
            pub fn compare_exchange_weak(
                &self,
                old: $int,
                new: $int,
                order: Ordering,
                otherwise: Ordering,
            ) -> Result<$int, $int> {
                self.compare_exchange(old, new, order, otherwise)
            }

            #[track_caller]
            pub fn fetch_update(
                &self,
                order: Ordering,
                otherwise: Ordering,
                mut next: impl FnMut($int) -> Option<$int>,
            ) -> Result<$int, $int> {
                let mut seen = self.load(otherwise);
                while let Some(new) = next(seen) {
                    match self.compare_exchange(seen, new, order, otherwise) {
                        Ok(_) => return Ok(seen),
                        Err(now) => seen = now,
                    }
                }
                Err(seen)
            }

            #[track_caller]
            pub fn fetch_add(&self, by: $int, order: Ordering) -> $int {
                let Some(word) = self.watched.get() else {
                    self.written();
                    return self.plain.fetch_add(by, Ordering::Relaxed);
                };
                if is_dead() {
                    return 0;
                }
                let place = place(Location::caller());
                let order = weakened(order, place);
                if loses(place, Loss::Unity) {
                    let seen = word.load(Ordering::Relaxed);
                    word.store(seen.wrapping_add(by), order);
                    return seen;
                }
                word.fetch_add(by, order)
            }

            #[track_caller]
            #[allow(dead_code)]
            pub fn fetch_sub(&self, by: $int, order: Ordering) -> $int {
                self.fetch_add(by.wrapping_neg(), order)
            }
        }
    };
}

word!(AtomicU64, u64);
word!(AtomicU32, u32);
