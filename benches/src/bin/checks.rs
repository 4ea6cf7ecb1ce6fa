//! `checks`: active checks of many peers on loopback, once a second each, beside pingora's checker on the same peers.
//!
//! Every peer is an address of its own in 127.0.0.0/8; one process listens for all. A checker runs in a process of its
//! own, so that its CPU is read from getrusage. Printed: checks made, peers wrongly found dead, CPU in parts of one core,
//! user and system µs a check. pingora is driven as its own background service does it, in parallel, one round a second.
//!
//! `checks [peers] [seconds]`; the other modes are this program's own children.

use pingora_load_balancing::{Backend, Backends, discovery, health_check::TcpHealthCheck};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate::checker::{CheckOptions, Checker, Kind};
use tidegate::table::{Address, Admin, Capacity, PeerSpec, Policy, Table};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nup\n";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: u64| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    raise_limit();
    match args.first().map(String::as_str) {
        Some("listen") => listen(),
        Some(kind @ ("tcp" | "http" | "pingora")) => {
            let (port, peers, seconds) = (number(1, 0) as u16, number(2, 0) as usize, number(3, 0));
            match kind {
                "pingora" => pingora(port, peers, seconds),
                _ => tidegate(kind == "http", port, peers, seconds),
            }
        }
        _ => compare(number(0, 10_000), number(1, 10)),
    }
}

fn compare(peers: u64, seconds: u64) {
    let me = std::env::current_exe().unwrap();
    let spawn =
        |args: &[String]| Command::new(&me).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    println!("{peers} peers, each checked once a second for {seconds} s");
    println!(
        "{:<24} {:>9} {:>11} {:>11} {:>9} {:>9}",
        "", "checks", "false down", "CPU of one", "user µs", "system µs"
    );
    for kind in ["tcp", "http", "pingora"] {
        // A fresh listener for each, or one would meet what another left.
        let mut listener = spawn(&["listen".into()]);
        let mut port = String::new();
        let mut byte = [0];
        while listener.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            port.push(char::from(byte[0]));
        }
        let output = spawn(&[kind.into(), port, peers.to_string(), seconds.to_string()]).wait_with_output().unwrap();
        print!("{}", String::from_utf8_lossy(&output.stdout));
        // It ends with its input.
        drop(listener.stdin.take());
        listener.wait().unwrap();
    }
}

fn row(name: &str, checks: u64, false_down: u64, from: (Instant, [f64; 2])) {
    let [user, system] = [cpu()[0] - from.1[0], cpu()[1] - from.1[1]];
    let share = (user + system) / from.0.elapsed().as_secs_f64() * 100.0;
    let each = |s: f64| s * 1e6 / checks.max(1) as f64;
    println!("{name:<24} {checks:>9} {false_down:>11} {share:>10.1}% {:>9.2} {:>9.2}", each(user), each(system));
    let _ = std::io::stdout().flush();
}

fn peer(i: usize, port: u16) -> SocketAddr {
    (Ipv4Addr::from(0x7f01_0000 + i as u32), port).into()
}

fn tidegate(http: bool, port: u16, peers: usize, seconds: u64) {
    let now = now();
    let table = Arc::new(Table::anonymous(&Capacity::new(1, peers as u32, 8, 65536).unwrap(), now).unwrap());
    let upstream = table.open_upstream(b"app", &Policy::default()).unwrap();
    let spec = |i: usize| {
        let mut sockaddr = [0; 16];
        sockaddr[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        sockaddr[2..4].copy_from_slice(&port.to_be_bytes());
        sockaddr[4..8].copy_from_slice(&(0x7f01_0000 + i as u32).to_be_bytes());
        PeerSpec::new(Address::new(&sockaddr).unwrap(), b"", 1, 0, 0, Admin::Enabled).unwrap()
    };
    table.set_peers(upstream, &(0..peers).map(spec).collect::<Vec<_>>(), now).unwrap();
    let mut checker = Checker::new(table.clone(), 0, 1).unwrap();
    let kind = if http { Kind::Http } else { Kind::Tcp };
    // Thresholds of 3 and 2, as pingora's below.
    let options = CheckOptions { kind, interval_ns: 1_000_000_000, ..CheckOptions::default() };
    checker.set(upstream, Some(&options)).unwrap();
    let from = (Instant::now(), cpu());
    checker.start().unwrap();
    std::thread::sleep(Duration::from_secs(seconds));
    let (mut after, mut false_down) = (0, 0);
    while let Some(event) = table.event_after(after) {
        after = event.number;
        false_down += u64::from(event.kind.number() == 20);
    }
    let counts = checker.counts();
    row(if http { "tidegate HTTP" } else { "tidegate TCP" }, counts.passed + counts.failed, false_down, from);
    checker.stop();
    if counts.failed + counts.void + counts.local != 0 {
        let (failed, void, local) = (counts.failed, counts.void, counts.local);
        println!("  ({failed} failed below the threshold or above it; not counted: {void} while late, {local} local)");
    }
}

fn pingora(port: u16, peers: usize, seconds: u64) {
    let list: BTreeSet<_> = (0..peers).map(|i| Backend::new(&peer(i, port).to_string()).unwrap()).collect();
    let mut backends = Backends::new(discovery::Static::new(list.clone()));
    let mut check = TcpHealthCheck::new();
    (check.consecutive_success, check.consecutive_failure) = (2, 3);
    backends.set_health_check(check);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        backends.update(|_| {}).await.unwrap();
        let (mut checks, mut false_down) = (0, 0);
        let from = (Instant::now(), cpu());
        let mut next = Instant::now();
        while from.0.elapsed() < Duration::from_secs(seconds) {
            backends.run_health_check(true).await;
            checks += peers as u64;
            false_down += list.iter().filter(|b| !backends.ready(b)).count() as u64;
            next += Duration::from_secs(1);
            tokio::time::sleep_until(next.into()).await;
        }
        row("pingora TCP", checks, false_down, from);
    });
}

/// Accepts, answers whoever asks, and closes, until its input ends.
fn listen() {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    // A queue as long as the system allows: what it refuses is no fault of a checker's.
    // SAFETY: the descriptor is the listener's.
    unsafe { libc::listen(std::os::fd::AsRawFd::as_raw_fd(&listener), 65_535) };
    for _ in 0..32 {
        let listener = listener.try_clone().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
                if stream.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {
                    let _ = stream.write_all(OK);
                }
            }
        });
    }
    let _ = std::io::stdin().read(&mut [0]);
}

/// User and system time of this process in seconds.
fn cpu() -> [f64; 2] {
    // SAFETY: an all-zero rusage is a valid one, and the struct lives through the call.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    [usage.ru_utime, usage.ru_stime].map(|t| t.tv_sec as f64 + t.tv_usec as f64 / 1e6)
}

fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// As many descriptors as are allowed: pingora opens one for every peer at once.
fn raise_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct lives through the calls.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}
