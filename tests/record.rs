//! The decision record: what is kept of a pick is what was so then, and what is counted later says that it is.

mod common;

use common::*;
use tidegate::cause::Cause;
use tidegate::failover::{Chosen, Record, Standing};
use tidegate::http::Method;
use tidegate::table::{Admin, Policy, Selector};

fn counts(record: &Record) -> Vec<(Standing, u16)> {
    use Standing::*;
    let all = [Candidate, Tried, Ejected, Down, Draining, Disabled, AtLimit, SlowStart, Zone, Priority];
    all.into_iter().map(|s| (s, record.standings.counts[s as usize])).filter(|&(_, n)| n != 0).collect()
}

#[test]
fn a_plain_pick_counts_nothing_until_it_is_asked() {
    let world = World::of(3);
    let mut request = world.request(Method::Get);
    request.pick(world.now).unwrap().unwrap();
    request.report(&ok(), world.now).unwrap();
    assert!(request.describe().ends_with("deliver | round_robin"), "{}", request.describe());
    let record = request.explain();
    assert!(record.counted_later && record.chosen == Chosen::Selector);
    assert_eq!(counts(&record), [(Standing::Candidate, 3)]);
}

#[test]
fn a_retry_keeps_how_the_others_stood() {
    let peers = [
        peer(1),
        peer(2),
        Spec { admin: Admin::Disabled, ..peer(3) },
        Spec { admin: Admin::Draining, ..peer(4) },
        Spec { backup: true, ..peer(5) },
    ];
    let world = World::new(Policy::default(), &peers);
    let mut request = world.request(Method::Get);
    let first = world.place(request.pick(world.now).unwrap().unwrap());
    request.report(&failed(Cause::CONNECTION_TIMEOUT), world.now).unwrap();
    let second = request.pick(world.now).unwrap().unwrap();
    assert_ne!(world.place(second), first);
    let expected = [
        (Standing::Candidate, 1),
        (Standing::Tried, 1),
        (Standing::Draining, 1),
        (Standing::Disabled, 1),
        (Standing::Priority, 1),
    ];
    // Later changes don't change what was so.
    let all_out: Vec<Spec> = peers.iter().map(|&p| Spec { admin: Admin::Disabled, ..p }).collect();
    world.table.set_peers(world.upstream, &specs(&all_out), world.now).unwrap();
    let record = request.explain();
    assert!(!record.counted_later && record.made == 2);
    assert_eq!(counts(&record), expected);
    let line = request.describe();
    assert!(line.ends_with(" 1 of 5: 1 tried, 1 draining, 1 disabled, 1 of another priority"), "{line}");
}

#[test]
fn a_refusal_tells_who_is_out_and_why() {
    let mut world = World::new(Policy::default(), &[peer(1), Spec { limit: 2, ..peer(2) }]);
    let mut held = vec![];
    // One ejected, one at its limit.
    loop {
        let mut request = world.request(Method::Get);
        let place = world.place(request.pick(world.now).unwrap().unwrap());
        if place == 0 {
            request.report(&failed(Cause::CONNECTION_REFUSED), world.now).unwrap();
            request.end(world.now);
            break;
        }
        held.push(request);
        assert!(held.len() <= 1);
    }
    while held.len() < 2 {
        let mut request = world.request(Method::Get);
        request.pick(world.now).unwrap().unwrap();
        held.push(request);
    }
    world.now += MS;
    let mut request = world.request(Method::Get);
    assert!(request.pick(world.now).unwrap().is_none());
    let record = request.explain();
    assert!(record.refused && record.chosen == Chosen::Nobody);
    assert_eq!(counts(&record), [(Standing::Ejected, 1), (Standing::AtLimit, 1)]);
    let line = request.describe();
    assert_eq!(line, "no pick: peer_limit | round_robin 0 of 2: 1 ejected, 1 at its limit");
}

#[test]
fn trials_panic_and_a_missing_key_are_told() {
    let mut world = World::new(Policy { panic_percent: 100, ..Policy::default() }, &[peer(1), peer(2)]);
    let mut chosen = vec![];
    for _ in 0..20 {
        let mut request = world.request(Method::Get);
        let place = world.place(request.pick(world.now).unwrap().unwrap());
        request.report(&if place == 0 { failed(Cause::CONNECTION_REFUSED) } else { ok() }, world.now).unwrap();
        chosen.push(request.explain().chosen);
        request.end(world.now);
        world.now += 100 * MS;
    }
    assert!(chosen.contains(&Chosen::Panic) && chosen.contains(&Chosen::Trial), "{chosen:?}");

    let world = World::new(Policy { selector: Selector::Maglev, ..Policy::default() }, &[peer(1)]);
    let mut request = world.request(Method::Get);
    request.pick(world.now).unwrap().unwrap();
    assert_eq!(request.explain().chosen, Chosen::NoKey);
    request.end(world.now);
    assert!(request.describe().ends_with(" | maglev (no key)"), "{}", request.describe());
}

#[test]
fn at_most_256_members_are_looked_at_and_the_line_says_so() {
    let peers: Vec<Spec> = (1..=300).map(peer).collect();
    let world = World::new(Policy::default(), &peers);
    let mut request = world.request(Method::Get);
    request.pick(world.now).unwrap().unwrap();
    request.report(&failed(Cause::CONNECTION_TIMEOUT), world.now).unwrap();
    request.pick(world.now).unwrap().unwrap();
    let record = request.explain();
    assert_eq!(record.standings.members, 300);
    assert_eq!(record.standings.counts.iter().sum::<u16>(), 256);
    assert!(request.describe().contains(" of first 256"), "{}", request.describe());
    request.end(world.now);
}

#[test]
fn the_line_is_bounded_with_every_attempt_used() {
    let peers: Vec<Spec> = (1..=20).map(peer).collect();
    let world = World::new(Policy { retry_budget_ppm: u32::MAX, ..Policy::default() }, &peers);
    let mut request = world.request(Method::Get);
    while request.pick(world.now).unwrap().is_some() {
        request.report(&failed(Cause::CONNECTION_TIMEOUT), world.now).unwrap();
    }
    let (line, record) = (request.describe(), request.explain());
    assert!(line.len() <= 1024 && line.contains(" of 20: 16 tried"), "{line}");
    assert_eq!((record.made, record.attempts.iter().flatten().count()), (16, 4));
}
