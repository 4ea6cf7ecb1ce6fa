//! Active checks against real sockets on loopback: what each fault of a peer leads to, what charges nobody, who checks.
//!
//! Time is virtual wherever one process is enough (see `bed`). Own `main`: some tests fork.

#![allow(unsafe_code)]

mod bed;
#[path = "../common/mod.rs"]
mod common;
mod election;
mod faults;
mod rules;
mod server;
#[cfg(feature = "tls")]
mod tls;

fn main() {
    let tests: &[(&str, fn())] = &[
        // First those that fork, while this process has one thread.
        ("no_descriptors_charge_nobody", faults::no_descriptors_charge_nobody),
        ("a_killed_checker_is_succeeded", election::a_killed_checker_is_succeeded),
        ("a_checker_from_before_a_fork_is_refused", election::a_checker_from_before_a_fork_is_refused),
        ("a_silent_checker_is_succeeded_within_two_intervals", election::a_silent_checker_is_succeeded),
        ("two_checkers_check_once", election::two_checkers_check_once),
        ("a_thread_blocks_every_signal_and_ends", election::a_thread_blocks_every_signal_and_ends),
        ("every_fault_takes_a_peer_down", faults::every_fault_takes_a_peer_down),
        ("what_a_healthy_peer_may_do", faults::what_a_healthy_peer_may_do),
        ("flapping_changes_state_by_rise_and_fall", faults::flapping_changes_state_by_rise_and_fall),
        ("an_address_that_is_not_ours_charges_nobody", faults::an_address_that_is_not_ours_charges_nobody),
        ("late_is_not_failed", faults::late_is_not_failed),
        ("an_idle_connection_closed_by_the_peer_is_no_failure", faults::an_idle_connection_closed_is_no_failure),
        ("two_thousand_peers_at_once", faults::two_thousand_peers_at_once),
        ("unix_sockets_and_their_stale_paths", faults::unix_sockets_and_their_stale_paths),
        #[cfg(feature = "tls")]
        ("tls_handshakes_and_requests", tls::tls_handshakes_and_requests),
        ("what_is_sent", rules::what_is_sent),
        ("a_green_check_never_ends_an_ejection", rules::a_green_check_never_ends_an_ejection),
        ("all_down_still_serves", rules::all_down_still_serves),
        ("all_down_panics_as_configured", rules::all_down_panics_as_configured),
        ("traffic_moves_checks", rules::traffic_moves_checks),
        ("lists_change_under_checks", rules::lists_change_under_checks),
        ("a_host_may_check_by_itself", rules::a_host_may_check_by_itself),
    ];
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let mut run = 0;
    for (name, test) in tests.iter().filter(|(name, _)| filter.as_ref().is_none_or(|f| name.contains(f.as_str()))) {
        test();
        println!("test {name} ... ok");
        run += 1;
    }
    println!("\ntest result: ok. {run} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}
