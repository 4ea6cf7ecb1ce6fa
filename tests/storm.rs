//! The storm: many real processes do everything on one table at once, while a driver stops, wakes and kills them at
//! random and starts new ones. After every kill the living are brought to a known point and the table must say exactly
//! what they hold, its membership must be one that was declared, and every event whole; the driver then does every
//! operation itself, and waits for nobody. A fault is planted in the end, and the storm must find it.
//!
//! Time is a word that the driver turns; an alarm ends a storm that hangs, and nothing else depends on a clock.
//! TIDEGATE_KILLS: how many kills, 500 by default. TIDEGATE_SEED: another storm.

#![allow(unsafe_code)]

mod common;

use common::process::{fork, shared_words, wait};
use common::{SECOND, failed, ok, peer, specs};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use tidegate::cause::Cause;
use tidegate::failover::{Request, Worker};
use tidegate::ffi::status::tidegate_table_write_status;
use tidegate::ffi::upstream::tidegate_peer_set_admin;
use tidegate::health::PeerView;
use tidegate::http::Method;
use tidegate::table::{Admin, Capacity, PeerHandle, Policy, Selector, Table, UpstreamId};

fn main() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let (kills, seed) = (number("TIDEGATE_KILLS").unwrap_or(500), number("TIDEGATE_SEED").unwrap_or(1));
    if std::env::args().skip(1).any(|a| !a.starts_with('-') && !"a_storm_loses_nothing".contains(a.as_str())) {
        return println!("\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out");
    }
    for (selector, name) in [(Selector::RoundRobin, "round robin"), (Selector::LeastRequest, "least request")] {
        let mut storm = Storm::new(selector, seed, false);
        for _ in 0..kills / 2 {
            storm.round().unwrap_or_else(|wrong| panic!("{name}, seed {seed}, kill {}: {wrong}", storm.told.kills));
        }
        println!("{name}: {:?}", storm.told);
        storm.end();
    }
    let mut storm = Storm::new(Selector::RoundRobin, seed, true);
    let found = (0..PLANTED_KILLS).find_map(|_| storm.round().err());
    let found = found.expect("the planted fault, a list declared in two steps, was not found");
    println!("planted: found after {} kills: {found}", storm.told.kills);
    storm.end();
    println!("test a_storm_loses_nothing ... ok");
    println!("\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

const WORKERS: usize = 6;
const PLANTED_KILLS: u64 = 300;
/// Requests that a worker has open at a time.
const OPEN: usize = 4;
const LIMIT: u32 = 30;
/// Shorter than the time that the driver lets pass while somebody is stopped.
const LEASE_NS: u64 = 5 * SECOND;
const WATCHDOG_S: u32 = 60;
/// Words of shared memory: the time, whether to park, who is parked, then OPEN a worker.
const CLOCK: usize = 0;
const PARK: usize = 1;
const PARKED: usize = 2;
const HELD: usize = 8;

/// The lists that are declared: ports, each with its weight.
const LISTS: [&[(u16, u32)]; 6] = [
    &[(1, 1), (2, 1), (3, 1), (4, 1)],
    &[(1, 3), (2, 2), (5, 1), (6, 1), (7, 1)],
    &[(4, 1), (3, 5), (2, 1), (1, 1), (8, 2), (9, 1)],
    &[(1, 7), (9, 1)],
    &[(10, 1), (11, 2), (12, 3), (13, 4)],
    &[(2, 2)],
];

/// Each list has limits of its own, so that new peers with old limits are seen.
fn limit(list: usize) -> u32 {
    LIMIT + list as u32
}

fn declared(list: usize) -> Vec<common::Spec> {
    LISTS[list].iter().map(|&(port, weight)| common::Spec { weight, limit: limit(list), ..peer(port) }).collect()
}

#[derive(Default, Debug)]
#[allow(dead_code)]
struct Told {
    kills: u64,
    stops: u64,
    killed_while_stopped: u64,
    out: u64,
    back: u64,
    reclaimed: u64,
    events: u64,
    events_overwritten: u64,
    checks: u64,
}

struct Shared {
    table: Arc<Table>,
    upstream: UpstreamId,
    words: &'static [AtomicU64],
    planted: bool,
}

struct Storm {
    shared: Shared,
    worker: Box<Worker>,
    random: Random,
    /// By place; the place says which words are its own.
    children: [i32; WORKERS],
    cursor: u64,
    born: u64,
    told: Told,
}

/// wyrand.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0xa076_1d64_78bd_642f);
        let product = u128::from(self.0) * u128::from(self.0 ^ 0xe703_7ed1_a0b4_28db);
        let word = (product >> 64) as u64 ^ product as u64;
        ((u128::from(word) * n as u128) >> 64) as usize
    }
}

impl Shared {
    fn now(&self) -> u64 {
        self.words[CLOCK].load(Relaxed)
    }

    fn handle(&self) -> *const tidegate::ffi::table::tidegate_table {
        Arc::as_ptr(&self.table).cast()
    }

    fn members(&self) -> Vec<PeerHandle> {
        (0..64).map_while(|i| self.table.peer_at(self.upstream, i).unwrap()).collect()
    }

    /// How many peers it now has, or why not.
    fn declare(&self, list: usize) -> Result<usize, tidegate::Error> {
        let all = specs(&declared(list));
        if self.planted {
            self.table.set_peers(self.upstream, &all[..all.len() / 2], self.now())?;
        }
        self.table.set_peers(self.upstream, &all, self.now()).map(|handles| handles.len())
    }

    fn set_admin(&self, peer: PeerHandle, admin: Admin) -> i32 {
        // SAFETY: the table lives.
        unsafe { tidegate_peer_set_admin(self.handle(), peer.number(), admin.number(), self.now()) }
    }

    fn policy(&self, selector: Selector) -> Policy {
        // In panic as soon as a peer is out, so that every peer is picked and counted whatever the failures did.
        Policy { selector, panic_percent: 100, ..Policy::default() }
    }

    fn start(&self, worker: &Worker, method: Method) -> Request {
        common::start(worker, self.upstream.number(), method, self.now())
    }
}

impl Storm {
    fn new(selector: Selector, seed: u64, planted: bool) -> Storm {
        let table = Arc::new(Table::anonymous(&Capacity::new(4, 128, 16, 1024).unwrap(), SECOND).unwrap());
        let words = shared_words(HELD + WORKERS * OPEN);
        words[CLOCK].store(1000 * SECOND, Relaxed);
        let mut shared = Shared { table, upstream: UpstreamId::new(0).unwrap(), words, planted };
        shared.upstream = shared.table.open_upstream(b"app", &shared.policy(selector)).unwrap();
        shared.table.set_peers(shared.upstream, &specs(&declared(0)), shared.now()).unwrap();
        let worker = Worker::join(shared.table.clone(), false, seed, shared.now()).unwrap();
        let mut storm = Storm {
            shared,
            worker,
            random: Random(seed),
            children: [0; WORKERS],
            cursor: 0,
            born: seed << 32,
            told: Told::default(),
        };
        (0..WORKERS).for_each(|place| storm.bear(place));
        storm
    }

    fn bear(&mut self, place: usize) {
        self.born += 1;
        let (shared, born) = (&self.shared, self.born);
        self.children[place] = fork(|| live(shared, place, born));
    }

    /// One kill, and all that is demanded after it. `Err`: what was wrong.
    fn round(&mut self) -> Result<(), String> {
        // SAFETY: a signal that ends this process, should the round not end.
        unsafe { libc::alarm(WATCHDOG_S) };
        self.let_them_run();
        let mut stopped = vec![];
        for _ in 0..self.random.below(3) {
            let place = self.random.below(WORKERS);
            if !stopped.contains(&place) {
                signal(self.children[place], libc::SIGSTOP);
                stopped.push(place);
                self.told.stops += 1;
            }
        }
        if !stopped.is_empty() && self.random.below(2) == 0 {
            self.shared.words[CLOCK].fetch_add(LEASE_NS + 2 * SECOND, Relaxed);
            self.let_them_run();
        }
        let victim = self.random.below(WORKERS);
        self.told.killed_while_stopped += u64::from(stopped.contains(&victim));
        // The others finish what they are doing: nothing that they do later hides what the dead one left.
        self.shared.words[PARK].store(1, Relaxed);
        signal(self.children[victim], libc::SIGKILL);
        let status = wait(self.children[victim]);
        assert!(libc::WIFSIGNALED(status), "a worker failed: see above");
        (0..OPEN).for_each(|i| self.shared.words[HELD + victim * OPEN + i].store(0, Relaxed));
        self.told.kills += 1;
        stopped.iter().filter(|&&place| place != victim).for_each(|&place| signal(self.children[place], libc::SIGCONT));
        self.park(victim);
        let judged = self.judge();
        self.shared.words[PARK].store(0, Relaxed);
        for place in (0..WORKERS).filter(|&p| p != victim) {
            self.shared.words[PARKED + place].store(0, Relaxed);
            signal(self.children[place], libc::SIGCONT);
        }
        self.bear(victim);
        judged
    }

    /// Gives way for a while; how long is nobody's concern.
    fn let_them_run(&mut self) {
        for _ in 0..self.random.below(30) {
            // SAFETY: gives way.
            unsafe { libc::sched_yield() };
        }
    }

    /// Waits until all but the dead one have stopped themselves between two operations.
    fn park(&self, dead: usize) {
        for place in (0..WORKERS).filter(|&p| p != dead) {
            loop {
                let mut status = 0;
                // SAFETY: waits for a child of ours.
                assert!(unsafe { libc::waitpid(self.children[place], &mut status, libc::WUNTRACED) } > 0);
                assert!(libc::WIFSTOPPED(status), "a worker failed: see above");
                // A stop of the driver's own may be told late.
                if self.shared.words[PARKED + place].load(Relaxed) != 0 {
                    break;
                }
            }
        }
    }

    fn judge(&mut self) -> Result<(), String> {
        self.shared.words[CLOCK].fetch_add(SECOND, Relaxed);
        let now = self.shared.now();
        self.told.checks += 1;
        self.worker.tick(now).map_err(|e| e.to_string())?;
        self.judge_events()?;
        let enabled = self.judge_members(now)?;
        self.judge_limits(&enabled)?;
        self.go_on()
    }

    fn judge_events(&mut self) -> Result<(), String> {
        while let Some(event) = self.shared.table.event_after(self.cursor) {
            let kind = event.kind.number();
            let sizes = LISTS.map(|list| list.len() as u64);
            let whole = match kind {
                1 => event.peer != 0 && event.cause != Cause::NONE && event.value > 0,
                2..=4 => event.peer != 0 && event.value == 0,
                5 => event.peer != 0 && event.value <= 2,
                6 => event.peer == 0 && (self.shared.planted || sizes.contains(&event.value)),
                7 | 9 | 10 => event.worker < 16 && event.value <= OPEN as u64,
                _ => false,
            };
            if !whole || event.time_ns > self.shared.now() || event.number <= self.cursor {
                return Err(format!("an event that is not whole: {event:?}"));
            }
            self.told.events += 1;
            self.told.events_overwritten += event.number - self.cursor - 1;
            self.told.reclaimed += u64::from(kind == 7);
            self.told.out += u64::from(kind == 9);
            self.told.back += u64::from(kind == 10);
            self.cursor = event.number;
        }
        Ok(())
    }

    /// The list is one that was declared, with its weights and limits, and each peer has in flight what the living
    /// hold. The peers that may be picked, and how many requests more they take.
    fn judge_members(&self, now: u64) -> Result<HashMap<u64, u32>, String> {
        let members = self.shared.members();
        let port = |peer: &PeerHandle| {
            let name = self.shared.table.peer_display_name(*peer).unwrap();
            name.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).unwrap()
        };
        let views: Vec<_> = members.iter().map(|&p| PeerView::of(&self.shared.table, p, now).unwrap()).collect();
        let list: Vec<_> = members.iter().map(port).zip(views.iter().map(|v| v.weight)).collect();
        let Some(which) = LISTS.iter().position(|declared| *declared == list) else {
            return Err(format!("a list that nobody declared: {list:?}"));
        };
        let held = &self.shared.words[HELD..];
        let mut room = HashMap::new();
        for (peer, view) in members.iter().zip(&views) {
            let truth = held.iter().filter(|w| w.load(Relaxed) == peer.number()).count() as u32;
            if view.in_flight != truth {
                return Err(format!("in flight on {}: {}, and the living hold {truth}", port(peer), view.in_flight));
            }
            if view.max_in_flight != limit(which) {
                return Err(format!("list {which} with the limit {} of another", view.max_in_flight));
            }
            if view.admin == Admin::Enabled {
                room.insert(peer.number(), view.max_in_flight - truth);
            }
        }
        Ok(room)
    }

    /// The aggregates are exact: each peer takes as many requests as its limit leaves, not one more or less.
    fn judge_limits(&self, room: &HashMap<u64, u32>) -> Result<(), String> {
        let mut taken: HashMap<u64, u32> = HashMap::new();
        let mut open = vec![];
        loop {
            let mut request = self.shared.start(&self.worker, Method::Post);
            match request.pick(self.shared.now()).unwrap() {
                Some(picked) => *taken.entry(picked.peer.number()).or_default() += 1,
                None => break,
            }
            open.push(request);
        }
        open.iter_mut().for_each(|r| r.end(self.shared.now()));
        if taken != *room { Err(format!("taken to the limits: {taken:?} instead of {room:?}")) } else { Ok(()) }
    }

    /// Every operation by one who was not there: at once, for all who live are parked and hold nothing up.
    fn go_on(&mut self) -> Result<(), String> {
        let list = self.random.below(LISTS.len());
        let planted = std::mem::replace(&mut self.shared.planted, false);
        let declared = self.shared.declare(list).map_err(|e| format!("a declaration after the death: {e}"));
        self.shared.planted = planted;
        if declared? != LISTS[list].len() {
            return Err("a declaration lost peers".into());
        }
        for peer in self.shared.members() {
            if self.shared.set_admin(peer, Admin::Enabled) != 0 {
                return Err("a peer that was just declared is not there".into());
            }
        }
        let mut request = self.shared.start(&self.worker, Method::Get);
        let picked = request.pick(self.shared.now()).unwrap().ok_or("nobody to pick after a declaration")?;
        if !self.shared.members().contains(&picked.peer) {
            return Err("a pick that is not in the list".into());
        }
        request.report(&ok(), self.shared.now()).map(|_| ()).map_err(|e| e.to_string())
    }

    fn end(self) {
        for pid in self.children {
            signal(pid, libc::SIGKILL);
            wait(pid);
        }
        // SAFETY: no alarm any more.
        unsafe { libc::alarm(0) };
    }
}

fn signal(pid: i32, signal: i32) {
    // SAFETY: signals a child of ours that has not been waited for.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// What a worker does until it is killed.
fn live(shared: &Shared, place: usize, seed: u64) {
    // SAFETY: ends this process with the driver.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let mut random = Random(seed);
    let join = |seed| Worker::join_patiently(shared.table.clone(), false, seed, LEASE_NS, shared.now()).unwrap();
    let mut worker = join(seed);
    // Boxed: an open request stays where it is.
    let mut open: Vec<(Box<Request>, u64)> = vec![];
    let mut cursor = 0;
    loop {
        let now = shared.now();
        if shared.words[PARK].load(Relaxed) != 0 {
            // By the time as it is now: the driver may have turned it since.
            worker.tick(shared.now()).unwrap();
            for i in 0..OPEN {
                shared.words[HELD + place * OPEN + i].store(open.get(i).map_or(0, |(_, peer)| *peer), Relaxed);
            }
            shared.words[PARKED + place].store(1, Relaxed);
            // SAFETY: stops this process.
            unsafe { libc::raise(libc::SIGSTOP) };
            continue;
        }
        // Where the fault is planted one worker alone declares, and often, or others would mend what it left.
        let plants = shared.planted && place == 0;
        match if plants && random.below(2) == 0 { 10 } else { random.below(16) } {
            0..=5 if open.len() < OPEN => {
                let method = [Method::Get, Method::Post][random.below(2)];
                let mut request = Box::new(shared.start(&worker, method));
                if let Some(picked) = request.pick(now).unwrap() {
                    open.push((request, picked.peer.number()));
                }
            }
            0..=9 if !open.is_empty() => {
                let (mut request, _) = open.swap_remove(random.below(open.len()));
                let causes = [Cause::CONNECTION_REFUSED, Cause::CONNECTION_TERMINATED, Cause::CONNECTION_TIMEOUT];
                match random.below(8) {
                    0 => assert!(request.report(&failed(causes[random.below(3)]), now).is_ok()),
                    1 => assert_eq!(request.head(&ok(), now).unwrap().attempts, 1),
                    2 => {}
                    _ => assert!(request.report(&ok(), now).is_ok()),
                }
                request.end(now);
            }
            // Seldom, for each waits for a grace period of the kernel (membarrier).
            10 if plants || !shared.planted && random.below(6) == 0 => {
                match shared.declare(random.below(LISTS.len())) {
                    Ok(_) => {}
                    // Who holds the word may have been stopped by the driver.
                    Err(error) => assert!(error.to_string().contains("is changing the membership"), "{error}"),
                }
            }
            11 => {
                for peer in shared.members() {
                    let admin = [Admin::Enabled, Admin::Draining][random.below(2)];
                    // 0, or removed meanwhile.
                    assert!([0, -8].contains(&shared.set_admin(peer, admin)));
                }
            }
            12 => {
                let mut needed = 0;
                // SAFETY: the table lives; there is room for nothing, so only the length is told.
                unsafe { tidegate_table_write_status(shared.handle(), 1, now, std::ptr::null_mut(), 0, &mut needed) };
                assert!(needed > 0);
                for peer in shared.members() {
                    let _ = PeerView::of(&shared.table, peer, now);
                }
            }
            13 => {
                while let Some(event) = shared.table.event_after(cursor) {
                    assert!((1..=10).contains(&event.kind.number()) && event.number > cursor, "{event:?}");
                    cursor = event.number;
                }
            }
            14 => {
                open.drain(..).for_each(|(mut request, _)| request.end(now));
                drop(worker);
                worker = join(seed);
            }
            _ => worker.tick(now).unwrap(),
        }
    }
}
