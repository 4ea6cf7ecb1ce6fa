//! The C ABI: pointers, sizes, status codes and the panic guard; no decision is made here.
//!
//! One file an object. Every entry point is the same three steps: check the pointers, call the layer below, write
//! the outputs if that succeeded. [`guard`] stands in each body (a macro around the signature would hide the
//! function from cbindgen). Costs: the guard is one landing pad and no instruction on the way through; a struct whose
//! size is the one this library was built with is read in place.
//!
//! `include/tidegate.h` is generated from these files (`make header`); their comments are the reference manual.

#![allow(unsafe_code, non_camel_case_types)]

pub mod cause;
pub mod checker;
pub mod request;
pub mod responder;
pub mod status;
pub mod table;
pub mod template;
pub mod upstream;
pub mod validator;
pub mod version;
pub mod worker;

pub use crate::error::*;
use std::cell::RefCell;
use std::ffi::{c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// The sentence behind the last error of this thread. `const` and without a destructor, so that reading it is
    /// safe at any time, in a thread's exit too.
    static LAST_ERROR: RefCell<LastError> = const { RefCell::new(LastError { len: 0, text: [0; 240] }) };
}

struct LastError {
    len: usize,
    text: [u8; 240],
}

#[cold]
fn remember(error: &Error) -> tidegate_status {
    let text = error.text();
    let _ = LAST_ERROR.try_with(|cell| {
        if let Ok(mut last) = cell.try_borrow_mut() {
            let mut len = text.len().min(last.text.len());
            while !text.is_char_boundary(len) {
                len -= 1;
            }
            last.text[..len].copy_from_slice(&text.as_bytes()[..len]);
            last.len = len;
        }
    });
    error.status
}

/// Runs the body of an entry point: errors become their status, a panic becomes `TIDEGATE_ERR_PANIC`.
///
/// The payload of a panic is forgotten, not dropped: its destructor could panic again, across the ABI.
#[inline]
pub(crate) fn guard(body: impl FnOnce() -> Result<(), Error>) -> tidegate_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => TIDEGATE_OK,
        Ok(Err(error)) => remember(&error),
        Err(payload) => {
            std::mem::forget(payload);
            remember(&Error::of(TIDEGATE_ERR_PANIC))
        }
    }
}

/// [`guard`] for entry points that return a value; `fallback` is what they return after a panic.
#[inline]
pub(crate) fn guard_value<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(payload) => {
            std::mem::forget(payload);
            fallback
        }
    }
}

/// A transparent struct of the ABI: `#[repr(C)]`, first field `struct_size: usize`, valid when all zero.
///
/// # Safety
/// Every bit pattern of the type must be valid (integers and raw pointers only), its first field must be
/// `struct_size: usize`, and it must have no implicit padding.
pub(crate) unsafe trait Struct: Copy {}

/// Copies a struct in: the smaller of both sizes, zeros for what the caller does not know. Bytes beyond what this
/// library knows must be zero: a caller built against a newer header asks for something that would be ignored.
///
/// # Safety
/// `ptr` is NULL or points to `struct_size` readable bytes that begin with that size.
#[inline]
pub(crate) unsafe fn read_struct<T: Struct>(ptr: *const T) -> Result<T, Error> {
    if ptr.is_null() {
        return Err(Error::of(TIDEGATE_ERR_NULL));
    }
    // SAFETY: the caller vouches for at least the size field.
    let size = unsafe { ptr.cast::<usize>().read_unaligned() };
    if size == size_of::<T>() {
        // SAFETY: the caller vouches for `size` bytes, and T accepts every bit pattern.
        return Ok(unsafe { ptr.read_unaligned() });
    }
    // SAFETY: as above.
    unsafe { read_other_size(ptr, size) }
}

/// # Safety
/// As [`read_struct`]; `size` is the struct's own size field.
#[cold]
unsafe fn read_other_size<T: Struct>(ptr: *const T, size: usize) -> Result<T, Error> {
    if !(size_of::<usize>()..=65536).contains(&size) {
        return Err(Error::new(
            TIDEGATE_ERR_STRUCT_SIZE,
            format!("struct_size is {size}: set it to sizeof the struct (TIDEGATE_…_INIT does)"),
        ));
    }
    let known = size.min(size_of::<T>());
    // SAFETY: T is valid when all zero; `known` bytes are readable and fit; the tail up to `size` is readable.
    unsafe {
        let mut value = std::mem::zeroed::<T>();
        std::ptr::copy_nonoverlapping(ptr.cast::<u8>(), (&raw mut value).cast::<u8>(), known);
        let tail = std::slice::from_raw_parts(ptr.cast::<u8>().add(known), size - known);
        if tail.iter().any(|&b| b != 0) {
            return Err(Error::new(
                TIDEGATE_ERR_STRUCT_SIZE,
                format!("the struct sets fields beyond the {} bytes that this library knows", size_of::<T>()),
            ));
        }
        Ok(value)
    }
}

/// A struct that was written for this very library, for a path that has no time for others. `None`: go the long way.
///
/// # Safety
/// As [`read_struct`].
#[inline(always)]
pub(crate) unsafe fn read_whole<T: Struct>(ptr: *const T) -> Option<T> {
    // SAFETY: the caller vouches for the size field, and for as many bytes as it says.
    unsafe { is_whole(ptr).then(|| ptr.read_unaligned()) }
}

/// Whether a struct is there and has the size that this library knows.
///
/// # Safety
/// As [`read_struct`].
#[inline(always)]
pub(crate) unsafe fn is_whole<T: Struct>(ptr: *const T) -> bool {
    // SAFETY: not NULL, and the caller vouches for the size field.
    !ptr.is_null() && unsafe { ptr.cast::<usize>().read_unaligned() } == size_of::<T>()
}

/// Copies a struct out to one of the same size: a few stores, for the length is constant.
///
/// # Safety
/// `ptr` points to a struct for which [`is_whole`] holds.
#[inline(always)]
pub(crate) unsafe fn write_whole<T: Struct>(ptr: *mut T, value: &T) {
    let skip = size_of::<usize>();
    let (from, to) = ((&raw const *value).cast::<u8>(), ptr.cast::<u8>());
    // SAFETY: both are as long as T; the size field is left alone.
    unsafe { std::ptr::copy_nonoverlapping(from.add(skip), to.add(skip), size_of::<T>() - skip) };
}

/// A reserved field that came in: 0, or a later version that gives it a meaning would be misunderstood.
#[inline]
pub(crate) fn reserved(value: u32) -> Result<(), Error> {
    if value == 0 { Ok(()) } else { Err(Error::invalid(format!("reserved is {value}: must be 0"))) }
}

/// A struct of the caller's that takes an output. Made before the call has an effect: a call that fails for its output
/// must not have picked, closed or counted anything.
pub(crate) struct Out<T> {
    ptr: *mut T,
    size: usize,
}

/// # Safety
/// `ptr` is NULL or points to `struct_size` writable bytes that begin with that size, until [`Out::write`].
#[inline]
pub(crate) unsafe fn out<T: Struct>(ptr: *mut T) -> Result<Out<T>, Error> {
    if ptr.is_null() {
        return Err(Error::of(TIDEGATE_ERR_NULL));
    }
    // SAFETY: the caller vouches for at least the size field.
    let size = unsafe { ptr.cast::<usize>().read_unaligned() };
    if size < size_of::<usize>() || size > 65536 {
        return Err(Error::of(TIDEGATE_ERR_STRUCT_SIZE));
    }
    Ok(Out { ptr, size })
}

impl<T: Struct> Out<T> {
    /// Copies a struct out: as much as the caller's `struct_size` has room for, zeros beyond what this library knows.
    /// The caller's `struct_size` stays.
    #[inline]
    pub fn write(self, value: &T) {
        if self.size == size_of::<T>() {
            // SAFETY: that many bytes are writable by the word given to `out`.
            return unsafe { write_whole(self.ptr, value) };
        }
        let known = self.size.min(size_of::<T>());
        let skip = size_of::<usize>();
        // SAFETY: both ranges lie within `size` bytes, writable by the word given to `out`, and within `value`; the
        // size field is left alone.
        unsafe {
            let to = self.ptr.cast::<u8>();
            std::ptr::copy_nonoverlapping((value as *const T).cast::<u8>().add(skip), to.add(skip), known - skip);
            if self.size > known {
                std::ptr::write_bytes(to.add(known), 0, self.size - known);
            }
        }
    }
}

/// [`out`] and [`Out::write`] in one, where nothing happens in between.
///
/// # Safety
/// As [`out`].
#[inline]
pub(crate) unsafe fn write_struct<T: Struct>(ptr: *mut T, value: &T) -> Result<(), Error> {
    // SAFETY: the caller's promise is the same.
    unsafe { out(ptr) }?.write(value);
    Ok(())
}

/// `tidegate_x_init(ptr, size)`: zero `size` bytes and store the size.
///
/// # Safety
/// `ptr` is NULL or points to `size` writable bytes.
pub(crate) unsafe fn init_struct<T: Struct>(ptr: *mut T, size: usize) -> tidegate_status {
    guard(|| {
        if ptr.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        if !(size_of::<usize>()..=65536).contains(&size) {
            return Err(Error::new(TIDEGATE_ERR_STRUCT_SIZE, format!("size is {size}: pass sizeof the struct")));
        }
        // SAFETY: the caller vouches for `size` writable bytes, which hold at least the size field.
        unsafe {
            std::ptr::write_bytes(ptr.cast::<u8>(), 0, size);
            ptr.cast::<usize>().write_unaligned(size);
        }
        Ok(())
    })
}

/// A string or byte range that came in: NULL is allowed where the length is 0.
///
/// # Safety
/// `ptr` is NULL or points to `len` readable bytes that stay as they are for `'a`.
#[inline]
pub(crate) unsafe fn bytes<'a, T>(ptr: *const T, len: usize) -> Result<&'a [u8], Error> {
    if len == 0 {
        return Ok(&[]);
    }
    if ptr.is_null() {
        return Err(Error::of(TIDEGATE_ERR_NULL));
    }
    if len > isize::MAX as usize {
        return Err(Error::of(TIDEGATE_ERR_INVALID));
    }
    // SAFETY: not NULL, and the caller vouches for the length.
    Ok(unsafe { std::slice::from_raw_parts(ptr.cast::<u8>(), len) })
}

/// Copies `text` to the caller's buffer and says how large it is; nothing is written when it does not fit.
///
/// # Safety
/// `buf` is NULL or points to `cap` writable bytes; `needed` is NULL or writable.
pub(crate) unsafe fn write_bytes(text: &[u8], buf: *mut c_char, cap: usize, needed: *mut usize) -> Result<(), Error> {
    if !needed.is_null() {
        // SAFETY: not NULL, and the caller vouches for it.
        unsafe { needed.write(text.len()) };
    }
    if text.len() > cap {
        return Err(Error::of(TIDEGATE_ERR_BUFFER));
    }
    if buf.is_null() && !text.is_empty() {
        return Err(Error::of(TIDEGATE_ERR_NULL));
    }
    if !text.is_empty() {
        // SAFETY: `buf` holds `cap >= text.len()` writable bytes.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), buf.cast::<u8>(), text.len()) };
    }
    Ok(())
}

/// Describes a status in English. Any integer is answered; the text is static.
///
/// Thread rule: any-thread. Cost: a look-up.
#[unsafe(no_mangle)]
pub extern "C" fn tidegate_strerror(status: c_int) -> *const c_char {
    guard_value(c"unknown status".as_ptr(), || describe(status).as_ptr())
}

/// Copies the sentence behind the last error that a Tidegate call returned in this thread: what was wrong, and where.
/// Not terminated by a NUL: `*needed` (may be NULL) is its length in bytes, at most 240. A successful call does not
/// clear it.
///
/// Thread rule: any-thread. Errors: TIDEGATE_ERR_BUFFER.
///
/// # Safety
/// `buf` points to `cap` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_last_error(buf: *mut c_char, cap: usize, needed: *mut usize) -> tidegate_status {
    let copied = catch_unwind(AssertUnwindSafe(|| {
        LAST_ERROR.try_with(|cell| match cell.try_borrow() {
            // SAFETY: the caller's promise is the same.
            Ok(last) => unsafe { write_bytes(&last.text[..last.len], buf, cap, needed) },
            Err(_) => Err(Error::of(TIDEGATE_ERR_STATE)),
        })
    }));
    match copied {
        Ok(Ok(Ok(()))) => TIDEGATE_OK,
        Ok(Ok(Err(error))) => error.status,
        _ => TIDEGATE_ERR_PANIC,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status_and_its_payload_is_never_dropped() {
        struct Worse;
        impl Drop for Worse {
            fn drop(&mut self) {
                panic!("a payload whose destructor panics too");
            }
        }
        std::panic::set_hook(Box::new(|_| {}));
        assert_eq!(guard(|| std::panic::panic_any(Worse)), TIDEGATE_ERR_PANIC);
        assert_eq!(guard_value(7, || -> i32 { std::panic::panic_any(Worse) }), 7);
        let _ = std::panic::take_hook();
        let (mut text, mut len) = ([0; 240], 0);
        // SAFETY: both are writable and as long as said.
        assert_eq!(unsafe { tidegate_last_error(text.as_mut_ptr(), text.len(), &mut len) }, TIDEGATE_OK);
        assert!(len > 0);
    }

    #[test]
    fn every_entry_point_has_the_guard() {
        for (file, text) in [
            ("mod.rs", include_str!("mod.rs")),
            ("checker.rs", include_str!("checker.rs")),
            ("request.rs", include_str!("request.rs")),
            ("responder.rs", include_str!("responder.rs")),
            ("status.rs", include_str!("status.rs")),
            ("table.rs", include_str!("table.rs")),
            ("template.rs", include_str!("template.rs")),
            ("upstream.rs", include_str!("upstream.rs")),
            ("validator.rs", include_str!("validator.rs")),
            ("worker.rs", include_str!("worker.rs")),
        ] {
            for entry in text.split("\n#[unsafe(no_mangle)]\n").skip(1) {
                let body = entry.split("\n}\n").next().unwrap_or("");
                // The plain paths of pick and report can't panic; all else of them is `pick_by_rules`, which has it.
                let guards = ["guard(|", "guard_value(", "catch_unwind(", "init_struct(", "_by_rules(request"];
                assert!(guards.iter().any(|g| body.contains(g)), "{file}: {}", body.lines().next().unwrap_or(""));
            }
        }
    }
}
