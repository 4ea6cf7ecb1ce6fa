//! One connection of a backend: read a request, note it, answer as told; again until somebody closes.
//!
//! It refuses requests that break RFC 9112 with 400: what a gateway forwards must be well-formed too.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use crate::backend::Shared;
use crate::behaviour::{Behaviour, Then};
use crate::echo::Echo;
use crate::message::{Fields, Framing, MAX_LINE, is_token, read_body};
use crate::wire::{Broken, End, Wire};

/// Serves until the connection ends. The caller closes it: with the last copy of the socket a reset goes out.
pub(crate) fn connection(wire: &mut Wire, shared: &Shared) {
    loop {
        let request = match read_request(wire) {
            Ok(request) => request,
            Err(Broken::End(_)) => return,
            Err(Broken::Malformed(why)) => {
                let head = format!(
                    "HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{why}",
                    why.len()
                );
                let _ = wire.send(head.as_bytes());
                return;
            }
        };
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let mut behaviour = shared.behaviour();
        if let Behaviour::Share { percent, of } = behaviour {
            behaviour = if shared.percent(percent) { *of } else { Behaviour::Ok };
        }
        if request.path == HEALTH && matches!(behaviour, Behaviour::Status { .. }) {
            behaviour = Behaviour::Ok;
        }
        let id = request.fields.first("x-request-id").unwrap_or_default();
        if shared.executions.note(&request.method, id, &shared.name).is_err() {
            // A request that can't be noted must not look carried out.
            return;
        }
        match answer(wire, shared, &request, &behaviour) {
            Ok(After::Next) => {}
            Ok(After::Close) | Err(_) => {
                let _ = wire.stream().shutdown(Shutdown::Write);
                return;
            }
            Ok(After::Reset) => {
                // Linger of zero makes the close a RST.
                let _ = set_socket_linger(wire.stream(), Some(Duration::ZERO));
                return;
            }
        }
    }
}

struct Request {
    method: String,
    path: String,
    fields: Fields,
    body: Vec<u8>,
    keep_alive: bool,
}

enum After {
    Next,
    Close,
    Reset,
}

fn read_request(wire: &mut Wire) -> Result<Request, Broken> {
    let line = wire.line(MAX_LINE)?;
    let malformed = |why: &str| Broken::Malformed(format!("{why}: {}", String::from_utf8_lossy(&line)));
    let words: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
    let &[method, path, version] = words.as_slice() else { return Err(malformed("request line")) };
    if !is_token(method) || path.is_empty() || path.iter().any(|b| !b.is_ascii_graphic()) {
        return Err(malformed("request line"));
    }
    let minor = match version {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        _ => return Err(malformed("version")),
    };
    let (method, path) = (String::from_utf8_lossy(method).into(), String::from_utf8_lossy(path).into());
    let fields = Fields::read(wire)?;
    if minor == 1 && fields.all("host").count() != 1 {
        return Err(Broken::Malformed("not exactly one Host".into()));
    }
    let framing = fields.framing().map_err(Broken::Malformed)?.unwrap_or(Framing::None);
    if fields.has_token("expect", "100-continue") {
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| Broken::End(End::Reset))?;
    }
    let mut body = Vec::new();
    read_body(wire, framing, &mut body)?;
    let keep_alive = if minor == 1 {
        !fields.has_token("connection", "close")
    } else {
        fields.has_token("connection", "keep-alive")
    };
    Ok(Request { method, path, fields, body, keep_alive })
}

fn answer(wire: &mut Wire, shared: &Shared, request: &Request, behaviour: &Behaviour) -> io::Result<After> {
    if !matches!(behaviour, Behaviour::Slow(_) | Behaviour::Hang | Behaviour::Reset) {
        std::thread::sleep(shared.service());
    }
    match behaviour {
        Behaviour::Raw(bytes, then) => {
            wire.send(bytes)?;
            Ok(match then {
                Then::Close => After::Close,
                Then::KeepOpen => After::Next,
                Then::Reset => After::Reset,
            })
        }
        Behaviour::Garbage => {
            wire.send(GARBAGE)?;
            Ok(After::Close)
        }
        Behaviour::Hang => {
            // Until the peer goes away, or the backend is stopped.
            while wire.fill().is_ok() {
                let n = wire.buffered().len();
                wire.take(n);
            }
            Ok(After::Close)
        }
        Behaviour::Reset => Ok(After::Reset),
        // The listener is closed already, or what comes is being reset: this request came just before.
        Behaviour::Refuse | Behaviour::DropSyns => Ok(After::Close),
        Behaviour::ResetOnAccept => Ok(After::Reset),
        Behaviour::BreakOff => {
            let (head, body) = right_answer(shared, request, 200, false);
            wire.send(&[head.as_slice(), &body[..body.len() / 2]].concat())?;
            Ok(After::Close)
        }
        Behaviour::BadChunk => {
            wire.send(format!("HTTP/1.1 200 OK\r\nX-Backend: {}\r\n{BAD_CHUNK}", shared.name).as_bytes())?;
            Ok(After::Close)
        }
        Behaviour::Slow(time) => {
            std::thread::sleep(*time);
            send_right(wire, shared, request, 200)
        }
        Behaviour::Trickle(gap) => {
            let (head, body) = right_answer(shared, request, 200, true);
            for byte in head {
                wire.send(&[byte])?;
                std::thread::sleep(*gap);
            }
            wire.send(&body)?;
            Ok(After::Close)
        }
        Behaviour::Pause(time) => {
            let close = !request.keep_alive || shared.draining.load(Ordering::Relaxed);
            let (head, body) = right_answer(shared, request, 200, close);
            let (first, rest) = body.split_at(body.len() / 2);
            wire.send(&[&head, first].concat())?;
            std::thread::sleep(*time);
            wire.send(rest)?;
            Ok(if close { After::Close } else { After::Next })
        }
        Behaviour::Status { code, percent } => {
            let code = if shared.percent(*percent) { *code } else { 200 };
            send_right(wire, shared, request, code)
        }
        Behaviour::CloseIdle { percent, within } => {
            let after = send_right(wire, shared, request, 200)?;
            if !shared.percent(*percent) || matches!(after, After::Close) {
                return Ok(after);
            }
            let time = Duration::from_micros(shared.below(within.as_micros() as u64));
            wire.set_deadline(Some(Instant::now() + time));
            let next = wire.fill();
            wire.set_deadline(None);
            // A request that came in time is answered like any other: the connection wasn't idle.
            Ok(if next.is_ok() { After::Next } else { After::Close })
        }
        Behaviour::RaceIdle { percent } => {
            let after = send_right(wire, shared, request, 200)?;
            if !shared.percent(*percent) || matches!(after, After::Close) {
                return Ok(after);
            }
            Ok(if wire.fill().is_ok() { After::Reset } else { After::Close })
        }
        // What a share leaves over.
        Behaviour::Ok | Behaviour::Share { .. } => send_right(wire, shared, request, 200),
    }
}

fn send_right(wire: &mut Wire, shared: &Shared, request: &Request, status: u16) -> io::Result<After> {
    let close = !request.keep_alive || shared.draining.load(Ordering::Relaxed);
    let (mut answer, body) = right_answer(shared, request, status, close);
    // One write: a kill between head and body would be a cut body, which a correct peer hardly ever makes.
    answer.extend_from_slice(&body);
    wire.send(&answer)?;
    Ok(if close { After::Close } else { After::Next })
}

/// Head and body; chunked if the client asked for it, without a body where there must be none.
fn right_answer(shared: &Shared, request: &Request, status: u16, close: bool) -> (Vec<u8>, Vec<u8>) {
    let echo = Echo {
        method: &request.method,
        path: &request.path,
        id: request.fields.first("x-request-id").unwrap_or_default(),
        body: &request.body,
    };
    let mut body = echo.body(&shared.name);
    let length = body.len();
    let connection = if close { "close" } else { "keep-alive" };
    let mut head = format!(
        "HTTP/1.1 {status} Test\r\nContent-Type: text/plain\r\nX-Backend: {}\r\nConnection: {connection}\r\n",
        shared.name
    );
    if status == 204 || status == 304 {
        body.clear();
    } else if echo.wants_chunks() {
        head += "Transfer-Encoding: chunked\r\n";
        body = chunked(&body);
    } else {
        head += &format!("Content-Length: {length}\r\n");
    }
    if request.method == "HEAD" {
        body.clear();
    }
    (format!("{head}\r\n").into_bytes(), body)
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(CHUNK) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// The page that active checks ask for. A backend whose answers have the wrong status is green here all the same.
const HEALTH: &str = "/health";
/// What a TLS server, or a broken one, might send.
const GARBAGE: &[u8] = b"\x15\x03\x01\x00\x02\x02\x46 this is \xff\xfe no HTTP \x00 at all\r\nnor: is this\r\n\r\n";
const BAD_CHUNK: &str = "Transfer-Encoding: chunked\r\n\r\n5\r\nright\r\nwrong\r\nno size\r\n0\r\n\r\n";
const CHUNK: usize = 1000;
