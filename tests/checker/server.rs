//! A backend of one behaviour on loopback, and the connections that came to it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What it does with a connection.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Reads a request, sends these bytes, closes.
    Bytes(Vec<u8>),
    /// Answers every request of a connection with these bytes.
    KeepAlive(Vec<u8>),
    /// Reads a request, sends these bytes, then resets.
    ThenReset(Vec<u8>),
    /// Resets at once.
    Reset,
    /// Reads a request, sends these bytes, and no more.
    Hang(Vec<u8>),
    /// Reads a request and sends a byte of these at a time.
    Trickle(Vec<u8>),
}

pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nup\n";

pub fn ok() -> Answer {
    Answer::Bytes(OK.to_vec())
}

/// Who sent what, in order.
pub type Heard = Vec<(SocketAddr, Vec<u8>)>;

pub struct Server {
    pub addr: SocketAddr,
    pub connections: Arc<AtomicU64>,
    /// What came over them, one entry a connection, and from where.
    pub heard: Arc<Mutex<Heard>>,
    answer: Arc<Mutex<Answer>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(answer: Answer) -> Server {
        Server::at((Ipv4Addr::LOCALHOST, 0).into(), answer)
    }

    pub fn at(addr: SocketAddr, answer: Answer) -> Server {
        Server::on(TcpListener::bind(addr).unwrap(), answer)
    }

    pub fn on(listener: TcpListener, answer: Answer) -> Server {
        let addr = listener.local_addr().unwrap();
        let (connections, heard, end) = <(Arc<AtomicU64>, Arc<Mutex<Vec<_>>>, Arc<AtomicBool>)>::default();
        let answer = Arc::new(Mutex::new(answer));
        let (c, h, e, a) = (connections.clone(), heard.clone(), end.clone(), answer.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if e.load(Ordering::Acquire) {
                    return;
                }
                c.fetch_add(1, Ordering::AcqRel);
                let (answer, heard, end) = (a.lock().unwrap().clone(), h.clone(), e.clone());
                std::thread::spawn(move || serve(stream, &answer, &heard, &end));
            }
        });
        Server { addr, connections, heard, answer, end, thread: Some(thread) }
    }

    pub fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }

    /// Stops to listen; the port refuses from then on.
    pub fn stop(&mut self) {
        self.end.store(true, Ordering::Release);
        let to =
            if self.addr.ip().is_unspecified() { (Ipv4Addr::LOCALHOST, self.addr.port()).into() } else { self.addr };
        let _ = TcpStream::connect(to);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
    }
}

fn serve(mut stream: TcpStream, answer: &Answer, heard: &Mutex<Vec<(SocketAddr, Vec<u8>)>>, end: &AtomicBool) {
    let place = {
        let mut heard = heard.lock().unwrap();
        let from = stream.peer_addr().unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
        heard.push((from, Vec::new()));
        heard.len() - 1
    };
    let note = |bytes: &[u8]| heard.lock().unwrap()[place].1.extend_from_slice(bytes);
    let bytes = match answer {
        Answer::Reset => return reset(&stream),
        Answer::KeepAlive(bytes) => {
            while let Some(request) = request(&mut stream) {
                note(&request);
                let _ = stream.write_all(bytes);
            }
            return;
        }
        Answer::Bytes(bytes) | Answer::ThenReset(bytes) | Answer::Hang(bytes) | Answer::Trickle(bytes) => bytes,
    };
    let Some(request) = request(&mut stream) else { return };
    note(&request);
    match answer {
        Answer::Trickle(bytes) => {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(10)));
            for byte in bytes {
                // A pause that ends early if the checker is gone.
                if stream.write_all(&[*byte]).is_err() || matches!(stream.read(&mut [0; 16]), Ok(0)) {
                    return;
                }
            }
        }
        _ => {
            let _ = stream.write_all(bytes);
        }
    }
    match answer {
        Answer::ThenReset(_) => reset(&stream),
        Answer::Hang(_) => {
            // Until the other side gives up.
            let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
            while !end.load(Ordering::Acquire) && !matches!(stream.read(&mut [0; 16]), Ok(0)) {}
        }
        _ => {}
    }
}

/// The next request, or what came instead of one.
fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
    while !got.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(n) if n > 0 => got.extend_from_slice(&buffer[..n]),
            _ => return None,
        }
        // A PROXY header alone is no request yet: it has no method in it.
        if got.starts_with(b"\r\n\r\n\0\r\nQUIT\n") && got.len() == 16 {
            continue;
        }
    }
    Some(got)
}

fn reset(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let len = size_of::<libc::linger>() as u32;
    // SAFETY: the descriptor is the stream's, the option's value lives through the call.
    unsafe {
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), len);
    }
}
