//! A TCP stream with a buffer and a deadline: bytes, lines, and how the stream ended.
//!
//! It knows nothing of HTTP. A deadline covers a whole exchange, not one read: a peer that sends a byte a second does
//! not keep a test alive.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How a stream stopped giving bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// By FIN.
    Closed,
    /// By RST or another error.
    Reset,
    /// It didn't; the deadline passed.
    TimedOut,
}

/// Why there is no line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Broken {
    /// The stream ended within it.
    End(End),
    /// The bytes break the grammar.
    Malformed(String),
}

/// The stream.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    deadline: Option<Instant>,
    received: u64,
}

impl Wire {
    /// Takes a connected stream; Nagle's delay is turned off, or each small answer would wait for an ACK.
    pub fn new(stream: TcpStream) -> Wire {
        let _ = stream.set_nodelay(true);
        Wire { stream, buffer: Vec::new(), deadline: None, received: 0 }
    }

    /// From now on everything fails with `TimedOut` after this time.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Bytes that came since the connection began.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes that came and were not taken.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Waits for at least one byte more.
    pub fn fill(&mut self) -> Result<(), End> {
        let mut chunk = [0; 16 * 1024];
        loop {
            self.stream.set_read_timeout(self.left()?).map_err(|_| End::Reset)?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(End::Closed),
                Ok(n) => {
                    self.received += n as u64;
                    self.buffer.extend_from_slice(&chunk[..n]);
                    return Ok(());
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if is_timeout(&e) => return Err(End::TimedOut),
                Err(_) => return Err(End::Reset),
            }
        }
    }

    /// Takes the first `n` buffered bytes.
    pub fn take(&mut self, n: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(n);
        std::mem::replace(&mut self.buffer, rest)
    }

    /// A line without its CRLF. A bare LF or CR, or more than `max` bytes, is malformed.
    pub fn line(&mut self, max: usize) -> Result<Vec<u8>, Broken> {
        let mut seen = 0;
        let at = loop {
            if let Some(i) = self.buffer[seen..].iter().position(|&b| b == b'\n') {
                break seen + i;
            }
            seen = self.buffer.len();
            if seen > max {
                return Err(Broken::Malformed(format!("a line of more than {max} bytes")));
            }
            self.fill().map_err(Broken::End)?;
        };
        let mut line = self.take(at + 1);
        line.pop();
        match line.pop() {
            Some(b'\r') if !line.contains(&b'\r') => Ok(line),
            Some(b'\r') => Err(Broken::Malformed("a CR within a line".into())),
            _ => Err(Broken::Malformed("a line that ends without CR".into())),
        }
    }

    /// Appends exactly `n` bytes to `to`; what had come before the end stays there.
    pub fn exactly(&mut self, n: u64, to: &mut Vec<u8>) -> Result<(), End> {
        let mut left = n;
        while left > 0 {
            if self.buffer.is_empty() {
                self.fill()?;
            }
            let n = left.min(self.buffer.len() as u64);
            to.extend_from_slice(&self.take(n as usize));
            left -= n;
        }
        Ok(())
    }

    /// Writes everything.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let left = self.left().map_err(|_| io::ErrorKind::TimedOut)?;
        self.stream.set_write_timeout(left)?;
        self.stream.write_all(bytes)
    }

    /// Whether the connection, idle as far as we know, has ended or has bytes that nobody asked for. A request sent
    /// on it would be lost.
    pub fn is_stale(&mut self) -> bool {
        if !self.buffer.is_empty() || self.stream.set_nonblocking(true).is_err() {
            return true;
        }
        let nothing = matches!(self.stream.peek(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).is_err() || !nothing
    }

    fn left(&self) -> Result<Option<Duration>, End> {
        let Some(deadline) = self.deadline else { return Ok(None) };
        match deadline.checked_duration_since(Instant::now()) {
            // The socket option counts in microseconds, and zero would mean for ever.
            Some(left) if left >= Duration::from_millis(1) => Ok(Some(left)),
            _ => Err(End::TimedOut),
        }
    }
}

fn is_timeout(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
