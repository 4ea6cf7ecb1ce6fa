//! Selectors against slow twins and against their bounds.

mod common;

use common::*;
use proptest::prelude::*;
use tidegate::http::Method;
use tidegate::table::{Admin, Policy, Selector};

fn policy(selector: Selector) -> Policy {
    Policy { selector, ..Policy::default() }
}

fn weighted(weights: &[u32]) -> Vec<Spec> {
    weights.iter().enumerate().map(|(i, &weight)| Spec { weight, ..peer(i as u16 + 1) }).collect()
}

fn shares(world: &mut World, picks: usize) -> Vec<usize> {
    let mut counts = vec![0; world.peers.len()];
    for _ in 0..picks {
        counts[world.serve().unwrap()] += 1;
    }
    counts
}

/// So many cases, or as many as PROPTEST_CASES says.
fn cases(n: u32) -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    if asked { ProptestConfig::default() } else { ProptestConfig::with_cases(n) }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn an_idle_upstream_is_shared_by_weight_to_within_two_turns(weights in prop::collection::vec(1u32..40, 1..9)) {
        let mut world = World::new(policy(Selector::RoundRobin), &weighted(&weights));
        let picks = 500;
        let sum: u32 = weights.iter().sum();
        for (count, weight) in shares(&mut world, picks).iter().zip(&weights) {
            // A window that begins anywhere in the cycle: one turn at each end.
            let ideal = picks as f64 * f64::from(*weight) / f64::from(sum);
            prop_assert!((*count as f64 - ideal).abs() <= 2.0, "{:?}: {} instead of {}", weights, count, ideal);
        }
    }

    #[test]
    fn what_the_missing_would_get_is_spread_over_the_rest(n in 4usize..30, seed: u64) {
        let out = |i: usize| (seed >> (i % 60)) & 3 == 0 && i != 0;
        let peers: Vec<Spec> = (0..n)
            .map(|i| Spec { admin: if out(i) { Admin::Disabled } else { Admin::Enabled }, ..peer(i as u16 + 1) })
            .collect();
        let mut world = World::new(policy(Selector::RoundRobin), &peers);
        let live = (0..n).filter(|&i| !out(i)).count();
        let picks = 400 * live;
        for (i, count) in shares(&mut world, picks).into_iter().enumerate() {
            let ideal = if out(i) { 0.0 } else { 400.0 };
            prop_assert!((count as f64 - ideal).abs() <= ideal * 0.25, "peer {} of {}: {}", i, n, count);
        }
    }

    #[test]
    fn no_peer_is_tried_twice_and_none_left_out(n in 1u16..16, selector in 0usize..2) {
        let selector = [Selector::RoundRobin, Selector::LeastRequest][selector];
        let peers: Vec<Spec> = (1..=n).map(peer).collect();
        let world = World::new(policy(selector), &peers);
        let mut request = world.request(Method::Get);
        let mut seen = vec![];
        while let Some(picked) = request.pick(world.now).unwrap() {
            let place = world.place(picked);
            prop_assert!(!seen.contains(&place));
            seen.push(place);
            request.report(&failed(tidegate::cause::Cause::CONNECTION_TIMEOUT), world.now).unwrap();
            if seen.len() == n as usize { break }
        }
        prop_assert_eq!(seen.len(), n as usize);
    }

    #[test]
    fn in_flight_is_what_a_slow_twin_says(steps in prop::collection::vec((0u8..4, any::<u16>()), 1..200), selector in 0usize..2) {
        let selector = [Selector::RoundRobin, Selector::LeastRequest][selector];
        let world = World::new(policy(selector), &weighted(&[1, 2, 3, 4]));
        let (mut open, mut twin) = (vec![], [0u32; 4]);
        for (step, which) in steps {
            if step < 2 || open.is_empty() {
                let mut request = world.request(Method::Get);
                let picked = request.pick(world.now).unwrap().unwrap();
                twin[world.place(picked)] += 1;
                open.push((request, world.place(picked)));
            } else {
                let (mut request, place) = open.swap_remove(usize::from(which) % open.len());
                if step == 2 { request.report(&ok(), world.now).map(|_| ()).unwrap() } else { request.end(world.now) }
                twin[place] -= 1;
            }
            prop_assert_eq!(world.in_flight(), twin.to_vec());
        }
    }
}

#[test]
fn least_request_avoids_the_loaded_peer() {
    let world = World::new(policy(Selector::LeastRequest), &weighted(&[1; 4]));
    let mut held: Vec<_> = (0..40).map(|_| world.request(Method::Get)).collect();
    for request in &mut held {
        request.pick(world.now).unwrap().unwrap();
    }
    let (least, most) = (world.in_flight().into_iter().min().unwrap(), world.in_flight().into_iter().max().unwrap());
    assert!(most - least <= 3, "{:?}", world.in_flight());
}

#[test]
fn least_request_levels_by_weight() {
    let world = World::new(policy(Selector::LeastRequest), &weighted(&[1, 3]));
    let mut held: Vec<_> = (0..400).map(|_| world.request(Method::Get)).collect();
    for request in &mut held {
        request.pick(world.now).unwrap().unwrap();
    }
    let n = world.in_flight();
    assert!((95..=105).contains(&n[0]), "{n:?}");
}

#[test]
fn workers_start_at_different_peers() {
    let world = World::of(50);
    let mut first = vec![];
    for _ in 0..6 {
        let worker = tidegate::failover::Worker::join(world.table.clone(), false, 0, world.now).unwrap();
        let mut request = start(&worker, 0, Method::Get, world.now);
        first.push(world.place(request.pick(world.now).unwrap().unwrap()));
        request.end(world.now);
        std::mem::forget(worker);
    }
    first.sort_unstable();
    first.dedup();
    assert!(first.len() >= 4, "{first:?}");
}

#[test]
fn a_pick_costs_the_same_with_most_peers_out() {
    let peers: Vec<Spec> = (0..2000)
        .map(|i| Spec { admin: if i == 1234 { Admin::Enabled } else { Admin::Disabled }, ..peer(i + 1) })
        .collect();
    let mut world = World::new(Policy::default(), &peers);
    assert!((0..100).all(|_| world.serve() == Some(1234)));
}
