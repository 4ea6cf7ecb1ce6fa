//! Each behaviour of a backend is what its name says, on the wire.

use std::sync::Arc;
use std::time::Duration;

use tidegate_testbed::client::{Ending, Failure};
use tidegate_testbed::wire::End;
use tidegate_testbed::{Backend, Behaviour, Client, Executions, ProcessBackend, Request, Response, Scratch, Then};
use tidegate_testbed::{process, process_backend};

struct Bed {
    backend: Backend,
    client: Client,
    executions: Arc<Executions>,
    _scratch: Scratch,
}

fn bed(behaviour: Behaviour) -> Bed {
    let scratch = Scratch::new("behaviours");
    let executions = Arc::new(Executions::open(scratch.path().join("log")).unwrap());
    let mut backend = Backend::start("b1", 0, &executions).unwrap();
    backend.set(behaviour).unwrap();
    let client = Client::new(backend.addr(), LIMIT);
    Bed { backend, client, executions, _scratch: scratch }
}

impl Bed {
    fn get(&mut self) -> Result<Response, Failure> {
        self.client.exchange(&Request::get("/x?pad=200").id("g"))
    }
}

#[test]
fn ok_echoes_on_one_connection_with_both_framings() {
    let mut bed = bed(Behaviour::Ok);
    for path in ["/a", "/b?pad=5000", "/c?pad=5000&framing=chunked"] {
        for request in [Request::get(path).id("1"), Request::post(path, b"some body")] {
            let response = bed.client.exchange(&request).unwrap();
            assert!(request.is_echoed_by(&response), "{response:?}");
            assert!(response.reusable);
        }
    }
    let head = bed.client.exchange(&Request::get("/a?pad=9").method("HEAD")).unwrap();
    assert_eq!((head.status, head.ending, head.body.len()), (200, Ending::Complete, 0));
    assert!(head.reusable);
    assert_eq!(bed.client.connections(), 1);
    assert_eq!((bed.backend.requests(), bed.backend.accepted()), (7, 1));
}

#[test]
fn an_echo_of_another_request_is_noticed() {
    let mut bed = bed(Behaviour::Ok);
    let sent = Request::post("/a", b"one").id("1");
    let response = bed.client.exchange(&sent).unwrap();
    for other in [
        Request::post("/a", b"two").id("1"),
        Request::post("/a", b"one").id("2"),
        Request::post("/b", b"one").id("1"),
        Request::post("/a", b"one").id("1").method("PUT"),
    ] {
        assert!(!other.is_echoed_by(&response));
    }
}

#[test]
fn malformed_requests_are_refused_and_not_carried_out() {
    let mut bed = bed(Behaviour::Ok);
    for bytes in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
    ] {
        assert_eq!(bed.client.exchange_raw(bytes.as_bytes(), "GET").unwrap().status, 400, "{bytes}");
    }
    assert_eq!(bed.backend.requests(), 0);
}

#[test]
fn raw_bytes_come_as_they_are() {
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec();
    let mut bed = bed(Behaviour::Raw(bytes.clone(), Then::KeepOpen));
    assert_eq!(bed.get().unwrap().text(), "hi");
    assert_eq!(bed.get().unwrap().text(), "hi");
    assert_eq!(bed.client.connections(), 1);
    bed.backend.set(Behaviour::Raw(b"HTTP/1.1 200 OK\r\n\r\nhi".to_vec(), Then::Close)).unwrap();
    let response = bed.get().unwrap();
    assert_eq!((response.text().as_str(), response.reusable), ("hi", false));
    bed.backend.set(Behaviour::Raw(b"HTTP/1.1 200 OK\r\nConten".to_vec(), Then::Reset)).unwrap();
    // A reset may overtake the bytes before it.
    assert!(matches!(bed.get(), Err(Failure::HeadCut(End::Reset) | Failure::Nothing(End::Reset))));
    let excess = [bytes, b"HTTP/1.1 200 OK\r\n\r\n".to_vec()].concat();
    bed.backend.set(Behaviour::Raw(excess, Then::KeepOpen)).unwrap();
    assert!(matches!(bed.get().unwrap().ending, Ending::Malformed(_)));
}

#[test]
fn the_client_refuses_what_is_no_response() {
    let mut bed = bed(Behaviour::Ok);
    for bytes in [
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\x00c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        bed.backend.set(Behaviour::Raw(bytes.into(), Then::Close)).unwrap();
        assert!(matches!(bed.get(), Err(Failure::Malformed(_))), "{bytes:?}");
    }
}

#[test]
fn garbage_is_malformed() {
    assert!(matches!(bed(Behaviour::Garbage).get(), Err(Failure::Malformed(_))));
}

#[test]
fn break_off_gives_a_right_head_and_half_a_body() {
    let response = bed(Behaviour::BreakOff).get().unwrap();
    assert_eq!(response.ending, Ending::Cut(End::Closed));
    let length: usize = response.fields.first("content-length").unwrap().parse().unwrap();
    assert_eq!(response.body.len(), length / 2);
}

#[test]
fn bad_chunk_breaks_after_a_right_one() {
    let response = bed(Behaviour::BadChunk).get().unwrap();
    assert!(matches!(response.ending, Ending::Malformed(_)));
    assert_eq!(response.text(), "right");
}

#[test]
fn hang_reads_and_never_answers() {
    let mut bed = bed(Behaviour::Hang);
    let mut hasty = Client::new(bed.backend.addr(), Duration::from_millis(300));
    assert_eq!(hasty.exchange(&Request::post("/", b"x").id("h")), Err(Failure::Nothing(End::TimedOut)));
    assert_eq!(bed.backend.requests(), 1);
    assert_eq!(bed.executions.of("POST").unwrap()["h"], ["b1"]);
    // A connection that hangs does not keep the backend from refusing.
    bed.backend.set(Behaviour::Refuse).unwrap();
}

#[test]
fn slow_answers_rightly() {
    let mut bed = bed(Behaviour::Slow(Duration::from_millis(200)));
    let mut hasty = Client::new(bed.backend.addr(), Duration::from_millis(5));
    assert_eq!(hasty.exchange(&Request::get("/")), Err(Failure::Nothing(End::TimedOut)));
    assert_eq!(bed.get().unwrap().status, 200);
}

#[test]
fn status_hits_about_its_share() {
    let mut bed = bed(Behaviour::Status { code: 503, percent: 30 });
    let failed = (0..400).filter(|_| bed.get().unwrap().status == 503).count();
    // Six standard deviations around 120; and the backend's seed is its port.
    assert!((65..=175).contains(&failed), "{failed}");
    assert_eq!(bed.client.connections(), 1);
    bed.backend.set(Behaviour::Status { code: 204, percent: 100 }).unwrap();
    let response = bed.get().unwrap();
    assert_eq!((response.status, response.ending), (204, Ending::Complete));
}

#[test]
fn close_idle_answers_rightly_and_then_closes() {
    let mut bed = bed(Behaviour::CloseIdle { percent: 100, within: Duration::ZERO });
    let mut raw = Client::new(bed.backend.addr(), LIMIT);
    raw.connect().unwrap();
    raw.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    // It promised to stay, and goes.
    assert!(raw.read("GET").unwrap().reusable);
    assert_eq!(raw.read("GET"), Err(Failure::Nothing(End::Closed)));
    bed.backend.set(Behaviour::CloseIdle { percent: 0, within: Duration::ZERO }).unwrap();
    assert!(bed.get().is_ok() && bed.get().is_ok());
    assert_eq!(bed.client.connections(), 1);
}

#[test]
fn reset_resets_after_the_request() {
    let mut bed = bed(Behaviour::Reset);
    assert_eq!(bed.client.exchange(&Request::post("/", b"x").id("p")), Err(Failure::Nothing(End::Reset)));
    assert_eq!(bed.executions.of("POST").unwrap()["p"], ["b1"]);
}

#[test]
fn refuse_refuses_and_the_same_port_opens_again() {
    let mut bed = bed(Behaviour::Ok);
    assert!(bed.get().is_ok());
    for _ in 0..20 {
        bed.backend.set(Behaviour::Refuse).unwrap();
        assert_eq!(bed.get(), Err(Failure::Connect(std::io::ErrorKind::ConnectionRefused)));
        bed.backend.set(Behaviour::Ok).unwrap();
        assert!(bed.get().is_ok());
    }
}

#[test]
fn stop_finishes_what_it_began() {
    let mut bed = bed(Behaviour::Slow(Duration::from_millis(50)));
    let mut idle = Client::new(bed.backend.addr(), LIMIT);
    idle.exchange(&Request::get("/idle")).unwrap();
    bed.client.connect().unwrap();
    bed.client.send(&Request::get("/busy").to_bytes(bed.backend.addr())).unwrap();
    assert!(process::wait_until(LIMIT, || bed.backend.requests() == 2));
    assert!(bed.backend.stop(LIMIT));
    let response = bed.client.read("GET").unwrap();
    assert_eq!((response.status, response.reusable), (200, false));
    assert_eq!(idle.read("GET"), Err(Failure::Nothing(End::Closed)));
    bed.backend.set(Behaviour::Ok).unwrap();
    assert!(bed.get().unwrap().reusable);
}

#[test]
fn a_process_obeys_dies_and_comes_back_on_its_port() {
    let scratch = Scratch::new("process");
    let executions = Executions::open(scratch.path().join("log")).unwrap();
    let mut backend = ProcessBackend::start(process_backend::program(), "p1", 0, &executions).unwrap();
    let mut client = Client::new(backend.addr(), LIMIT);
    let post = Request::post("/", b"x").id("1");
    assert!(post.is_echoed_by(&client.exchange(&post).unwrap()));
    backend.set(&Behaviour::Status { code: 500, percent: 100 }).unwrap();
    assert_eq!(client.exchange(&post).unwrap().status, 500);
    // What it noted outlives it.
    backend.kill();
    assert_eq!(client.exchange(&post), Err(Failure::Connect(std::io::ErrorKind::ConnectionRefused)));
    assert_eq!(executions.duplicated_posts().unwrap()["1"], ["p1", "p1"]);
    backend.restart().unwrap();
    assert_eq!(client.exchange(&Request::get("/")).unwrap().status, 200);
    backend.set(&Behaviour::Refuse).unwrap();
    assert_eq!(client.exchange(&post), Err(Failure::Connect(std::io::ErrorKind::ConnectionRefused)));
    backend.set(&Behaviour::Ok).unwrap();
    assert_eq!(client.exchange(&Request::get("/")).unwrap().status, 200);
    let pid = backend.pid().unwrap();
    backend.stop().unwrap();
    assert!(!process::children_of(std::process::id()).contains(&pid));
}

/// For exchanges that are to succeed: never reached but on a machine that stands still.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn reset_on_accept_answers_nobody_and_ends() {
    let mut bed = bed(Behaviour::Ok);
    assert_eq!(bed.get().unwrap().status, 200);
    bed.backend.set(Behaviour::ResetOnAccept).unwrap();
    // Sometimes connect() itself sees it.
    assert!(matches!(bed.get(), Err(Failure::Nothing(_) | Failure::Connect(_))));
    assert_eq!(bed.backend.requests(), 1);
    bed.backend.set(Behaviour::Ok).unwrap();
    assert_eq!(bed.get().unwrap().status, 200);
}

#[test]
fn dropped_syns_make_a_connect_wait() {
    let mut bed = bed(Behaviour::Ok);
    assert_eq!(bed.get().unwrap().status, 200);
    bed.backend.set(Behaviour::DropSyns).unwrap();
    let mut client = Client::new(bed.backend.addr(), Duration::from_millis(50));
    assert_eq!(client.connect(), Err(Failure::Connect(std::io::ErrorKind::TimedOut)));
    bed.backend.set(Behaviour::Ok).unwrap();
    assert_eq!(bed.get().unwrap().status, 200);
}

#[test]
fn a_trickled_head_is_whole_in_the_end() {
    let mut bed = bed(Behaviour::Trickle(Duration::from_micros(100)));
    let request = Request::get("/x?pad=200").id("g");
    assert!(request.is_echoed_by(&bed.get().unwrap()));
}

#[test]
fn a_share_of_none_and_of_all() {
    for (percent, status) in [(0, 200), (100, 503)] {
        let of = Box::new(Behaviour::Status { code: 503, percent: 100 });
        let mut bed = bed(Behaviour::Share { percent, of });
        assert_eq!(bed.get().unwrap().status, status);
    }
}

#[test]
fn a_wrong_status_spares_the_health_page() {
    let mut bed = bed(Behaviour::Status { code: 503, percent: 100 });
    assert_eq!(bed.get().unwrap().status, 503);
    assert_eq!(bed.client.exchange(&Request::get("/health")).unwrap().status, 200);
}

#[test]
fn race_idle_resets_as_the_next_request_comes() {
    let mut bed = bed(Behaviour::RaceIdle { percent: 100 });
    assert_eq!(bed.get().unwrap().status, 200);
    assert!(matches!(bed.get(), Err(Failure::Nothing(_))));
    assert_eq!((bed.backend.requests(), bed.client.connections()), (1, 1));
}
