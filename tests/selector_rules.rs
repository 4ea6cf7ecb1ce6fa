//! Every selector with every set of features: weights, priorities, zones, slow start, limits, tried peers, half-open,
//! panic. Whatever is combined, what may not be picked is not, and what must be kept is.

mod common;

use common::*;
use proptest::prelude::*;
use std::collections::HashMap;
use tidegate::cause::Cause;
use tidegate::failover::{Request, Worker};

use tidegate::http::Method;
use tidegate::table::{Admin, Health, Policy, Selector};

const ALL: [Selector; 6] = [
    Selector::RoundRobin,
    Selector::LeastRequest,
    Selector::Random,
    Selector::PeakEwma,
    Selector::Maglev,
    Selector::SourceHash,
];

/// A world whose peers have zones.
fn world(policy: Policy, peers: &[Spec], zones: &[u8]) -> World {
    let mut world = World::new(policy, peers);
    declare(&mut world, peers, zones);
    world
}

fn declare(world: &mut World, peers: &[Spec], zones: &[u8]) {
    let zone = |i: usize| zones.get(i).copied().unwrap_or(0);
    let specs: Vec<_> = specs(peers).into_iter().enumerate().map(|(i, spec)| spec.in_zone(zone(i))).collect();
    world.peers = world.table.set_peers(world.upstream, &specs, world.now).unwrap();
}

fn keyed(world: &World, key: u64) -> Request {
    let mut request = world.request(Method::Get);
    request.set_key(&key.to_le_bytes());
    request
}

fn pick(world: &World, request: &mut Request) -> Option<usize> {
    request.pick(world.now).unwrap().map(|picked| world.place(picked))
}

/// Where each of these keys goes now, each request ended at once.
fn homes(world: &World, keys: u64) -> Vec<usize> {
    (0..keys)
        .map(|key| {
            let mut request = keyed(world, key);
            let place = pick(world, &mut request).unwrap();
            request.end(world.now);
            place
        })
        .collect()
}

fn disable(world: &World, place: usize, admin: Admin) {
    let status = unsafe_set_admin(world, place, admin);
    assert_eq!(status, 0);
}

#[allow(unsafe_code)]
fn unsafe_set_admin(world: &World, place: usize, admin: Admin) -> i32 {
    let table = std::sync::Arc::as_ptr(&world.table).cast();
    // SAFETY: a handle is the pointer of an `Arc<Table>`, and this one lives.
    unsafe {
        tidegate::ffi::upstream::tidegate_peer_set_admin(table, world.peers[place].number(), admin.number(), world.now)
    }
}

/// One combination: six features, on or off.
#[derive(Clone, Copy, Debug)]
struct Features {
    weights: bool,
    overflow: bool,
    zones: bool,
    slow: bool,
    limits: bool,
    panic: bool,
    bound: bool,
}

fn combinations() -> impl Iterator<Item = (Selector, Features)> {
    ALL.into_iter().flat_map(|selector| {
        (0..1 << 7).map(move |bits: u32| {
            let on = |n: u32| bits >> n & 1 != 0;
            let [weights, overflow, zones, slow, limits, panic, bound] = std::array::from_fn(|n| on(n as u32));
            (selector, Features { weights, overflow, zones, slow, limits, panic, bound })
        })
    })
}

#[test]
fn every_combination_keeps_the_rules() {
    for (selector, f) in combinations() {
        let policy = Policy {
            selector,
            overflow_percent: if f.overflow { 140 } else { 0 },
            zone: u8::from(f.zones),
            slow_start_ns: if f.slow { 10 * SECOND } else { 0 },
            panic_percent: if f.panic { 50 } else { 0 },
            load_bound_percent: if f.bound { 125 } else { 0 },
            ..Policy::default()
        };
        let peers: Vec<Spec> = (0..10u16)
            .map(|i| Spec {
                weight: if f.weights { 1 + u32::from(i % 3) } else { 1 },
                limit: if f.limits && i % 2 == 0 { 2 } else { 0 },
                backup: i >= 7,
                admin: [Admin::Enabled, Admin::Enabled, Admin::Disabled, Admin::Draining]
                    [usize::from(i == 4) * 2 + usize::from(i == 5) * 3 % 4],
                ..peer(i + 1)
            })
            .collect();
        let zones: Vec<u8> = (0..10).map(|i| if f.zones { 1 + i % 2 } else { 0 }).collect();
        let mut world = world(policy, &peers[..9], &zones);
        // The tenth is new: in slow start, where that is on.
        declare(&mut world, &peers, &zones);
        let what = format!("{selector:?} {f:?}");

        // One peer is ejected: only trials may reach it, and in a panic anybody.
        eject(&mut world, 2, &what);
        check_picks(&mut world, &peers, f, &what);

        // All that are tried are excluded, one after the other, and nobody who could be picked is left out.
        let mut request = keyed(&world, 77);
        let mut seen: Vec<usize> = vec![];
        while let Some(place) = pick(&world, &mut request) {
            assert!(!seen.contains(&place), "{what}: {place} was tried before");
            seen.push(place);
            request.report(&failed(Cause::CONNECTION_TIMEOUT), world.now).unwrap();
        }
        for (place, spec) in peers.iter().enumerate() {
            let usable = spec.admin == Admin::Enabled && place != 2;
            assert!(!usable || seen.contains(&place), "{what}: {place} was not tried, only {seen:?}");
        }
    }
}

/// Fails a peer by its own requests until it is out.
fn eject(world: &mut World, victim: usize, what: &str) {
    for n in 0..20_000u64 {
        if world.views()[victim].health == Health::Ejected {
            return;
        }
        let mut request = keyed(world, n);
        let Some(place) = pick(world, &mut request) else { continue };
        let outcome = if place == victim { failed(Cause::CONNECTION_REFUSED) } else { ok() };
        request.report(&outcome, world.now).unwrap();
        // What costs too much is asked again as time passes.
        world.now += 5 * MS;
    }
    panic!("{what}: never came to {victim}");
}

/// Many requests held open at once: nobody that may not be picked is, and no limit is exceeded.
fn check_picks(world: &mut World, peers: &[Spec], f: Features, what: &str) {
    let mut open = vec![];
    for n in 0..60u64 {
        let mut request = keyed(world, n);
        if let Some(picked) = request.pick(world.now).unwrap() {
            let place = world.place(picked);
            let (panicking, trial) = (picked.flags & 2 != 0, picked.flags & 1 != 0);
            assert_ne!(peers[place].admin, Admin::Disabled, "{what}: {place} is disabled");
            assert_eq!(peers[place].admin, Admin::Enabled, "{what}: {place} is draining");
            assert!(f.panic || !panicking, "{what}: panic without a policy");
            assert!(world.views()[place].health == Health::Healthy || panicking || trial, "{what}: {place} is out");
            assert_eq!(picked.flags & 4 != 0, peers[place].backup, "{what}: flags {}", picked.flags);
            open.push(request);
        }
        for (view, spec) in world.views().iter().zip(peers) {
            assert!(spec.limit == 0 || view.in_flight <= spec.limit, "{what}: {} above {}", view.in_flight, spec.limit);
        }
    }
    for request in &mut open {
        request.end(world.now);
    }
    assert!(world.in_flight().iter().all(|&n| n == 0), "{what}: {:?}", world.in_flight());
}

#[test]
fn a_panic_is_seen_with_every_selector() {
    for selector in ALL {
        let policy = Policy { selector, panic_percent: 50, ..Policy::default() };
        let mut world = World::new(policy, &(1..=4).map(peer).collect::<Vec<_>>());
        for victim in [0, 1, 2] {
            eject_in_panic(&mut world, victim);
        }
        let mut seen = 0;
        for n in 0..200 {
            let mut request = keyed(&world, n);
            let picked = request.pick(world.now).unwrap().unwrap();
            assert_ne!(picked.flags & 2, 0, "{selector:?}");
            seen |= 1 << world.place(picked);
            request.end(world.now);
        }
        assert_eq!(seen, 0b1111, "{selector:?}: spread over all");
    }
}

fn eject_in_panic(world: &mut World, victim: usize) {
    for n in 0..20_000 {
        if world.views()[victim].health == Health::Ejected {
            return;
        }
        let mut request = keyed(world, n);
        let Some(place) = pick(world, &mut request) else { continue };
        request.report(&if place == victim { failed(Cause::CONNECTION_REFUSED) } else { ok() }, world.now).unwrap();
        world.now += 5 * MS;
    }
    panic!("never came to {victim}");
}

#[test]
fn weights_are_honoured_within_the_bounds() {
    let weights = [1u32, 2, 3, 10];
    let sum: u32 = weights.iter().sum();
    let peers: Vec<Spec> = weights.iter().zip(1..).map(|(&weight, port)| Spec { weight, ..peer(port) }).collect();
    let picks = 16_000;
    for selector in [Selector::RoundRobin, Selector::Random, Selector::Maglev, Selector::SourceHash] {
        let world = World::new(Policy { selector, ..Policy::default() }, &peers);
        let mut counts = [0u32; 4];
        homes(&world, picks).into_iter().for_each(|place| counts[place] += 1);
        for (&count, &weight) in counts.iter().zip(&weights) {
            let p = f64::from(weight) / f64::from(sum);
            let ideal = picks as f64 * p;
            // Six standard deviations of a draw; of a table also an entry of 4,093.
            let bound = 6.0 * (ideal * (1.0 - p)).sqrt() + picks as f64 / 4093.0;
            assert!((f64::from(count) - ideal).abs() <= bound, "{selector:?} {counts:?}");
        }
    }
    // What compares load keeps to the weights under load.
    for selector in [Selector::LeastRequest, Selector::PeakEwma] {
        let world = World::new(Policy { selector, ..Policy::default() }, &peers);
        let mut open: Vec<_> = (0..1600).map(|n| keyed(&world, n)).collect();
        assert!(open.iter_mut().all(|request| pick(&world, request).is_some()));
        for (n, weight) in world.in_flight().iter().zip(weights) {
            assert!(n.abs_diff(weight * 100) <= 2 + weight * 3, "{selector:?} {:?}", world.in_flight());
        }
    }
}

#[test]
fn the_cheapest_is_picked_and_a_failure_is_not_cheap() {
    let mut world = World::new(
        Policy { selector: Selector::PeakEwma, eject_failures: 31, ..Policy::default() },
        &(1..=8).map(peer).collect::<Vec<_>>(),
    );
    // One peer takes ten times as long, one fails at once: neither gets much of the traffic.
    let mut counts = [0; 8];
    for n in 0..8000u64 {
        let mut request = keyed(&world, n);
        let place = pick(&world, &mut request).unwrap();
        counts[place] += 1;
        let outcome = match place {
            3 => failed(Cause::HTTP_PROTOCOL_ERROR),
            5 => tidegate::failover::Outcome { total_ns: 50 * MS, ..ok() },
            _ => tidegate::failover::Outcome { total_ns: 5 * MS, ..ok() },
        };
        let took = if place == 3 { 0 } else { outcome.total_ns };
        request.report(&tidegate::failover::Outcome { total_ns: took.max(1), ..outcome }, world.now).unwrap();
        request.end(world.now);
        world.now += MS;
    }
    // 8 s: asked again every τ·ln(1 s / 5 ms), 5.3 s, and every τ·ln 10, 2.3 s.
    assert!(counts[3] <= 4 && counts[5] <= 6, "{counts:?}");
    assert!(counts.iter().enumerate().all(|(i, &n)| i == 3 || i == 5 || n > 500), "{counts:?}");
}

#[test]
fn equal_costs_make_no_herd() {
    let world = World::new(
        Policy { selector: Selector::PeakEwma, ..Policy::default() },
        &(1..=40).map(peer).collect::<Vec<_>>(),
    );
    let mut first = HashMap::new();
    for n in 0..7 {
        let worker = Worker::join(world.table.clone(), false, n + 1, world.now).unwrap();
        let mut request = start(&worker, 0, Method::Get, world.now);
        *first.entry(pick(&world, &mut request)).or_insert(0) += 1;
        request.end(world.now);
        std::mem::forget(worker);
    }
    assert!(first.len() >= 4, "{first:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn only_the_keys_of_who_is_out_move(n in 3u16..40, out in 0usize..40, source: bool) {
        let selector = if source { Selector::SourceHash } else { Selector::Maglev };
        let world = World::new(Policy { selector, slow_start_ns: 0, ..Policy::default() }, &(1..=n).map(peer).collect::<Vec<_>>());
        let out = out % usize::from(n);
        let before = homes(&world, 500);
        prop_assert_eq!(&before, &homes(&world, 500), "the same key, the same peer");
        disable(&world, out, Admin::Disabled);
        for (was, is) in before.iter().zip(homes(&world, 500)) {
            prop_assert!(is != out && (*was == out || is == *was), "{} went to {}", was, is);
        }
        disable(&world, out, Admin::Enabled);
        prop_assert_eq!(before, homes(&world, 500), "back where they were");
    }

    #[test]
    fn few_keys_move_when_a_peer_is_removed(n in 3u16..40, gone in 0usize..40) {
        let peers: Vec<Spec> = (1..=n).map(peer).collect();
        let mut world = World::new(Policy { selector: Selector::Maglev, ..Policy::default() }, &peers);
        let gone = gone % usize::from(n);
        let ports = |world: &World, of: &[Spec]| homes(world, 1000).iter().map(|&p| of[p].port).collect::<Vec<_>>();
        let before = ports(&world, &peers);
        let rest: Vec<Spec> = peers.iter().enumerate().filter(|&(i, _)| i != gone).map(|(_, &p)| p).collect();
        declare(&mut world, &rest, &[]);
        let after = ports(&world, &rest);
        let moved = before.iter().zip(&after).filter(|&(&b, &a)| b != peers[gone].port && b != a).count();
        prop_assert!(moved < 150, "{} of 1000 other keys moved", moved);
    }

    #[test]
    fn a_bounded_load_is_never_exceeded(weights in prop::collection::vec(1u32..5, 2..12), percent in 100u32..200, steps in prop::collection::vec((any::<bool>(), any::<u16>()), 1..150)) {
        let peers: Vec<Spec> = weights.iter().zip(1..).map(|(&weight, port)| Spec { weight, ..peer(port) }).collect();
        for selector in ALL {
            let policy = Policy { selector, load_bound_percent: percent, ..Policy::default() };
            let world = World::new(policy, &peers);
            let mut open: Vec<Request> = vec![];
            for &(begin, which) in &steps {
                if begin || open.is_empty() {
                    // All requests of one key: without the bound they would go to one peer.
                    let mut request = keyed(&world, 5);
                    let place = pick(&world, &mut request).unwrap();
                    open.push(request);
                    let fair = open.len() as f64 * f64::from(weights[place]) / f64::from(weights.iter().sum::<u32>());
                    let most = (fair * f64::from(percent) / 100.0).ceil();
                    let n = world.in_flight()[place];
                    prop_assert!(f64::from(n) <= most, "{:?}: {} of {} above {}", selector, n, open.len(), most);
                } else {
                    open.swap_remove(usize::from(which) % open.len()).end(world.now);
                }
            }
        }
    }
}

/// Picks of each peer, of so many.
fn counts(world: &World, picks: u64) -> Vec<u64> {
    let mut counts = vec![0; world.peers.len()];
    homes(world, picks).into_iter().for_each(|place| counts[place] += 1);
    counts
}

fn near(count: u64, ideal: u64, picks: u64) -> bool {
    let p = ideal as f64 / picks as f64;
    (count as f64 - ideal as f64).abs() <= 6.0 * (picks as f64 * p * (1.0 - p)).sqrt() + picks as f64 / 100.0
}

#[test]
fn backups_take_over_gradually() {
    // Ten primaries of which ever more are out: Envoy's figures.
    for selector in ALL {
        let policy = Policy { selector, overflow_percent: 140, ..Policy::default() };
        let peers: Vec<Spec> = (1..=20).map(|port| Spec { backup: port > 10, ..peer(port) }).collect();
        let world = World::new(policy, &peers);
        for (out, share) in [(0, 0), (2, 0), (5, 3000), (8, 7200), (10, 10_000)] {
            (0..out).for_each(|place| disable(&world, place, Admin::Disabled));
            let backups: u64 = counts(&world, 10_000)[10..].iter().sum();
            assert!(near(backups, share, 10_000), "{selector:?}: {backups} with {out} out");
        }
    }
}

#[test]
fn a_zone_keeps_what_it_can_carry() {
    for selector in ALL {
        let policy = Policy { selector, zone: 1, ..Policy::default() };
        let peers: Vec<Spec> = (1..=12).map(peer).collect();
        // Three zones alike: all stays near. With three of the four near ones out 1 · 3 / 9 of it does.
        let zones: Vec<u8> = (0..12).map(|i| 1 + i / 4).collect();
        let world = world(policy, &peers, &zones);
        let near_picks = |world: &World| counts(world, 9000)[..4].iter().sum::<u64>();
        assert_eq!(near_picks(&world), 9000, "{selector:?}");
        (0..3).for_each(|place| disable(&world, place, Admin::Disabled));
        let few = near_picks(&world);
        assert!(near(few, 3000, 9000), "{selector:?}: {few}");
    }
}

#[test]
fn a_new_peer_comes_to_its_share_bit_by_bit() {
    for selector in [Selector::RoundRobin, Selector::Random, Selector::Maglev, Selector::SourceHash] {
        let policy = Policy { selector, slow_start_ns: 10 * SECOND, ..Policy::default() };
        let peers: Vec<Spec> = (1..=10).map(peer).collect();
        let mut world = World::new(policy, &peers[..9]);
        declare(&mut world, &peers, &[]);
        for (seconds, share) in [(0, 100), (5, 500), (5, 1000), (60, 1000)] {
            world.now += seconds * SECOND;
            let new = counts(&world, 10_000)[9];
            assert!(near(new, share, 10_000), "{selector:?}: {new} instead of {share}");
        }
    }
    // What compares load gives it no more than that.
    for selector in [Selector::LeastRequest, Selector::PeakEwma] {
        let policy = Policy { selector, slow_start_ns: 10 * SECOND, ..Policy::default() };
        let peers: Vec<Spec> = (1..=10).map(peer).collect();
        let mut world = World::new(policy, &peers[..9]);
        counts(&world, 1000);
        declare(&mut world, &peers, &[]);
        let new = counts(&world, 10_000)[9];
        assert!(new <= 10_000 * 2 / 100 + 100, "{selector:?}: {new}");
    }
}
