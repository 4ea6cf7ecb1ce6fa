#![no_main]

#[path = "../oracles/table.rs"]
mod table;

libfuzzer_sys::fuzz_target!(|data: &[u8]| table::run(data));
