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

/// For a machine that is very busy: a bound, never a measurement.
const LIMIT: Duration = Duration::from_secs(20);

/// Where the examples are, built once with sanitizers against the library that cargo built for this test.
fn examples() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let build = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples-san");
        let tests = std::env::current_exe().unwrap();
        let make = Command::new("make")
            .arg("-C")
            .arg(root.join("ffi-examples"))
            .args(["SAN=1", "STATIC=1", "all", "check-dialects"])
            .arg(format!("LIBDIR={}", tests.parent().unwrap().display()))
            .arg(format!("BUILD={}", build.display()))
            .output()
            .unwrap();
        assert!(make.status.success(), "{}", String::from_utf8_lossy(&make.stderr));
        build
    })
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
        let scratch = Scratch::new("proxy-test");
        let executions = Arc::new(Executions::open(scratch.path().join("log")).unwrap());
        let backends: Vec<Backend> =
            (0..backends).map(|i| Backend::start(&format!("b{i}"), 0, &executions).unwrap()).collect();
        let mut options = Options::new(backends.iter().map(|b| b.addr().to_string()).collect());
        options.program = examples().join("tidegate-proxy");
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

#[test]
fn the_page_long_example_runs() {
    let output = Command::new(examples().join("pick")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.lines().count() == 6, "{output:?}");
    assert!(text.contains("connection_refused"), "{text}");
}

#[test]
fn connections_are_kept_on_both_sides() {
    let mut bed = Bed::new(1, &[]);
    for i in 0..10 {
        bed.echoed(&Request::get(&format!("/{i}?pad=3000")));
        bed.echoed(&Request::get(&format!("/{i}?pad=3000&framing=chunked")));
        bed.echoed(&Request::post(&format!("/{i}"), b"body"));
        let head = bed.ask(&Request::get("/?pad=9").method("HEAD"));
        assert!(head.body.is_empty() && head.fields.first("content-length").is_some());
    }
    assert_eq!((bed.client.connections(), bed.backends[0].accepted()), (1, 1));
    bed.end();
}

#[test]
fn without_keep_alive_each_request_has_its_connection() {
    let mut bed = Bed::new(1, &["--no-keepalive"]);
    for _ in 0..5 {
        bed.echoed(&Request::get("/"));
    }
    assert_eq!((bed.client.connections(), bed.backends[0].accepted()), (1, 5));
    bed.end();
}

#[test]
fn bodies_of_any_size_and_framing_pass_both_ways() {
    let mut bed = Bed::new(1, &[]);
    for n in [0, 1, 1000, 65_535, 65_536, 65_537, 1_000_000] {
        let body: Vec<u8> = (0..n).map(|i| (i * 7 + i / 256) as u8).collect();
        for path in [format!("/?pad={n}"), format!("/?pad={n}&framing=chunked")] {
            let request = Request::post(&path, &body);
            bed.echoed(&request);
            for size in [5000, 70_000] {
                let response = bed.client.exchange_raw(&chunked(&path, &body, size), "POST").unwrap();
                assert!(request.is_echoed_by(&response), "{n} {path} {size}");
            }
        }
    }
    assert_eq!(bed.backends[0].accepted(), 1);
    bed.end();
}

#[test]
fn responses_are_framed_anew_and_hop_by_hop_fields_stay_behind() {
    let mut bed = Bed::new(1, &[]);
    let mut answer = |bytes: &str, then| {
        bed.backends[0].set(raw(bytes, then)).unwrap();
        bed.ask(&Request::get("/"))
    };
    let r = answer(
        "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 200 Fine\r\nConnection: x-mine, close\r\nX-Mine: 1\r\n\
         X-Yours: 2\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok",
        Then::Close,
    );
    assert_eq!((r.status, r.reason.as_str(), r.text().as_str(), r.reusable), (200, "Fine", "ok", true));
    assert!(r.interim.is_empty() && r.fields.first("x-yours") == Some("2"));
    assert!(["x-mine", "keep-alive", "connection"].iter().all(|name| r.fields.first(name).is_none()), "{r:?}");
    // Until the peer closes: chunks for a client that can't see that end.
    let r = answer("HTTP/1.0 200 OK\r\n\r\nuntil the end", Then::Close);
    assert_eq!((r.text().as_str(), r.fields.first("transfer-encoding")), ("until the end", Some("chunked")));
    for bytes in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 7\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    ] {
        let r = answer(bytes, Then::KeepOpen);
        assert!(r.body.is_empty() && r.ending == Ending::Complete && r.reusable, "{r:?}");
    }
    // Bytes behind the end of a response are never the start of the next one.
    for _ in 0..3 {
        let r = answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", Then::KeepOpen);
        assert_eq!((r.text().as_str(), r.ending), ("ok", Ending::Complete));
    }
    bed.end();
}

#[test]
fn http_1_0_clients_get_no_chunks() {
    let mut bed = Bed::new(1, &[]);
    let r = bed.raw(b"GET /?framing=chunked HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!((r.fields.first("transfer-encoding"), r.fields.first("connection")), (None, Some("close")));
    assert!(r.text().starts_with("backend=b0\n") && r.text().contains("\nsum="));
    let r = bed.raw(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap();
    assert_eq!((r.fields.first("connection"), r.ending), (Some("keep-alive"), Ending::Complete));
    bed.end();
}

#[test]
fn another_peer_answers_for_one_that_fails() {
    let faults = [
        Behaviour::Garbage,
        Behaviour::Reset,
        raw("", Then::Close),
        raw("HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello", Then::Close),
        raw("HTTP/1.1 200 OK\r\nContent-Le", Then::Close),
        raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Then::KeepOpen),
        raw("HTTP/1.1 200 OK\r\nA: b", Then::KeepOpen),
        Behaviour::Status { code: 503, percent: 100 },
        Behaviour::Hang,
        Behaviour::Refuse,
    ];
    for fault in faults {
        let mut bed = Bed::new(2, &["--read-timeout-ms", "200"]);
        bed.backends[0].set(fault.clone()).unwrap();
        for i in 0..4 {
            let response = bed.echoed(&Request::get(&format!("/{fault}")));
            assert_eq!(response.fields.first("x-backend"), Some("b1"), "{fault}");
            // A POST that may have been carried out is not repeated; `end` looks for any that was.
            let post = bed.ask(&Request::post("/", b"once").id(&i.to_string()));
            assert!([200, 502, 503, 504].contains(&post.status), "{fault}: {post:?}");
        }
        bed.end();
    }
}

#[test]
fn an_idle_connection_that_the_peer_closes_costs_no_request() {
    let mut bed = Bed::new(2, &[]);
    for backend in &mut bed.backends {
        backend.set(Behaviour::CloseIdle { percent: 60, within: Duration::from_millis(2) }).unwrap();
    }
    for i in 0..200 {
        bed.echoed(&Request::get(&format!("/{i}")));
    }
    bed.end();
}

fn broken_bodies() -> [Behaviour; 4] {
    [
        Behaviour::BreakOff,
        Behaviour::BadChunk,
        raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Then::Close),
        raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", Then::Reset),
    ]
}

#[test]
fn a_body_that_breaks_off_never_looks_complete() {
    for (hold, fault) in ["0", "16384"].into_iter().flat_map(|hold| broken_bodies().map(|fault| (hold, fault))) {
        let mut bed = Bed::new(1, &["--hold-bytes", hold]);
        bed.backends[0].set(fault.clone()).unwrap();
        // Either nothing had gone out yet, and the gateway answers; or the cut shows.
        match bed.client.exchange(&Request::get("/?pad=50")) {
            Ok(r) => assert!(r.status == 502 || matches!(r.ending, Ending::Cut(_)), "{fault}: {r:?}"),
            Err(e) => assert!(matches!(e, Failure::Nothing(_) | Failure::HeadCut(_)), "{fault}: {e:?}"),
        }
        // For HTTP/1.0 the end of the connection is the end of the body, so a cut one must end in a reset.
        let r = bed.raw(b"GET /?pad=50 HTTP/1.0\r\n\r\n");
        let cut = |r: &Response| r.status == 502 || matches!(r.ending, Ending::Cut(_));
        assert!(r.as_ref().map_or(true, cut), "{fault}: {r:?}");
        bed.end();
    }
}

#[test]
fn a_short_body_that_breaks_off_is_had_from_another_peer() {
    let mut bed = Bed::new(2, &["--hold-ms", "20000"]);
    for fault in [Behaviour::BreakOff, Behaviour::BadChunk] {
        bed.backends[0].set(fault).unwrap();
        for i in 0..6 {
            bed.echoed(&Request::get(&format!("/{i}?pad=500")));
        }
    }
    bed.end();
}

#[test]
fn the_gateway_says_what_went_wrong() {
    let mut bed = Bed::new(1, &["--read-timeout-ms", "100", "--label", "gate"]);
    for (fault, status, error) in [
        (Behaviour::Garbage, 502, "http_protocol_error"),
        (Behaviour::Reset, 502, "connection_terminated"),
        (Behaviour::Hang, 504, "connection_read_timeout"),
        // Nobody is there, and that is known: a client can be told when to come back.
        (Behaviour::Refuse, 503, "destination_unavailable"),
    ] {
        bed.backends[0].set(fault.clone()).unwrap();
        let r = bed.ask(&Request::get("/").field("Accept", "application/problem+json"));
        let said = r.fields.first("proxy-status").unwrap_or_default();
        assert!(r.status == status && said.starts_with("gate;") && said.contains(error), "{fault}: {r:?}");
        assert_eq!(r.fields.first("content-type"), Some("application/problem+json"), "{r:?}");
        let later = r.fields.first("retry-after").is_some_and(|s| s.parse::<u32>().is_ok_and(|s| s >= 1));
        assert!(later == (status == 503) && r.reusable, "{r:?}");
    }
    bed.end();
}

#[test]
fn a_streamed_body_is_sent_once_and_an_early_answer_arrives() {
    let mut bed = Bed::new(2, &[]);
    let big = vec![b'x'; 300_000];
    bed.backends[0].set(Behaviour::Reset).unwrap();
    for i in 0..4 {
        let r = bed.ask(&Request::post("/", &big).method("PUT").id(&i.to_string()));
        assert!([200, 502].contains(&r.status), "{r:?}");
    }
    // The answer comes before the body is complete: it arrives, and the connection ends, for the rest is not read.
    bed.backends.iter_mut().for_each(|b| b.set(raw("", Then::Close)).unwrap());
    let r = bed.raw(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabX").unwrap();
    assert_eq!((r.status, r.reusable), (400, false));
    bed.end();
}

#[test]
fn malformed_requests_are_refused_and_go_nowhere() {
    let mut bed = Bed::new(1, &[]);
    let long = "x".repeat(40_000);
    let many = "A: b\r\n".repeat(101);
    for (status, bytes) in [
        (400, "\x16\x03\x01\x02\x00\x01"),
        (400, "GET / HTTP/1.1\nHost: a\n\n"),
        (400, "GET / HTTP/1.1\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"),
        (400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /a\"b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nA: b\x00\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n"),
        (400, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nx"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\nab"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1111111111111111\r\n"),
        (417, "POST / HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 1\r\n\r\nx"),
        (501, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (501, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        (414, &format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
        (431, &format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}\r\n\r\n")),
        (431, &format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")),
    ] {
        let r = bed.raw(bytes.as_bytes()).unwrap_or_else(|e| panic!("{bytes:?}: {e:?}"));
        assert_eq!((r.status, r.reusable), (status, false), "{bytes:?}");
    }
    assert_eq!(bed.backends[0].requests(), 0);
    bed.echoed(&Request::get("/"));
    bed.end();
}

#[test]
fn unusual_but_valid_requests_are_served() {
    let mut bed = Bed::new(1, &[]);
    let r = bed.raw(b"\r\nGET http://other:80/p?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    assert!(r.text().contains("\npath=/p?q\n"), "{r:?}");
    let r = bed.raw(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(r.text().contains("\npath=*\n"), "{r:?}");
    bed.client.connect().unwrap();
    bed.client.send(b"POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").unwrap();
    bed.client.send(b"hi").unwrap();
    assert_eq!(bed.client.read("POST").unwrap().status, 200);
    // A byte at a time: no cut of the stream changes what it means.
    bed.client.connect().unwrap();
    for byte in chunked("/b", b"abc", 2) {
        bed.client.send(&[byte]).unwrap();
    }
    let r = bed.client.read("POST").unwrap();
    assert!(Request::post("/b", b"abc").is_echoed_by(&r), "{r:?}");
    bed.end();
}

#[test]
fn continue_is_answered_before_the_body_comes() {
    let bed = Bed::new(1, &[]);
    let mut stream = TcpStream::connect(bed.proxy.addr()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
        .write_all(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hi").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 ") && rest.contains("\nlength=2\n"), "{rest}");
    bed.end();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let bed = Bed::new(2, &[]);
    let mut requests = String::new();
    for i in 0..30 {
        let close = if i == 29 { "Connection: close\r\n" } else { "" };
        match i % 3 {
            0 => write!(requests, "GET /n={i}; HTTP/1.1\r\nHost: a\r\n{close}\r\n"),
            1 => write!(requests, "POST /n={i}; HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n{close}\r\nabc"),
            _ => write!(
                requests,
                "POST /n={i}; HTTP/1.1\r\nHost: a\r\n{close}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            ),
        }
        .unwrap();
    }
    let mut stream = TcpStream::connect(bed.proxy.addr()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(requests.as_bytes()).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    let seen: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix("path=/n=")).collect();
    assert_eq!(seen, (0..30).map(|i| format!("{i};")).collect::<Vec<_>>());
    bed.end();
}

#[test]
fn slow_and_stuck_clients_are_given_up() {
    let mut bed = Bed::new(1, &["--client-timeout-ms", "200"]);
    for bytes in [
        "GET / HTTP/1.1\r\nHos",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc",
    ] {
        assert_eq!(bed.raw(bytes.as_bytes()).unwrap().status, 408, "{bytes}");
    }
    // Nothing at all: closed without a word.
    assert_eq!(bed.raw(b""), Err(Failure::Nothing(End::Closed)));
    // Asks for much and reads nothing, until the proxy has lost patience.
    let mut stuck = TcpStream::connect(bed.proxy.addr()).unwrap();
    stuck.write_all(b"GET /?pad=30000000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut log = Vec::new();
    assert!(wait_until(LIMIT, || {
        log.extend(bed.proxy.output());
        log.iter().any(|line| line.contains("pad=") && line.contains("client_closed"))
    }));
    bed.echoed(&Request::get("/"));
    bed.end();
}

#[test]
fn clients_that_leave_take_nothing_with_them() {
    let mut bed = Bed::new(1, &[]);
    for behaviour in [Behaviour::Slow(Duration::from_millis(20)), Behaviour::Ok] {
        bed.backends[0].set(behaviour).unwrap();
        for i in 0..30 {
            let mut stream = TcpStream::connect(bed.proxy.addr()).unwrap();
            stream.write_all(b"GET /?pad=2000000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            if i % 3 == 0 {
                stream.shutdown(Shutdown::Write).unwrap();
            } else if i % 3 == 1 {
                let _ = stream.read(&mut [0; 100]);
            }
        }
    }
    assert!(wait_until(LIMIT, || in_flight(&mut bed) == 0));
    bed.end();
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

#[test]
fn the_status_is_also_text() {
    let mut bed = Bed::new(2, &[]);
    bed.echoed(&Request::get("/"));
    let page = bed.ask(&Request::get("/tidegate-status?text"));
    for backend in &bed.backends {
        assert!(page.text().contains(&backend.addr().to_string()), "{}", page.text());
    }
    assert_eq!(bed.ask(&Request::get("/tidegate-status?text").method("HEAD")).body, b"");
    bed.end();
}

#[test]
fn a_killed_worker_is_replaced_and_its_requests_are_no_longer_in_flight() {
    let mut bed = Bed::new(2, &["--workers", "2"]);
    assert!(wait_until(LIMIT, || bed.proxy.workers().len() == 2));
    // Requests that hang in either worker when one of them dies.
    bed.backends.iter_mut().for_each(|b| b.set(Behaviour::Hang).unwrap());
    let mut hanging: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(bed.proxy.addr()).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            stream
        })
        .collect();
    assert!(wait_until(LIMIT, || in_flight(&mut bed) == 20));
    bed.backends.iter_mut().for_each(|b| b.set(Behaviour::Ok).unwrap());
    bed.client.close();
    let victim = bed.proxy.workers()[0];
    bed.proxy.kill_worker(victim).unwrap();
    for i in 0..20 {
        bed.echoed(&Request::get(&format!("/{i}")));
        bed.client.close();
    }
    hanging.clear();
    assert!(wait_until(LIMIT, || {
        bed.client.close();
        in_flight(&mut bed) == 0
    }));
    bed.end();
}

#[test]
fn a_graceful_stop_finishes_what_was_begun() {
    let mut bed = Bed::new(1, &["--workers", "2"]);
    bed.echoed(&Request::get("/idle"));
    bed.backends[0].set(Behaviour::Slow(Duration::from_millis(300))).unwrap();
    let addr = bed.proxy.addr();
    let clients: Vec<_> = (0..8)
        .map(|i| {
            let request = Request::get(&format!("/{i}?pad=100000"));
            thread::spawn(move || request.is_echoed_by(&Client::new(addr, LIMIT).exchange(&request).unwrap()))
        })
        .collect();
    assert!(wait_until(LIMIT, || bed.backends[0].requests() == 9));
    bed.proxy.quit().unwrap();
    assert!(clients.into_iter().all(|client| client.join().unwrap()));
    bed.proxy.assert_clean_log();
    assert!(matches!(Client::new(addr, LIMIT).connect(), Err(Failure::Connect(_))));
}

#[test]
fn a_stop_is_bounded_even_if_a_request_never_ends() {
    let mut bed = Bed::new(1, &["--stop-timeout-ms", "100"]);
    bed.backends[0].set(Behaviour::Hang).unwrap();
    let mut stream = TcpStream::connect(bed.proxy.addr()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(wait_until(LIMIT, || bed.backends[0].requests() == 1));
    bed.end();
}

#[test]
fn wrong_options_are_named() {
    let start = ["--listen", "127.0.0.1:0", "--peer", "127.0.0.1:1"];
    for (arguments, named) in [
        (vec![], "--listen"),
        (vec!["--listen", "127.0.0.1:99999"], "99999"),
        (vec!["--listen", "localhost"], "localhost"),
        (vec!["--listen", "127.0.0.1:0"], "--peer"),
        (vec!["--peer", "127.0.0.1:1,wight=2"], "wight=2"),
        (vec!["--peer", "127.0.0.1:1,weight=0"], "weight"),
        (vec!["--workers", "none"], "--workers"),
        (vec!["--selector", "best"], "--selector"),
        (vec!["--what"], "what"),
        ([&start[..], &["stray"]].concat(), "stray"),
        ([&start[..], &["--label", "two words"]].concat(), "two words"),
        ([&start[..], &["--access-log", "/nowhere/at/all"]].concat(), "--access-log"),
    ] {
        let output = Command::new(examples().join("tidegate-proxy")).args(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(named), "{arguments:?}: {said}");
    }
}
