//! The C proxy of the examples, built with AddressSanitizer and UndefinedBehaviorSanitizer, between real clients and
//! real backends: what the ABI promises, seen from both ends of the wire.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tidegate_testbed::client::{Ending, Failure};
use tidegate_testbed::process::wait_until;
use tidegate_testbed::proxy::{Options, Proxy};
use tidegate_testbed::wire::End;
use tidegate_testbed::{Backend, Behaviour, Client, Executions, Request, Response, Scratch, Then};

mod clients;
mod faults;
mod framing;
mod memcheck;
mod processes;
mod wire;

/// For a machine that is very busy: a bound, never a measurement.
const LIMIT: Duration = Duration::from_secs(20);

/// Where the examples are, built once with sanitizers against the library that cargo built for this test.
fn examples() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("examples-san", &own_library(), &["SAN=1", "all", "check-dialects"]))
}

/// Builds the examples against the static library there.
fn build(name: &str, library: &Path, arguments: &[&str]) -> PathBuf {
    let build = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let make = Command::new("make")
        .arg("-C")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("ffi-examples"))
        .arg("STATIC=1")
        .args(arguments)
        .arg(format!("LIBDIR={}", library.display()))
        .arg(format!("BUILD={}", build.display()))
        .output()
        .unwrap();
    assert!(make.status.success(), "{}", String::from_utf8_lossy(&make.stderr));
    build
}

fn own_library() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().into()
}

/// Backends `b0`, `b1`, …, the proxy before them, and a client.
struct Bed {
    backends: Vec<Backend>,
    executions: Arc<Executions>,
    proxy: Proxy,
    client: Client,
    _scratch: Scratch,
}

impl Bed {
    /// One worker, and nobody is ejected: a test that wants it otherwise says so in `more`.
    fn new(backends: usize, more: &[&str]) -> Bed {
        Bed::with(backends, more, &examples().join("tidegate-proxy"), &[])
    }

    /// The same with this program, run by that one.
    fn with(backends: usize, more: &[&str], program: &Path, runner: &[&str]) -> Bed {
        let scratch = Scratch::new("proxy-test");
        let executions = Arc::new(Executions::open(scratch.path().join("log")).unwrap());
        let backends: Vec<Backend> =
            (0..backends).map(|i| Backend::start(&format!("b{i}"), 0, &executions).unwrap()).collect();
        let mut options = Options::new(backends.iter().map(|b| b.addr().to_string()).collect());
        options.program = program.into();
        options.runner = runner.iter().map(|&word| word.into()).collect();
        options.workers = 1;
        options.read_timeout_ms = 10_000;
        let fixed = ["--status-path", "/tidegate-status", "--access-log", "-", "--retry-percent", "100"];
        let patient = ["--eject-failures", "31"];
        options.more = fixed.iter().chain(&patient).chain(more).map(|&s| s.into()).collect();
        if let Some(at) = more.iter().position(|&s| s == "--workers") {
            options.workers = more[at + 1].parse().unwrap();
        }
        let proxy = Proxy::start(&options).unwrap();
        let client = Client::new(proxy.addr(), LIMIT);
        Bed { backends, executions, proxy, client, _scratch: scratch }
    }

    fn ask(&mut self, request: &Request) -> Response {
        self.client.exchange(request).unwrap_or_else(|e| panic!("{request:?}: {e:?}\n{}", self.proxy.log()))
    }

    fn echoed(&mut self, request: &Request) -> Response {
        let response = self.ask(request);
        assert!(request.is_echoed_by(&response), "{request:?}: {response:?}");
        response
    }

    /// The status of the answer to these bytes on a connection of their own.
    fn raw(&mut self, bytes: &[u8]) -> Result<Response, Failure> {
        self.client.close();
        let answer = self.client.exchange_raw(bytes, "GET");
        self.client.close();
        answer
    }

    /// Every test ends here: the proxy still stops in order, has lost count of nothing and no sanitizer complained.
    fn end(mut self) {
        self.client.close();
        self.backends.iter_mut().for_each(|b| b.set(Behaviour::Ok).unwrap());
        self.proxy.quit().unwrap();
        self.proxy.assert_clean_log();
        assert!(self.executions.duplicated_posts().unwrap().is_empty());
    }
}

fn raw(bytes: &str, then: Then) -> Behaviour {
    Behaviour::Raw(bytes.as_bytes().to_vec(), then)
}

/// A POST whose body is chunked, in chunks of `size`.
fn chunked(path: &str, body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(size) {
        write!(bytes, "{:x};ext=\"1\"\r\n", chunk.len()).unwrap();
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\nTrailer: dropped\r\n\r\n");
    bytes
}

/// The sum over all peers, as the status page shows it.
fn in_flight(bed: &mut Bed) -> u64 {
    fn sum(value: &serde_json::Value) -> u64 {
        match value {
            serde_json::Value::Object(map) => map
                .iter()
                .map(|(name, value)| if name == "in_flight" { value.as_u64().unwrap_or(0) } else { sum(value) })
                .sum(),
            serde_json::Value::Array(items) => items.iter().map(sum).sum(),
            _ => 0,
        }
    }
    let page = bed.ask(&Request::get("/tidegate-status"));
    assert_eq!(page.fields.first("content-type"), Some("application/json"));
    sum(&serde_json::from_slice(&page.body).unwrap())
}
