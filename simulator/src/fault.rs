//! What can break, and what a peer is like meanwhile.

use crate::scenario::Wrong;
use crate::units::{Nanos, Positive, Share};
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

    pub(crate) fn effect(&self) -> Effect {
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
