//! The faults: what happens to the backends or the proxy while the load runs, and what counts as an error then.

use std::time::Duration;

use tidegate_testbed::{Behaviour, Then};

use crate::cell::Scene;

/// One row of the table.
pub struct Fault {
    pub name: &'static str,
    pub what: &'static str,
    pub expect: Expect,
    /// GETs and POSTs that chance decides on, because they were under way when connections were cut: about so many more
    /// than another proxy lost say nothing.
    pub chance: [u64; 2],
    /// Cells a proxy; the one in the middle by CPU counts.
    pub rounds: usize,
    /// Whether a balancer that looks at load may do better: nginx's other one takes part then.
    pub by_load: bool,
    /// Columns of Tidegate's line and the most that should stand there.
    pub goals: &'static [(&'static str, f64)],
    /// Makes it happen, and takes as long as the cell's load.
    pub play: fn(&mut Scene) -> Result<(), String>,
}

/// Which answers are no errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Only complete and right ones.
    Good,
    /// The same, from the return of the first backend on.
    GoodOnceBack,
    /// There is nothing better than a well-formed 503.
    Unavailable,
}

pub const FAULTS: &[Fault] = &[
    Fault { rounds: 3, ..good("none", "all four are in order", |scene| scene.hold_rest()) },
    good("kill", "one is killed by SIGKILL", |scene| {
        scene.backends[SICK].kill();
        scene.hold_rest()
    })
    .goals(NO_GET)
    .by_chance(0, 1),
    good("blackhole", "one accepts, reads and never answers", |scene| scene.sick(&Behaviour::Hang))
        .by_load()
        .goals(HANGING),
    good("dropped-syns", "one is gone: connections closed, every SYN dropped", |scene| {
        scene.sick(&Behaviour::DropSyns)
    })
    .by_load()
    .goals(&[("GET errors", 0.0), ("over 1 s", 10.0)])
    .by_chance(0, 1),
    good("rst-after-request", "one resets the connection when it has read the request", |scene| {
        scene.sick(&Behaviour::Reset)
    }),
    good("rst-on-accept", "one resets every connection as soon as it has accepted it", |scene| {
        scene.sick(&Behaviour::ResetOnAccept)
    })
    .by_chance(0, 1),
    good("slow-10x", "one takes 100 ms instead of 10", |scene| {
        scene.sick(&Behaviour::Slow(Duration::from_millis(100)))
    })
    .by_load()
    .goals(&[("GET errors", 0.0), ("POST errors", 0.0), ("p99", 40.0)]),
    good("slow-100x", "one takes 1 s instead of 10 ms", |scene| scene.sick(&Behaviour::Slow(Duration::from_secs(1))))
        .by_load()
        .goals(NO_ERROR),
    good("trickled-head", "one sends its heads a byte every 50 ms", |scene| {
        scene.sick(&Behaviour::Trickle(Duration::from_millis(50)))
    })
    .by_load()
    .goals(HANGING),
    good("503-half", "one answers 503 to half of its requests, its health page is green", |scene| {
        scene.sick(&Behaviour::Status { code: 503, percent: 50 })
    })
    .goals(&[("GET errors", 0.0), ("POST errors", 3.0)]),
    good("500-5-percent", "one answers 500 to 5 % of its requests, its health page is green", |scene| {
        scene.sick(&Behaviour::Status { code: 500, percent: 5 })
    })
    .by_chance(8, 4),
    good("flapping", "one refuses connections for half a second, works for half a second, and so on", |scene| {
        while !scene.is_over() {
            scene.set(SICK, &Behaviour::Refuse)?;
            scene.hold(500);
            scene.set(SICK, &Behaviour::Ok)?;
            scene.hold(500);
        }
        Ok(())
    })
    .goals(NO_GET)
    .by_chance(0, 6),
    good("rolling-deploy", "all four stop gracefully and start again, one after the other", |scene| {
        for i in 0..scene.backends.len() {
            scene.backends[i].stop().map_err(|e| e.to_string())?;
            scene.hold(300);
            scene.backends[i].restart().map_err(|e| e.to_string())?;
            scene.hold(700);
        }
        scene.hold_rest()
    })
    .goals(NO_ERROR),
    good("three-dead", "three of four are killed by SIGKILL", |scene| {
        scene.backends[1..].iter_mut().for_each(|backend| backend.kill());
        scene.hold_rest()
    })
    .goals(NO_GET)
    .by_chance(0, 3),
    Fault {
        name: "all-dead-and-back",
        what: "all four are killed and started again 2 s later; counted from the return of the first on",
        expect: Expect::GoodOnceBack,
        chance: [0, 0],
        rounds: 1,
        by_load: false,
        goals: &[("noticed for", 0.3)],
        play: |scene| {
            scene.backends.iter_mut().for_each(|backend| backend.kill());
            scene.hold(2000);
            for i in 0..scene.backends.len() {
                scene.backends[i].restart().map_err(|e| e.to_string())?;
                scene.mark_return();
            }
            scene.hold_rest()
        },
    },
    Fault {
        name: "all-503",
        what: "all four answer 503 to everything; a well-formed 503 is no error",
        expect: Expect::Unavailable,
        chance: [0, 0],
        rounds: 1,
        by_load: false,
        goals: &[("GET errors", 0.0), ("POST errors", 0.0), ("attempts", 1.3)],
        play: |scene| {
            for i in 0..scene.backends.len() {
                scene.set(i, &Behaviour::Status { code: 503, percent: 100 })?;
            }
            scene.hold_rest()
        },
    },
    good("idle-closes", "all four close idle connections at random, within 20 ms of an answer", |scene| {
        for i in 0..scene.backends.len() {
            scene.set(i, &Behaviour::CloseIdle { percent: 100, within: Duration::from_millis(20) })?;
        }
        scene.hold_rest()
    })
    .goals(NO_ERROR),
    good(
        "keep-alive-races",
        "one in ten of all four's idle connections is closed just as the next request comes",
        |scene| {
            for i in 0..scene.backends.len() {
                scene.set(i, &Behaviour::RaceIdle { percent: 10 })?;
            }
            scene.hold_rest()
        },
    )
    .goals(NO_ERROR),
    good("body-breaks-off", "half of one's bodies end early, by FIN", |scene| scene.sick_half(Behaviour::BreakOff))
        .goals(NO_GET_NO_CORRUPT),
    good("bad-chunk-size", "half of one's answers have a chunk without a size", |scene| {
        scene.sick_half(Behaviour::BadChunk)
    })
    .goals(NO_GET_NO_CORRUPT),
    good("garbage", "half of one's answers are no HTTP", |scene| scene.sick_half(Behaviour::Garbage))
        .goals(NO_GET_NO_CORRUPT),
    good("bad-status-line", "half of one's answers say HTTP/1.1 2x0", |scene| {
        scene.sick_half(raw("HTTP/1.1 2x0 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nright"))
    })
    .goals(NO_GET_NO_CORRUPT),
    good("two-lengths", "half of one's answers have Content-Length twice, 10 and 5", |scene| {
        scene.sick_half(raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 5\r\n\r\n0123456789"))
    })
    .goals(NO_GET_NO_CORRUPT),
    good("worker-killed", "the proxy's worker is killed three times", |scene| {
        for _ in 0..3 {
            scene.hold(400);
            scene.gateway.kill_worker()?;
            scene.hold(800);
        }
        scene.hold_rest()
    })
    .goals(&[("errors", 14.0)])
    .by_chance(6, 3),
    good("reload", "the proxy is reloaded three times", |scene| {
        scene.running.retirement(true);
        for _ in 0..3 {
            scene.hold(400);
            scene.gateway.reload()?;
            scene.hold(800);
        }
        scene.hold_rest()
    })
    .goals(NO_ERROR),
];

const fn good(name: &'static str, what: &'static str, play: fn(&mut Scene) -> Result<(), String>) -> Fault {
    Fault { name, what, expect: Expect::Good, chance: [0, 0], rounds: 1, by_load: false, goals: &[], play }
}

impl Fault {
    const fn by_load(self) -> Fault {
        Fault { by_load: true, ..self }
    }

    const fn goals(self, goals: &'static [(&'static str, f64)]) -> Fault {
        Fault { goals, ..self }
    }

    const fn by_chance(self, gets: u64, posts: u64) -> Fault {
        Fault { chance: [gets, posts], ..self }
    }
}

fn raw(text: &str) -> Behaviour {
    Behaviour::Raw(text.into(), Then::Close)
}

const NO_GET: &[(&str, f64)] = &[("GET errors", 0.0)];
const NO_ERROR: &[(&str, f64)] = &[("GET errors", 0.0), ("POST errors", 0.0)];
const NO_GET_NO_CORRUPT: &[(&str, f64)] = &[("GET errors", 0.0), ("corrupt", 0.0)];
const HANGING: &[(&str, f64)] = &[("GET errors", 0.0), ("POST errors", 5.0), ("over 1 s", 10.0)];

/// Which of the four.
pub const SICK: usize = 1;
