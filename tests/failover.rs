//! The path of a request and the health of peers, on virtual time.

mod common;

use common::*;
use tidegate::cause::Cause;
use tidegate::failover::{Body, BodyEnd, Hold, Outcome, Phase, Verdict, Why};
use tidegate::http::Method;
use tidegate::table::{Admin, Health, Policy, Selector};

fn refuse_all(_: usize) -> Option<Cause> {
    Some(Cause::CONNECTION_REFUSED)
}

fn eject_by(cause: Cause, times: usize, world: &mut World, victim: usize) {
    let mut left = times;
    while left > 0 {
        let mut request = world.request(Method::Get);
        let picked = request.pick(world.now).unwrap().unwrap();
        let hit = world.place(picked) == victim;
        request.report(&if hit { failed(cause) } else { ok() }, world.now).unwrap();
        left -= usize::from(hit);
    }
}

#[test]
fn a_dead_peer_costs_no_client_anything() {
    for method in [Method::Get, Method::Post] {
        let mut world = World::of(4);
        for _ in 0..200 {
            let served = world.attempt(method, |i| (i == 2).then_some(Cause::CONNECTION_REFUSED));
            assert_eq!(served.status, 200);
            world.now += 3 * MS;
        }
        assert_eq!(world.views()[2].health, Health::Ejected);
        assert_eq!(world.in_flight(), [0; 4]);
    }
}

#[test]
fn a_post_that_was_sent_is_never_repeated() {
    let mut world = World::of(3);
    for cause in [
        Cause::CONNECTION_TERMINATED,
        Cause::HTTP_PROTOCOL_ERROR,
        Cause::CONNECTION_REUSED_CLOSED,
        Cause::CONNECTION_READ_TIMEOUT,
    ] {
        let served = world.attempt(Method::Post, |_| Some(cause));
        assert_eq!((served.attempts, served.status), (1, u32::from(cause.properties().status)), "{cause:?}");
    }
}

#[test]
fn a_post_of_which_no_byte_left_goes_on() {
    let world = World::of(3);
    let mut request = world.request(Method::Post);
    request.pick(world.now).unwrap().unwrap();
    let outcome = Outcome { flags: Outcome::REUSED, ..failed(Cause::CONNECTION_REUSED_CLOSED) };
    assert_eq!(request.report(&outcome, world.now).unwrap().verdict, Verdict::Retry);
}

#[test]
fn nothing_is_retried_once_the_client_has_a_part() {
    let world = World::of(3);
    let mut request = world.request(Method::Get);
    request.pick(world.now).unwrap().unwrap();
    let flags = Outcome::SENT | Outcome::RECEIVED | Outcome::DELIVERED;
    let outcome = Outcome { flags, phase: Phase::Body, ..failed(Cause::HTTP_RESPONSE_INCOMPLETE) };
    let decision = request.report(&outcome, world.now).unwrap();
    assert_eq!((decision.verdict, decision.reason), (Verdict::Abort, Why::Delivered));
}

#[test]
fn consecutive_failures_eject_and_a_success_between_does_not() {
    let mut world = World::of(3);
    eject_by(Cause::CONNECTION_READ_TIMEOUT, 4, &mut world, 1);
    eject_by(Cause::NONE, 1, &mut world, 1);
    eject_by(Cause::CONNECTION_READ_TIMEOUT, 4, &mut world, 1);
    assert_eq!(world.views()[1].health, Health::Healthy);
    eject_by(Cause::CONNECTION_READ_TIMEOUT, 1, &mut world, 1);
    assert_eq!(world.views()[1].health, Health::Ejected);
    assert_eq!(world.events().iter().filter(|&&kind| kind == 1).count(), 1);
}

#[test]
fn the_last_usable_peer_is_never_ejected() {
    let mut world = World::of(3);
    for _ in 0..50 {
        world.attempt(Method::Get, refuse_all);
        assert!(world.views().iter().any(|v| v.health == Health::Healthy));
        world.now += 40 * MS;
    }
    assert_eq!(
        world.events().iter().filter(|&&kind| kind == 4).count(),
        1,
        "one peer is spared, and one event says so"
    );
}

#[test]
fn a_reused_connection_that_was_closed_charges_nobody() {
    let mut world = World::of(2);
    for _ in 0..100 {
        let served = world.attempt(Method::Get, |_| Some(Cause::CONNECTION_REUSED_CLOSED));
        assert_eq!(served.status, 502);
        assert!(served.attempts > 2, "both peers, and again");
        world.now += MS;
    }
    assert!(world.views().iter().all(|v| v.health == Health::Healthy && v.streak == 0 && v.failures == 0));
}

#[test]
fn the_only_peer_gets_the_retry_after_an_idle_race() {
    let world = World::of(1);
    let mut request = world.request(Method::Get);
    let first = request.pick(world.now).unwrap().unwrap();
    let outcome = Outcome { flags: Outcome::REUSED | Outcome::SENT, ..failed(Cause::CONNECTION_REUSED_CLOSED) };
    assert_eq!(request.report(&outcome, world.now).unwrap().verdict, Verdict::Retry);
    assert_eq!(request.pick(world.now).unwrap().unwrap().peer, first.peer);
    assert_eq!(request.report(&ok(), world.now).unwrap().verdict, Verdict::Deliver);
}

#[test]
fn all_dead_is_503_with_retry_after_and_the_first_to_return_is_found() {
    let mut world = World::of(4);
    for _ in 0..300 {
        let served = world.attempt(Method::Get, refuse_all);
        assert_eq!((served.status, served.cause), (503, Cause::NO_ELIGIBLE_PEER));
        assert!(served.retry_after_s >= 1);
        world.now += 10 * MS;
    }
    for returned in 0..4 {
        let start = world.now;
        while world.attempt(Method::Get, |i| (i != returned).then_some(Cause::CONNECTION_REFUSED)).status != 200 {
            world.now += 3 * MS;
            assert!(world.now - start < 250 * MS, "peer {returned} is not found");
        }
        for _ in 0..200 {
            let served = world.attempt(Method::Get, |i| (i != returned).then_some(Cause::CONNECTION_REFUSED));
            assert_eq!(served.status, 200, "a peer that answers is there");
            world.now += MS;
        }
        for _ in 0..50 {
            world.attempt(Method::Get, refuse_all);
            world.now += 10 * MS;
        }
    }
}

#[test]
fn a_trial_is_a_request_that_may_be_repeated_and_one_at_a_time() {
    let mut world = World::of(2);
    eject_by(Cause::CONNECTION_READ_TIMEOUT, 5, &mut world, 0);
    world.now += 2 * SECOND;
    for _ in 0..20 {
        let served = world.attempt(Method::Post, |i| {
            assert_eq!(i, 1, "a POST is no trial");
            None
        });
        assert_eq!(served.status, 200);
    }
    let mut open: Vec<_> = (0..20).map(|_| world.request(Method::Get)).collect();
    let trials = open.iter_mut().map(|r| r.pick(world.now).unwrap().unwrap()).filter(|p| world.place(*p) == 0).count();
    assert_eq!(trials, 1);
    for request in &mut open {
        request.report(&ok(), world.now).unwrap();
    }
    assert_eq!(world.views()[0].health, Health::HalfOpen);
    while world.views()[0].health != Health::Healthy {
        world.serve();
    }
    assert_eq!(world.events(), [6, 1, 2, 3]);
}

#[test]
fn ejections_grow_and_decay() {
    let mut world = World::of(2);
    let mut lengths = vec![];
    for _ in 0..5 {
        eject_by(Cause::CONNECTION_REFUSED, 1, &mut world, 0);
        lengths.push(world.views()[0].ejected_for_ns);
        world.now += world.views()[0].ejected_for_ns;
    }
    for (n, length) in lengths.iter().enumerate() {
        let longest = (SECOND * 3u64.pow(n as u32)) >> n;
        assert!((longest * 3 / 4..=longest + 32 * MS).contains(length), "ejection {n}: {length}");
    }
    while world.views()[0].health != Health::Healthy {
        world.serve();
    }
    world.now += 300 * SECOND;
    while world.views()[0].ejections == 5 {
        world.serve();
    }
}

#[test]
fn a_trial_whose_worker_vanished_does_not_block_the_next() {
    let mut world = World::of(2);
    eject_by(Cause::CONNECTION_REFUSED, 1, &mut world, 0);
    world.now += 2 * SECOND;
    let lost = loop {
        let mut request = world.request(Method::Get);
        let picked = request.pick(world.now).unwrap().unwrap();
        if world.place(picked) == 0 {
            break request;
        }
        request.report(&ok(), world.now).unwrap();
    };
    // Never reported.
    let _ = lost;
    (0..50).for_each(|_| assert_eq!(world.serve(), Some(1)));
    world.now += 11 * SECOND;
    assert!((0..10).any(|_| world.serve() == Some(0)));
}

#[test]
fn statuses_fail_over_while_they_can_and_pass_when_they_cannot() {
    let world = World::of(2);
    let mut request = world.request(Method::Get);
    let bad = Outcome { status: 503, phase: Phase::Head, ..ok() };
    request.pick(world.now).unwrap().unwrap();
    assert_eq!(request.head(&bad, world.now).unwrap().verdict, Verdict::Retry);
    request.pick(world.now).unwrap().unwrap();
    let decision = request.head(&bad, world.now).unwrap();
    assert_eq!((decision.verdict, decision.reason), (Verdict::Deliver, Why::NoPeer));
    let done = request.report(&Outcome { status: 503, ..ok() }, world.now).unwrap();
    assert_eq!((done.verdict, done.cause), (Verdict::Deliver, Cause::UPSTREAM_STATUS));
    // The same on both: nobody knows whose fault it is, and nobody is charged for it.
    assert_eq!(world.views().iter().map(|v| v.failures).sum::<u64>(), 1);
    assert_eq!(world.in_flight(), [0, 0]);
}

#[test]
fn misdirected_requests_go_on_for_any_method() {
    let world = World::of(2);
    let mut request = world.request(Method::Post);
    request.pick(world.now).unwrap().unwrap();
    let decision = request.head(&Outcome { status: 421, phase: Phase::Head, ..ok() }, world.now).unwrap();
    assert_eq!(decision.verdict, Verdict::Retry);
}

#[test]
fn retries_stay_within_the_budget() {
    let mut world = World::of(4);
    let mut attempts = 0;
    for _ in 0..3000 {
        // Every first attempt fails, every second one works, so that no peer is ejected.
        let first = std::cell::Cell::new(true);
        let fails = |_| first.replace(false).then_some(Cause::CONNECTION_READ_TIMEOUT);
        attempts += world.attempt(Method::Get, fails).attempts;
        world.now += 3 * MS;
    }
    let retries = attempts - 3000;
    // 20 % of 3000, ten a second for the time that passed, and what the bucket held.
    let passed_s = (world.now - 1000 * SECOND) / SECOND;
    assert!(u64::from(retries) <= 600 + passed_s * 10 + 110, "{retries} retries");
    assert!(retries > 500, "{retries} retries: the budget is there to be used");
}

#[test]
fn limits_are_exact_and_answered_with_503() {
    for selector in [Selector::RoundRobin, Selector::LeastRequest] {
        let limited = |port| Spec { limit: 3, ..peer(port) };
        let world = World::new(Policy { selector, ..Policy::default() }, &[limited(1), limited(2)]);
        let mut open: Vec<_> = (0..10).map(|_| world.request(Method::Get)).collect();
        let picked = open.iter_mut().filter_map(|r| r.pick(world.now).unwrap()).count();
        assert_eq!((picked, world.in_flight()), (6, vec![3, 3]));
        let told = open[9].answer(world.now).unwrap();
        assert_eq!((told.status, told.cause), (503, Cause::PEER_LIMIT));
        for request in &mut open {
            request.end(world.now);
        }
        assert_eq!(world.in_flight(), [0, 0]);
        assert!(world.request(Method::Get).pick(world.now).unwrap().is_some());
    }
}

#[test]
fn backups_wait_for_the_primaries() {
    let backup = Spec { backup: true, ..peer(9) };
    let mut world = World::new(Policy::default(), &[peer(1), peer(2), backup]);
    assert!((0..50).all(|_| world.serve() != Some(2)));
    for place in [0, 1] {
        eject_by(Cause::CONNECTION_REFUSED, 1, &mut world, place);
    }
    assert!((0..50).all(|_| world.serve() == Some(2)), "both primaries are out: the floor counts the backup");
}

#[test]
fn drained_and_disabled_peers_get_nothing_new() {
    let mut world = World::new(
        Policy::default(),
        &[peer(1), Spec { admin: Admin::Draining, ..peer(2) }, Spec { admin: Admin::Disabled, ..peer(3) }],
    );
    assert!((0..50).all(|_| world.serve() == Some(0)));
}

#[test]
fn panic_spreads_over_all_that_are_not_disabled() {
    let policy = Policy { panic_percent: 60, ..Policy::default() };
    let disabled = Spec { admin: Admin::Disabled, ..peer(4) };
    let mut world = World::new(policy, &[peer(1), peer(2), peer(3), disabled]);
    eject_by(Cause::CONNECTION_REFUSED, 1, &mut world, 0);
    let served: Vec<_> = (0..60).map(|_| world.serve().unwrap()).collect();
    for (place, share) in [(0, 20), (1, 20), (2, 20), (3, 0)] {
        let n = served.iter().filter(|&&p| p == place).count() as i32;
        assert!((n - share).abs() <= 2, "peer {place} got {n} of 60");
    }
}

#[test]
fn a_local_fault_charges_nobody_and_goes_on() {
    let mut world = World::of(2);
    let served = world.attempt(Method::Post, |_| Some(Cause::LOCAL_FAULT));
    assert_eq!((served.status, served.attempts), (500, 2));
    assert!(world.views().iter().all(|v| v.failures == 0 && v.health == Health::Healthy));
}

#[test]
fn the_deadline_ends_retries() {
    let mut world = World::new(Policy { deadline_ns: SECOND, ..Policy::default() }, &[peer(1), peer(2), peer(3)]);
    let mut request = world.request(Method::Get);
    request.pick(world.now).unwrap().unwrap();
    world.now += 2 * SECOND;
    let decision = request.report(&failed(Cause::CONNECTION_READ_TIMEOUT), world.now).unwrap();
    assert_eq!((decision.verdict, decision.reason, decision.status), (Verdict::Answer, Why::Deadline, 504));
}

#[test]
fn calls_out_of_order_are_refused_and_change_nothing() {
    let world = World::of(2);
    let mut request = world.request(Method::Get);
    assert!(request.report(&ok(), world.now).is_err());
    assert!(request.answer(world.now).is_err());
    request.pick(world.now).unwrap().unwrap();
    assert!(request.pick(world.now).is_err());
    assert_eq!(world.in_flight().iter().sum::<u32>(), 1);
    request.end(world.now);
    request.end(world.now);
    assert!(request.pick(world.now).unwrap().is_none());
    assert_eq!(world.in_flight(), [0, 0]);
}

#[test]
fn the_record_tells_what_happened() {
    let world = World::of(2);
    let mut request = world.request(Method::Get);
    request.pick(world.now).unwrap().unwrap();
    request.report(&failed(Cause::CONNECTION_REFUSED), world.now).unwrap();
    request.pick(world.now).unwrap().unwrap();
    request.report(&ok(), world.now).unwrap();
    let line = request.describe();
    assert!(
        line.contains(" connection_refused 0.9ms retry; 10.0.0.0:")
            && line.ends_with(" 200 0.9ms deliver | round_robin 1 of 2: 1 tried"),
        "{line}"
    );
}

#[test]
fn panic_ends_when_the_peers_are_well_again() {
    let mut world = World::new(Policy { panic_percent: 80, ..Policy::default() }, &[peer(1), peer(2), peer(3)]);
    for _ in 0..2 {
        while world.views().iter().filter(|v| v.health == Health::Ejected).count() < 2 {
            let mut request = world.request(Method::Get);
            let picked = request.pick(world.now).unwrap().unwrap();
            let dead = world.place(picked) < 2;
            request.report(&if dead { failed(Cause::CONNECTION_REFUSED) } else { ok() }, world.now).unwrap();
        }
        world.now += 100 * SECOND;
        for _ in 0..50 {
            world.serve().unwrap();
            world.now += 10 * MS;
        }
        assert!(world.views().iter().all(|v| v.health == Health::Healthy));
    }
}

#[test]
fn a_trial_refused_for_its_limit_leaves_the_place_free() {
    let limited = |limit| [peer(1), Spec { limit, ..peer(2) }];
    let mut world = World::new(Policy::default(), &limited(2));
    let mut open = vec![];
    while open.len() < 2 {
        let mut request = world.request(Method::Get);
        if world.place(request.pick(world.now).unwrap().unwrap()) == 1 {
            open.push(request);
        } else {
            request.report(&ok(), world.now).unwrap();
        }
    }
    let mut hanging = open.pop().unwrap();
    open.pop().unwrap().report(&failed(Cause::CONNECTION_REFUSED), world.now).unwrap();
    world.table.set_peers(world.upstream, &specs(&limited(1)), world.now).unwrap();
    world.now += 61 * SECOND;
    for _ in 0..20 {
        assert_eq!(world.serve(), Some(0), "at its limit");
    }
    hanging.end(world.now);
    let tried = (0..20).filter(|_| world.serve() == Some(1)).count();
    assert!(tried > 0, "a place on trial is free as soon as the limit is");
}

#[test]
fn a_misdirected_request_charges_nobody() {
    let mut world = World::of(2);
    for status in [421, 425] {
        for _ in 0..20 {
            let mut request = world.request(Method::Get);
            request.pick(world.now).unwrap().unwrap();
            let decision = request.head(&Outcome { status, phase: Phase::Head, ..ok() }, world.now).unwrap();
            assert_eq!((decision.verdict, decision.flags), (Verdict::Retry, 0));
            request.end(world.now);
            world.now += 200 * MS;
        }
    }
    assert!(world.views().iter().all(|v| v.health == Health::Healthy && v.streak == 0));
}

#[test]
fn a_failing_status_that_was_passed_on_whole_is_no_abort() {
    let world = World::of(2);
    let mut request = world.request(Method::Get);
    request.pick(world.now).unwrap().unwrap();
    let outcome = Outcome { status: 503, flags: ok().flags | Outcome::DELIVERED, ..ok() };
    let decision = request.report(&outcome, world.now).unwrap();
    assert_eq!((decision.verdict, decision.reason), (Verdict::Deliver, Why::Delivered));
}

#[test]
fn no_retry_starts_behind_the_deadline() {
    let policy = Policy { backoff_base_ns: SECOND, backoff_max_ns: SECOND, deadline_ns: 10 * MS, ..Policy::default() };
    let mut world = World::new(policy, &(1..=4).map(peer).collect::<Vec<_>>());
    for _ in 0..40 {
        let mut request = world.request(Method::Get);
        let begun = world.now;
        while request.pick(world.now).unwrap().is_some() {
            let decision = request.report(&failed(Cause::HTTP_PROTOCOL_ERROR), world.now).unwrap();
            world.now += decision.wait_ns;
            assert!(decision.verdict != Verdict::Retry || world.now < begun + 10 * MS, "{decision:?}");
            if decision.verdict != Verdict::Retry {
                break;
            }
        }
        world.now += 100 * SECOND;
    }
}

#[test]
fn an_ejection_ends_however_long_nobody_asks() {
    for days in [1, 13, 20, 23] {
        let mut world = World::of(2);
        eject_by(Cause::CONNECTION_REFUSED, 1, &mut world, 1);
        for _ in 0..days * 24 {
            world.now += 3600 * SECOND;
            world.worker.tick(world.now).unwrap();
        }
        let found = (0..20).any(|_| world.serve() == Some(1));
        assert!(found, "after {days} days");
    }
}

#[test]
fn after_a_race_what_cannot_be_repeated_goes_on_new_connections_for_a_while() {
    const FRESH: u32 = 8;
    let mut world = World::of(2);
    let flags = |world: &World, method| {
        let mut request = world.request(method);
        let flags = request.pick(world.now).unwrap().unwrap().flags;
        request.end(world.now);
        flags & FRESH
    };
    assert_eq!(flags(&world, Method::Post), 0);
    let mut request = world.request(Method::Get);
    assert_eq!(request.pick(world.now).unwrap().unwrap().flags & FRESH, 0);
    let raced = Outcome { flags: Outcome::REUSED | Outcome::SENT, ..failed(Cause::CONNECTION_REUSED_CLOSED) };
    request.report(&raced, world.now).unwrap();
    assert_eq!(request.pick(world.now).unwrap().unwrap().flags & FRESH, FRESH, "the retry itself");
    request.end(world.now);
    assert_eq!((flags(&world, Method::Post), flags(&world, Method::Get)), (FRESH, 0));
    world.now += 61 * SECOND;
    assert_eq!(flags(&world, Method::Post), 0);
}

const HELD: Hold = Hold { bytes: 65_536, ns: 50 * MS };

fn body(end: BodyEnd) -> Body<'static> {
    Body { end, content_type: b"text/plain" }
}

/// The advice for a GET's first response.
fn hold_of(world: &World, method: Method, body: &Body<'_>) -> Hold {
    let mut request = world.request(method);
    request.pick(world.now).unwrap().unwrap();
    let decision = request.head(&Outcome { phase: Phase::Head, ..ok() }, world.now).unwrap();
    assert_eq!(decision.verdict, Verdict::Deliver);
    let hold = request.hold(body, world.now);
    request.end(world.now);
    hold
}

#[test]
fn a_response_is_held_where_its_end_can_be_judged_and_another_peer_could_give_it() {
    let world = World::of(2);
    assert_eq!(hold_of(&world, Method::Get, &body(BodyEnd::Chunked)), HELD);
    for (length, hold) in [(0, Hold::NONE), (1, HELD), (65_536, HELD), (65_537, Hold::NONE)] {
        assert_eq!(hold_of(&world, Method::Get, &body(BodyEnd::Length(length))), hold, "{length}");
    }
    assert_eq!(hold_of(&world, Method::Get, &body(BodyEnd::Unjudged)), Hold::NONE);
    assert_eq!(hold_of(&world, Method::Post, &body(BodyEnd::Chunked)), Hold::NONE);
    let events = Body { end: BodyEnd::Chunked, content_type: b"text/event-stream" };
    assert_eq!(hold_of(&world, Method::Get, &events), Hold::NONE);
    assert_eq!(hold_of(&World::of(1), Method::Get, &body(BodyEnd::Chunked)), Hold::NONE);
}

#[test]
fn policy_bounds_the_hold_back_and_turns_it_off() {
    let of = |policy: Policy| {
        let world = World::new(policy.checked().unwrap(), &[peer(1), peer(2)]);
        hold_of(&world, Method::Get, &body(BodyEnd::Chunked))
    };
    let bounded = Policy { hold_bytes: 10, hold_ns: 7, ..Policy::default() };
    assert_eq!(of(bounded), Hold { bytes: 10, ns: 7 });
    assert_eq!(of(Policy { hold_bytes: u32::MAX, ..Policy::default() }), Hold::NONE);
    assert_eq!(of(Policy { max_attempts: 1, ..Policy::default() }), Hold::NONE);
    assert!(Policy { hold_bytes: (16 << 20) + 1, ..Policy::default() }.checked().is_err());
}

/// Without a token nothing could be retried: holding would only delay.
#[test]
fn nothing_is_held_once_the_budget_is_spent() {
    let policy = Policy { retry_budget_ppm: 1, retry_budget_min_per_s: 0, ..Policy::default() };
    let mut world = World::new(policy, &[peer(1), peer(2), peer(3)]);
    let mut spent = false;
    while !spent {
        let hold = hold_of(&world, Method::Get, &body(BodyEnd::Chunked));
        let mut request = world.request(Method::Get);
        request.pick(world.now).unwrap().unwrap();
        let decision = request.report(&failed(Cause::HTTP_RESPONSE_INCOMPLETE), world.now).unwrap();
        spent = decision.reason == Why::Budget;
        assert_eq!(hold == HELD, !spent, "the advice is what a retry would have met");
        request.end(world.now);
        // Successes between keep the peers in.
        (0..3).for_each(|_| assert!(world.serve().is_some()));
    }
}

/// After one broken body the last peer's is held too: a clean answer is better than a second cut.
#[test]
fn the_last_attempt_of_a_request_that_has_failed_is_held() {
    let world = World::of(2);
    let mut request = world.request(Method::Get);
    request.pick(world.now).unwrap().unwrap();
    let broken = Outcome { phase: Phase::Body, ..failed(Cause::HTTP_RESPONSE_INCOMPLETE) };
    let decision = request.report(&broken, world.now).unwrap();
    assert_eq!(decision.verdict, Verdict::Retry);
    request.pick(world.now).unwrap().unwrap();
    request.head(&Outcome { phase: Phase::Head, ..ok() }, world.now).unwrap();
    assert_eq!(request.hold(&body(BodyEnd::Chunked), world.now), HELD);
    assert_eq!(request.report(&broken, world.now).unwrap().verdict, Verdict::Answer);
}
