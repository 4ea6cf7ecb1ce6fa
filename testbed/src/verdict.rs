//! What one request came to, as its client saw it.

use std::fmt;
use std::io;

use crate::client::{Ending, Failure, Request, Response};
use crate::wire::End;

/// The result of one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// A complete 2xx whose every byte is the backend's echo of this request.
    Good,
    /// A complete, well-formed response with another status.
    Status(u16, Origin),
    /// A complete, well-formed 2xx that is not the echo of this request.
    Wrong,
    /// Bytes that are no response, in its head, its body or after its end.
    Malformed(String),
    /// The head was right; the body ended early.
    Cut(End),
    /// The head ended early.
    HeadCut(End),
    /// Not one byte came.
    Nothing(End),
    /// No connection.
    Unconnected(io::ErrorKind),
}

/// Who made a response.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// A backend: it has X-Backend.
    Upstream,
    /// The gateway: its label is a member of Proxy-Status.
    Gateway,
    /// Somebody who did not say.
    Unknown,
}

impl Verdict {
    /// Of an exchange, with the name that the gateway has in Proxy-Status.
    pub fn of(request: &Request, result: &Result<Response, Failure>, label: &str) -> Verdict {
        match result {
            Ok(response) => match &response.ending {
                Ending::Malformed(why) => Verdict::Malformed(why.clone()),
                Ending::Cut(end) => Verdict::Cut(*end),
                Ending::Complete if !(200..300).contains(&response.status) => {
                    Verdict::Status(response.status, Origin::of(response, label))
                }
                Ending::Complete if request.is_echoed_by(response) => Verdict::Good,
                Ending::Complete => Verdict::Wrong,
            },
            Err(Failure::Malformed(why)) => Verdict::Malformed(why.clone()),
            Err(Failure::HeadCut(end)) => Verdict::HeadCut(*end),
            Err(Failure::Nothing(end)) => Verdict::Nothing(*end),
            Err(Failure::Connect(kind)) => Verdict::Unconnected(*kind),
        }
    }

    /// Whether the connection ended under the request, by FIN or RST: what the death of the process at its other end
    /// looks like.
    pub fn lost_connection(&self) -> bool {
        use Verdict::{Cut, HeadCut, Nothing};
        matches!(self, Cut(end) | HeadCut(end) | Nothing(end) if *end != End::TimedOut)
    }

    /// Whether it looks like a port that was closed: no connection, or one that ended in the queue for accept().
    pub fn refused(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, ConnectionReset};
        matches!(
            self,
            Verdict::Unconnected(ConnectionRefused | ConnectionReset) | Verdict::Nothing(End::Closed | End::Reset)
        )
    }
}

impl Origin {
    /// Of a response, with the name that the gateway has in Proxy-Status (RFC 9209).
    ///
    /// X-Backend decides first: a gateway may add its member to what it forwards.
    pub fn of(response: &Response, label: &str) -> Origin {
        if response.fields.first("x-backend").is_some() {
            return Origin::Upstream;
        }
        let members = response.fields.all("proxy-status").flat_map(|line| line.split(','));
        let mut names = members.map(|member| member.split(';').next().unwrap_or_default().trim().trim_matches('"'));
        if names.any(|name| name == label) { Origin::Gateway } else { Origin::Unknown }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Good => f.write_str("complete and right"),
            Verdict::Status(status, origin) => write!(f, "{status} by {origin}"),
            Verdict::Wrong => f.write_str("a body that is not the echo of the request"),
            Verdict::Malformed(why) => write!(f, "malformed: {why}"),
            Verdict::Cut(end) => write!(f, "body cut, {}", how(*end)),
            Verdict::HeadCut(end) => write!(f, "head cut, {}", how(*end)),
            Verdict::Nothing(end) => write!(f, "no byte, {}", how(*end)),
            Verdict::Unconnected(kind) => write!(f, "no connection: {kind}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Origin::Upstream => "upstream",
            Origin::Gateway => "gateway",
            Origin::Unknown => "unknown",
        })
    }
}

fn how(end: End) -> &'static str {
    match end {
        End::Closed => "connection closed",
        End::Reset => "connection reset",
        End::TimedOut => "timed out",
    }
}
