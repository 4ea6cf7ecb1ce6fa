//! A blocking HTTP/1.1 client for tests: strict about every byte, and it hides nothing.
//!
//! It never retries and never follows redirects. A connection that the server closed while it was idle is replaced
//! before a request is sent, as every client does; one that ends later is reported as what it is.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::echo::Echo;
use crate::message::{Fields, Framing, MAX_LINE, read_body};
use crate::wire::{Broken, End, Wire};

/// A request to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The target: path and query.
    pub path: String,
    /// Further fields; Host and Content-Length come by themselves.
    pub fields: Vec<(String, String)>,
    /// The body; Content-Length is sent if there is one, and with every POST and PUT.
    pub body: Vec<u8>,
}

impl Request {
    /// A GET.
    pub fn get(path: &str) -> Request {
        Request { method: "GET".into(), path: path.into(), fields: Vec::new(), body: Vec::new() }
    }

    /// A POST.
    pub fn post(path: &str, body: &[u8]) -> Request {
        Request { method: "POST".into(), body: body.into(), ..Request::get(path) }
    }

    /// With another method.
    pub fn method(mut self, method: &str) -> Request {
        self.method = method.into();
        self
    }

    /// With one field more.
    pub fn field(mut self, name: &str, value: &str) -> Request {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// With an X-Request-Id, by which backends note that they carried it out.
    pub fn id(self, id: &str) -> Request {
        self.field("X-Request-Id", id)
    }

    /// As it goes over the wire.
    pub fn to_bytes(&self, host: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.path);
        for (name, value) in &self.fields {
            head += &format!("{name}: {value}\r\n");
        }
        if !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }

    /// Whether `response` is the complete, correct echo of this request.
    pub fn is_echoed_by(&self, response: &Response) -> bool {
        let id = self.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-request-id"));
        let echo = Echo { method: &self.method, path: &self.path, id: id.map_or("", |(_, id)| id), body: &self.body };
        response.ending == Ending::Complete
            && response.fields.first("x-backend").is_some_and(|name| echo.matches(name, &response.body))
    }
}

/// A response whose head was well-formed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// 200 to 999.
    pub status: u16,
    /// After the status code; may be empty.
    pub reason: String,
    /// 0 or 1.
    pub minor_version: u8,
    /// The head's fields.
    pub fields: Fields,
    /// The body as far as it came, without chunk framing.
    pub body: Vec<u8>,
    /// How it ended.
    pub ending: Ending,
    /// Statuses of the interim responses that came before.
    pub interim: Vec<u16>,
    /// Whether the connection may carry another request.
    pub reusable: bool,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// How a response ended after its head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// As its framing said, with no byte after it.
    Complete,
    /// Earlier.
    Cut(End),
    /// With bytes that break its framing, or with bytes after its end.
    Malformed(String),
}

/// Why there is no response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// No connection.
    Connect(io::ErrorKind),
    /// The stream ended before the first byte.
    Nothing(End),
    /// It ended within the head.
    HeadCut(End),
    /// The head is not one of HTTP/1.x.
    Malformed(String),
}

/// One connection at a time to one server.
pub struct Client {
    addr: SocketAddr,
    timeout: Duration,
    wire: Option<Wire>,
    connections: u64,
}

impl Client {
    /// Connects at the first request. Each exchange may take `timeout`, from connect to the last byte.
    pub fn new(addr: SocketAddr, timeout: Duration) -> Client {
        Client { addr, timeout, wire: None, connections: 0 }
    }

    /// Sends a request and reads its response, on the same connection as the last one if that may be.
    pub fn exchange(&mut self, request: &Request) -> Result<Response, Failure> {
        self.exchange_raw(&request.to_bytes(self.addr), &request.method)
    }

    /// The same with these bytes. The method decides whether the response may have a body.
    pub fn exchange_raw(&mut self, request: &[u8], method: &str) -> Result<Response, Failure> {
        let deadline = Instant::now() + self.timeout;
        if self.wire.as_mut().is_none_or(Wire::is_stale) {
            self.connect()?;
        }
        self.wire.as_mut().expect("connected above").set_deadline(Some(deadline));
        // A server may answer before it has read everything, and close: what it said is read all the same.
        let sent = self.send(request);
        match self.read(method) {
            Err(Failure::Nothing(End::Closed)) if sent.is_err() => Err(Failure::Nothing(End::Reset)),
            result => result,
        }
    }

    /// Connects anew; an open connection is closed.
    pub fn connect(&mut self) -> Result<(), Failure> {
        self.wire = None;
        let stream = TcpStream::connect_timeout(&self.addr, self.timeout).map_err(|e| Failure::Connect(e.kind()))?;
        self.connections += 1;
        let mut wire = Wire::new(stream);
        wire.set_deadline(Some(Instant::now() + self.timeout));
        self.wire = Some(wire);
        Ok(())
    }

    /// Sends bytes on the open connection.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.as_mut().ok_or(io::ErrorKind::NotConnected)?.send(bytes)
    }

    /// Reads one response from the open connection. It stays open only if it may be used again.
    pub fn read(&mut self, method: &str) -> Result<Response, Failure> {
        let mut wire = self.wire.take().ok_or(Failure::Connect(io::ErrorKind::NotConnected))?;
        let response = read_response(&mut wire, method)?;
        if response.reusable {
            self.wire = Some(wire);
        }
        Ok(response)
    }

    /// Ends the connection, if there is one.
    pub fn close(&mut self) {
        self.wire = None;
    }

    /// Connections made so far.
    pub fn connections(&self) -> u64 {
        self.connections
    }
}

fn read_response(wire: &mut Wire, method: &str) -> Result<Response, Failure> {
    let before = wire.received();
    let mut interim = Vec::new();
    let head = loop {
        match read_head(wire) {
            Ok(head) if (100..200).contains(&head.status) && head.status != 101 => interim.push(head.status),
            Ok(head) => break head,
            Err(Broken::End(end)) if wire.received() == before => return Err(Failure::Nothing(end)),
            Err(Broken::End(end)) => return Err(Failure::HeadCut(end)),
            Err(Broken::Malformed(why)) => return Err(Failure::Malformed(why)),
        }
    };
    let framing = match head.fields.framing().map_err(Failure::Malformed)? {
        _ if method == "HEAD" || matches!(head.status, 204 | 304) => Framing::None,
        Some(Framing::Chunked) if head.minor_version == 0 => {
            return Err(Failure::Malformed("chunks in HTTP/1.0".into()));
        }
        Some(framing) => framing,
        None => Framing::UntilClose,
    };
    let mut body = Vec::new();
    let ending = match read_body(wire, framing, &mut body) {
        Ok(()) if wire.buffered().is_empty() => Ending::Complete,
        Ok(()) => Ending::Malformed(format!("{} bytes after the end", wire.buffered().len())),
        Err(Broken::End(end)) => Ending::Cut(end),
        Err(Broken::Malformed(why)) => Ending::Malformed(why),
    };
    let stays = if head.minor_version == 1 {
        !head.fields.has_token("connection", "close")
    } else {
        head.fields.has_token("connection", "keep-alive")
    };
    let reusable = stays && ending == Ending::Complete && framing != Framing::UntilClose && head.status != 101;
    Ok(Response { body, ending, interim, reusable, ..head })
}

/// Status line and fields; what belongs to the body is still empty.
fn read_head(wire: &mut Wire) -> Result<Response, Broken> {
    let line = wire.line(MAX_LINE)?;
    let malformed = || Broken::Malformed(format!("status line: {:?}", String::from_utf8_lossy(&line)));
    let rest = line.strip_prefix(b"HTTP/1.").ok_or_else(malformed)?;
    let &[minor @ (b'0' | b'1'), b' ', a, b, c, b' ', ref reason @ ..] = rest else { return Err(malformed()) };
    if !(b'1'..=b'9').contains(&a) || !b.is_ascii_digit() || !c.is_ascii_digit() {
        return Err(malformed());
    }
    if reason.iter().any(|&b| (b < b' ' && b != b'\t') || b == 0x7f) {
        return Err(malformed());
    }
    Ok(Response {
        status: [a, b, c].iter().fold(0, |n, d| n * 10 + u16::from(d - b'0')),
        reason: String::from_utf8_lossy(reason).into_owned(),
        minor_version: minor - b'0',
        fields: Fields::read(wire)?,
        body: Vec::new(),
        ending: Ending::Complete,
        interim: Vec::new(),
        reusable: false,
    })
}
