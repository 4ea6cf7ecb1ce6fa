//! The table at the end, and the verdict.

use crate::scenario::Account;
use crate::status::shown;

/// Prints the account; whether the demo's promises were kept.
pub fn print(account: &Account) -> bool {
    println!("======== {}: what the clients saw\n", account.gateway);
    print!("{}", account.report);
    println!("\n======== what the backends saw\n");
    row("POSTs carried out", account.posts_carried_out);
    row("POSTs carried out more than once", account.duplicated_posts.len());
    row("GETs carried out more than once", account.repeated_gets);
    for (id, backends) in account.duplicated_posts.iter().take(5) {
        println!("  POST {id} ran on {}", backends.join(", "));
    }
    println!("\n======== what the gateway counted\n");
    match &account.status {
        Ok(status) => {
            for (cause, n) in status.causes.iter().filter(|(_, n)| **n > 0) {
                row(cause, n);
            }
            println!("\n{:<22}{:<12}{:>10}{:>10}{:>10}", "peer", "health", "picks", "failures", "in flight");
            for peer in &status.peers {
                let (name, health) = (&peer.name, &peer.health);
                println!("{name:<22}{health:<12}{:>10}{:>10}{:>10}", peer.picks, peer.failures, peer.in_flight);
            }
        }
        Err(why) => println!("not known: {why}"),
    }
    if !account.logged.is_empty() {
        println!("\nlast lines of its log with a cause:");
        account.logged.iter().for_each(|line| println!("  {line}"));
    }
    for (format, answer) in ["JSON", "HTML"].iter().zip(&account.answers) {
        println!("\n======== its answer as {format}, with no backend left\n");
        match answer {
            Ok(response) => println!("{}", shown(response).trim_end()),
            Err(why) => println!("none: {why}"),
        }
    }
    verdict(account)
}

fn verdict(account: &Account) -> bool {
    let kept = [
        ("GETs that failed while a backend was healthy", account.report.get.failed),
        ("POSTs that ran twice", account.duplicated_posts.len() as u64),
        ("faults in the gateway's log", account.faults.len() as u64),
    ];
    println!("\n======== verdict, after {:.0} s\n", account.took.as_secs_f64());
    for (what, n) in kept {
        println!("{:<50}{n:>10}   {}", what, if n == 0 { "kept" } else { "BROKEN" });
    }
    println!("{:<50}{:>10}   not promised yet", "bodies that broke off after their head", account.report.get.cut);
    account.faults.iter().for_each(|line| println!("  {line}"));
    kept.iter().all(|(_, n)| *n == 0)
}

fn row(name: &str, n: impl std::fmt::Display) {
    println!("{name:<34}{n:>10}");
}
