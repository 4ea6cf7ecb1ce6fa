//! Time-outs from the latency seen, a peer's Retry-After, limits and the queue, on virtual time.

mod common;

use common::*;
use tidegate::cause::Cause;
use tidegate::failover::{Outcome, Phase, Request, Times, Verdict, Why, Worker};
use tidegate::http::Method;
use tidegate::table::{Health, Policy, Selector};

const WAITS: Outcome = Outcome {
    cause: Cause::NONE,
    phase: Phase::Head,
    flags: Outcome::SENT,
    status: 0,
    reason: 0,
    retry_after_s: 0,
    connect_ns: 0,
    head_ns: 0,
    total_ns: 0,
};

/// One attempt that answers after so long, and is told by its head.
fn answered(world: &World, request: &mut Request, took: u64) {
    let outcome = Outcome { head_ns: took, total_ns: took, connect_ns: took / 8, ..ok() };
    assert_eq!(request.head(&Outcome { phase: Phase::Head, ..outcome }, world.now).unwrap().verdict, Verdict::Deliver);
    assert_eq!(request.report(&outcome, world.now).unwrap().verdict, Verdict::Deliver);
}

/// Teaches an upstream what is normal.
fn teach(world: &mut World, took: u64) {
    for _ in 0..400 {
        let mut request = world.request(Method::Get);
        request.pick(world.now).unwrap().unwrap();
        answered(world, &mut request, took);
        world.now += 3 * MS;
    }
    world.worker.tick(world.now).unwrap();
}

fn picked(world: &World, method: Method) -> (Request, Times) {
    let mut request = world.request(method);
    request.pick(world.now).unwrap().unwrap();
    let times = request.times(world.now);
    (request, times)
}

#[test]
fn advice_follows_the_latency_and_only_where_a_retry_may_follow() {
    let mut world = World::of(3);
    assert_eq!(picked(&world, Method::Get).1, Times::default(), "nothing is known");
    teach(&mut world, 80 * MS);
    let (mut request, times) = picked(&world, Method::Get);
    assert!((240 * MS..300 * MS).contains(&times.timeout_ns), "{times:?}");
    assert!((80 * MS..100 * MS).contains(&times.hedge_ns), "{times:?}");
    assert_eq!(times.connect_timeout_ns, 250 * MS);
    request.end(world.now);
    assert_eq!(request.times(world.now), Times::default(), "no attempt is open");
    let (_, times) = picked(&world, Method::Post);
    assert_eq!((times.timeout_ns, times.hedge_ns), (0, 0), "a POST that was sent can't go elsewhere");
    assert_eq!(times.connect_timeout_ns, 250 * MS, "one that was not can");
    let mut alone = World::of(1);
    teach(&mut alone, 80 * MS);
    assert_eq!(picked(&alone, Method::Get).1, Times::default());
    let mut off = World::new(Policy { timeout_floor_ns: 0, ..Policy::default() }, &[peer(1), peer(2)]);
    teach(&mut off, 80 * MS);
    assert_eq!(picked(&off, Method::Get).1, Times::default());
}

#[test]
fn each_time_out_is_longer_and_the_third_response_is_waited_for() {
    let mut world = World::of(4);
    teach(&mut world, 10 * MS);
    let mut request = world.request(Method::Get);
    let mut times = vec![];
    for _ in 0..3 {
        request.pick(world.now).unwrap().unwrap();
        let timeout_ns = request.times(world.now).timeout_ns;
        times.push(timeout_ns / MS);
        world.now += timeout_ns;
        if timeout_ns != 0 {
            let decision = request.expire(&WAITS, world.now).unwrap();
            assert_eq!((decision.verdict, decision.cause), (Verdict::Retry, Cause::CONNECTION_READ_TIMEOUT));
            world.now += decision.wait_ns;
        }
    }
    assert_eq!(times, [100, 400, 0]);
    assert_eq!(request.expire(&WAITS, world.now).unwrap().verdict, Verdict::Wait);
    answered(&world, &mut request, 5 * SECOND);
    assert_eq!(world.in_flight(), [0; 4]);
}

/// Without a token nothing is given up: what would be answered is.
#[test]
fn giving_up_takes_a_token_of_the_budget() {
    let mut world =
        World::new(Policy { retry_budget_ppm: 1, retry_budget_min_per_s: 1, ..Policy::default() }, &[peer(1), peer(2)]);
    teach(&mut world, 10 * MS);
    let mut verdicts = vec![];
    for _ in 0..30 {
        let mut request = world.request(Method::Get);
        request.pick(world.now).unwrap().unwrap();
        let decision = request.expire(&WAITS, world.now).unwrap();
        verdicts.push(decision.verdict);
        if decision.verdict == Verdict::Retry {
            request.pick(world.now).unwrap().unwrap();
        } else {
            assert_eq!(decision.reason, Why::Budget);
        }
        answered(&world, &mut request, 10 * MS);
    }
    let given_up = verdicts.iter().filter(|&&v| v == Verdict::Retry).count();
    assert!((5..=12).contains(&given_up), "{given_up}");
    assert_eq!(verdicts[29], Verdict::Wait);
}

#[test]
fn one_pause_ejects_nobody_and_a_peer_that_stays_silent_goes() {
    let mut world = World::of(4);
    teach(&mut world, 10 * MS);
    // Twenty requests meet the peer in the same pause.
    let mut open: Vec<_> = (0..80).map(|_| world.request(Method::Get)).collect();
    let places: Vec<_> = open.iter_mut().map(|r| world.place(r.pick(world.now).unwrap().unwrap())).collect();
    world.now += 100 * MS;
    for (request, _) in open.iter_mut().zip(&places).filter(|(_, place)| **place == 1) {
        assert_eq!(request.expire(&WAITS, world.now).unwrap().verdict, Verdict::Retry);
        request.end(world.now);
        world.now += MS / 10;
    }
    assert_eq!(world.views()[1].health, Health::Healthy);
    assert_eq!(world.views()[1].streak, 4, "one less than ejects");
    // It is still silent after as long again.
    world.now += 100 * MS;
    let mut request = world.request(Method::Get);
    while world.place(request.pick(world.now).unwrap().unwrap()) != 1 {
        answered(&world, &mut request, 10 * MS);
        request = world.request(Method::Get);
    }
    assert_eq!(request.expire(&WAITS, world.now).unwrap().verdict, Verdict::Retry);
    assert_eq!(world.views()[1].health, Health::Ejected);
}

/// What can't be repeated would be lost with a peer that hangs: it goes elsewhere from the first sign on.
#[test]
fn a_post_avoids_a_doubtful_peer_while_there_is_another() {
    let mut world = World::of(3);
    teach(&mut world, 10 * MS);
    let mut request = world.request(Method::Get);
    let doubtful = world.place(request.pick(world.now).unwrap().unwrap());
    world.now += 100 * MS;
    assert_eq!(request.expire(&WAITS, world.now).unwrap().verdict, Verdict::Retry);
    request.end(world.now);
    let mut served = [0; 3];
    for _ in 0..60 {
        let mut post = world.request(Method::Post);
        served[world.place(post.pick(world.now).unwrap().unwrap())] += 1;
        post.end(world.now);
    }
    assert_eq!(served[doubtful], 0, "{served:?}");
    // Nobody else is left.
    world.table.set_peers(world.upstream, &specs(&[peer(doubtful as u16 + 1)]), world.now).unwrap();
    assert!(world.request(Method::Post).pick(world.now).unwrap().is_some());
    // One success is enough.
    let mut world = World::of(2);
    teach(&mut world, 10 * MS);
    let mut request = world.request(Method::Get);
    let doubtful = world.place(request.pick(world.now).unwrap().unwrap());
    assert_eq!(request.expire(&WAITS, world.now).unwrap().verdict, Verdict::Retry);
    while world.serve() != Some(doubtful) {}
    let mut posts: Vec<_> = (0..4).map(|_| world.request(Method::Post)).collect();
    let places: Vec<_> = posts.iter_mut().map(|p| world.place(p.pick(world.now).unwrap().unwrap())).collect();
    assert!(places.contains(&doubtful));
}

/// A generator that is good enough, and the same on every machine.
struct Numbers(u64);

impl Numbers {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// The share of attempts that are given up although their peer would have answered: below the documented bound and
/// within the retry budget, whatever the tail.
#[test]
fn heavy_tails_cost_few_attempts() {
    type Law = (&'static str, fn(&mut Numbers) -> f64, f64);
    let laws: [Law; 5] = [
        ("exponential", |n| -n.unit().ln() * 50e6, 0.001),
        ("lognormal, sigma 1", |n| n.normal().exp() * 40e6, 0.004),
        ("lognormal, sigma 2", |n| (2.0 * n.normal()).exp() * 20e6, 0.007),
        ("Pareto, alpha 1.5", |n| n.unit().powf(-1.0 / 1.5) * 40e6, 0.004),
        ("Pareto, alpha 1", |n| n.unit().powf(-1.0) * 40e6, 0.005),
    ];
    for (name, law, bound) in laws {
        let mut world = World::of(4);
        let mut numbers = Numbers(0x5eed);
        let (mut attempts, mut cut) = (0u32, 0u32);
        for i in 0..60_000 {
            let mut request = world.request(Method::Get);
            loop {
                request.pick(world.now).unwrap().unwrap();
                let took = law(&mut numbers) as u64;
                let timeout = request.times(world.now).timeout_ns;
                // Only what the law says of a warm upstream counts.
                attempts += u32::from(i > 10_000);
                if timeout != 0
                    && took > timeout
                    && request.expire(&Outcome { total_ns: timeout, ..WAITS }, world.now).unwrap().verdict
                        == Verdict::Retry
                {
                    cut += u32::from(i > 10_000);
                    continue;
                }
                answered(&world, &mut request, took);
                break;
            }
            world.now += 3 * MS;
            if i % 300 == 0 {
                world.worker.tick(world.now).unwrap();
            }
        }
        let share = f64::from(cut) / f64::from(attempts);
        println!("{name}: {share:.5} of {attempts} attempts");
        assert!(share <= bound, "{name}: {share} of the attempts");
        assert!(world.views().iter().all(|v| v.health == Health::Healthy && v.ejections == 0), "{name}");
    }
}

/// Everything takes a hundred times as long from one moment on: the budget bounds what that costs until it is learned.
#[test]
fn a_general_slowdown_is_learned() {
    let mut world = World::of(4);
    teach(&mut world, 10 * MS);
    let mut cut = 0;
    for i in 0..3000 {
        let mut request = world.request(Method::Get);
        request.pick(world.now).unwrap().unwrap();
        let timeout = request.times(world.now).timeout_ns;
        if timeout != 0 && SECOND > timeout {
            let decision = request.expire(&Outcome { total_ns: timeout, ..WAITS }, world.now).unwrap();
            if decision.verdict == Verdict::Retry {
                cut += 1;
                request.pick(world.now).unwrap().unwrap();
            }
        }
        answered(&world, &mut request, SECOND);
        world.now += 3 * MS;
        if i % 200 == 0 {
            world.worker.tick(world.now).unwrap();
        }
    }
    assert!(cut < 150, "{cut}");
    assert!(picked(&world, Method::Get).1.timeout_ns > 2 * SECOND);
}

#[test]
fn a_peer_that_asks_for_a_pause_gets_it_unless_it_is_the_last() {
    let mut world = World::of(3);
    let busy = Outcome { status: 503, phase: Phase::Head, retry_after_s: 20, ..ok() };
    for _ in 0..10 {
        let mut request = world.request(Method::Get);
        while request.pick(world.now).unwrap().is_some() {
            if request.head(&busy, world.now).unwrap().verdict != Verdict::Retry {
                request.report(&busy, world.now).unwrap();
                break;
            }
        }
    }
    let aside: Vec<_> = world.views().iter().map(|v| v.ejected_for_ns).filter(|&ns| ns != 0).collect();
    assert_eq!(aside.len(), 2, "the last usable one stays");
    for ns in aside {
        assert!((20 * SECOND - 32 * MS..=23 * SECOND).contains(&ns), "{ns}");
    }
    assert!(world.views().iter().all(|v| v.ejections == 0), "the next ejection is no longer for it");
    world.now += 24 * SECOND;
    for _ in 0..20 {
        world.serve();
    }
    assert!(world.views().iter().all(|v| v.health == Health::Healthy));
}

#[test]
fn a_pause_is_bounded_and_may_be_refused() {
    for (most, retry_after_s, status, aside) in [
        (Policy::default().retry_after_max_ns, 86_400, 503, 300 * SECOND),
        (10 * SECOND, 86_400, 503, 10 * SECOND),
        (0, 60, 503, 0),
        // Not a failure by default: one client may be meant.
        (300 * SECOND, 60, 429, 0),
    ] {
        let world = World::new(Policy { retry_after_max_ns: most, ..Policy::default() }, &[peer(1), peer(2)]);
        let mut request = world.request(Method::Get);
        let place = world.place(request.pick(world.now).unwrap().unwrap());
        request.head(&Outcome { status, phase: Phase::Head, retry_after_s, ..ok() }, world.now).unwrap();
        let got = world.views()[place].ejected_for_ns;
        assert!((aside.saturating_sub(16 * MS)..=aside + aside / 8).contains(&got), "{got} for {aside}");
    }
}

#[test]
fn an_outage_of_all_peers_is_not_multiplied() {
    let mut world = World::of(4);
    for i in 0..1000 {
        world.serve();
        world.now += 3 * MS;
        if i % 200 == 0 {
            world.worker.tick(world.now).unwrap();
        }
    }
    let busy = Outcome { status: 503, phase: Phase::Head, retry_after_s: 2, ..ok() };
    let (mut attempts, mut own, mut passed) = (0, 0, 0);
    let start = world.now;
    while world.now < start + 10 * SECOND {
        let mut request = world.request(Method::Get);
        loop {
            let Some(_) = request.pick(world.now).unwrap() else {
                let told = request.answer(world.now).unwrap();
                assert!(told.status == 503 && told.retry_after_s >= 1, "{told:?}");
                own += 1;
                break;
            };
            attempts += 1;
            if request.head(&busy, world.now).unwrap().verdict != Verdict::Retry {
                request.report(&busy, world.now).unwrap();
                passed += 1;
                break;
            }
        }
        world.now += 3 * MS;
    }
    let requests = own + passed;
    // A fifth of them, ten a second, and what the bucket held.
    assert!(attempts <= requests + requests / 5 + 100 + 100, "{attempts} attempts for {requests} requests");
    assert!(passed > 0, "the upstream's own answer passes");
}

fn limited(max_in_flight: u32, max_queue: u32) -> World {
    World::new(
        Policy { max_in_flight, max_queue, queue_ns: 50 * MS, ..Policy::default() },
        &(1..=4).map(peer).collect::<Vec<_>>(),
    )
}

fn is_queued(request: &mut Request, now: u64) -> bool {
    request.pick(now).is_err_and(|e| e.to_string().contains("waits for one"))
}

#[test]
fn a_limit_of_an_upstream_is_exact_whatever_the_selector() {
    for selector in [Selector::RoundRobin, Selector::LeastRequest, Selector::PeakEwma, Selector::Random] {
        for load_bound_percent in [0, 125] {
            let policy = Policy { selector, max_in_flight: 7, load_bound_percent, ..Policy::default() };
            let world = World::new(policy, &[peer(1), peer(2), peer(3)]);
            let mut open: Vec<_> = (0..20).map(|_| world.request(Method::Get)).collect();
            let picked = open.iter_mut().filter_map(|r| r.pick(world.now).unwrap()).count();
            assert_eq!((picked, world.in_flight().iter().sum::<u32>()), (7, 7), "{selector:?}");
            let told = open[19].answer(world.now).unwrap();
            assert_eq!((told.status, told.cause), (503, Cause::UPSTREAM_LIMIT));
            assert!((1..=2).contains(&told.retry_after_s));
            for request in &mut open {
                request.end(world.now);
            }
            let again = (0..20).map(|_| world.request(Method::Get)).filter_map(|mut r| r.pick(world.now).unwrap());
            assert_eq!(again.count(), 7, "{selector:?}");
        }
    }
}

#[test]
fn failures_and_retries_leave_no_place_taken() {
    let mut world = limited(3, 0);
    for i in 0..500 {
        let causes = [Cause::CONNECTION_REFUSED, Cause::CONNECTION_READ_TIMEOUT, Cause::HTTP_PROTOCOL_ERROR];
        world.attempt(Method::Get, |place| (place != i % 4).then_some(causes[i % 3]));
        world.now += 20 * MS;
    }
    let mut open: Vec<_> = (0..5).map(|_| world.request(Method::Post)).collect();
    assert_eq!(open.iter_mut().filter_map(|r| r.pick(world.now).unwrap()).count(), 3);
}

#[test]
fn who_waits_goes_before_who_comes() {
    let world = limited(2, 2);
    let mut open: Vec<_> = (0..6).map(|_| world.request(Method::Get)).collect();
    let [a, b, c, d, e, f] = &mut open[..] else { unreachable!() };
    assert!(a.pick(world.now).unwrap().is_some() && b.pick(world.now).unwrap().is_some());
    assert!(is_queued(c, world.now) && is_queued(d, world.now));
    let waits = c.waits(world.now);
    assert!(waits.again_ns <= 4 * MS && waits.left_ns == 50 * MS, "{waits:?}");
    assert!(e.pick(world.now).unwrap().is_none(), "the queue is full");
    assert_eq!(e.answer(world.now).unwrap().cause, Cause::QUEUE_FULL);
    a.report(&ok(), world.now).unwrap();
    assert!(f.pick(world.now).unwrap().is_none(), "a place is free, but others wait");
    assert!(c.pick(world.now).unwrap().is_some());
    assert!(is_queued(d, world.now));
    // Another waits; its time is over before a place is free.
    let mut g = world.request(Method::Get);
    assert!(is_queued(&mut g, world.now));
    assert!(g.pick(world.now + 51 * MS).unwrap().is_none());
    let told = g.answer(world.now + 51 * MS).unwrap();
    assert_eq!((told.status, told.cause), (503, Cause::QUEUE_TIMEOUT));
    assert!((1..=2).contains(&told.retry_after_s));
    d.end(world.now);
    b.report(&ok(), world.now).unwrap();
    assert!(world.request(Method::Get).pick(world.now).unwrap().is_some(), "nobody waits any more");
}

#[test]
fn a_peers_limit_is_waited_for_too() {
    let policy = Policy { max_queue: 10, queue_ns: SECOND, ..Policy::default() };
    let world = World::new(policy, &[Spec { limit: 1, ..peer(1) }, Spec { limit: 1, ..peer(2) }]);
    let mut open: Vec<_> = (0..3).map(|_| world.request(Method::Get)).collect();
    assert!(open[..2].iter_mut().all(|r| r.pick(world.now).unwrap().is_some()));
    assert!(is_queued(&mut open[2], world.now));
    open[0].report(&ok(), world.now).unwrap();
    assert!(open[2].pick(world.now).unwrap().is_some());
}

/// What a worker leaves in the queue when it goes is taken off.
#[test]
fn a_worker_that_leaves_takes_its_waiters_along() {
    let mut world = limited(1, 1);
    let other = Worker::join(world.table.clone(), false, 7, world.now).unwrap();
    let mut first = world.request(Method::Get);
    assert!(first.pick(world.now).unwrap().is_some());
    let mut waits = start(&other, world.upstream.number(), Method::Get, world.now);
    assert!(is_queued(&mut waits, world.now));
    drop(other);
    world.now += SECOND;
    world.worker.tick(world.now).unwrap();
    let mut next = world.request(Method::Get);
    assert!(is_queued(&mut next, world.now), "there is room in the queue");
}

#[test]
fn an_adaptive_limit_never_turns_away_what_is_served_in_time() {
    let mut world = World::new(Policy { is_adaptive: true, ..Policy::default() }, &[peer(1), peer(2)]);
    for round in 0..200u64 {
        // Forty at once, now and then twice as slow.
        let mut open: Vec<_> = (0..40).map(|_| world.request(Method::Get)).collect();
        for request in &mut open {
            assert!(request.pick(world.now).unwrap().is_some(), "round {round}");
        }
        world.now += 600 * MS;
        for request in &mut open {
            answered(&world, request, if round % 10 == 0 { 14 * MS } else { 10 * MS });
        }
        world.worker.tick(world.now).unwrap();
    }
}
