//! What breaks, when, and what a peer is like meanwhile.
//!
//! Each fault becomes intervals on the peers it meets; what a peer is like at a time is the sum of its intervals. A peer
//! inside one is *faulty*: that is the truth against which ejections are judged. Slowdowns by antagonists are no
//! faults: a neighbour takes capacity, and to eject for it is counted as false.

use crate::scenario::{Antagonists, Scenario, Wrong};
use crate::units::{Nanos, Positive, Share};
use rand::Rng;
use rand::seq::index;
use rand_distr::Exp1;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

/// A fault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What breaks.
    pub kind: Kind,
    /// These peers, by number from 0.
    pub peers: Option<Vec<u32>>,
    /// So many peers, chosen by the seed; default 1.
    pub count: Option<u32>,
    /// When it begins.
    pub at: Nanos,
    /// How long it lasts; unset: to the end.
    pub lasts: Option<Nanos>,
    /// The share of requests that it meets; default 1. Not for `slow`, `refuse`, `unreachable`, `flap`.
    pub share: Option<Share>,
    /// `slow`: how many times longer everything takes.
    pub factor: Option<Positive>,
    /// `errors`, `black_hole`: the status; default 503 and 502.
    pub status: Option<u32>,
    /// `black_hole`: how long it takes to answer; default 1 ms.
    pub after: Option<Nanos>,
    /// `flap`: how long it is up, and down, in turn.
    pub up: Option<Nanos>,
    /// See `up`.
    pub down: Option<Nanos>,
}

/// What breaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Everything takes longer.
    Slow,
    /// It does its work and answers with an error.
    Errors,
    /// It answers with an error at once, and so seems to be the fastest.
    BlackHole,
    /// It takes the request and answers nothing.
    Hang,
    /// It closes the connection instead of answering.
    Reset,
    /// Its responses break off in the body.
    BreakOff,
    /// Nobody listens.
    Refuse,
    /// Packets vanish: connections time out.
    Unreachable,
    /// It refuses and works in turn.
    Flap,
}

impl Kind {
    /// Its name in scenarios and tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Slow => "slow",
            Kind::Errors => "errors",
            Kind::BlackHole => "black_hole",
            Kind::Hang => "hang",
            Kind::Reset => "reset",
            Kind::BreakOff => "break_off",
            Kind::Refuse => "refuse",
            Kind::Unreachable => "unreachable",
            Kind::Flap => "flap",
        }
    }
}

impl Fault {
    /// A fault of this kind on one peer, with its defaults.
    pub fn of(kind: Kind, peers: Vec<u32>, at: Nanos, lasts: Nanos) -> Fault {
        let (peers, lasts) = (Some(peers), Some(lasts));
        Fault {
            kind,
            peers,
            count: None,
            at,
            lasts,
            share: None,
            factor: None,
            status: None,
            after: None,
            up: None,
            down: None,
        }
    }

    pub(crate) fn check(&self, pool: u32) -> Result<(), Wrong> {
        use Kind::*;
        let shared = matches!(self.kind, Errors | BlackHole | Hang | Reset | BreakOff);
        let rules = [
            ("share", self.share.is_some(), shared, false),
            ("factor", self.factor.is_some(), self.kind == Slow, true),
            ("status", self.status.is_some(), matches!(self.kind, Errors | BlackHole), false),
            ("after", self.after.is_some(), self.kind == BlackHole, false),
            ("up", self.up.is_some(), self.kind == Flap, true),
            ("down", self.down.is_some(), self.kind == Flap, true),
        ];
        for (field, set, taken, needed) in rules {
            if set && !taken {
                return Err(Wrong::new(format!("`{field}` means nothing for this kind")));
            }
            if taken && needed && !set {
                return Err(Wrong::new(format!("`{field}` is missing")));
            }
        }
        if let (Some(up), Some(down)) = (self.up, self.down)
            && (up.0 == 0 || down.0 == 0)
        {
            return Err(Wrong::new("`up` and `down` are above 0"));
        }
        if self.peers.is_some() && self.count.is_some() {
            return Err(Wrong::new("give `peers` or `count`, not both"));
        }
        if let Some(&peer) = self.peers.iter().flatten().find(|&&peer| peer >= pool) {
            return Err(Wrong::new(format!("peer {peer} is not in a pool of {pool}: they count from 0")));
        }
        if self.count.is_some_and(|count| count == 0 || count > pool) {
            return Err(Wrong::new(format!("`count` is 1 to {pool}, the pool")));
        }
        if self.status.is_some_and(|status| !(100..=599).contains(&status)) {
            return Err(Wrong::new("`status` is 100 to 599"));
        }
        Ok(())
    }

    /// A short name that tells severities apart.
    pub fn label(&self) -> String {
        match (self.kind, self.share, self.factor) {
            (kind, _, Some(factor)) => format!("{} x{}", kind.name(), factor.0),
            (kind, Some(share), _) => format!("{} {}%", kind.name(), share.0 * 100.0),
            (kind, ..) => kind.name().to_owned(),
        }
    }

    fn effect(&self) -> Effect {
        let share = self.share.map_or(1.0, |s| s.0);
        let mut effect = Effect::default();
        match self.kind {
            Kind::Slow => effect.factor = self.factor.map_or(1.0, |f| f.0),
            Kind::Errors => (effect.errors, effect.status) = (share, self.status.unwrap_or(503)),
            Kind::BlackHole => {
                (effect.fast_errors, effect.status) = (share, self.status.unwrap_or(502));
                effect.after = self.after.unwrap_or(Nanos::from_ms(1)).0;
            }
            Kind::Hang => effect.hangs = share,
            Kind::Reset => effect.resets = share,
            Kind::BreakOff => effect.break_offs = share,
            Kind::Refuse | Kind::Flap => effect.refuses = true,
            Kind::Unreachable => effect.unreachable = true,
        }
        effect
    }
}

/// What a peer is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Effect {
    /// Of its service times.
    pub factor: f64,
    /// Shares of requests.
    pub errors: f64,
    pub fast_errors: f64,
    pub hangs: f64,
    pub resets: f64,
    pub break_offs: f64,
    pub status: u32,
    pub after: u64,
    pub refuses: bool,
    pub unreachable: bool,
}

impl Default for Effect {
    fn default() -> Effect {
        Effect {
            factor: 1.0,
            errors: 0.0,
            fast_errors: 0.0,
            hangs: 0.0,
            resets: 0.0,
            break_offs: 0.0,
            status: 0,
            after: 0,
            refuses: false,
            unreachable: false,
        }
    }
}

impl Effect {
    /// Both at once.
    pub fn and(self, other: Effect) -> Effect {
        Effect {
            factor: self.factor * other.factor,
            errors: self.errors.max(other.errors),
            fast_errors: self.fast_errors.max(other.fast_errors),
            hangs: self.hangs.max(other.hangs),
            resets: self.resets.max(other.resets),
            break_offs: self.break_offs.max(other.break_offs),
            status: self.status.max(other.status),
            after: self.after.max(other.after),
            refuses: self.refuses || other.refuses,
            unreachable: self.unreachable || other.unreachable,
        }
    }
}

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
