//! Shadow mode: the same policy never differs, another one differs as a table of its own says, and nothing of the live
//! upstream changes.

mod common;

use common::*;
use proptest::prelude::*;
use tidegate::cause::Cause;
use tidegate::failover::{Outcome, Request, Verdict, Worker};
use tidegate::http::Method;
use tidegate::table::{Admin, Compared, Health, PeerHandle, Policy, Selector};

const SELECTORS: [Selector; 6] = [
    Selector::RoundRobin,
    Selector::LeastRequest,
    Selector::Random,
    Selector::PeakEwma,
    Selector::Maglev,
    Selector::SourceHash,
];

/// One step of a random run.
#[derive(Clone, Copy, Debug)]
enum Step {
    Begin(u16),
    End(u16, u8),
    Wait(u16),
    Admin(u8, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => any::<u16>().prop_map(Step::Begin),
        6 => (any::<u16>(), any::<u8>()).prop_map(|(which, how)| Step::End(which, how)),
        1 => any::<u16>().prop_map(Step::Wait),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(peer, out)| Step::Admin(peer, out)),
    ];
    prop::collection::vec(step, 1..300)
}

/// How an attempt ends; failures are of a few peers, so that some are ejected.
fn outcome(place: usize, how: u8) -> Outcome {
    match (place % 3, how % 8) {
        (0, 0..=3) => failed(Cause::CONNECTION_READ_TIMEOUT),
        (0, 4) => failed(Cause::CONNECTION_REFUSED),
        (1, 0..=2) => Outcome { status: 500, ..ok() },
        (1, 3..=4) => Outcome { status: 503, ..ok() },
        (_, 5) => failed(Cause::CONNECTION_REUSED_CLOSED),
        (_, 6) => failed(Cause::CLIENT_CLOSED),
        (_, n) => Outcome { total_ns: u64::from(n + 1) * MS, ..ok() },
    }
}

/// Drives a world; what it picked and decided.
fn run(world: &mut World, peers: &[Spec], steps: &[Step]) -> Vec<(Option<usize>, u32)> {
    let (mut open, mut seen, mut peers): (Vec<(Request, usize)>, _, _) = (vec![], vec![], peers.to_vec());
    for step in steps {
        match *step {
            Step::Begin(key) => {
                let method = if key % 5 == 0 { Method::Post } else { Method::Get };
                let mut request = world.request(method);
                request.set_key(&key.to_le_bytes());
                let picked = request.pick(world.now).unwrap().map(|p| world.place(p));
                seen.push((picked, 0));
                open.extend(picked.map(|place| (request, place)));
            }
            Step::End(which, how) if !open.is_empty() => {
                let (mut request, place) = open.swap_remove(usize::from(which) % open.len());
                let outcome = outcome(place, how);
                let head = outcome.cause == Cause::NONE && how & 64 != 0;
                let decision =
                    if head { request.head(&outcome, world.now) } else { request.report(&outcome, world.now) };
                let verdict = decision.unwrap().verdict;
                seen.push((Some(place), verdict as u32));
                if verdict == Verdict::Retry {
                    let picked = request.pick(world.now).unwrap().map(|p| world.place(p));
                    seen.push((picked, 9));
                    open.extend(picked.map(|place| (request, place)));
                } else if head {
                    open.push((request, place));
                }
            }
            Step::End(..) => {}
            Step::Wait(ms) => {
                world.now += u64::from(ms % 2000) * MS;
                world.worker.tick(world.now).unwrap();
            }
            Step::Admin(peer, out) => {
                let at = usize::from(peer) % peers.len();
                peers[at].admin = if out { Admin::Disabled } else { Admin::Enabled };
                world.table.set_peers(world.upstream, &specs(&peers), world.now).unwrap();
            }
        }
    }
    open.iter_mut().for_each(|(request, _)| request.end(world.now));
    seen
}

fn declared(n: u16) -> Vec<Spec> {
    (1..=n)
        .map(|port| Spec {
            weight: u32::from(port % 3) + 1,
            backup: port % 5 == 4,
            limit: if port % 4 == 3 { 2 } else { 0 },
            ..peer(port)
        })
        .collect()
}

fn policies() -> impl Strategy<Value = Policy> {
    (0usize..6, 1u32..6, prop::bool::ANY, prop::bool::ANY, prop::bool::ANY, 0u32..4).prop_map(
        |(selector, fails, panic, overflow, bound, attempts)| Policy {
            selector: SELECTORS[selector],
            eject_failures: fails,
            panic_percent: if panic { 60 } else { 0 },
            overflow_percent: if overflow { 140 } else { 0 },
            load_bound_percent: if bound { 125 } else { 0 },
            max_attempts: attempts,
            slow_start_ns: 2 * SECOND,
            failure_statuses: if fails % 2 == 0 { 1 | 4 } else { 2 | 4 | 8 },
            ..Policy::default()
        },
    )
}

fn differences(c: Compared) -> Compared {
    Compared { picks: 0, outcomes: 0, ..c }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_policy_never_differs(n in 1u16..12, policy in policies(), steps in steps()) {
        let peers = declared(n);
        let mut world = World::new(policy, &peers);
        world.table.set_shadow(world.upstream, Some(&policy), world.now).unwrap();
        run(&mut world, &peers, &steps);
        let compared = world.table.compared(world.upstream).unwrap();
        prop_assert_eq!(differences(compared), Compared::default(), "{:?}", compared);
        prop_assert_eq!(in_flight(&world), 0);
    }

    #[test]
    fn a_shadow_changes_nothing(n in 1u16..12, policy in policies(), other in policies(), steps in steps()) {
        let peers = declared(n);
        // Both without the plain path, which draws its random numbers in another order.
        let policy = Policy { panic_percent: policy.panic_percent.max(1), ..policy };
        let (mut alone, mut beside) = (World::new(policy, &peers), World::new(policy, &peers));
        beside.table.set_shadow(beside.upstream, Some(&other), beside.now).unwrap();
        let (a, b) = (run(&mut alone, &peers, &steps), run(&mut beside, &peers, &steps));
        prop_assert_eq!(a, b);
        prop_assert_eq!(alone.events(), beside.events());
        let known = |w: &World| w.views().iter().map(|v| (v.health, v.streak, v.ejections, v.picks, v.failures)).collect::<Vec<_>>();
        prop_assert_eq!(known(&alone), known(&beside));
        prop_assert_eq!(in_flight(&beside), 0);
    }
}

/// Requests in flight over all peers and their twins.
fn in_flight(world: &World) -> u32 {
    let of = |number: u64| {
        tidegate::health::PeerView::of(&world.table, PeerHandle::from_number(number), world.now)
            .map_or(0, |v| v.in_flight)
    };
    // A twin's generation is not known here: the first few are enough.
    (0..world.table.capacity().peers).flat_map(|slot| (1..4).map(move |g| u64::from(slot) | g << 32)).map(of).sum()
}

/// A streak of failures on one of two peers: the live policy ejects at five, the shadow at three.
#[test]
fn an_earlier_ejection_is_counted_once_and_its_picks_are_out() {
    let policy = Policy { eject_failures: 5, ..Policy::default() };
    let mut world = World::new(policy, &[peer(1), peer(2)]);
    let shadow = Policy { eject_failures: 3, ..policy };
    world.table.set_shadow(world.upstream, Some(&shadow), world.now).unwrap();
    let compared = |world: &World| world.table.compared(world.upstream).unwrap();
    let fail = |world: &mut World, times: u32| {
        let mut left = times;
        while left > 0 {
            let mut request = world.request(Method::Post);
            let bad = world.place(request.pick(world.now).unwrap().unwrap()) == 0;
            request.report(&if bad { failed(Cause::CONNECTION_READ_TIMEOUT) } else { ok() }, world.now).unwrap();
            left -= u32::from(bad);
        }
    };
    fail(&mut world, 2);
    assert_eq!(differences(compared(&world)), Compared::default());
    fail(&mut world, 1);
    assert_eq!(compared(&world).ejections_more, 1);
    assert_eq!(world.views()[0].health, Health::Healthy);
    fail(&mut world, 2);
    assert_eq!(world.views()[0].health, Health::Ejected);
    let c = compared(&world);
    assert_eq!((c.ejections_more, c.ejections_fewer, c.picks_out, c.picks_other), (1, 0, 2, 2), "{c:?}");
    assert_eq!(world.events().iter().filter(|&&kind| kind == 1).count(), 1, "the shadow's ejection is no event");

    // The other way round: what the live policy ejects and the shadow does not.
    let mut world = World::new(shadow, &[peer(1), peer(2)]);
    world.table.set_shadow(world.upstream, Some(&policy), world.now).unwrap();
    fail(&mut world, 3);
    let c = compared(&world);
    assert_eq!((c.ejections_more, c.ejections_fewer), (0, 1), "{c:?}");
}

/// Differences as two worlds of their own compute them, for one request each.
#[test]
fn retries_and_answers_differ_as_two_tables_say() {
    let base = Policy { retry_budget_ppm: u32::MAX, ..Policy::default() };
    let all = [
        base,
        Policy { max_attempts: 1, ..base },
        Policy { failure_statuses: 0, ..base },
        Policy { failure_statuses: 1, ..base },
    ];
    let outcomes =
        [failed(Cause::CONNECTION_TIMEOUT), Outcome { status: 503, ..ok() }, Outcome { status: 500, ..ok() }, ok()];
    let peers = [peer(1), peer(2)];
    let decide = |world: &World, outcome: &Outcome| {
        let mut request = world.request(Method::Get);
        request.pick(world.now).unwrap().unwrap();
        let decision = request.report(outcome, world.now).unwrap();
        request.end(world.now);
        (decision.verdict, decision.status)
    };
    for (live, shadow) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
        for outcome in &outcomes {
            let world = World::new(*live, &peers);
            world.table.set_shadow(world.upstream, Some(shadow), world.now).unwrap();
            let (a, b) = (decide(&world, outcome), decide(&World::new(*shadow, &peers), outcome));
            let c = world.table.compared(world.upstream).unwrap();
            let retry = |d: (Verdict, u16)| d.0 == Verdict::Retry;
            let expected = Compared {
                picks: 1,
                outcomes: 1,
                retries_more: u64::from(retry(b) && !retry(a)),
                retries_fewer: u64::from(retry(a) && !retry(b)),
                answers: u64::from(!retry(a) && !retry(b) && a != b),
                ..Compared::default()
            };
            assert_eq!(c, expected, "{a:?} {b:?}");
        }
    }
}

#[test]
fn a_shadow_follows_the_list_and_ends() {
    let mut world = World::new(Policy::default(), &[peer(1), peer(2)]);
    world.table.set_shadow(world.upstream, Some(&Policy::default()), world.now).unwrap();
    world.peers = world.table.set_peers(world.upstream, &specs(&[peer(2), peer(3), peer(4)]), world.now).unwrap();
    (0..30).for_each(|_| assert!(world.serve().is_some()));
    let c = world.table.compared(world.upstream).unwrap();
    assert_eq!((c.picks, c.picks_other, c.outcomes), (30, 0, 30), "{c:?}");
    // The same again keeps the counters, another policy does not.
    world.table.set_shadow(world.upstream, Some(&Policy::default()), world.now).unwrap();
    assert_eq!(world.table.compared(world.upstream), Some(c));
    let other = Policy { eject_failures: 2, ..Policy::default() };
    world.table.set_shadow(world.upstream, Some(&other), world.now).unwrap();
    assert_eq!(world.table.compared(world.upstream), Some(Compared::default()));
    world.table.set_shadow(world.upstream, None, world.now).unwrap();
    assert_eq!(world.table.compared(world.upstream), None);
    assert!(world.serve().is_some());
}

#[test]
fn a_list_without_room_for_twins_takes_the_shadow_off() {
    // 64 slots.
    let all: Vec<Spec> = (1..=40).map(peer).collect();
    let mut world = World::new(Policy::default(), &all[..10]);
    world.table.set_shadow(world.upstream, Some(&Policy::default()), world.now).unwrap();
    world.peers = world.table.set_peers(world.upstream, &specs(&all), world.now).unwrap();
    assert_eq!(world.table.compared(world.upstream), None);
    assert!((0..40).all(|_| world.serve().is_some()));
    let joined = Worker::join(world.table.clone(), false, 1, world.now).unwrap();
    drop(joined);
}
