//! Tidegate: the part of a gateway that decides.
pub mod cause;
pub mod ffi;
mod http;
pub mod validator;
