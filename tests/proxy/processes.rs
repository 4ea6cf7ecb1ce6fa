//! The programs as processes: options, the status page, workers that die, stops.

use super::*;

#[test]
fn the_page_long_example_runs() {
    let output = Command::new(examples().join("pick")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.lines().count() == 6, "{output:?}");
    assert!(text.contains("connection_refused"), "{text}");
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
