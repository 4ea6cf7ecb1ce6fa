//! What Tidegate's integration tests and its demo stand on: real sockets, real processes, no mocks.
//!
//! `backend` answers (rightly or wrongly, as told), `client` asks and checks every byte, `load` asks at a fixed rate
//! and sorts what came back, `nginx` and `proxy` run a gateway in between. Nothing here knows Tidegate's inside: the
//! test bed sees what a client and an upstream see.
//!
//! Everything listens on 127.0.0.1, every wait is bounded, and every process that was started is ended by its id.
//! Threads and blocking sockets throughout: a test bed is read more often than it is tuned.

pub mod backend;
pub mod behaviour;
pub mod cases;
pub mod client;
pub mod echo;
pub mod error_log;
pub mod executions;
pub mod h2;
pub mod load;
mod master;
pub mod message;
pub mod nginx;
pub mod nginx_config;
pub mod ports;
pub mod process;
pub mod process_backend;
pub mod proxy;
pub mod raw;
pub mod report;
pub mod rng;
pub mod scratch;
mod serve;
pub mod verdict;
pub mod wire;

pub use backend::Backend;
pub use behaviour::{Behaviour, Then};
pub use client::{Client, Request, Response};
pub use executions::Executions;
pub use load::Load;
pub use nginx::Nginx;
pub use nginx_config::Config;
pub use process_backend::ProcessBackend;
pub use proxy::Proxy;
pub use report::Report;
pub use scratch::Scratch;
