//! The C rivals of the validator behind two safe functions each: picohttpparser (a crate carries it, compiled with
//! SSE4.2) and llhttp (compiled by build.rs where its sources are; callbacks are not set, which is its cheapest use).

use picohttpparser_sys as pico;

/// Splits a head into fields; how many there are, 0 if it is none.
pub fn pico_head(head: &[u8]) -> usize {
    let mut fields = [pico::phr_header::default(); 100];
    let (mut count, mut minor, mut status) = (fields.len(), 0, 0);
    let (mut message, mut message_len) = (std::ptr::null(), 0);
    // SAFETY: every pointer is to a local that lives through the call, and the lengths are theirs.
    let taken = unsafe {
        pico::phr_parse_response(
            head.as_ptr().cast(),
            head.len(),
            &mut minor,
            &mut status,
            &mut message,
            &mut message_len,
            fields.as_mut_ptr(),
            &mut count,
            0,
        )
    };
    if taken as usize == head.len() { count } else { 0 }
}

/// Takes the framing out of whole chunks, which moves the data: the bytes that are left.
pub fn pico_chunks(body: &mut [u8]) -> usize {
    // SAFETY: a state of integers that begins as zeros; the buffer and its length are live.
    unsafe {
        let mut decoder: pico::phr_chunked_decoder = std::mem::zeroed();
        let mut len = body.len();
        pico::phr_decode_chunked(&mut decoder, body.as_mut_ptr().cast(), &mut len);
        len
    }
}

/// llhttp, where build.rs found it.
#[cfg(llhttp)]
pub mod llhttp {
    use std::ffi::{c_char, c_int, c_void};

    const RESPONSE: c_int = 2;

    /// A parser and its settings, with room to spare; both are plain data.
    #[repr(C, align(16))]
    pub struct Parser {
        state: [u64; 32],
        settings: [u64; 64],
    }

    unsafe extern "C" {
        fn llhttp_settings_init(settings: *mut c_void);
        fn llhttp_init(parser: *mut c_void, kind: c_int, settings: *const c_void);
        fn llhttp_execute(parser: *mut c_void, data: *const c_char, len: usize) -> c_int;
    }

    impl Parser {
        /// Before the first byte.
        #[expect(clippy::new_without_default)]
        pub fn new() -> Box<Parser> {
            let mut parser = Box::new(Parser { state: [0; 32], settings: [0; 64] });
            // SAFETY: llhttp's settings are 26 callbacks, which fit.
            unsafe { llhttp_settings_init((&raw mut parser.settings).cast()) };
            parser
        }

        /// Begins a response.
        pub fn start(&mut self) {
            // SAFETY: its parser is 12 words, which fit; the settings live in the same box.
            unsafe { llhttp_init((&raw mut self.state).cast(), RESPONSE, (&raw const self.settings).cast()) };
        }

        /// Takes bytes; whether they were fine.
        pub fn feed(&mut self, bytes: &[u8]) -> bool {
            // SAFETY: started, and the bytes are live.
            unsafe { llhttp_execute((&raw mut self.state).cast(), bytes.as_ptr().cast(), bytes.len()) == 0 }
        }
    }
}
