#![no_main]

#[path = "../oracles/list.rs"]
mod list;

libfuzzer_sys::fuzz_target!(|data: &[u8]| list::run(data));
