//! What happens next: a heap of moments, and two queues for what always falls due after the same time.
//!
//! A moment is one `u128`: time, then the order of entry, so that what happens at the same time happens in the order in
//! which it was arranged and a run is repeatable; then what it is and whom it concerns. Time-outs are as long for every
//! attempt, so they fall due in the order in which they were set and need no heap; most of them never come true.
//!
//! Cost: O(log n) of the requests in flight; no allocation once the heap has had its largest size.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum What {
    /// An attempt's outcome reaches its gateway.
    Outcome,
    /// A peer has done its work for an attempt.
    Done,
    /// A request may be picked for again.
    Retry,
    /// A gateway's worker does what falls due.
    Tick,
    /// An interval begins.
    Enter,
    /// An interval ends.
    Leave,
    /// A peer leaves the list or comes back.
    Move,
    /// Events are read.
    Look,
}

const KINDS: [What; 8] =
    [What::Outcome, What::Done, What::Retry, What::Tick, What::Enter, What::Leave, What::Move, What::Look];

const WHOM_BITS: u32 = 28;

/// The moments to come.
#[derive(Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Reverse<u128>>,
    entered: u32,
}

impl Agenda {
    pub fn with_capacity(n: usize) -> Agenda {
        Agenda { heap: BinaryHeap::with_capacity(n), entered: 0 }
    }

    #[inline]
    pub fn enter(&mut self, at: u64, what: What, whom: u32) {
        debug_assert!(whom < 1 << WHOM_BITS);
        self.entered = self.entered.wrapping_add(1);
        let low = u64::from(self.entered) << 32 | u64::from((what as u32) << WHOM_BITS | whom);
        self.heap.push(Reverse(u128::from(at) << 64 | u128::from(low)));
    }

    /// When the next one is.
    #[inline]
    pub fn next_at(&self) -> u64 {
        self.heap.peek().map_or(u64::MAX, |Reverse(moment)| (moment >> 64) as u64)
    }

    #[inline]
    pub fn take(&mut self) -> Option<(u64, What, u32)> {
        let Reverse(moment) = self.heap.pop()?;
        let low = moment as u32;
        let what = KINDS[(low >> WHOM_BITS) as usize & 7];
        Some(((moment >> 64) as u64, what, low & ((1 << WHOM_BITS) - 1)))
    }
}

/// What falls due a fixed time after it was set: place and generation of what it concerns.
#[derive(Default)]
pub(crate) struct Due {
    queue: VecDeque<(u64, u32, u32)>,
}

impl Due {
    #[inline]
    pub fn set(&mut self, at: u64, place: u32, generation: u32) {
        self.queue.push_back((at, place, generation));
    }

    #[inline]
    pub fn next_at(&self) -> u64 {
        self.queue.front().map_or(u64::MAX, |front| front.0)
    }

    #[inline]
    pub fn take(&mut self) -> Option<(u64, u32, u32)> {
        self.queue.pop_front()
    }

    /// The next one, if it is past caring about.
    #[inline]
    pub fn skip_while(&mut self, is_over: impl Fn(u32, u32) -> bool) {
        while let Some(&(_, place, generation)) = self.queue.front()
            && is_over(place, generation)
        {
            self.queue.pop_front();
        }
    }
}

/// Things in numbered places, reused; a place counts who had it.
pub(crate) struct Places<T> {
    items: Vec<(T, u32)>,
    free: Vec<u32>,
}

impl<T> Places<T> {
    pub fn with_capacity(n: usize) -> Places<T> {
        Places { items: Vec::with_capacity(n), free: Vec::with_capacity(n) }
    }

    #[inline]
    pub fn put(&mut self, item: T) -> u32 {
        match self.free.pop() {
            Some(place) => {
                self.items[place as usize].0 = item;
                place
            }
            None => {
                self.items.push((item, 0));
                self.items.len() as u32 - 1
            }
        }
    }

    #[inline]
    pub fn free(&mut self, place: u32) {
        self.items[place as usize].1 = self.items[place as usize].1.wrapping_add(1);
        self.free.push(place);
    }

    #[inline]
    pub fn generation(&self, place: u32) -> u32 {
        self.items[place as usize].1
    }

    #[inline]
    pub fn at(&mut self, place: u32) -> &mut T {
        &mut self.items[place as usize].0
    }

    #[inline]
    pub fn see(&self, place: u32) -> &T {
        &self.items[place as usize].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_in_order_and_those_of_one_time_as_they_were_entered() {
        let mut agenda = Agenda::default();
        for (at, whom) in [(5, 1), (3, 2), (5, 3), (1, 4), (3, 5)] {
            agenda.enter(at, What::Done, whom);
        }
        let order: Vec<_> = std::iter::from_fn(|| agenda.take()).map(|(at, _, whom)| (at, whom)).collect();
        assert_eq!(order, [(1, 4), (3, 2), (3, 5), (5, 1), (5, 3)]);
    }
}
