//! The corpora of the fuzz targets, played again by their oracles: what was once found stays found. `make fuzz` looks
//! for more.

#![allow(unsafe_code)]

#[path = "../fuzz/oracles/cgi.rs"]
mod cgi;
#[path = "../fuzz/oracles/file.rs"]
mod file;
#[path = "../fuzz/oracles/framing.rs"]
mod framing;
#[path = "../fuzz/oracles/head.rs"]
mod head;
#[path = "../fuzz/oracles/list.rs"]
mod list;
#[path = "../fuzz/oracles/policy.rs"]
mod policy;
#[path = "../fuzz/oracles/responder.rs"]
mod responder;
#[path = "../fuzz/oracles/rules.rs"]
mod rules;
#[path = "../fuzz/oracles/table.rs"]
mod table;
#[path = "../fuzz/oracles/template.rs"]
mod template;

use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut played = 0;
    for entry in std::fs::read_dir(&corpus).expect("a corpus") {
        let path = entry.expect("an entry").path();
        let input = std::fs::read(&path).expect("an input");
        let outcome = std::panic::catch_unwind(|| run(&input));
        assert!(outcome.is_ok(), "{}", path.display());
        played += 1;
    }
    assert!(played > 0, "{} is empty", corpus.display());
    println!("{target}: {played} inputs");
}

#[test]
fn the_corpora_pass() {
    replay("cgi", cgi::run);
    replay("file", file::run);
    replay("framing", framing::run);
    replay("head", head::run);
    replay("list", list::run);
    replay("policy", policy::run);
    replay("responder", responder::run);
    replay("rules", rules::run);
    replay("table", table::run);
    replay("template", template::run);
}
