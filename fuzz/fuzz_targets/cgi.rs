#![no_main]

#[path = "../oracles/cgi.rs"]
mod cgi;

libfuzzer_sys::fuzz_target!(|data: &[u8]| cgi::run(data));
