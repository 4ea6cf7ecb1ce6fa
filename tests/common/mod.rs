//! A small world on virtual time for tests of the core: one table, one upstream, workers, and a clock that the test
//! turns.

#![allow(dead_code, unsafe_code)]

pub mod process;

use std::sync::Arc;
use tidegate::cause::Cause;
use tidegate::failover::{Decision, Outcome, Phase, Picked, Request, Worker};
use tidegate::http::Method;
use tidegate::table::{Address, Admin, Capacity, PeerHandle, PeerSpec, Policy, Table, UpstreamId};

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1000 * MS;

pub struct World {
    pub table: Arc<Table>,
    pub upstream: UpstreamId,
    pub worker: Box<Worker>,
    pub peers: Vec<PeerHandle>,
    pub now: u64,
}

/// One peer to declare.
#[derive(Clone, Copy)]
pub struct Spec {
    pub port: u16,
    pub weight: u32,
    pub backup: bool,
    pub limit: u32,
    pub admin: Admin,
}

pub fn peer(port: u16) -> Spec {
    Spec { port, weight: 1, backup: false, limit: 0, admin: Admin::Enabled }
}

pub fn address(port: u16) -> Address {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    bytes[4] = 10;
    Address::new(&bytes).unwrap()
}

pub fn specs(peers: &[Spec]) -> Vec<PeerSpec> {
    let spec = |p: &Spec| PeerSpec::new(address(p.port), b"", p.weight, u32::from(p.backup), p.limit, p.admin).unwrap();
    peers.iter().map(spec).collect()
}

impl World {
    pub fn new(policy: Policy, peers: &[Spec]) -> World {
        let now = 1000 * SECOND;
        let capacity = Capacity::new(4, 64.max(peers.len() as u32 * 2), 8, 256).unwrap();
        let table = Arc::new(Table::anonymous(&capacity, now).unwrap());
        let upstream = table.open_upstream(b"app", &policy).unwrap();
        let handles = table.set_peers(upstream, &specs(peers), now).unwrap();
        let worker = Worker::join(table.clone(), false, 42, now).unwrap();
        World { table, upstream, worker, peers: handles, now }
    }

    pub fn of(n: u16) -> World {
        World::new(Policy::default(), &(1..=n).map(peer).collect::<Vec<_>>())
    }

    pub fn request(&self, method: Method) -> Request {
        start(&self.worker, self.upstream.number(), method, self.now)
    }

    /// One GET that is picked and succeeds; the peer's place in the list.
    pub fn serve(&mut self) -> Option<usize> {
        let mut request = self.request(Method::Get);
        let picked = request.pick(self.now).unwrap()?;
        request.report(&ok(), self.now).unwrap();
        Some(self.place(picked))
    }

    /// Requests of this method to peers of which `dead` refuse: the last decision, and the causes met.
    pub fn attempt(&mut self, method: Method, dead: impl Fn(usize) -> Option<Cause>) -> Served {
        let mut request = self.request(method);
        let mut attempts = 0;
        loop {
            let Some(picked) = request.pick(self.now).unwrap() else {
                let told = request.answer(self.now).unwrap();
                return Served { status: told.status, cause: told.cause, retry_after_s: told.retry_after_s, attempts };
            };
            attempts += 1;
            let outcome = dead(self.place(picked)).map_or(ok(), failed);
            let decision = request.report(&outcome, self.now).unwrap();
            match decision.verdict as u32 {
                1 => return Served { status: 200, cause: decision.cause, retry_after_s: 0, attempts },
                2 => self.now += decision.wait_ns,
                _ => {
                    let told = request.answer(self.now).unwrap();
                    assert_eq!((told.status, told.cause), (u32::from(decision.status), decision.cause));
                    return Served {
                        status: told.status,
                        cause: told.cause,
                        retry_after_s: told.retry_after_s,
                        attempts,
                    };
                }
            }
        }
    }

    pub fn place(&self, picked: Picked) -> usize {
        self.peers.iter().position(|p| *p == picked.peer).unwrap()
    }

    pub fn in_flight(&self) -> Vec<u32> {
        self.views().iter().map(|v| v.in_flight).collect()
    }

    pub fn views(&self) -> Vec<tidegate::health::PeerView> {
        self.peers.iter().map(|&p| tidegate::health::PeerView::of(&self.table, p, self.now).unwrap()).collect()
    }

    pub fn events(&self) -> Vec<u32> {
        let (mut after, mut kinds) = (0, vec![]);
        while let Some(event) = self.table.event_after(after) {
            after = event.number;
            kinds.push(event.kind.number());
        }
        kinds
    }
}

/// A request with the defaults. Tests keep the worker for as long as the request.
pub fn start(worker: &Worker, upstream: u32, method: Method, now: u64) -> Request {
    // SAFETY: see above.
    unsafe { Request::start(worker, upstream, method, 0, 0, 0, now) }.unwrap()
}

#[derive(Debug, Clone, Copy)]
pub struct Served {
    pub status: u32,
    pub cause: Cause,
    pub retry_after_s: u32,
    pub attempts: u32,
}

pub fn ok() -> Outcome {
    Outcome {
        cause: Cause::NONE,
        phase: Phase::Done,
        flags: Outcome::SENT | Outcome::RECEIVED,
        status: 200,
        reason: 0,
        retry_after_s: 0,
        head_ns: 0,
        total_ns: MS,
    }
}

pub fn failed(cause: Cause) -> Outcome {
    let unsent = cause == Cause::CONNECTION_REFUSED || cause == Cause::CONNECTION_TIMEOUT;
    let (phase, flags) = if unsent { (Phase::Connect, 0) } else { (Phase::Head, Outcome::SENT) };
    Outcome { cause, phase, flags, status: 0, ..ok() }
}

pub fn verdict(decision: &Decision) -> u32 {
    decision.verdict as u32
}
