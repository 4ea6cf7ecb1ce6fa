//! include/tidegate.h is what the pinned cbindgen makes of src/ffi. TIDEGATE_BLESS=1 rewrites it (`make header`).

use std::path::Path;

#[test]
fn the_header_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let mut made = vec![];
    cbindgen::Builder::new().with_crate(root).with_config(config).generate().unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let header = root.join("include/tidegate.h");
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(&header, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&header).unwrap();
    let differs = made.lines().zip(committed.lines()).position(|(a, b)| a != b);
    assert!(made == committed, "include/tidegate.h differs from src/ffi from line {differs:?} on: run `make header`");
    let foreign = made.lines().find(|l| l.starts_with("#define") && !l["#define ".len()..].starts_with("TIDEGATE_"));
    assert_eq!(foreign, None, "every macro has the prefix");
}
