//! What ejects a peer and what does not, on virtual time.

mod common;

use common::*;
use std::collections::VecDeque;
use tidegate::cause::Cause;
use tidegate::failover::{Outcome, Phase, Request, Verdict};
use tidegate::http::Method;
use tidegate::table::{Detector, Health, Policy, Selector};

const JUDGE_ONLY: u32 = 8;
const NOTED: u32 = 11;

fn bad() -> Outcome {
    Outcome { status: 503, phase: Phase::Done, ..ok() }
}

/// One request: `outcome` says what each of its attempts comes to. Whether it went well.
fn run(world: &mut World, outcome: &mut dyn FnMut(usize) -> Outcome) -> bool {
    let mut request = world.request(Method::Get);
    while let Some(picked) = request.pick(world.now).unwrap() {
        let decision = request.report(&outcome(world.place(picked)), world.now).unwrap();
        if decision.verdict != Verdict::Retry {
            return decision.cause == Cause::NONE;
        }
    }
    false
}

#[test]
fn every_other_answer_wrong_is_found_within_a_few_dozens() {
    for peers in [2, 3, 4, 40] {
        for selector in [Selector::RoundRobin, Selector::LeastRequest] {
            let specs: Vec<_> = (1..=peers).map(peer).collect();
            let mut world = World::new(Policy { selector, ..Policy::default() }, &specs);
            let mut answers = 0;
            while world.views()[0].health == Health::Healthy {
                run(&mut world, &mut |i| {
                    answers += usize::from(i == 0);
                    if i == 0 && answers % 2 == 0 { bad() } else { ok() }
                });
                world.now += 2 * MS;
                assert!(answers <= 40, "{selector:?}, {peers} peers");
            }
            let view = &world.views()[0];
            assert_eq!(view.last_ejection, Some((Detector::Rate, Cause::UPSTREAM_STATUS)), "{answers} answers");
            assert!(world.views()[1..].iter().all(|v| v.health == Health::Healthy));
        }
    }
}

#[test]
fn where_all_fail_alike_nobody_is_ejected() {
    // Odd numbers: the turns of four peers must not meet the failures in step.
    for every in [1, 3, 7] {
        let mut world = World::of(4);
        let mut n = 0;
        for _ in 0..3000 {
            run(&mut world, &mut |_| {
                n += 1;
                if n % every == 0 { bad() } else { ok() }
            });
            world.now += 3 * MS;
        }
        let ejected: Vec<_> = world.views().iter().map(|v| (v.ejections, v.last_ejection)).collect();
        assert!(ejected.iter().all(|e| e.0 == 0), "one of {every}: {ejected:?}");
    }
}

/// 300 requests a second to four peers, of which the first takes its requests and is silent.
#[test]
fn few_requests_meet_a_peer_that_hangs_and_its_first_answer_brings_it_back() {
    for selector in [Selector::RoundRobin, Selector::LeastRequest, Selector::Random] {
        let specs: Vec<_> = (1..=4).map(peer).collect();
        let mut world = World::new(Policy { selector, ..Policy::default() }, &specs);
        let (mut under_way, mut hanging) = (VecDeque::<(u64, Request)>::new(), vec![]);
        let mut hangs_at = |world: &mut World, silent: bool| {
            let mut request = world.request(Method::Get);
            let picked = request.pick(world.now).unwrap().unwrap();
            if silent && world.place(picked) == 0 {
                hanging.push(request);
            } else {
                under_way.push_back((world.now + 10 * MS, request));
            }
            world.now += 3_333_333;
            while under_way.front().is_some_and(|(due, _)| *due <= world.now) {
                let (_, mut request) = under_way.pop_front().unwrap();
                request.report(&Outcome { head_ns: 10 * MS, total_ns: 10 * MS, ..ok() }, world.now).unwrap();
            }
        };
        (0..300).for_each(|_| hangs_at(&mut world, false));
        assert!(world.views().iter().all(|v| v.ejections == 0));
        (0..250).for_each(|_| hangs_at(&mut world, true));
        assert_eq!(world.views()[0].last_ejection.map(|(detector, _)| detector), Some(Detector::Pending));
        assert_eq!(world.views()[0].health, Health::Ejected, "{selector:?}");
        // Drawn at random they come in bursts.
        let most = if selector == Selector::Random { 25 } else { 10 };
        assert!(hanging.len() <= most, "{selector:?}: {} requests hang", hanging.len());
        let mut first = hanging.pop().unwrap();
        first.report(&ok(), world.now).unwrap();
        assert_eq!(world.views()[0].health, Health::Healthy, "{selector:?}");
    }
}

#[test]
fn downloads_that_go_on_are_no_requests_that_hang() {
    let mut world = World::of(2);
    let mut downloads: Vec<Request> = vec![];
    while downloads.len() < 12 {
        let mut request = world.request(Method::Get);
        if world.place(request.pick(world.now).unwrap().unwrap()) == 0 {
            request.head(&Outcome { status: 200, phase: Phase::Head, head_ns: MS, ..ok() }, world.now).unwrap();
            downloads.push(request);
        } else {
            request.report(&ok(), world.now).unwrap();
        }
        world.now += 10 * MS;
    }
    for _ in 0..600 {
        // All else goes to the other.
        let mut request = world.request(Method::Get);
        let picked = request.pick(world.now).unwrap().unwrap();
        if world.place(picked) == 0 {
            request.end(world.now)
        } else {
            drop(request.report(&ok(), world.now))
        }
        world.now += 10 * MS;
    }
    assert!(world.views().iter().all(|v| v.ejections == 0));
}

#[test]
fn a_request_that_fails_alike_everywhere_charges_nobody() {
    let mut world = World::of(3);
    for _ in 0..40 {
        let poisoned = run(&mut world, &mut |_| Outcome { phase: Phase::Head, ..failed(Cause::CONNECTION_TERMINATED) });
        assert!(!poisoned);
        world.now += 20 * MS;
    }
    assert!(world.views().iter().all(|v| v.ejections == 0));
}

#[test]
fn two_bad_peers_are_charged_where_a_third_does_better() {
    let mut world = World::of(3);
    for _ in 0..40 {
        run(&mut world, &mut |i| if i == 2 { ok() } else { bad() });
        world.now += 20 * MS;
    }
    let health: Vec<_> = world.views().iter().map(|v| v.health).collect();
    assert_eq!(health, [Health::Ejected, Health::Ejected, Health::Healthy]);
}

#[test]
fn judging_only_tells_once_a_streak_and_ejects_nobody() {
    let specs: Vec<_> = (1..=3).map(peer).collect();
    let mut world = World::new(Policy { health: JUDGE_ONLY, ..Policy::default() }, &specs);
    for _ in 0..60 {
        run(&mut world, &mut |i| if i == 0 { failed(Cause::CONNECTION_REFUSED) } else { ok() });
        world.now += 5 * MS;
    }
    assert!(world.views().iter().all(|v| v.health == Health::Healthy));
    assert_eq!(world.events().iter().filter(|&&kind| kind == NOTED).count(), 1);
}

#[test]
fn who_times_out_beside_a_peer_that_is_out_is_overloaded_not_ill() {
    let mut world = World::of(2);
    while world.views()[0].ejections == 0 {
        run(&mut world, &mut |i| if i == 0 { failed(Cause::CONNECTION_REFUSED) } else { ok() });
    }
    let mut n = 0;
    while world.views()[0].ejections > 0 {
        run(&mut world, &mut |i| {
            n += 1;
            if i == 1 && n % 7 != 0 { failed(Cause::CONNECTION_READ_TIMEOUT) } else { ok() }
        });
        world.now += 10 * MS;
        assert_eq!(world.views()[1].ejections, 0);
    }
    assert!(n > 20);
}
