//! The demo: a gateway with Tidegate before four backends that fail in turn, under steady traffic; then the account.
//!
//! Exit status 0: no GET failed while a healthy backend existed, no POST was carried out twice, and the gateway's log
//! is clean. 1: one of these is not so. 2: the demo itself could not run.
//!
//! "A GET failed while a healthy backend existed" is counted by `report`: any GET that was not answered by a complete,
//! correct 2xx while at least one backend was in order, wherever the fault lay. Three things are counted on lines of
//! their own instead: bodies that broke off after their head had gone out (the gateway can't take a head back), requests
//! whose connection died with the gateway's worker that the demo killed, and what happened when all backends were dead.
//! POSTs that failed are shown; they don't fail the demo, because repeating one might run it twice.

mod gateway;
mod scenario;
mod status;
mod summary;

use std::process::ExitCode;

use clap::Parser;
use tidegate_testbed::process_backend;

use gateway::Kind;

/// A gateway with Tidegate, four backends that fail in turn, steady traffic, and the account of it
#[derive(Parser)]
struct Options {
    /// What stands in front of the backends: auto takes nginx with Tidegate's module, or else the C proxy
    #[arg(long, default_value = "auto")]
    gateway: Kind,
    /// Requests a second
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// How long a phase lasts, in percent of the usual
    #[arg(long, default_value_t = 100)]
    pace: u32,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(clap::Subcommand)]
enum Role {
    /// What the demo starts four times
    #[command(hide = true)]
    Backend(process_backend::Args),
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.role {
        Some(Role::Backend(args)) => process_backend::run(args).map(|()| true).map_err(|e| e.to_string()),
        None => scenario::play(options.gateway, options.rate, options.pace).map(|account| summary::print(&account)),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => {
            eprintln!("demo: {why}");
            ExitCode::from(2)
        }
    }
}
