//! The demo's verdict can be "no": plain nginx passes garbage on, and the demo must say so.

use std::process::Command;

#[test]
fn plain_nginx_breaks_the_promise_about_gets() {
    if tidegate_testbed::nginx::binary().is_none() {
        eprintln!("skipped: nginx is not installed");
        return;
    }
    let arguments = ["--gateway", "plain-nginx", "--pace", "10"];
    let output = Command::new(env!("CARGO_BIN_EXE_demo")).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let line = text.lines().find(|line| line.starts_with("GETs that failed while")).unwrap();
    assert!(line.ends_with("BROKEN"), "{text}");
    assert!(text.contains("kill -9 of the gateway's worker"), "{text}");
}
