//! Tidegate: the part of a gateway that decides.
//!
//! A C or C++ server keeps its sockets, its event loop and its configuration; it asks Tidegate which peer, tells it what
//! happened, and is told what to do next: deliver, retry on another peer, wait, or answer 502, 503 or 504 with these
//! bytes. C comes in through `ffi` and `include/tidegate.h`; Rust may use the layers directly.
//!
//! ```text
//!   ffi            pointers, sizes, status codes, the panic guard
//!   failover       request, pick, outcome, decision, answer
//!   selector   health   validator   responder
//!   table          the shared region: layout, membership, lanes, events
//! ```
//!
//! Everything is sans-I/O: time and randomness come in, nothing blocks, and the path of a request neither allocates nor
//! locks. `docs/architecture.md` has the invariants.

pub mod cause;
mod error;
pub mod failover;
pub mod ffi;
pub mod health;
pub mod http;
#[cfg(all(loom, test))]
mod model;
mod random;
pub mod responder;
mod selector;
mod status;
mod sync;
pub mod table;
pub mod validator;

pub use error::Error;
