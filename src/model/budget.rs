//! The retry budget: a token is given out once.

use super::{Model, NOW, table};
use crate::failover::take_token;
use crate::sync::modelled::{process, run};
use crate::table::Policy;
use std::cell::Cell;
use std::rc::Rc;

pub(super) const MODELS: &[Model] =
    &[Model { name: "budget: three workers and one token", run: one_token, deaths: 0, preemptions: 3 }];

fn one_token(_: Option<u32>) {
    // No share and no rate: one token, and never another.
    let policy = Policy { retry_budget_ppm: 0, retry_budget_min_per_s: 0, ..Policy::default() };
    let (table, upstream) = table(&policy, (1, 3, 1));
    run(1..=3);
    let taken = Rc::new(Cell::new(0));
    let workers = [1, 2, 3].map(|n| {
        let (table, taken) = (table.clone(), taken.clone());
        process(n, None, move || {
            let took = take_token(&table, upstream, NOW);
            taken.set(taken.get() + u32::from(took));
        })
    });
    workers.into_iter().for_each(|w| assert!(w.join().unwrap()));
    assert_eq!(taken.get(), 1, "tokens taken");
}
