//! How an HTTP/2 stream ends: one GET over cleartext HTTP/2 with prior knowledge, and nothing more.
//!
//! Fields are not decoded: what a test wants to know is whether the stream was ended or reset (RFC 9113, section 8.1).
//! Windows are opened wide at the start, so nothing needs to be acknowledged for a body of megabytes.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::wire::{End, Wire};

/// The end of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamEnd {
    /// By END_STREAM: the response is whole, with so many bytes of body.
    Whole(usize),
    /// By RST_STREAM with this error code.
    Reset(u32),
    /// With the connection.
    Lost(End),
}

/// Asks for `path` and reads until stream 1 ends.
pub fn get(addr: SocketAddr, path: &str, timeout: Duration) -> io::Result<StreamEnd> {
    get_with(addr, path, &[], timeout)
}

/// The same with more fields, whose names are in lower case.
pub fn get_with(addr: SocketAddr, path: &str, more: &[(&str, &str)], timeout: Duration) -> io::Result<StreamEnd> {
    let mut wire = Wire::new(TcpStream::connect_timeout(&addr, timeout)?);
    wire.set_deadline(Some(Instant::now() + timeout));
    let mut fields = vec![GET, HTTP];
    for (name, value) in [(PATH, path), (AUTHORITY, "a")] {
        fields.extend([name, u8::try_from(value.len()).expect("a short path")]);
        fields.extend(value.as_bytes());
    }
    for (name, value) in more {
        fields.push(NEW_NAME);
        for text in [name, value] {
            fields.push(u8::try_from(text.len()).expect("a short field"));
            fields.extend(text.as_bytes());
        }
    }
    let window = [&[0, INITIAL_WINDOW_SIZE], WIDE.as_slice()].concat();
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    out.extend(frame(SETTINGS, 0, 0, &window));
    out.extend(frame(WINDOW_UPDATE, 0, 0, &WIDE));
    out.extend(frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields));
    wire.send(&out)?;
    let mut body = 0;
    loop {
        let mut bytes = Vec::new();
        if let Err(end) = wire.exactly(9, &mut bytes) {
            return Ok(StreamEnd::Lost(end));
        }
        let length = u64::from(u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]));
        let (kind, flags, stream) = (bytes[3], bytes[4], &bytes[5..9]);
        let mut payload = Vec::new();
        if let Err(end) = wire.exactly(length, &mut payload) {
            return Ok(StreamEnd::Lost(end));
        }
        if stream != [0, 0, 0, 1] {
            continue;
        }
        match (kind, payload.as_slice()) {
            (RST_STREAM, &[a, b, c, d]) => return Ok(StreamEnd::Reset(u32::from_be_bytes([a, b, c, d]))),
            (DATA, data) => body += data.len(),
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            return Ok(StreamEnd::Whole(body));
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short frame");
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: u8 = 4;
/// 2^30 bytes.
const WIDE: [u8; 4] = [0x40, 0, 0, 0];
/// HPACK: entries 2 and 6 of the static table as they are, names of 4 and 1 with a value that follows.
const GET: u8 = 0x82;
const HTTP: u8 = 0x86;
const PATH: u8 = 4;
const AUTHORITY: u8 = 1;
/// A field that no table has, name and value as text.
const NEW_NAME: u8 = 0;
