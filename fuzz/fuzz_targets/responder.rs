#![no_main]

#[path = "../oracles/responder.rs"]
mod responder;

libfuzzer_sys::fuzz_target!(|data: &[u8]| responder::run(data));
