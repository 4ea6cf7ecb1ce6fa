//! The comparison runs: two faults at stock nginx and at Tidegate, briefly. Its figures are not judged here.

use std::process::Command;

use tidegate_testbed::{Scratch, nginx, nginx_config};

#[test]
fn two_faults_at_two_proxies_make_a_report() {
    if nginx::binary().is_none() || !nginx_config::module().exists() {
        eprintln!("skipped: nginx or the module is not there");
        return;
    }
    let scratch = Scratch::new("compare-report");
    let report = scratch.path().join("comparison.md");
    let arguments = ["--only", "kill,blackhole", "--proxies", "nginx,tidegate", "--seconds", "0.5", "--write"];
    let output = Command::new(env!("CARGO_BIN_EXE_compare")).args(arguments).arg(&report).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    let text = std::fs::read_to_string(report).unwrap();
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault")).collect();
    assert_eq!(rows.len(), 4, "{text}");
    assert!(rows[0].contains("**kill**") && rows[2].contains("**blackhole**"), "{text}");
    // Every configuration stands there in full.
    assert!(text.contains("proxy_next_upstream error timeout") && text.contains("tidegate peak_ewma;"), "{text}");
}
