//! `make install`: every file in its place, symbols with their version node, and a program built the way pkg-config says.

use std::path::Path;
use std::process::Command;

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn what_is_installed_is_complete_and_usable() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("install");
    let _ = std::fs::remove_dir_all(&place);
    // The library was built before the tests; only the link and the copying are made here.
    let version = env!("CARGO_PKG_VERSION");
    let mut install = Command::new("make");
    install
        .args(["install", "PREFIX=/usr", "-o", "build"])
        .arg(format!("DESTDIR={}", place.display()))
        .current_dir(root);
    run(install.env_remove("MAKEFLAGS").env_remove("MAKELEVEL"));
    let lib = place.join("usr/lib");
    for file in ["libtidegate.so.0", "libtidegate.so", "libtidegate.a", "cmake/tidegate/tidegate-config.cmake"] {
        assert!(lib.join(file).exists(), "{file}");
    }
    let pc = std::fs::read_to_string(lib.join("pkgconfig/tidegate.pc")).unwrap();
    assert!(pc.contains(&format!("Version: {version}\n")) && !pc.contains('@'), "{pc}");
    let symbols = run(Command::new("objdump").arg("-T").arg(lib.join("libtidegate.so")));
    let versioned = |l: &str| l.contains("TIDEGATE_0") && l.ends_with("tidegate_request_pick");
    assert!(symbols.lines().any(versioned), "{symbols}");

    let program = place.join("pick");
    let mut build = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
    build
        .arg(root.join("ffi-examples/pick.c"))
        .arg("-D_POSIX_C_SOURCE=200809L")
        .arg("-I")
        .arg(place.join("usr/include"));
    build.arg("-L").arg(&lib).arg("-ltidegate").arg(format!("-Wl,-rpath,{}", lib.display())).arg("-o").arg(&program);
    run(&mut build);
    assert!(!run(&mut Command::new(&program)).is_empty());
}
