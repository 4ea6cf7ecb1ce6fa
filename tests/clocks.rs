//! Clocks that jump, stand still, wrap, or are another one: the core reads none, so each is a number here.

mod common;

use common::*;
use std::path::Path;
use tidegate::cause::Cause;
use tidegate::http::Method;
use tidegate::table::Health;

/// What jumps when somebody sets the wall clock is read nowhere, nor is any other clock: the time comes with each call.
#[test]
fn no_clock_is_read() {
    fn look(dir: &Path) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // The checker is the one layer that reads a clock; the models measure how long they take.
                if !path.ends_with("src/model") && !path.ends_with("src/checker") {
                    look(&path);
                }
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            for clock in ["SystemTime", "Instant::now", "clock_gettime", "gettimeofday", "_rdtsc"] {
                assert!(!text.contains(clock), "{} reads a clock: {clock}", path.display());
            }
        }
    }
    look(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
}

/// One peer of three refuses, under a clock that `advance` turns after each request.
fn serve(mut world: World, advance: impl Fn(u64) -> u64) -> World {
    for _ in 0..500 {
        let now = world.now;
        let served = world.attempt(Method::Get, |i| (i == 1).then_some(Cause::CONNECTION_REFUSED));
        assert_eq!(served.status, 200);
        world.now = advance(now);
        world.worker.tick(world.now).unwrap();
    }
    assert_eq!(world.in_flight(), [0; 3]);
    world
}

#[test]
fn a_clock_that_stands_still_ejects_once_and_harms_nothing() {
    let world = serve(World::of(3), |now| now);
    let health: Vec<_> = world.views().iter().map(|v| v.health).collect();
    assert_eq!(health, [Health::Healthy, Health::Ejected, Health::Healthy]);
    assert_eq!(world.events().iter().filter(|&&kind| kind == 1).count(), 1, "ejected once");
}

/// A machine that was suspended, or a process that was stopped for long: nothing is made good that was missed.
#[test]
fn after_a_leap_of_a_day_everything_goes_on() {
    let mut world = serve(World::of(3), |now| now + MS);
    let before = world.events().len();
    world.now += 86_400 * SECOND;
    world.worker.tick(world.now).unwrap();
    assert_eq!(world.events().len(), before, "a leap alone changes no peer");
    for _ in 0..100 {
        assert_eq!(world.attempt(Method::Get, |_| None).status, 200);
        world.now += MS;
    }
    assert!(world.views().iter().all(|v| v.health == Health::Healthy), "found well by the first trials");
}

#[test]
fn a_clock_that_passes_where_32_bits_of_milliseconds_end_is_like_any() {
    for end in [u64::from(u32::MAX) * MS, (1 << 27) * 16 * MS] {
        let mut world = World::of(3);
        world.now = end - 200 * MS;
        let world = serve(world, |now| now + MS);
        assert_ne!(world.views()[1].health, Health::Healthy);
        assert!([0, 2].iter().all(|&i: &usize| world.views()[i].health == Health::Healthy));
    }
}
