//! Crash torture, every instruction: `tests/torture/*.c`, built against the static library. It single-steps a process
//! through each operation on a shared table, kills it with SIGKILL at each instruction, and lets another one judge the
//! table and go on. Two planted faults must be found, or the test fails. `TIDEGATE_TORTURE=full` kills at every
//! instruction of the long operations too, instead of judging the image that each leaves and killing at a sample.
//!
//! x86-64 Linux only; says so and passes where ptrace is not permitted. Needs a C compiler (CC, default cc) and the
//! libraries in TIDEGATE_LIBDIR (default target/release: `make test` builds them first).
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The driver's exit status where it may not trace.
const NOT_PERMITTED: i32 = 77;

fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let libraries = std::env::var_os("TIDEGATE_LIBDIR").map_or(root.join("target/release"), PathBuf::from);
    let library = libraries.join("libtidegate.a");
    assert!(library.exists(), "{} is not there: run `cargo build --release`", library.display());
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("torture");
    let sources = ["world", "operations", "stepper", "check", "main"];
    let mut compile = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
    compile
        .args(["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
        .arg(root.join("include"))
        .args(sources.map(|name| root.join(format!("tests/torture/{name}.c"))))
        .arg(library)
        .args(["-lgcc_s", "-lpthread", "-lm", "-ldl", "-lc", "-o"])
        .arg(&program);
    let output = compile.output().unwrap();
    assert!(output.status.success(), "{compile:?}\n{}", String::from_utf8_lossy(&output.stderr));
    program
}

#[test]
fn a_death_at_any_instruction_leaves_the_table_whole() {
    let mut torture = Command::new(build());
    torture.args(std::env::var("TIDEGATE_TORTURE").ok());
    let output = torture.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    if output.status.code() == Some(NOT_PERMITTED) {
        println!("skipped: this machine does not let a process trace its child");
        return;
    }
    assert!(output.status.success(), "{}\n{text}", output.status);
    assert_eq!(text.lines().filter(|l| l.starts_with("planted:") && !l.contains(" 0 violations")).count(), 2);
}
