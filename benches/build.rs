//! Compiles llhttp for the benches where `scripts/setup.sh bench` has put its sources; without them it is left out.

use std::path::Path;

fn main() {
    let sources = Path::new("../build/rivals/llhttp");
    println!("cargo::rustc-check-cfg=cfg(llhttp)");
    println!("cargo::rerun-if-changed={}", sources.display());
    let files = ["api.c", "http.c", "llhttp.c"].map(|name| sources.join("src").join(name));
    if !files.iter().all(|file| file.exists()) {
        return;
    }
    let mut build = cc::Build::new();
    build.files(files).include(sources.join("include")).opt_level(3).warnings(false);
    // Its own fast paths are chosen when it is compiled.
    build.flag_if_supported("-msse4.2").compile("llhttp");
    println!("cargo::rustc-cfg=llhttp");
}
