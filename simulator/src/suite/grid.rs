//! The grid of faults: every kind and severity in pools of 2 to 4,000 peers, by turns with every selector and with seeds
//! of their own.
//!
//! One peer breaks for ten seconds in a run of twenty; in the pool of 4,000 two peers break for each kind at once, so
//! that a run tells of many faults. What is tabled: how many faults were answered by an ejection while they lasted, and
//! when; ejections of peers that were well; and the promise that the last good peer is never one of them. Pools whose
//! rest can't carry what one peer leaves have rows of their own: there the good peers fail too, by their time-outs.

use super::{Selector, base};
use crate::engine;
use crate::fault::{Fault, Kind};
use crate::jobs::parallel;
use crate::report::{Table, percent};
use crate::result::Run;
use crate::units::{Nanos, Positive, Share};
use serde::Serialize;
use std::error::Error;
use std::path::Path;

const AT: Nanos = Nanos::from_s(3);
const LASTS: Nanos = Nanos::from_s(10);

/// A pool of the grid.
struct Plan {
    name: &'static str,
    peers: u32,
    gateways: u32,
    shared: bool,
    /// Of the capacity.
    loads: &'static [f64],
    /// Runs for each fault and load; for each load alone if all faults are in one run.
    seeds: u32,
    /// Every kind of fault at once, each on peers of its own.
    at_once: bool,
}

/// With these the rest of any pool carries what one peer leaves.
const CARRIED: &[f64] = &[0.2, 0.4];

const fn plan(name: &'static str, peers: u32, seeds: u32) -> Plan {
    Plan { name, peers, gateways: 2, shared: true, loads: CARRIED, seeds, at_once: false }
}

const PLANS: [Plan; 8] = [
    plan("2 peers", 2, 30),
    plan("3 peers", 3, 30),
    plan("4 peers", 4, 15),
    plan("40 peers", 40, 6),
    // A quarter of the requests for each peer: 10 and 20 a second.
    Plan { at_once: true, loads: &[0.05, 0.1], ..plan("4000 peers", 4000, 5) },
    Plan { gateways: 8, shared: false, ..plan("4, 8 apart", 4, 6) },
    Plan { loads: &[0.7], ..plan("2, too busy", 2, 20) },
    Plan { loads: &[0.8], ..plan("3, too busy", 3, 20) },
];

/// Every kind, from the plain to the faint.
pub fn faults(peers: Vec<u32>) -> Vec<Fault> {
    let of = |kind| Fault::of(kind, peers.clone(), AT, LASTS);
    let part = |kind, share| Fault { share: Some(Share(share)), ..of(kind) };
    let slow = |factor| Fault { factor: Some(Positive(factor)), ..of(Kind::Slow) };
    let second = Some(Nanos::from_s(1));
    vec![
        of(Kind::Refuse),
        of(Kind::Unreachable),
        Fault { up: second, down: second, ..of(Kind::Flap) },
        of(Kind::BlackHole),
        part(Kind::BlackHole, 0.5),
        of(Kind::Errors),
        part(Kind::Errors, 0.5),
        part(Kind::Errors, 0.2),
        part(Kind::Errors, 0.05),
        of(Kind::Reset),
        part(Kind::Reset, 0.2),
        of(Kind::BreakOff),
        part(Kind::BreakOff, 0.2),
        of(Kind::Hang),
        part(Kind::Hang, 0.2),
        slow(3.0),
        slow(10.0),
        slow(30.0),
    ]
}

/// Without a share these fail every request.
const FAILING: [Kind; 7] =
    [Kind::Refuse, Kind::Unreachable, Kind::BlackHole, Kind::Errors, Kind::Reset, Kind::BreakOff, Kind::Hang];

/// A selector that keeps away from failing peers may see too few failures to eject one: up to so many attempts on it, for
/// each table, that is as good.
const BORNE: u64 = 20;

/// What one kind of fault met in one pool.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Met {
    /// Faults, once for every table that could see them.
    pub faults: u64,
    /// Seconds to the ejection, of those that were ejected while they lasted; sorted.
    pub delays_s: Vec<f64>,
    /// Faults without an ejection that went on getting traffic.
    pub unnoticed: u64,
    /// Attempts that met it, over all of them.
    pub attempts: u64,
    /// Half-opens meanwhile.
    pub false_half_opens: u64,
    /// Returns meanwhile.
    pub false_returns: u64,
    /// Ejections of peers that were well, in runs with this fault alone.
    pub false_ejections: u64,
    /// Of those, of the last that was well.
    pub last_good_ejected: u64,
    /// Requests, and errors among them, in runs with this fault alone.
    pub requests: u64,
    /// See `requests`.
    pub errors: u64,
}

/// One pool's part of the grid.
#[derive(Clone, Debug, Serialize)]
pub struct PoolResult {
    /// What it is called.
    pub name: String,
    /// Runs.
    pub runs: u64,
    /// Of all runs.
    pub requests: u64,
    /// Of peers that were well.
    pub false_ejections: u64,
    /// The promise.
    pub last_good_ejected: u64,
    /// Held back by the capacity floor.
    pub spared: u64,
    /// By label, in the order of the grid.
    pub faults: Vec<(String, Met)>,
    /// Whether the other peers can carry what one leaves.
    pub carried: bool,
}

/// All pools.
#[derive(Debug, Serialize)]
pub struct Grid {
    /// From small to large.
    pub pools: Vec<PoolResult>,
}

/// Runs the grid, or one `part`-th of its seeds.
pub fn run(seed: u64, selectors: &[Selector], part: u32) -> Result<Grid, Box<dyn Error>> {
    let pools = PLANS.iter().map(|plan| pool(plan, seed, selectors, part)).collect::<Result<_, _>>()?;
    Ok(Grid { pools })
}

/// One pool by its number of peers, with so many seeds: for tests.
pub fn small(peers: u32, seeds: u32, seed: u64, selectors: &[Selector]) -> Result<PoolResult, Box<dyn Error>> {
    pool(&plan("small", peers, seeds), seed, selectors, 1)
}

fn pool(plan: &Plan, seed: u64, selectors: &[Selector], part: u32) -> Result<PoolResult, Box<dyn Error>> {
    let mut jobs = vec![];
    for &load in plan.loads {
        let sets = if plan.at_once {
            vec![spread(plan.peers)]
        } else {
            faults(vec![0]).into_iter().map(|f| vec![f]).collect()
        };
        for faults in sets {
            for _ in 0..plan.seeds.div_ceil(part) {
                let number = jobs.len() as u64;
                let mut scenario = base("grid", include_str!("../../scenarios/grid.toml"), seed * 1_000_000 + number)?;
                (scenario.pool.peers, scenario.pool.gateways) = (plan.peers, plan.gateways);
                scenario.pool.shared = plan.shared;
                scenario.faults = faults.clone();
                scenario.arrivals.load = Positive(load);
                jobs.push((scenario, &selectors[number as usize % selectors.len()]));
            }
        }
    }
    let runs = parallel(&jobs, |(scenario, s)| engine::run(scenario, (s.0, &s.1), false));
    let labels: Vec<String> = faults(vec![0]).iter().map(Fault::label).collect();
    let mut result = PoolResult {
        name: plan.name.to_owned(),
        runs: runs.len() as u64,
        requests: 0,
        false_ejections: 0,
        last_good_ejected: 0,
        spared: 0,
        faults: labels.into_iter().map(|label| (label, Met::default())).collect(),
        carried: plan.loads.iter().all(|load| *load <= CARRIED[1]),
    };
    for run in runs {
        result.add(&run?);
    }
    for (_, met) in &mut result.faults {
        met.delays_s.sort_by(f64::total_cmp);
    }
    Ok(result)
}

/// Every kind on two peers of its own, far apart.
fn spread(peers: u32) -> Vec<Fault> {
    let kinds = faults(vec![0]).len() as u32;
    let place = |i: u32, of: u32| (i + of * kinds) * (peers / (2 * kinds));
    let at = |(i, fault): (u32, Fault)| Fault { peers: Some(vec![place(i, 0), place(i, 1)]), ..fault };
    (0..).zip(faults(vec![0])).map(at).collect()
}

impl PoolResult {
    fn add(&mut self, run: &Run) {
        self.requests += run.requests;
        self.false_ejections += run.health.false_ejections;
        self.last_good_ejected += run.health.last_good_ejected;
        self.spared += run.health.spared;
        for detection in &run.detections {
            let Some((_, met)) = self.faults.iter_mut().find(|(label, _)| *label == detection.label) else { continue };
            met.faults += detection.delay_s.len() as u64;
            met.delays_s.extend(detection.delay_s.iter().flatten());
            let missed = detection.delay_s.iter().filter(|delay| delay.is_none()).count() as u64;
            if detection.attempts > BORNE * detection.delay_s.len() as u64 {
                met.unnoticed += missed;
            }
            met.attempts += detection.attempts;
            met.false_half_opens += u64::from(detection.false_half_opens);
            met.false_returns += u64::from(detection.false_returns);
            if run.detections.len() == 1 {
                met.false_ejections += run.health.false_ejections;
                met.last_good_ejected += run.health.last_good_ejected;
                met.requests += run.requests;
                met.errors += run.errors;
            }
        }
    }

    /// Promised, where the other peers can carry the load: a peer that fails every request is ejected while it does, or
    /// gets next to none; and the last good one is never ejected.
    pub fn broken_promises(&self) -> Vec<String> {
        let mut broken = vec![];
        if self.carried && self.last_good_ejected > 0 {
            broken.push(format!("{}: the last good peer was ejected {} times", self.name, self.last_good_ejected));
        }
        for kind in FAILING {
            let Some(met) = self.met(kind.name()).filter(|_| self.carried) else { continue };
            if met.unnoticed > 0 {
                broken.push(format!(
                    "{}: {} of {} {} went unnoticed",
                    self.name,
                    met.unnoticed,
                    met.faults,
                    kind.name()
                ));
            }
        }
        broken
    }

    /// How many faults there were.
    pub fn count(&self) -> u64 {
        self.faults.iter().map(|(_, met)| met.faults).sum()
    }

    /// A kind of fault by its label.
    pub fn met(&self, label: &str) -> Option<&Met> {
        self.faults.iter().find(|(name, _)| name == label).map(|(_, met)| met)
    }
}

impl Met {
    /// The share that was ejected while the fault lasted.
    pub fn detected(&self) -> f64 {
        self.delays_s.len() as f64 / self.faults.max(1) as f64
    }

    fn delay(&self, q: f64) -> Option<f64> {
        self.delays_s.get(((self.delays_s.len() as f64 * q) as usize).min(self.delays_s.len().max(1) - 1)).copied()
    }
}

type Describe = fn(&Met) -> String;

impl Grid {
    /// Where a promise was broken.
    pub fn broken_promises(&self) -> Vec<String> {
        self.pools.iter().flat_map(PoolResult::broken_promises).collect()
    }

    /// The tables.
    pub fn text(&self) -> String {
        let mut out = "grid of faults: pools\n".to_owned();
        let mut table = Table::new(&[
            "pool",
            "faults",
            "runs",
            "requests",
            "ejected %",
            "false ejections",
            "last good ejected",
            "spared",
        ]);
        for pool in &self.pools {
            let ejected: usize = pool.faults.iter().map(|(_, met)| met.delays_s.len()).sum();
            table.row([
                pool.name.clone(),
                pool.count().to_string(),
                pool.runs.to_string(),
                pool.requests.to_string(),
                format!("{:.0}", ejected as f64 / pool.count().max(1) as f64 * 100.0),
                pool.false_ejections.to_string(),
                pool.last_good_ejected.to_string(),
                pool.spared.to_string(),
            ]);
        }
        out += &table.text();
        let names: Vec<&str> = self.pools.iter().map(|pool| pool.name.as_str()).collect();
        let mut headings = vec!["fault"];
        headings.extend(&names);
        let rows: [(&str, Describe); 3] = [
            ("ejected while it lasted, %; median and 90th percentile of the delay, s", Met::times),
            ("attempts that met it, false half-opens, false returns: each a fault", Met::trials),
            ("errors, % of the requests; false ejections; ejections of the last good peer", Met::price),
        ];
        for (title, cell) in rows {
            out += &format!("\ngrid of faults: {title}\n");
            let mut table = Table::new(&headings);
            for (i, (label, _)) in self.pools.first().map(|p| p.faults.as_slice()).unwrap_or(&[]).iter().enumerate() {
                let cells = self.pools.iter().map(|pool| cell(&pool.faults[i].1));
                table.row(std::iter::once(label.clone()).chain(cells));
            }
            out += &table.text();
        }
        out
    }

    /// Shares of faults that were detected, as bars.
    pub fn plot(&self, out: &Path) -> Result<(), Box<dyn Error>> {
        let names: Vec<&str> = self.pools.iter().map(|pool| pool.name.as_str()).collect();
        let labels = self.pools.first().map(|p| p.faults.as_slice()).unwrap_or(&[]).iter().enumerate();
        let groups: Vec<(String, Vec<f64>)> = labels
            .map(|(i, (label, _))| {
                let detected = |pool: &PoolResult| pool.faults[i].1.detected() * 100.0;
                (label.clone(), self.pools.iter().map(detected).collect())
            })
            .collect();
        crate::plot::bars(out, "grid", "faults answered by an ejection, %", &names, &groups)?;
        Ok(())
    }
}

impl Met {
    fn times(&self) -> String {
        match (self.delay(0.5), self.delay(0.9)) {
            (Some(median), Some(late)) => format!("{:.0}: {median:.2} {late:.2}", self.detected() * 100.0),
            _ => "never".to_owned(),
        }
    }

    fn trials(&self) -> String {
        let each = |n: u64| n as f64 / self.faults.max(1) as f64;
        format!("{:.0} {:.1} {:.1}", each(self.attempts), each(self.false_half_opens), each(self.false_returns))
    }

    fn price(&self) -> String {
        if self.requests == 0 {
            return "-".to_owned();
        }
        let errors = percent(self.errors as f64 / self.requests as f64);
        format!("{errors} {} {}", self.false_ejections, self.last_good_ejected)
    }
}
