//! Versions of the product and of the ABI.

use super::guard_value;
use std::ffi::{CStr, c_char};

/// Major version of the header a program was compiled with.
pub const TIDEGATE_VERSION_MAJOR: u32 = 0;
/// Minor version.
pub const TIDEGATE_VERSION_MINOR: u32 = 1;
/// Patch version.
pub const TIDEGATE_VERSION_PATCH: u32 = 0;
/// The three in one number: major << 16 | minor << 8 | patch.
pub const TIDEGATE_VERSION_NUMBER: u32 = 0x000100;
/// The ABI that the header describes. It changes only when a program must be compiled anew.
pub const TIDEGATE_ABI_VERSION: u32 = 0;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(text) => text,
    Err(_) => c"",
};

/// The version of the library that is loaded ("0.1.0"), or NULL if it is older than `least`, a number like
/// TIDEGATE_VERSION_NUMBER; 0 asks for any.
///
/// Thread rule: any-thread. Cost: a comparison.
#[unsafe(no_mangle)]
pub extern "C" fn tidegate_version(least: u32) -> *const c_char {
    guard_value(std::ptr::null(), || if TIDEGATE_VERSION_NUMBER >= least { VERSION.as_ptr() } else { std::ptr::null() })
}

/// The ABI of the library that is loaded; it must equal TIDEGATE_ABI_VERSION of the header.
///
/// Thread rule: any-thread. Cost: none.
#[unsafe(no_mangle)]
pub extern "C" fn tidegate_abi_version() -> u32 {
    TIDEGATE_ABI_VERSION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_packages() {
        let text = format!("{TIDEGATE_VERSION_MAJOR}.{TIDEGATE_VERSION_MINOR}.{TIDEGATE_VERSION_PATCH}");
        assert_eq!(text, env!("CARGO_PKG_VERSION"));
        assert_eq!(
            TIDEGATE_VERSION_NUMBER,
            TIDEGATE_VERSION_MAJOR << 16 | TIDEGATE_VERSION_MINOR << 8 | TIDEGATE_VERSION_PATCH
        );
    }
}
