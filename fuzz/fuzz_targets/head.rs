#![no_main]

#[path = "../oracles/head.rs"]
mod head;

libfuzzer_sys::fuzz_target!(|data: &[u8]| head::run(data));
