//! Loom models of what processes do with a table at the same time, on the shipped code: `make loom`.
//!
//! A model sets up a small table, starts processes and says what must hold when all have ended; loom runs it with every
//! schedule that has at most so many preemptions (LOOM_MAX_PREEMPTIONS, 2 if unset), and with every value that a load
//! may see under the orderings of the code. A process may be made to die after k accesses: for every k the model runs
//! with all schedules again.
//!
//! That the models can fail is shown by `faults`: what stands behind an ordering, a fence, a re-check or a CAS is taken
//! away at one place of the shipped code, and a model must find it.

mod budget;
mod events;
mod faults;
mod health;
mod lanes;
mod membership;

use crate::sync::modelled::{self, Fault};
use crate::table::{Address, Admin, Capacity, PeerSpec, Policy, Selector, Table, UpstreamId};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A model: its name and one run of it, with the access after which the process that may die does.
pub(crate) struct Model {
    pub name: &'static str,
    pub run: fn(Option<u32>),
    /// How many accesses the process makes that may die; 0: none does.
    pub deaths: u32,
    /// No more preemptions than this, whatever is asked for.
    pub preemptions: usize,
}

pub(crate) const MODELS: &[&[Model]] =
    &[budget::MODELS, events::MODELS, health::MODELS, lanes::MODELS, membership::MODELS];

/// What came of a model.
#[derive(Default)]
pub(crate) struct Explored {
    /// Schedules run to their end.
    pub schedules: usize,
    /// What could have been taken away.
    pub losses: BTreeSet<Fault>,
    /// Loom stopped at an assertion of its own (0.7 says of it "sometimes fails"): not all schedules were run.
    pub stopped: bool,
    /// What did not hold.
    pub wrong: Option<String>,
}

impl Model {
    /// Runs it with every schedule, and every death if it has any. With a fault: until it is found, or so many schedules
    /// have been run with each death.
    pub fn explore(&self, fault: Option<(Fault, usize)>) -> Explored {
        let deaths: Vec<_> = if self.deaths == 0 { vec![None] } else { (0..=self.deaths).map(Some).collect() };
        let mut all = Explored::default();
        modelled::plant(fault.map(|(fault, _)| fault));
        quiet();
        for death in deaths {
            self.explore_with(death, fault.map(|(_, most)| most), &mut all);
            if all.wrong.is_some() {
                break;
            }
        }
        all.losses = modelled::losses();
        modelled::plant(None);
        all
    }

    fn explore_with(&self, death: Option<u32>, most: Option<usize>, all: &mut Explored) {
        let (run, preemptions) = (self.run, self.preemptions);
        loop {
            let count = Arc::new(AtomicUsize::new(0));
            let counter = count.clone();
            let result = catch_unwind(AssertUnwindSafe(|| {
                builder(most, preemptions).check(move || {
                    modelled::reset();
                    counter.fetch_add(1, Ordering::Relaxed);
                    run(death);
                    // Void: other schedules of a run that took a variable for a constant prove nothing.
                    assert!(!modelled::has_grown(), "{GROWN}");
                });
            }));
            let text = result.err().map(|payload| {
                let text = payload.downcast_ref::<String>().cloned();
                text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
            });
            if modelled::has_grown() || text.as_deref() == Some(GROWN) {
                continue;
            }
            all.schedules += count.load(Ordering::Relaxed);
            all.stopped |= text.as_ref().is_some_and(|text| text.contains("VersionVec"));
            all.wrong = text.filter(|text| !text.contains("VersionVec")).map(|text| match death {
                None => text,
                Some(k) => format!("with a death after {k} accesses: {text}"),
            });
            return;
        }
    }
}

/// What a model finds is told by `Explored`, not by thousands of panics on the way.
fn quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !modelled::is_running() {
                loud(info);
            }
        }));
    });
}

const GROWN: &str = "a word was thought constant and was written";

fn builder(most: Option<usize>, preemptions: usize) -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.unwrap_or(2).min(preemptions));
    builder.max_branches = 20_000;
    if let Some(most) = most {
        (builder.max_permutations, builder.checkpoint_interval) = (Some(most), most);
    }
    builder
}

const NOW: u64 = 1_000_000_000_000;

/// A table with one upstream.
fn table(policy: &Policy, capacity: (u32, u32, u32)) -> (Arc<Table>, UpstreamId) {
    let (peers, workers, events) = capacity;
    let table = Table::anonymous(&Capacity::new(1, peers, workers, events).unwrap(), NOW).unwrap();
    let upstream = table.open_upstream(b"app", policy).unwrap();
    (Arc::new(table), upstream)
}

fn policy(selector: Selector, eject_failures: u32) -> Policy {
    Policy { selector, eject_failures, half_open_successes: 1, ..Policy::default() }
}

/// Peers by number, with a limit.
fn peers(numbers: &[u16], limit: u32) -> Vec<PeerSpec> {
    let spec = |&n: &u16| {
        let mut address = [0u8; 16];
        address[..2].copy_from_slice(&2u16.to_ne_bytes());
        address[2..4].copy_from_slice(&n.to_be_bytes());
        PeerSpec::new(Address::new(&address).unwrap(), b"", 1, 0, limit, Admin::Enabled).unwrap()
    };
    numbers.iter().map(spec).collect()
}

/// The number of the peer with this address.
fn number(address: &Address) -> u16 {
    u16::from_be_bytes([address.as_bytes()[2], address.as_bytes()[3]])
}

/// Every model holds. Prints how many schedules it has.
#[test]
fn every_model_holds() {
    let only = std::env::var("LOOM_ONLY").unwrap_or_default();
    let mut wrong = vec![];
    for model in MODELS.iter().copied().flatten().filter(|m| m.name.contains(&only)) {
        let start = std::time::Instant::now();
        let explored = model.explore(None);
        let (faults, ms) = (explored.losses.len(), start.elapsed().as_millis());
        println!(
            "{:<60} {:>8} schedules {faults:>3} faults possible {ms:>7} ms{}",
            model.name,
            explored.schedules,
            if explored.stopped { ", loom gave up" } else { "" }
        );
        wrong.extend(explored.wrong.map(|text| format!("{}: {text}", model.name)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
