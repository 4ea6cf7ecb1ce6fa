//! What the simulator promises, and a smoke of its suite on the core as it is.

use tidegate_simulator::engine;
use tidegate_simulator::host;
use tidegate_simulator::result::Run;
use tidegate_simulator::scenario::Scenario;
use tidegate_simulator::suite::grid;

fn run(text: &str, selector: &(u32, String)) -> Run {
    let scenario = Scenario::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    engine::run(&scenario, (selector.0, &selector.1), true).unwrap()
}

fn selectors() -> Vec<(u32, String)> {
    host::selectors().unwrap().into_iter().skip(1).collect()
}

const SMALL: &str = "seed = 5\nduration = \"6s\"\nwarm_up = \"1s\"\n[requests]\nposts = 0.2\n[arrivals]\nrate = 400\n";

fn small(more: &str) -> String {
    format!("{SMALL}{more}")
}

/// Faults of many kinds in one world, so that whatever could differ between two runs has a part in it.
const BUSY: &str = r#"
seed = 11
duration = "5s"
warm_up = "1s"
[pool]
peers = 12
concurrency = 2
weights = [1, 2, 3]
gateways = 3
shared = SHARED
[arrivals]
kind = "bursty"
load = 0.7
[service]
kind = "pareto"
[requests]
posts = 0.3
attempt_timeout = "300ms"
patience = "900ms"
[antagonists]
share = 0.4
every = "1s"
lasts = "500ms"
factor = 4.0
[[fault]]
kind = "hang"
share = 0.5
at = "2s"
lasts = "3s"
count = 2
[[fault]]
kind = "errors"
share = 0.7
at = "3s"
count = 2
[deploy]
at = "2s"
every = "400ms"
down = "700ms"
announced = true
cold_factor = 3.0
warm_after = "1s"
"#;

#[test]
fn the_same_seed_gives_the_same_result_and_another_seed_another() {
    for selector in selectors() {
        for shared in ["true", "false"] {
            let text = BUSY.replace("SHARED", shared);
            let (first, second) = (run(&text, &selector).facts(), run(&text, &selector).facts());
            assert_eq!(first, second, "{}", selector.1);
        }
    }
    let facts = |seed: &str| run(&BUSY.replace("SHARED", "true").replace("seed = 11", seed), &selectors()[0]).facts();
    assert_ne!(facts("seed = 11"), facts("seed = 12"));
}

#[test]
fn selectors_meet_the_same_clients_and_faults() {
    let runs: Vec<Run> = selectors().iter().map(|s| run(&BUSY.replace("SHARED", "true"), s)).collect();
    assert!(runs.len() >= 2);
    for run in &runs {
        assert_eq!(run.requests, runs[0].requests);
        let faults = |run: &Run| run.detections.iter().map(|d| (d.peer, d.label.clone())).collect::<Vec<_>>();
        assert_eq!(faults(run), faults(&runs[0]));
    }
}

#[test]
fn without_faults_every_request_is_answered_once() {
    for selector in selectors() {
        let run = run(&small("[pool]\npeers = 5\n"), &selector);
        assert!(run.requests > 1800 && run.errors == 0, "{}: {} errors", selector.1, run.errors);
        assert_eq!(run.attempts, run.requests);
        assert_eq!(run.health.ejections, 0);
        assert!((run.shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}

/// A queue of one server with memoryless arrivals and work: theory knows the mean (Little; Kleinrock 1975, 3.2).
#[test]
fn one_queue_behaves_as_theory_says() {
    let text = "duration = \"300s\"\n[pool]\npeers = 1\nconcurrency = 1\nround_trip = \"0s\"\n[arrivals]\nload = 0.5\n\
                [service]\nkind = \"exponential\"\nmean = \"10ms\"\n";
    let run = run(text, &selectors()[0]);
    assert!((run.latency_ms.mean / 20.0 - 1.0).abs() < 0.05, "mean {} ms, not 20", run.latency_ms.mean);
    assert!((run.utilisation - 0.5).abs() < 0.02, "busy {}", run.utilisation);
}

#[test]
fn what_a_client_sees_of_each_fault_is_what_it_is() {
    let of = |fault: &str| {
        let text = small(&format!("[pool]\npeers = 1\n[[fault]]\nat = \"0s\"\n{fault}\n"));
        let run = run(&text, &selectors()[0]);
        (run.error_share(), run.errors_by_cause)
    };
    for (fault, cause) in [
        ("kind = \"refuse\"", "no_eligible_peer"),
        ("kind = \"unreachable\"", "connection_timeout"),
        ("kind = \"errors\"", "upstream_status"),
        ("kind = \"black_hole\"", "upstream_status"),
        ("kind = \"reset\"", "connection_terminated"),
        ("kind = \"break_off\"", "http_response_incomplete"),
        ("kind = \"hang\"", "connection_read_timeout"),
    ] {
        let (share, causes) = of(fault);
        assert!(share > 0.99, "{fault}: {share}");
        assert!(causes.contains_key(cause), "{fault}: {causes:?}");
    }
    assert_eq!(of("kind = \"slow\"\nfactor = 2").0, 0.0);
}

#[test]
fn a_response_that_is_held_back_can_be_fetched_elsewhere() {
    let text = |hold_back| {
        format!(
            "duration = \"6s\"\n[pool]\npeers = 3\n[arrivals]\nrate = 300\n[requests]\nhold_back = {hold_back}\n\
             [[fault]]\nkind = \"break_off\"\nshare = 0.3\npeers = [0]\nat = \"1s\"\n"
        )
    };
    let selector = &selectors()[0];
    assert!(run(&text(false), selector).errors > 0);
    assert_eq!(run(&text(true), selector).errors, 0);
}

#[test]
fn a_peer_that_left_the_list_gets_nothing_more() {
    let text = small(
        "[pool]\npeers = 4\n[deploy]\nat = \"2s\"\nevery = \"1s\"\ndown = \"900ms\"\nannounced = true\npeers = 4\n",
    );
    for selector in selectors() {
        assert_eq!(run(&text, &selector).errors, 0, "{}", selector.1);
    }
}

/// A few dozen faults of the grid in the smallest pools.
#[test]
fn a_failing_peer_is_ejected_and_the_last_good_one_never() {
    for peers in [2, 3] {
        let pool = grid::small(peers, 1, 3, &selectors()).unwrap();
        assert!(pool.count() >= 36);
        assert_eq!(pool.broken_promises(), Vec::<String>::new());
        assert_eq!((pool.last_good_ejected, pool.false_ejections), (0, 0), "{peers} peers");
    }
}

#[test]
fn every_bundled_scenario_is_right() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let scenario = Scenario::read(&entry.unwrap().path()).unwrap_or_else(|e| panic!("{e}"));
        assert!(!scenario.about.is_empty(), "{}: says nothing of itself", scenario.name);
        count += 1;
    }
    assert!(count >= 8);
}

#[test]
fn a_wrong_scenario_is_refused_with_the_field_and_where_it_can_be_the_line() {
    let base = "duration = \"10s\"\n[pool]\npeers = 3\n";
    for (more, wants) in [
        ("gateway = 2\n", &["line 4", "`gateway`", "`gateways`"][..]),
        ("round_trip = 5\n", &["line 4", "string"]),
        ("round_trip = \"5 parsecs\"\n", &["line 4", "5 parsecs", "ms"]),
        ("[requests]\nposts = 1.5\n", &["line 5", "1.5", "0.0 to 1.0"]),
        ("[service]\nkind = \"guassian\"\n", &["line 5", "guassian", "lognormal"]),
        ("[service]\nkind = \"pareto\"\nalpha = 0.9\n", &["service.alpha", "above 1"]),
        ("[[fault]]\nkind = \"slow\"\nat = \"1s\"\n", &["fault 1 (slow)", "`factor` is missing"]),
        ("[[fault]]\nkind = \"hang\"\nfactor = 2\nat = \"1s\"\n", &["fault 1 (hang)", "`factor` means nothing"]),
        ("[[fault]]\nkind = \"hang\"\nat = \"1s\"\npeers = [3]\n", &["fault 1 (hang)", "peer 3", "count from 0"]),
        ("[policy]\nfailure_statuses = [418]\n", &["policy.failure_statuses", "418"]),
    ] {
        let error = Scenario::parse(&format!("{base}{more}")).map(|_| ()).unwrap_err().to_string();
        for want in wants {
            assert!(error.contains(want), "{more}: no {want:?} in\n{error}");
        }
    }
    let zero = Scenario::parse("duration = \"10s\"\n[pool]\npeers = 0\n").map(|_| ()).unwrap_err().to_string();
    assert!(zero.contains("pool.peers is 0: 1 to 5000"), "{zero}");
    let late = Scenario::parse("duration = \"1s\"\nwarm_up = \"1s\"\n[pool]\npeers = 1\n").map(|_| ()).unwrap_err();
    assert!(late.to_string().contains("warm_up"));
}

#[test]
fn a_limit_of_the_core_is_told_in_its_words() {
    let scenario = Scenario::parse("duration = \"1s\"\n[pool]\npeers = 1\n[policy]\nmax_attempts = 99\n").unwrap();
    let error = engine::run(&scenario, (0, "default"), false).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("max_attempts is 99"), "{error}");
}
