//! The peers as the world has them: servers with a queue, and the effects that they are under.
//!
//! A peer works on so many requests at a time and queues the rest, first come first served. A request that its gateway
//! has given up is skipped in the queue, and finished where work on it has begun: that is what servers do.
//!
//! Cost: O(1) an attempt; no allocation once a queue has had its longest length.

use crate::fault::Effect;
use crate::timeline::Interval;
use std::collections::VecDeque;

/// One peer.
pub(crate) struct Peer {
    pub effect: Effect,
    pub busy: u32,
    pub queue: VecDeque<u32>,
    /// Time spent working after the warm-up, all places together.
    pub busy_ns: u64,
    /// Attempts after the warm-up.
    pub attempts: u64,
    /// Intervals that it is in.
    active: Vec<Effect>,
}

impl Peer {
    pub fn new() -> Peer {
        Peer {
            effect: Effect::default(),
            busy: 0,
            queue: VecDeque::with_capacity(16),
            busy_ns: 0,
            attempts: 0,
            active: vec![],
        }
    }

    /// An interval begins.
    pub fn enter(&mut self, interval: &Interval) {
        self.active.push(interval.effect);
        self.sum();
    }

    /// An interval ends.
    pub fn leave(&mut self, interval: &Interval) {
        if let Some(i) = self.active.iter().position(|effect| *effect == interval.effect) {
            self.active.swap_remove(i);
        }
        self.sum();
    }

    fn sum(&mut self) {
        self.effect = self.active.iter().fold(Effect::default(), |sum, effect| sum.and(*effect));
    }
}
