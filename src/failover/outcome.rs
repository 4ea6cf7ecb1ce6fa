//! What the host saw of an attempt, and the cause behind an errno.

use crate::cause::Cause;

/// How far an attempt had come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u32)]
pub enum Phase {
    /// Connecting; also where the host did not say.
    Connect = 1,
    /// In the TLS handshake.
    Tls = 2,
    /// Sending the request.
    Send = 3,
    /// Waiting for the head, or reading it.
    Head = 4,
    /// Reading the body.
    Body = 5,
    /// Complete.
    Done = 6,
}

impl Phase {
    /// By its number in the ABI; 0 reads as connecting.
    #[inline]
    pub fn from_number(n: u32) -> Option<Phase> {
        Some(match n {
            0 | 1 => Phase::Connect,
            2 => Phase::Tls,
            3 => Phase::Send,
            4 => Phase::Head,
            5 => Phase::Body,
            6 => Phase::Done,
            _ => return None,
        })
    }
}

/// An outcome, checked.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// `NONE`: it went well, or failed only by its status.
    pub cause: Cause,
    /// How far it had come.
    pub phase: Phase,
    /// Bits of `Outcome::*`.
    pub flags: u32,
    /// 0: none.
    pub status: u16,
    /// The validator's reason.
    pub reason: u32,
    /// The response's Retry-After.
    pub retry_after_s: u32,
    /// From the pick to the head; 0: not known.
    pub head_ns: u64,
    /// From the pick to the end.
    pub total_ns: u64,
}

impl Outcome {
    /// cbindgen:ignore
    /// The connection had served a request before.
    pub const REUSED: u32 = 1;
    /// cbindgen:ignore
    /// A byte of the request left.
    pub const SENT: u32 = 2;
    /// cbindgen:ignore
    /// A byte of a response came.
    pub const RECEIVED: u32 = 4;
    /// cbindgen:ignore
    /// A byte of it went to the client.
    pub const DELIVERED: u32 = 8;

    #[inline]
    pub(crate) fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// The cause behind an errno; 0 means that the peer closed.
pub fn cause_from_errno(errno: i32, phase: Phase, flags: u32) -> Cause {
    match errno {
        libc::EMFILE
        | libc::ENFILE
        | libc::ENOMEM
        | libc::ENOBUFS
        | libc::EADDRNOTAVAIL
        | libc::EADDRINUSE
        | libc::EACCES
        | libc::EPERM
        | libc::EAFNOSUPPORT => return Cause::LOCAL_FAULT,
        libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN => {
            return Cause::DESTINATION_IP_UNROUTABLE;
        }
        _ => {}
    }
    let reused_idle = flags & Outcome::REUSED != 0 && flags & Outcome::RECEIVED == 0;
    match (phase, errno) {
        (Phase::Connect, libc::ETIMEDOUT) => Cause::CONNECTION_TIMEOUT,
        // Nobody listens, or nobody can be reached in a way that has no name of its own.
        (Phase::Connect, _) => Cause::CONNECTION_REFUSED,
        (Phase::Tls, _) => Cause::TLS_PROTOCOL_ERROR,
        (_, libc::ETIMEDOUT) => Cause::CONNECTION_READ_TIMEOUT,
        _ if reused_idle => Cause::CONNECTION_REUSED_CLOSED,
        (Phase::Body | Phase::Done, _) => Cause::HTTP_RESPONSE_INCOMPLETE,
        (Phase::Head, _) if flags & Outcome::RECEIVED != 0 => Cause::HTTP_RESPONSE_INCOMPLETE,
        _ => Cause::CONNECTION_TERMINATED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_of_a_reused_connection_is_nobodys_fault_until_a_byte_came() {
        let of = |flags| cause_from_errno(libc::ECONNRESET, Phase::Head, flags);
        assert_eq!(of(Outcome::REUSED | Outcome::SENT), Cause::CONNECTION_REUSED_CLOSED);
        assert_eq!(of(Outcome::SENT), Cause::CONNECTION_TERMINATED);
        assert_eq!(of(Outcome::REUSED | Outcome::SENT | Outcome::RECEIVED), Cause::HTTP_RESPONSE_INCOMPLETE);
    }

    #[test]
    fn faults_of_this_machine_charge_nobody() {
        for errno in [libc::EMFILE, libc::EADDRNOTAVAIL, libc::ENOMEM] {
            let cause = cause_from_errno(errno, Phase::Connect, 0);
            assert!(!cause.properties().charges_peer, "{cause:?}");
        }
    }

    #[test]
    fn an_unknown_errno_at_connect_is_a_failed_connection() {
        assert_eq!(cause_from_errno(libc::EINVAL, Phase::Connect, 0), Cause::CONNECTION_REFUSED);
    }
}
