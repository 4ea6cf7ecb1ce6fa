//! The C ABI from C's side: examples and a check program in every dialect, against both libraries; sizes and offsets
//! of every struct, and every symbol, as recorded in `abi/`. TIDEGATE_BLESS=1 rewrites those records.
//!
//! Needs a C and a C++ compiler (CC, CXX; default cc, c++), nm, and the libraries in TIDEGATE_LIBDIR (default
//! target/release: `make test` builds them first).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn libraries() -> PathBuf {
    let dir = std::env::var_os("TIDEGATE_LIBDIR").map_or(root().join("target/release"), PathBuf::from);
    assert!(
        dir.join("libtidegate.so").exists(),
        "{} holds no libtidegate.so: run `cargo build --release`",
        dir.display()
    );
    dir
}

/// Where this test's products go.
fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn compiler(variable: &str, default: &str) -> Command {
    Command::new(std::env::var_os(variable).unwrap_or(default.into()))
}

const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
/// What the static library needs of the system: rustc --print native-static-libs.
const SYSTEM: [&str; 3] = ["-lpthread", "-lm", "-ldl"];

fn dialects() -> [(&'static str, Command); 3] {
    let dialect = |mut command: Command, language: &str, standard: &str| {
        command.args(STRICT).args(["-x", language, standard]);
        command
    };
    [
        ("c99", dialect(compiler("CC", "cc"), "c", "-std=c99")),
        ("c11", dialect(compiler("CC", "cc"), "c", "-std=c11")),
        ("c++17", dialect(compiler("CXX", "c++"), "c++", "-std=c++17")),
    ]
}

/// Compiles a program in every dialect against both libraries, and runs it: what each run printed.
fn build_and_run(source: &Path) -> Vec<String> {
    let (libraries, scratch) = (libraries(), scratch(&source.file_stem().unwrap().to_string_lossy()));
    // Programs look for the SONAME, which cargo's output does not carry as a file name.
    let named = scratch.join("libtidegate.so.0");
    let _ = std::fs::remove_file(&named);
    let _ = std::os::unix::fs::symlink(libraries.join("libtidegate.so"), &named);
    let stem = source.file_stem().unwrap().to_string_lossy().into_owned();
    let mut printed = vec![];
    for (dialect, mut compile) in dialects() {
        let object = scratch.join(format!("{stem}-{dialect}.o"));
        run(compile
            .arg("-D_DEFAULT_SOURCE")
            .arg("-I")
            .arg(root().join("include"))
            .arg("-c")
            .arg(source)
            .arg("-o")
            .arg(&object));
        for shared in [true, false] {
            let program = scratch.join(format!("{stem}-{dialect}-{shared}"));
            let mut link = compiler("CC", "cc");
            link.arg(&object).arg("-o").arg(&program);
            if shared {
                link.arg("-L").arg(&libraries).arg("-ltidegate").arg(format!("-Wl,-rpath,{}", scratch.display()));
            } else {
                link.arg(libraries.join("libtidegate.a")).args(SYSTEM).arg("-lgcc_s");
            }
            run(&mut link);
            printed.push(run(&mut Command::new(&program)));
            if let Some(valgrind) = valgrind() {
                run(Command::new(valgrind).args(["-q", "--leak-check=full", "--error-exitcode=9"]).arg(&program));
            }
        }
    }
    printed
}

/// memcheck, where it is installed; TIDEGATE_REQUIRE_VALGRIND=1 makes its absence a failure.
fn valgrind() -> Option<&'static str> {
    let there = Command::new("valgrind").arg("--version").output().is_ok_and(|o| o.status.success());
    assert!(there || std::env::var_os("TIDEGATE_REQUIRE_VALGRIND").is_none(), "valgrind is not installed");
    if !there {
        println!("valgrind is not installed: memory is not checked");
    }
    there.then_some("valgrind")
}

#[test]
fn the_example_builds_and_runs_everywhere() {
    for printed in build_and_run(&root().join("ffi-examples/pick.c")) {
        assert!(!printed.is_empty());
    }
}

#[test]
fn the_rules_of_the_abi_hold_from_c() {
    for printed in build_and_run(&root().join("tests/c/rules.c")) {
        assert_eq!(printed, "every rule holds\n");
    }
}

/// `struct name` and its fields, from the header.
fn structs(header: &str) -> Vec<(String, Vec<String>)> {
    let mut found = vec![];
    let mut lines = header.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("typedef struct ").and_then(|l| l.strip_suffix(" {")) else { continue };
        let body = lines.by_ref().take_while(|l| !l.starts_with('}'));
        let field = |line: &str| {
            let declared = line.trim().strip_suffix(';')?;
            let name = declared.split_whitespace().last()?.trim_start_matches('*');
            Some(name.split('[').next()?.to_string())
        };
        let fields = body.filter(|l| !l.trim().starts_with("//")).filter_map(field).collect();
        found.push((name.to_string(), fields));
    }
    assert!(found.len() > 15, "the header is not read rightly");
    found
}

#[test]
fn layouts_are_those_recorded() {
    let header = std::fs::read_to_string(root().join("include/tidegate.h")).unwrap();
    let mut program = String::from("#include <stdio.h>\n#include \"tidegate.h\"\nint main(void) {\n");
    for (name, fields) in structs(&header) {
        program += &format!("  printf(\"{name} %zu\\n\", sizeof(struct {name}));\n");
        for field in fields {
            program += &format!(
                "  printf(\"  {field} %zu %zu\\n\", offsetof(struct {name}, {field}), sizeof(((struct {name} *)0)->{field}));\n"
            );
        }
    }
    program += "  return 0;\n}\n";
    let scratch = scratch("layout");
    let (source, binary) = (scratch.join("layout.c"), scratch.join("layout"));
    std::fs::write(&source, program).unwrap();
    run(compiler("CC", "cc").arg("-I").arg(root().join("include")).arg(&source).arg("-o").arg(&binary));
    compare("abi/layout.txt", "struct size; field offset size (x86-64)", &run(&mut Command::new(&binary)));
}

#[test]
fn symbols_are_those_recorded() {
    let library = libraries().join("libtidegate.so");
    let listed = run(Command::new("nm").args(["-D", "--defined-only"]).arg(&library));
    let mut exported: Vec<&str> = listed.lines().filter_map(|l| l.split_whitespace().nth(2)).collect();
    exported.sort_unstable();
    assert!(exported.iter().all(|s| s.starts_with("tidegate_")), "{exported:?}");
    let header = std::fs::read_to_string(root().join("include/tidegate.h")).unwrap();
    for symbol in &exported {
        assert!(header.contains(&format!("{symbol}(")), "{symbol} is exported and not in the header");
    }
    let recorded = std::fs::read_to_string(root().join("abi/symbols.txt")).unwrap_or_default();
    let since = |symbol: &str| {
        let known = recorded.lines().find_map(|l| l.strip_prefix(symbol)?.strip_prefix(' '));
        known.unwrap_or(env!("CARGO_PKG_VERSION")).to_string()
    };
    let current: String = exported.iter().map(|s| format!("{s} {}\n", since(s))).collect();
    compare("abi/symbols.txt", "symbol, version that introduced it", &current);
}

#[test]
fn the_shared_library_carries_its_name_and_stays_loaded() {
    let library = libraries().join("libtidegate.so");
    let dynamic = run(Command::new("readelf").args(["-d", "-W"]).arg(&library));
    assert!(dynamic.contains("Library soname: [libtidegate.so.0]"), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
}

fn compare(record: &str, title: &str, current: &str) {
    let path = root().join(record);
    let current = format!("# {title}\n{current}");
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        recorded == current,
        "{record} is no longer true. If the change is meant: TIDEGATE_BLESS=1. Now:\n{current}"
    );
}

/// Pick and report take their plain cases outside `catch_unwind`. Nothing that can be reached from there on the way to
/// the guarded rules may panic: read from the machine code.
#[test]
#[cfg(target_arch = "x86_64")]
fn what_stands_outside_the_guard_cannot_panic() {
    let library = libraries().join("libtidegate.so");
    let listing = run(Command::new("objdump").args(["-d", "--no-show-raw-insn"]).arg(&library));
    let relocations = run(Command::new("readelf").args(["-r", "-W"]).arg(&library));
    let hexadecimal = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let name_of = |line: &'static str| line.strip_suffix(">:").and_then(|l| l.split_once(" <"));
    let listing: &'static str = listing.leak();
    let at: HashMap<u64, &str> =
        listing.lines().filter_map(name_of).filter_map(|(at, name)| Some((hexadecimal(at)?, name))).collect();
    // Calls of cold functions go by way of a table that the loader fills in: from its place to the function.
    let slots: HashMap<u64, &str> = relocations
        .lines()
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let &[place, _, "R_X86_64_RELATIVE", target] = columns.as_slice() else { return None };
            Some((hexadecimal(place)?, *at.get(&hexadecimal(target)?)?))
        })
        .collect();
    let mut calls: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut function = "";
    for line in listing.lines() {
        if let Some((_, name)) = name_of(line) {
            function = name;
            calls.entry(function).or_default();
            continue;
        }
        let target = if let Some((code, comment)) = line.split_once("# ")
            && (code.contains("call   *") || code.contains("jmp    *"))
        {
            let slot = comment.split(' ').next().and_then(hexadecimal);
            slot.and_then(|slot| slots.get(&slot).copied()).unwrap_or("an unknown function")
        } else if let Some((code, target)) = line.rsplit_once('<')
            && let Some(target) = target.strip_suffix('>')
            && (code.contains("call") || code.contains("\tj"))
        {
            target.split('+').next().unwrap_or(target)
        } else if line.contains("call   *") {
            "an indirect call"
        } else {
            continue;
        };
        if target != function {
            calls.entry(function).or_default().push(target);
        }
    }
    let (mut reached, mut guarded) = (vec![], 0);
    let mut next = vec!["tidegate_request_pick", "tidegate_request_report"];
    while let Some(function) = next.pop() {
        if function.contains("_by_rules") {
            guarded += 1;
            continue;
        }
        if reached.contains(&function) {
            continue;
        }
        assert!(!function.contains("panic") && !function.contains("unwind"), "{function} is reached outside the guard");
        reached.push(function);
        let called = calls.get(function).unwrap_or_else(|| panic!("{function} is not in the listing"));
        next.extend(called);
    }
    assert!(guarded >= 2 && reached.len() < 30, "the listing is not read rightly: {reached:?}");
}
