//! Tidegate's simulator: the shipped core in virtual time.
//!
//! ```text
//!   suite            what `make sim` runs: cells, a black hole, the grid of faults
//!   report   plot    tables, JSON, SVG
//!   engine           clients, gateways and peers, one event after the other
//!   traffic  fault  timeline  pool  agenda   tally  watch
//!   scenario         TOML
//!   host             the C ABI, called as a gateway calls it
//! ```
//!
//! Whatever the core decides is asked of the core, through the functions that a C host calls: which peer, whether to
//! retry and when, whom to eject, what to answer. What is simulated is the rest of the world. The same seed gives the
//! same result. Limits stand in `docs/tuning.md`.

mod agenda;
pub mod engine;
pub mod fault;
pub mod host;
pub mod jobs;
pub mod plot;
mod pool;
pub mod report;
pub mod result;
pub mod scenario;
pub mod suite;
mod tally;
pub mod timeline;
pub mod traffic;
pub mod units;
mod watch;

pub use tally::Point;
pub use watch::{Detection, HealthCounts};
