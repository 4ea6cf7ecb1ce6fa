//! One check under way: a connection, what is still to be sent on it, and the response being judged.
//!
//! It is moved on by events of its socket and knows no clock: its deadline belongs to the engine. A reused connection
//! that ends before any byte of an answer is *stale*: the peer closed it while it was idle, which says nothing of it.
//! Cost: no allocation but the judge's, one send, one receive and its end for a short answer.

use super::judge::{Judge, Verdict};
use super::socket::{self, Fault};
use super::spec::{Kind, Spec};
use crate::cause::Cause;
use crate::table::Address;
use crate::validator::End;
use rustix::io::Errno;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

/// A check under way.
pub(super) struct Probe {
    pub socket: OwnedFd,
    channel: Channel,
    connected: bool,
    /// Behind the handshake, where there is one.
    ready: bool,
    reused: bool,
    /// Bytes of the preface and of the request that were sent.
    preface: usize,
    sent: usize,
    answered: bool,
    judge: Judge,
}

/// What an event led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// It goes on.
    Pending,
    /// It is over.
    Over(Verdict),
    /// This machine failed.
    Local,
    /// The connection had been closed while it was idle.
    Stale,
}

/// How bytes go over the socket.
pub(super) enum Channel {
    Plain,
    #[cfg(feature = "tls")]
    Tls(Box<super::tls::Session>),
}

/// A connection that stays open between two checks.
pub(super) struct Idle {
    pub socket: OwnedFd,
    channel: Channel,
}

impl Probe {
    /// Begins on a new connection.
    pub fn open(spec: &Spec, peer: &Address) -> Result<Probe, Fault> {
        let socket = socket::connect(peer, spec.port, spec.source.as_ref())?;
        #[cfg(feature = "tls")]
        let channel = match &spec.tls {
            Some(client) => Channel::Tls(Box::new(client.session().ok_or(Fault::Local)?)),
            None => Channel::Plain,
        };
        #[cfg(not(feature = "tls"))]
        let channel = Channel::Plain;
        Ok(Probe {
            socket,
            channel,
            connected: false,
            ready: false,
            reused: false,
            preface: 0,
            sent: 0,
            answered: false,
            judge: Judge::new(spec),
        })
    }

    /// Begins on a connection of the check before.
    pub fn reuse(spec: &Spec, idle: Idle) -> Probe {
        let (socket, channel) = (idle.socket, idle.channel);
        let judge = Judge::new(spec);
        let (connected, ready, reused) = (true, true, true);
        Probe { socket, channel, connected, ready, reused, preface: usize::MAX, sent: 0, answered: false, judge }
    }

    /// What is left of it for the next check.
    pub fn into_idle(self) -> Idle {
        Idle { socket: self.socket, channel: self.channel }
    }

    /// Moves on as far as the socket allows.
    pub fn advance(&mut self, spec: &Spec, writable: bool, scratch: &mut [u8]) -> Progress {
        if !self.connected {
            match socket::error(&self.socket) {
                Err(errno) => return refused(errno),
                Ok(()) if !writable => return Progress::Pending,
                Ok(()) => self.connected = true,
            }
        }
        while self.preface < spec.preface.len() {
            match socket::send(&self.socket, &spec.preface[self.preface..]) {
                Ok(n) => self.preface += n,
                Err(e) if is_pending(&e) => return Progress::Pending,
                Err(_) => return failed(Cause::CONNECTION_TERMINATED),
            }
        }
        match self.channel.is_open(&self.socket) {
            Ok(true) => self.ready = true,
            Ok(false) => return Progress::Pending,
            Err(cause) => return failed(cause),
        }
        if spec.kind == Kind::Tcp {
            socket::close_by_reset(&self.socket);
            return Progress::Over(Verdict::Passed { reusable: false });
        }
        while self.sent < spec.request.len() {
            match self.channel.send(&self.socket, &spec.request[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(e) if is_pending(&e) => break,
                // Perhaps it answered before it closed.
                Err(_) => self.sent = spec.request.len(),
            }
        }
        self.receive(spec, scratch)
    }

    fn receive(&mut self, spec: &Spec, scratch: &mut [u8]) -> Progress {
        loop {
            let end = match self.channel.recv(&self.socket, scratch) {
                Ok(0) => End::Close,
                Ok(n) => {
                    self.answered = true;
                    match self.judge.feed(spec, &scratch[..n]) {
                        Some(verdict) => return Progress::Over(verdict),
                        None => continue,
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if is_pending(&e) => return Progress::Pending,
                Err(e) if e.kind() == ErrorKind::InvalidData => return failed(Cause::TLS_PROTOCOL_ERROR),
                Err(_) => End::Reset,
            };
            if self.reused && !self.answered {
                return Progress::Stale;
            }
            return Progress::Over(self.judge.end(end));
        }
    }

    /// Its time is up.
    pub fn time_out(&mut self, spec: &Spec) -> Verdict {
        let cause = match self.judge.end(End::Timeout) {
            _ if !self.ready => Cause::CONNECTION_TIMEOUT,
            _ if self.sent < spec.request.len() && !self.answered => Cause::CONNECTION_WRITE_TIMEOUT,
            Verdict::Failed { status, cause } => return Verdict::Failed { cause, status },
            Verdict::Passed { .. } => Cause::HTTP_RESPONSE_TIMEOUT,
        };
        Verdict::Failed { cause, status: 0 }
    }
}

impl Channel {
    /// Whether requests can go over it.
    fn is_open(&mut self, _socket: &OwnedFd) -> Result<bool, Cause> {
        match self {
            Channel::Plain => Ok(true),
            #[cfg(feature = "tls")]
            Channel::Tls(session) => session.shake_hands(_socket),
        }
    }

    fn send(&mut self, socket: &OwnedFd, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Channel::Plain => socket::send(socket, bytes),
            #[cfg(feature = "tls")]
            Channel::Tls(session) => session.send(socket, bytes),
        }
    }

    fn recv(&mut self, socket: &OwnedFd, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Channel::Plain => socket::recv(socket, buffer),
            #[cfg(feature = "tls")]
            Channel::Tls(session) => session.recv(socket, buffer),
        }
    }
}

fn refused(errno: Errno) -> Progress {
    match socket::fault(errno) {
        Fault::Local => Progress::Local,
        Fault::Peer(cause) => failed(cause),
    }
}

fn failed(cause: Cause) -> Progress {
    Progress::Over(Verdict::Failed { cause, status: 0 })
}

fn is_pending(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
