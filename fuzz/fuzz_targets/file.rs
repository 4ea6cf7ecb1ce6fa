#![no_main]

#[path = "../oracles/file.rs"]
mod file;

libfuzzer_sys::fuzz_target!(|data: &[u8]| file::run(data));
