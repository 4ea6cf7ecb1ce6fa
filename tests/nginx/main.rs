//! The nginx module in a real nginx: two workers, real backends, a strict client, load at a fixed rate.
//!
//! Every test ends by reading the error log. Without nginx on the machine the tests say so and pass;
//! TIDEGATE_REQUIRE_NGINX=1 makes that a failure. The module comes from `make nginx-module`.

mod answers;
mod bed;
mod bodies;
mod checks;
mod configuration;
mod errors;
mod expect;
mod failover;
mod heads;
mod health;
mod keepalive;
mod limits;
mod processes;
mod shadows;
mod subrequests;
mod survival;
mod tables;
mod variables;
mod wire;
