//! Sockets of a check: opened, bound and connected without blocking, and whose fault it is when that fails.
//!
//! Descriptors are closed on exec; sends raise no SIGPIPE. A fault of this machine (no descriptors, ports or memory left,
//! an address that is not ours, a rule of ours that forbids it) is *local* and charges nobody. Every other errno of a
//! connection attempt, known or not, is the peer's. Cost: three to four system calls.

use crate::cause::Cause;
use crate::table::Address;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Why no connection came about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// This machine's.
    Local,
    /// The peer's.
    Peer(Cause),
}

/// An address in the form that connecting needs.
enum Target {
    Inet(SocketAddr),
    Unix(SocketAddrUnix),
}

/// Opens a socket and begins to connect it. `port` takes the place of the address's own unless it is 0.
pub(super) fn connect(peer: &Address, port: u16, source: Option<&Address>) -> Result<OwnedFd, Fault> {
    let target = Target::of(peer, port).ok_or(Fault::Local)?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(target.family(), SocketType::STREAM, flags, None).map_err(|_| Fault::Local)?;
    if let Some(source) = source.and_then(|a| Target::of(a, 0)) {
        let bound = match &source {
            Target::Inet(a) => rustix::net::bind(&fd, a),
            Target::Unix(a) => rustix::net::bind(&fd, a),
        };
        bound.map_err(|_| Fault::Local)?;
    }
    let (begun, is_unix) = match &target {
        Target::Inet(a) => (rustix::net::connect(&fd, a), false),
        Target::Unix(a) => (rustix::net::connect(&fd, a), true),
    };
    match begun {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(fd),
        // A queue of connections that is full; for other families it means that no port is left.
        Err(Errno::AGAIN) if is_unix => Err(Fault::Peer(Cause::CONNECTION_TIMEOUT)),
        Err(errno) => Err(fault(errno)),
    }
}

/// Whose fault an errno of connecting is.
pub(super) fn fault(errno: Errno) -> Fault {
    match errno {
        Errno::MFILE
        | Errno::NFILE
        | Errno::NOMEM
        | Errno::NOBUFS
        | Errno::AGAIN
        | Errno::ADDRNOTAVAIL
        | Errno::ADDRINUSE
        | Errno::AFNOSUPPORT
        | Errno::ACCESS
        | Errno::PERM
        | Errno::BADF => Fault::Local,
        // A path that is not there is a port where nobody listens.
        Errno::CONNREFUSED | Errno::NOENT => Fault::Peer(Cause::CONNECTION_REFUSED),
        Errno::TIMEDOUT => Fault::Peer(Cause::CONNECTION_TIMEOUT),
        Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE => Fault::Peer(Cause::CONNECTION_TERMINATED),
        // Also EINVAL, which a blackhole route answers.
        _ => Fault::Peer(Cause::DESTINATION_IP_UNROUTABLE),
    }
}

/// What became of a connection attempt, once it has: its error is read and cleared.
pub(super) fn error(fd: &OwnedFd) -> Result<(), Errno> {
    sockopt::socket_error(fd).and_then(|result| result)
}

pub(super) fn send(fd: &OwnedFd, bytes: &[u8]) -> std::io::Result<usize> {
    Ok(rustix::net::send(fd, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
}

pub(super) fn recv(fd: &OwnedFd, buffer: &mut [u8]) -> std::io::Result<usize> {
    Ok(rustix::net::recv(fd, buffer, RecvFlags::DONTWAIT)?.0)
}

/// Closes by a reset. A close by FIN would leave this side's port in TIME_WAIT for a minute, at thousands of checks a
/// second; nothing was sent that could be lost.
pub(super) fn close_by_reset(fd: &OwnedFd) {
    let _ = sockopt::set_socket_linger(fd, Some(Duration::ZERO));
}

impl Target {
    /// `None`: a family that cannot be checked.
    fn of(address: &Address, port: u16) -> Option<Target> {
        let bytes = address.as_bytes();
        let family = i32::from(u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]));
        let own_port = || Some(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
        let port = if port == 0 { own_port()? } else { port };
        match family {
            libc::AF_INET => {
                let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
                Some(Target::Inet(SocketAddrV4::new(Ipv4Addr::from(ip), port).into()))
            }
            libc::AF_INET6 => {
                let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
                let scope = u32::from_ne_bytes(bytes.get(24..28)?.try_into().ok()?);
                Some(Target::Inet(SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into()))
            }
            libc::AF_UNIX => {
                let path = bytes.get(2..)?;
                let made = match path.first()? {
                    0 => SocketAddrUnix::new_abstract_name(&path[1..]),
                    _ => SocketAddrUnix::new(path.split(|&b| b == 0).next()?),
                };
                Some(Target::Unix(made.ok()?))
            }
            _ => None,
        }
    }

    fn family(&self) -> AddressFamily {
        match self {
            Target::Inet(SocketAddr::V4(_)) => AddressFamily::INET,
            Target::Inet(SocketAddr::V6(_)) => AddressFamily::INET6,
            Target::Unix(_) => AddressFamily::UNIX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_faults_charge_nobody_and_all_others_do() {
        for local in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::ADDRNOTAVAIL, Errno::AGAIN] {
            assert_eq!(fault(local), Fault::Local, "{local}");
        }
        for peers in
            [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::NETUNREACH, Errno::INVAL, Errno::NOENT, Errno::PROTO]
        {
            assert!(matches!(fault(peers), Fault::Peer(_)), "{peers}");
        }
    }
}
