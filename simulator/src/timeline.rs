//! When it breaks: faults, antagonists and deploys as intervals on the peers they meet.
//!
//! What a peer is like at a time is the sum of its intervals. A peer inside a fault is *faulty*: that is the truth
//! against which ejections are judged. Slowdowns by antagonists, and cold peers, are no faults: a neighbour takes
//! capacity, and to eject for it is counted as false.

use crate::fault::{Effect, Fault, Kind};
use crate::scenario::{Antagonists, Scenario, Wrong};
use crate::units::{Nanos, Positive};
use rand::Rng;
use rand::seq::index;
use rand_distr::Exp1;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Deserialize;

/// An effect on a peer for a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    pub peer: u32,
    pub from: u64,
    pub to: u64,
    pub effect: Effect,
}

/// One fault on one peer, for the record: `from` to `to` it is faulty, also while a flapping one is up.
#[derive(Clone, Debug)]
pub(crate) struct Meeting {
    pub peer: u32,
    pub kind: Kind,
    pub label: String,
    pub from: u64,
    pub to: u64,
}

/// A peer leaves the list, or comes back to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub peer: u32,
    pub at: u64,
    pub joins: bool,
}

/// A rolling deploy: peer after peer is replaced.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deploy {
    /// When it begins.
    pub at: Nanos,
    /// From one peer's turn to the next one's.
    pub every: Nanos,
    /// How long a peer is away.
    pub down: Nanos,
    /// Whether it leaves the list first; if not, the gateways find out.
    #[serde(default)]
    pub announced: bool,
    /// A cold peer is so many times slower at first.
    pub cold_factor: Option<Positive>,
    /// And warm after this.
    #[serde(default = "ten_seconds")]
    pub warm_after: Nanos,
    /// Peers replaced; default all.
    pub peers: Option<u32>,
}

fn ten_seconds() -> Nanos {
    Nanos::from_s(10)
}

/// A cold peer gets warm in so many steps.
const STEPS: u64 = 10;

impl Deploy {
    pub(crate) fn check(&self, pool: u32) -> Result<(), Wrong> {
        if self.announced && self.peers.unwrap_or(pool) == pool && self.down >= self.every && pool == 1 {
            return Err(Wrong::new("deploy: the only peer would leave the list"));
        }
        if self.peers.is_some_and(|n| n > pool) {
            return Err(Wrong::new(format!("deploy.peers is at most {pool}, the pool")));
        }
        Ok(())
    }
}

/// All that will happen to the peers.
#[derive(Default)]
pub(crate) struct Timeline {
    pub intervals: Vec<Interval>,
    pub meetings: Vec<Meeting>,
    pub moves: Vec<Move>,
}

impl Timeline {
    /// Of a scenario; times from its start.
    pub fn of(scenario: &Scenario, random: &mut Xoshiro256PlusPlus) -> Timeline {
        let (mut line, end) = (Timeline::default(), scenario.duration.0);
        for fault in &scenario.faults {
            let count = fault.count.unwrap_or(1) as usize;
            let peers = fault.peers.clone().unwrap_or_else(|| {
                index::sample(random, scenario.pool.peers as usize, count).iter().map(|i| i as u32).collect()
            });
            let (from, to) = (fault.at.0, fault.lasts.map_or(end, |lasts| fault.at.0 + lasts.0));
            for peer in peers {
                line.meet(fault, peer, from, to);
            }
        }
        if let Some(antagonists) = &scenario.antagonists {
            line.antagonise(antagonists, scenario.pool.peers, end, random);
        }
        if let Some(deploy) = &scenario.deploy {
            line.deploy(deploy, scenario.pool.peers);
        }
        line
    }

    fn meet(&mut self, fault: &Fault, peer: u32, from: u64, to: u64) {
        self.meetings.push(Meeting { peer, kind: fault.kind, label: fault.label(), from, to });
        let effect = fault.effect();
        let (Some(up), Some(down)) = (fault.up, fault.down) else {
            return self.intervals.push(Interval { peer, from, to, effect });
        };
        let mut at = from;
        while at < to {
            self.intervals.push(Interval { peer, from: at, to: (at + down.0).min(to), effect });
            at += down.0 + up.0;
        }
    }

    fn antagonise(&mut self, antagonists: &Antagonists, pool: u32, end: u64, random: &mut Xoshiro256PlusPlus) {
        let count = (f64::from(pool) * antagonists.share.0).round() as usize;
        for peer in index::sample(random, pool as usize, count) {
            let mut at = 0.0;
            loop {
                at += random.sample::<f64, _>(Exp1) * antagonists.every.0 as f64;
                let lasts = random.sample::<f64, _>(Exp1) * antagonists.lasts.0 as f64;
                if at >= end as f64 {
                    break;
                }
                let factor = 1.0 + random.random::<f64>() * (antagonists.factor.0 - 1.0).max(0.0);
                let effect = Effect { factor, ..Effect::default() };
                self.intervals.push(Interval { peer: peer as u32, from: at as u64, to: (at + lasts) as u64, effect });
                at += lasts;
            }
        }
    }

    fn deploy(&mut self, deploy: &Deploy, pool: u32) {
        for peer in 0..deploy.peers.unwrap_or(pool) {
            let from = deploy.at.0 + u64::from(peer) * deploy.every.0;
            let back = from + deploy.down.0;
            if deploy.announced {
                self.moves.push(Move { peer, at: from, joins: false });
                self.moves.push(Move { peer, at: back, joins: true });
            } else {
                let effect = Effect { refuses: true, ..Effect::default() };
                self.intervals.push(Interval { peer, from, to: back, effect });
                let label = "deploy".to_owned();
                self.meetings.push(Meeting { peer, kind: Kind::Refuse, label, from, to: back });
            }
            let Some(cold) = deploy.cold_factor else { continue };
            let step = deploy.warm_after.0 / STEPS;
            for i in 0..STEPS {
                let factor = 1.0 + (cold.0 - 1.0) * (1.0 - i as f64 / STEPS as f64);
                let effect = Effect { factor, ..Effect::default() };
                self.intervals.push(Interval { peer, from: back + i * step, to: back + (i + 1) * step, effect });
            }
        }
    }
}
