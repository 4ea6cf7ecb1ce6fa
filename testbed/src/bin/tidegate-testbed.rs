//! `tidegate-testbed backend`: a backend as a process of its own. `tidegate-testbed load`: traffic at a fixed rate.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use tidegate_testbed::{Load, process_backend};

/// Backends and load for trying a gateway by hand
#[derive(Parser)]
enum Command {
    /// An HTTP/1.1 backend on 127.0.0.1 that answers rightly or wrongly, as told; ends with its standard input
    Backend(process_backend::Args),
    /// Open-loop traffic; prints what came back, exits with 1 unless every answer was right
    Load {
        /// Address of the gateway
        target: SocketAddr,
        /// Requests a second
        #[arg(long, default_value_t = 200)]
        rate: u32,
        /// For how long
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Share of POSTs among the requests
        #[arg(long, default_value_t = 20)]
        post_percent: u8,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    match Command::parse() {
        Command::Backend(args) => process_backend::run(args)?,
        Command::Load { target, rate, seconds, post_percent } => {
            let load = Load { rate, post_percent, duration: Duration::from_secs(seconds), ..Load::new(target) };
            let report = load.run();
            print!("{report}");
            if !report.all_good() {
                return Err("not every answer was right".into());
            }
        }
    }
    Ok(())
}
