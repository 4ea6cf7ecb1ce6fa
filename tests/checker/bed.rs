//! A table with peers on loopback, and a checker on virtual time: sockets are real, intervals and time-outs are not.

use crate::common::{MS, SECOND};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate::checker::{CheckOptions, Checker, Kind};
use tidegate::health::PeerView;
use tidegate::table::{Address, Admin, Capacity, Event, PeerHandle, PeerSpec, Policy, Table, UpstreamId};

pub struct Bed {
    pub table: Arc<Table>,
    pub upstream: UpstreamId,
    pub peers: Vec<PeerHandle>,
    pub now: u64,
}

pub fn address(at: SocketAddr) -> Address {
    let SocketAddr::V4(v4) = at else { panic!("{at}") };
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    bytes[2..4].copy_from_slice(&v4.port().to_be_bytes());
    bytes[4..8].copy_from_slice(&v4.ip().octets());
    Address::new(&bytes).unwrap()
}

pub fn unix(path: &[u8]) -> Address {
    let mut bytes = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
    bytes.extend_from_slice(path);
    Address::new(&bytes).unwrap()
}

pub fn specs(addresses: &[Address]) -> Vec<PeerSpec> {
    let spec = |a: &Address| PeerSpec::new(a.clone(), b"", 1, 0, 0, Admin::Enabled);
    addresses.iter().map(|a| spec(a).unwrap()).collect()
}

pub fn http() -> CheckOptions<'static> {
    CheckOptions {
        kind: Kind::Http,
        path: b"/health",
        interval_ns: SECOND,
        timeout_ns: 3 * SECOND,
        ..CheckOptions::default()
    }
}

impl Bed {
    pub fn of(addresses: &[Address]) -> Bed {
        Bed::with(addresses, Policy::default())
    }

    pub fn with(addresses: &[Address], policy: Policy) -> Bed {
        let now = 1000 * SECOND;
        let most = 64.max(addresses.len() as u32);
        let table = Arc::new(Table::anonymous(&Capacity::new(4, most, 8, 4096).unwrap(), now).unwrap());
        let upstream = table.open_upstream(b"app", &policy).unwrap();
        let peers = table.set_peers(upstream, &specs(addresses), now).unwrap();
        Bed { table, upstream, peers, now }
    }

    pub fn checker(&self, options: &CheckOptions) -> Checker {
        let mut checker = Checker::new(self.table.clone(), 0, 7).unwrap();
        checker.set(self.upstream, Some(options)).unwrap();
        checker
    }

    pub fn down(&self) -> usize {
        self.peers.iter().filter(|&&p| self.view(p).down).count()
    }

    pub fn view(&self, peer: PeerHandle) -> PeerView {
        PeerView::of(&self.table, peer, self.now).unwrap()
    }

    pub fn events(&self, kind: u32) -> Vec<Event> {
        let (mut after, mut found) = (0, vec![]);
        while let Some(event) = self.table.event_after(after) {
            after = event.number;
            if event.kind.number() == kind {
                found.push(event);
            }
        }
        found
    }

    /// Lets virtual time pass until it is so. While a check is under way, the clock stands still for 50 ms of real time
    /// before it goes on: a backend of these tests answers within that, or not at all.
    pub fn until(&mut self, checker: &mut Checker, what: &str, mut so: impl FnMut(&Bed, &Checker) -> bool) {
        let began = Instant::now();
        loop {
            checker.run(self.now).unwrap();
            if so(self, checker) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{what}: {:?}", checker.counts());
            if !is_readable(checker.descriptor().unwrap(), if checker.counts().open > 0 { 50 } else { 0 }) {
                self.now = checker.next_ns().unwrap().max(self.now + 1);
            }
        }
    }

    /// Lets so much virtual time pass.
    pub fn pass(&mut self, checker: &mut Checker, ns: u64) {
        let end = self.now + ns;
        self.until(checker, "time passes", |bed, _| bed.now >= end);
    }
}

/// Whether there is something to read, waited for so many milliseconds of real time.
pub fn is_readable(fd: i32, ms: i32) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, which lives through the call.
    unsafe { libc::poll(&mut poll, 1, ms) > 0 }
}

/// Waits in real time for what another thread or process does.
pub fn wait(what: &str, mut so: impl FnMut() -> bool) {
    assert!(tidegate_testbed::process::wait_until(Duration::from_secs(60), &mut so), "{what}");
}

pub const FAST: u64 = 250 * MS;
