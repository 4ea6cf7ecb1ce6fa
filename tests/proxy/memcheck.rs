//! The proxy without sanitizers under valgrind's memcheck: it sees what they can't, reads of memory that nobody wrote,
//! also inside the library as it ships.

use super::*;

#[test]
fn memcheck_finds_nothing_under_traffic_good_and_bad() {
    if !have_valgrind() {
        eprintln!("skipped: valgrind is not installed");
        return;
    }
    let program = build("examples-plain", &release_library(), &["all"]).join("tidegate-proxy");
    let more = ["--read-timeout-ms", "1000", "--hold-bytes", "4096"];
    let mut bed = Bed::with(2, &more, &program, &MEMCHECK);

    for i in 0..8 {
        bed.echoed(&Request::get(&format!("/{i}?pad=20000")));
        bed.echoed(&Request::post("/", &[b'x'; 5000]).id(&i.to_string()));
    }
    assert_eq!(bed.ask(&Request::get("/").method("HEAD")).status, 200);
    assert_eq!(bed.raw(&chunked("/", &[b'y'; 3000], 100)).unwrap().status, 200);

    // Requests that are none, or too large, or never finished.
    for refused in
        ["GET / HTTP/1.1\r\n\r\n", "\0\r\n\r\n", TWO_LENGTHS, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -\r\n\r\n"]
    {
        assert_eq!(bed.raw(refused.as_bytes()).unwrap().status, 400, "{refused:?}");
    }
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nLarge: {}\r\n\r\n", "z".repeat(70_000));
    let _ = bed.raw(large.as_bytes());
    let mut unfinished = TcpStream::connect(bed.proxy.addr()).unwrap();
    unfinished.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
    drop(unfinished);

    for fault in [
        Behaviour::Garbage,
        Behaviour::Reset,
        Behaviour::BreakOff,
        Behaviour::BadChunk,
        Behaviour::Status { code: 503, percent: 100 },
        raw("HTTP/1.1 200 OK\r\nContent-Le", Then::Close),
        Behaviour::Hang,
        Behaviour::Refuse,
    ] {
        // One peer fails and the other takes over; then nobody is left, and the gateway answers by itself.
        bed.backends[0].set(fault.clone()).unwrap();
        bed.echoed(&Request::get("/"));
        bed.backends[1].set(fault.clone()).unwrap();
        for accept in ["application/json", "text/html", "application/problem+json"] {
            let _ = bed.client.exchange(&Request::get("/").field("Accept", accept));
        }
        bed.backends[1].set(Behaviour::Ok).unwrap();
    }

    bed.client.close();
    assert!(wait_until(LIMIT, || in_flight(&mut bed) == 0));
    bed.client.close();
    bed.proxy.quit().unwrap();
    // Quiet but for what it finds, in the master and in the worker.
    assert_eq!(bed.proxy.log(), "");
}

fn have_valgrind() -> bool {
    let there = Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(there || std::env::var_os("TIDEGATE_REQUIRE_VALGRIND").is_none(), "valgrind is not installed");
    there
}

/// What `cargo build --release` made, or else what this test is linked with.
fn release_library() -> PathBuf {
    let release = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("release");
    if release.join("libtidegate.a").exists() { release } else { own_library() }
}

const MEMCHECK: [&str; 5] = ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", "--trace-children=yes"];

const TWO_LENGTHS: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
