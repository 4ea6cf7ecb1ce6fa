//! TLS checks against openssl's server: a handshake, a request over it, and a port that speaks no TLS.

use crate::bed::{Bed, address, http};
use crate::common::SECOND;
use crate::server::{Server, ok};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use tidegate::cause::Cause;
use tidegate::checker::{CheckOptions, Kind};

pub fn tls_handshakes_and_requests() {
    let scratch = tidegate_testbed::scratch::Scratch::new("checker-tls");
    let (key, cert) = (scratch.path().join("key.pem"), scratch.path().join("cert.pem"));
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]);
    make.args(["-subj", "/CN=app.example", "-keyout"]).arg(&key).arg("-out").arg(&cert).stderr(Stdio::null());
    if !make.status().is_ok_and(|s| s.success()) {
        println!("openssl is not installed: TLS is not tested");
        return;
    }
    let mut serve = Command::new("openssl");
    serve.args(["s_server", "-accept", "127.0.0.1:0", "-www", "-key"]).arg(&key).arg("-cert").arg(&cert);
    let mut server = serve.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
    let addr = lines.into_iter().find_map(|l| l.strip_prefix("ACCEPT ")?.parse().ok()).expect("its address");
    let plain = Server::start(ok());
    for (kind, path) in [(Kind::Tcp, &b""[..]), (Kind::Http, b"/")] {
        let mut bed = Bed::of(&[address(addr), address(plain.addr)]);
        let options = CheckOptions {
            kind,
            path,
            tls: true,
            server_name: b"app.example",
            fall: 1,
            timeout_ns: 20 * SECOND,
            ..http()
        };
        let mut checker = bed.checker(&options);
        bed.until(&mut checker, "passes", |bed, c| c.counts().passed >= 2 && bed.down() == 1);
        let down: Vec<_> = bed.peers.iter().map(|&p| bed.view(p).down).collect();
        assert_eq!(down, [false, true], "{kind:?}");
        let cause = bed.events(20).pop().unwrap().cause;
        // It waits for the end of a request that never comes in the clear.
        assert_eq!(cause, Cause::CONNECTION_TIMEOUT);
    }
    server.kill().unwrap();
    server.wait().unwrap();
}
