//! A backend in this process: a listener, a thread for each connection, a behaviour that can change at any time.
//!
//! It can stop listening and listen again on the same port, like a server that is restarted; a crash is better shown
//! with `ProcessBackend`. A connection costs a thread, so hundreds are fine and thousands aren't.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

use crate::behaviour::Behaviour;
use crate::executions::Executions;
use crate::ports::free_port;
use crate::rng::Rng;
use crate::serve;
use crate::wire::Wire;

/// The backend. Dropped, it closes everything at once.
pub struct Backend {
    shared: Arc<Shared>,
    addr: SocketAddr,
    door: Option<Door>,
    wall: Option<Wall>,
}

impl Backend {
    /// Listens on 127.0.0.1; port 0 takes a free one (see `ports`).
    pub fn start(name: &str, port: u16, executions: &Arc<Executions>) -> io::Result<Backend> {
        let port = if port == 0 { free_port() } else { port };
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            executions: Arc::clone(executions),
            behaviour: Mutex::default(),
            service_us: AtomicU64::new(0),
            rng: Mutex::new(Rng::new(u64::from(port))),
            draining: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            open: Mutex::default(),
            closed: Condvar::new(),
        });
        let addr = (Ipv4Addr::LOCALHOST, port).into();
        let door = Some(Door::open(addr, &shared)?);
        Ok(Backend { shared, addr, door, wall: None })
    }

    /// Its name in X-Backend and in the echo.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Where it listens, or listened.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Requests that it read whole.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Connections that it accepted.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// How long it works on each answer of its own making before it sends it; at first no time at all.
    pub fn take_time(&self, service: Duration) {
        self.shared.service_us.store(service.as_micros() as u64, Ordering::Relaxed);
    }

    /// How it answers from the next request on. `Refuse` and `DropSyns` close the listener and every connection before
    /// this returns, `ResetOnAccept` the connections; anything else listens again on the same port if need be.
    pub fn set(&mut self, behaviour: Behaviour) -> io::Result<()> {
        *lock(&self.shared.behaviour) = behaviour.clone();
        self.wall = None;
        match behaviour {
            Behaviour::Refuse => self.close(),
            Behaviour::DropSyns => {
                self.close();
                self.wall = Some(Wall::build(self.addr)?);
            }
            _ if self.door.is_none() => {
                self.shared.draining.store(false, Ordering::Relaxed);
                self.door = Some(Door::open(self.addr, &self.shared)?);
            }
            Behaviour::ResetOnAccept => self.shared.shut(Shutdown::Both),
            _ => {}
        }
        Ok(())
    }

    /// Stops like a well-behaved server: listens no more, answers what it has begun to read, closes idle connections.
    /// False if connections were left after `limit` and had to be cut. `set` starts it again.
    pub fn stop(&mut self, limit: Duration) -> bool {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.door = None;
        // Bytes that came before are still read after this, the end of file follows them.
        self.shared.shut(Shutdown::Read);
        let open = lock(&self.shared.open);
        let (open, _) = (self.shared.closed)
            .wait_timeout_while(open, limit, |open| !open.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let clean = open.is_empty();
        drop(open);
        self.shared.shut(Shutdown::Both);
        clean
    }

    fn close(&mut self) {
        self.door = None;
        self.shared.shut(Shutdown::Both);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the connections of a backend have in common.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) executions: Arc<Executions>,
    pub(crate) draining: AtomicBool,
    pub(crate) requests: AtomicU64,
    behaviour: Mutex<Behaviour>,
    service_us: AtomicU64,
    rng: Mutex<Rng>,
    accepted: AtomicU64,
    /// A copy of each connection's socket, to shut it down by.
    open: Mutex<HashMap<u64, TcpStream>>,
    /// Notified when one is taken out of `open`.
    closed: Condvar,
}

impl Shared {
    pub(crate) fn behaviour(&self) -> Behaviour {
        lock(&self.behaviour).clone()
    }

    pub(crate) fn service(&self) -> Duration {
        Duration::from_micros(self.service_us.load(Ordering::Relaxed))
    }

    pub(crate) fn percent(&self, percent: u8) -> bool {
        lock(&self.rng).percent(percent)
    }

    pub(crate) fn below(&self, n: u64) -> u64 {
        lock(&self.rng).below(n)
    }

    fn shut(&self, how: Shutdown) {
        for stream in lock(&self.open).values() {
            let _ = stream.shutdown(how);
        }
    }

    fn serve(&self, id: u64, stream: TcpStream) {
        let mut wire = Wire::new(stream);
        serve::connection(&mut wire, self);
        // The copy goes first: the connection ends, by FIN or RST, when its last descriptor is closed.
        lock(&self.open).remove(&id);
        drop(wire);
        self.closed.notify_all();
    }
}

/// A listener and the thread that accepts from it. Dropped, it listens no more.
struct Door {
    listener: Arc<TcpListener>,
    shut: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    fn open(addr: SocketAddr, shared: &Arc<Shared>) -> io::Result<Door> {
        // std sets SO_REUSEADDR: connections of an earlier listener in TIME_WAIT don't bar the port.
        let listener = Arc::new(TcpListener::bind(addr)?);
        let shut = Arc::new(AtomicBool::new(false));
        let thread = {
            let (listener, shut, shared) = (Arc::clone(&listener), Arc::clone(&shut), Arc::clone(shared));
            thread::spawn(move || accept(&listener, &shut, &shared))
        };
        Ok(Door { listener, shut, thread: Some(thread) })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shut.store(true, Ordering::SeqCst);
        // Linux wakes a blocked accept by this, and refuses connections from here on.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shut: &AtomicBool, shared: &Arc<Shared>) {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(_) if shut.load(Ordering::SeqCst) => return,
            // Out of descriptors, or a connection that was reset in the queue: the next may be better.
            Err(_) => {
                thread::sleep(Duration::from_millis(5));
                continue;
            }
        };
        if *lock(&shared.behaviour) == Behaviour::ResetOnAccept {
            // Linger of zero makes the close a RST.
            let _ = set_socket_linger(&stream, Some(Duration::ZERO));
            continue;
        }
        let Ok(copy) = stream.try_clone() else { continue };
        let id = shared.accepted.fetch_add(1, Ordering::Relaxed);
        lock(&shared.open).insert(id, copy);
        let connection = Arc::clone(shared);
        let thread = thread::Builder::new().stack_size(STACK).spawn(move || connection.serve(id, stream));
        if thread.is_err() {
            lock(&shared.open).remove(&id);
        }
    }
}

/// A listener whose queue is full and that never accepts: Linux then drops every SYN, as a host that is gone would.
struct Wall {
    _listener: OwnedFd,
    /// What fills the queue: one connection, because one of none still holds one.
    _filler: TcpStream,
}

impl Wall {
    fn build(addr: SocketAddr) -> io::Result<Wall> {
        let listener = net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        net::sockopt::set_socket_reuseaddr(&listener, true)?;
        net::bind(&listener, &addr)?;
        net::listen(&listener, 0)?;
        Ok(Wall { _listener: listener, _filler: TcpStream::connect(addr)? })
    }
}

/// A panicking connection thread must not take the backend with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connections hold their data on the heap.
const STACK: usize = 256 * 1024;
