//! The event loop: clients, gateways and peers in virtual time, with the shipped core in the middle.
//!
//! A client comes to a gateway, which asks the core for a peer and sends; what the peer then does follows from its queue
//! and its effects; the gateway tells the core what a gateway would see, and does what it is told: deliver, retry
//! (after `wait_ns`), answer, abort. Nothing here chooses a peer, judges one, or decides on a retry.
//!
//! Service times, arrivals, faults and gateways each have random numbers of their own, so that two selectors meet the
//! same clients and the same faults. Cost: about a microsecond a request, most of it cache misses.
//! Reference: `docs/tuning.md`, which also says what is left out.

mod fate;
mod gateway;

use crate::agenda::{Agenda, Due, Places, What};
use crate::fault::Effect;
use crate::host::{Declared, Host, Refused, Shape, mix};
use crate::pool::Peer;
use crate::result::Run;
use crate::scenario::{Scenario, Wrong};
use crate::tally::Tally;
use crate::timeline::Timeline;
use crate::traffic::{Clients, Draw};
use crate::watch::Watch;
use fate::Fate;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::fmt;
use tidegate::ffi::request::*;

/// Why a run could not be made.
#[derive(Debug)]
pub enum Failure {
    /// The scenario is wrong.
    Scenario(Wrong),
    /// The core refused a call.
    Core(Refused),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Failure::Scenario(e) => e.fmt(f),
            Failure::Core(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Refused> for Failure {
    fn from(e: Refused) -> Failure {
        Failure::Core(e)
    }
}

impl From<Wrong> for Failure {
    fn from(e: Wrong) -> Failure {
        Failure::Scenario(e)
    }
}

/// The clock when a run begins: not 0, which means "unset" to the core.
const START: u64 = 1_000_000_000_000;
/// How often events are read off the tables.
const LOOK_NS: u64 = 100_000_000;
/// How often a gateway ticks.
const TICK_NS: u64 = 1_000_000_000;

/// Runs a scenario with this selector of the library (number and name).
pub fn run(scenario: &Scenario, selector: (u32, &str), with_series: bool) -> Result<Run, Failure> {
    let began = std::time::Instant::now();
    let mut engine = Engine::new(scenario, selector.0, with_series)?;
    engine.run()?;
    Ok(engine.finish(selector.1, began.elapsed().as_secs_f64()))
}

/// A client's request.
struct Request {
    gateway: u16,
    /// The client has left, or was answered.
    over: bool,
    /// Waits for its next pick: an entry of the agenda names it.
    waits: bool,
    counted: bool,
    began: u64,
    attempts: u32,
    /// Of the open attempt.
    attempt: u32,
}

/// An attempt, until both sides are done with it.
struct Attempt {
    request: u32,
    peer: u32,
    fate: Fate,
    began: u64,
    /// The gateway waits for it.
    open: bool,
}

struct Engine<'a> {
    scenario: &'a Scenario,
    host: Host,
    agenda: Agenda,
    timeouts: Due,
    patience: Due,
    requests: Places<Request>,
    attempts: Places<Attempt>,
    peers: Vec<Peer>,
    /// Of each table: handle and peer by slot, as a C host would keep them.
    by_slot: Vec<Vec<(u64, u32)>>,
    members: Vec<bool>,
    timeline: Timeline,
    clients: Clients,
    draw: Draw,
    service: Xoshiro256PlusPlus,
    choices: Xoshiro256PlusPlus,
    tally: Tally,
    watch: Watch,
    end: u64,
    open: u64,
    now: u64,
}

impl<'a> Engine<'a> {
    fn new(scenario: &'a Scenario, selector: u32, with_series: bool) -> Result<Engine<'a>, Failure> {
        scenario.check()?;
        let stream = |n: u64| Xoshiro256PlusPlus::seed_from_u64(mix(scenario.seed).wrapping_add(n));
        let pool = &scenario.pool;
        let (gateways, peers) = (pool.gateways as usize, pool.peers as usize);
        let shape = Shape { gateways, shared: pool.shared, peers, seed: scenario.seed };
        let host = Host::new(shape, selector, &scenario.policy, START)?;
        let timeline = Timeline::of(scenario, &mut stream(3));
        let tables = host.tables();
        let mut engine = Engine {
            agenda: Agenda::with_capacity(4096),
            timeouts: Due::default(),
            patience: Due::default(),
            requests: Places::with_capacity(1024),
            attempts: Places::with_capacity(1024),
            peers: (0..peers).map(|_| Peer::new()).collect(),
            by_slot: vec![vec![(0, 0); peers * 2 + 8]; tables],
            members: vec![true; peers],
            clients: Clients::new(&scenario.arrivals, scenario.rate(), START, stream(1)),
            draw: Draw::new(&scenario.service)?,
            service: stream(2),
            choices: stream(4),
            tally: Tally::new(START + scenario.warm_up.0, START + scenario.duration.0, with_series),
            watch: Watch::new(&timeline.meetings, peers, tables, START, scenario.requests.attempt_timeout.0),
            end: START + scenario.duration.0,
            open: 0,
            now: START,
            scenario,
            host,
            timeline,
        };
        engine.declare()?;
        engine.arrange();
        Ok(engine)
    }

    fn arrange(&mut self) {
        for (i, interval) in self.timeline.intervals.iter().enumerate() {
            self.agenda.enter(START + interval.from, What::Enter, i as u32);
            self.agenda.enter(START + interval.to, What::Leave, i as u32);
        }
        for (i, step) in self.timeline.moves.iter().enumerate() {
            self.agenda.enter(START + step.at, What::Move, i as u32);
        }
        for gateway in 0..self.scenario.pool.gateways {
            let offset = TICK_NS / u64::from(self.scenario.pool.gateways) * u64::from(gateway);
            self.agenda.enter(START + offset, What::Tick, gateway);
        }
        self.agenda.enter(START + LOOK_NS, What::Look, 0);
    }

    /// Declares the list of peers to every table.
    fn declare(&mut self) -> Result<(), Failure> {
        let pool = &self.scenario.pool;
        let weight = |i: usize| pool.weights.get(i % pool.weights.len().max(1)).copied().unwrap_or(1);
        let list: Vec<Declared> = (0..self.members.len())
            .filter(|&i| self.members[i])
            .map(|i| Declared { peer: i as u32, weight: weight(i), max_in_flight: pool.max_in_flight })
            .collect();
        let mut handles = vec![];
        for table in 0..self.host.tables() {
            self.host.set_peers(table, &list, self.now, &mut handles)?;
            for (declared, &handle) in list.iter().zip(&handles) {
                self.watch.learn(table, handle, declared.peer);
            }
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Failure> {
        let mut client = self.clients.next();
        loop {
            let (attempts, requests) = (&self.attempts, &self.requests);
            self.timeouts.skip_while(|place, generation| attempts.generation(place) != generation);
            self.patience.skip_while(|place, generation| requests.generation(place) != generation);
            let coming = if client < self.end { client } else { u64::MAX };
            let (timeout, patience) = (self.timeouts.next_at(), self.patience.next_at());
            let least = self.agenda.next_at().min(coming).min(timeout).min(patience);
            if coming == u64::MAX && self.open == 0 && least >= self.end {
                self.now = self.now.max(self.end);
                return self.look();
            }
            self.now = least;
            if least == coming {
                self.arrive()?;
                client = self.clients.next();
            } else if least == timeout {
                self.time_out()?;
            } else if least == patience {
                self.lose_patience();
            } else if let Some((_, what, whom)) = self.agenda.take() {
                self.happen(what, whom)?;
            }
        }
    }

    fn happen(&mut self, what: What, whom: u32) -> Result<(), Failure> {
        match what {
            What::Outcome => self.outcome(whom)?,
            What::Done => self.done(whom)?,
            What::Retry => {
                self.requests.at(whom).waits = false;
                if self.requests.see(whom).over {
                    self.requests.free(whom);
                } else {
                    self.attempt(whom)?;
                }
            }
            What::Tick => {
                self.host.tick(whom as usize, self.now)?;
                self.agenda.enter(self.now + TICK_NS, What::Tick, whom);
            }
            What::Enter | What::Leave => {
                let interval = self.timeline.intervals[whom as usize];
                let peer = &mut self.peers[interval.peer as usize];
                if what == What::Enter { peer.enter(&interval) } else { peer.leave(&interval) }
            }
            What::Move => {
                let step = self.timeline.moves[whom as usize];
                self.members[step.peer as usize] = step.joins;
                self.look()?;
                self.declare()?;
            }
            What::Look => {
                self.look()?;
                self.agenda.enter(self.now + LOOK_NS, What::Look, 0);
            }
        }
        Ok(())
    }

    fn arrive(&mut self) -> Result<(), Failure> {
        let rules = &self.scenario.requests;
        let gateways = self.scenario.pool.gateways;
        let gateway = if gateways == 1 { 0 } else { self.choices.random_range(0..gateways) as u16 };
        let post = rules.posts.0 > 0.0 && self.choices.random::<f64>() < rules.posts.0;
        let counted = self.tally.counts(self.now);
        let (over, waits) = (false, false);
        let request = Request { gateway, over, waits, counted, began: self.now, attempts: 0, attempt: 0 };
        let place = self.requests.put(request);
        if let Some(patience) = rules.patience {
            self.patience.set(self.now + patience.0, place, self.requests.generation(place));
        }
        let method = if post { TIDEGATE_METHOD_POST } else { TIDEGATE_METHOD_GET };
        let deadline = rules.deadline.map_or(0, |d| self.now + d.0);
        self.host.start(gateway.into(), place, method, deadline, self.now)?;
        self.open += 1;
        self.attempt(place)
    }

    /// Asks for a peer, and sends the request there.
    fn attempt(&mut self, place: u32) -> Result<(), Failure> {
        let Some(pick) = self.host.pick(place, self.now)? else {
            let cause = self.host.answer(place, self.now)?;
            self.close(place, Some(cause));
            return Ok(());
        };
        let now = self.now;
        let request = self.requests.at(place);
        request.attempts += 1;
        let table = self.host.table_of(request.gateway.into());
        let known = &mut self.by_slot[table][pick.slot as usize];
        if known.0 != pick.peer {
            *known = (pick.peer, self.watch.peer(table, pick.peer));
        }
        let number = known.1;
        let peer = &mut self.peers[number as usize];
        if request.counted {
            peer.attempts += 1;
        }
        let fate = if !self.members[number as usize] {
            Fate::Refused
        } else if peer.effect == Effect::default() {
            Fate::Served
        } else {
            self.watch.count(number, now);
            Fate::draw(&peer.effect, &mut self.choices)
        };
        let attempt = self.attempts.put(Attempt { request: place, peer: number, fate, began: now, open: true });
        self.requests.at(place).attempt = attempt;
        let round_trip = self.scenario.pool.round_trip.0;
        match fate {
            Fate::Refused => self.agenda.enter(now + round_trip, What::Outcome, attempt),
            Fate::FastError(_) => self.agenda.enter(now + round_trip + peer.effect.after, What::Outcome, attempt),
            Fate::Unreachable => {
                self.agenda.enter(now + self.scenario.requests.connect_timeout.0, What::Outcome, attempt);
            }
            Fate::Hang => self.set_timeout(attempt),
            Fate::Served | Fate::Error(_) | Fate::Reset | Fate::BreakOff => {
                self.set_timeout(attempt);
                if self.peers[number as usize].busy < self.scenario.pool.concurrency {
                    self.serve(attempt);
                } else {
                    self.peers[number as usize].queue.push_back(attempt);
                }
            }
        }
        Ok(())
    }

    fn set_timeout(&mut self, attempt: u32) {
        let at = self.now + self.scenario.requests.attempt_timeout.0;
        self.timeouts.set(at, attempt, self.attempts.generation(attempt));
    }

    /// A peer begins to work.
    fn serve(&mut self, attempt: u32) {
        let peer = &mut self.peers[self.attempts.see(attempt).peer as usize];
        peer.busy += 1;
        let time = (self.draw.next(&mut self.service) * peer.effect.factor) as u64;
        if self.tally.counts(self.now) {
            peer.busy_ns += time;
        }
        self.agenda.enter(self.now + time, What::Done, attempt);
    }

    /// A peer has done its work: the next in its queue, and the outcome to the gateway.
    fn done(&mut self, attempt: u32) -> Result<(), Failure> {
        let number = self.attempts.see(attempt).peer as usize;
        self.peers[number].busy -= 1;
        while let Some(next) = self.peers[number].queue.pop_front() {
            if self.attempts.see(next).open {
                self.serve(next);
                break;
            }
            self.attempts.free(next);
        }
        if !self.attempts.see(attempt).open {
            self.attempts.free(attempt);
            return Ok(());
        }
        match self.scenario.pool.round_trip.0 {
            0 => self.outcome(attempt),
            round_trip => {
                self.agenda.enter(self.now + round_trip, What::Outcome, attempt);
                Ok(())
            }
        }
    }

    fn look(&mut self) -> Result<(), Failure> {
        for table in 0..self.host.tables() {
            while let Some(event) = self.host.next_event(table)? {
                self.watch.see(table, &event, &self.members);
            }
        }
        Ok(())
    }

    fn finish(self, selector: &str, wall_s: f64) -> Run {
        Run::of(self.scenario, selector, &self.peers, self.tally, self.watch, wall_s)
    }
}
