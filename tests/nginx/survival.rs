//! What a table outlives: reloads, new binaries, a restart, killed workers, all under load, in memory and in a file.
//!
//! `make test` runs a few of each; TIDEGATE_SURVIVAL=full, as in `make test-deep`, runs twenty reloads, five binaries, one
//! restart and twenty killed workers, with more traffic in between.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tidegate_testbed::load::Running;
use tidegate_testbed::nginx::nginx_test;
use tidegate_testbed::process::wait_until;
use tidegate_testbed::{Behaviour, Config, Load, Nginx, Report, Scratch};

use crate::bed::{Bed, in_flight, load, need_nginx, peers, status};

#[test]
fn a_table_in_memory_outlives_reloads_and_binaries() {
    need_nginx!();
    Survival::new("").run();
}

#[test]
fn a_table_in_a_file_outlives_restarts_too() {
    need_nginx!();
    let directory = Scratch::in_memory("nginx-table");
    Survival::new(&format!("tidegate_table path={}/nginx.table;", directory.path().display())).run();
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    Reload,
    Kill,
    /// A new binary; while both serve, a worker is killed.
    Upgrade,
    Restart,
}

fn full() -> bool {
    std::env::var_os("TIDEGATE_SURVIVAL").is_some_and(|how| how == "full")
}

/// As many kills as reloads, those during upgrades among them, and one restart.
fn plan() -> Vec<Event> {
    let (reloads, upgrades) = if full() { (20, 5) } else { (4, 2) };
    let mut plan = Vec::new();
    for i in 0..reloads {
        plan.push(Event::Reload);
        if (i + 1) % (reloads / upgrades) == 0 {
            plan.push(Event::Upgrade);
        } else {
            plan.push(Event::Kill);
        }
        if i == reloads / 2 {
            plan.push(Event::Restart);
        }
    }
    plan
}

/// Four servers at most times; the first one refuses connections from the start, and is to be found out once.
struct Survival {
    bed: Bed,
    in_file: bool,
    /// The configurations that reloads go through, and each one's weight of the second server and number of servers.
    lists: Vec<(Config, u64, usize)>,
}

/// What the table told at one moment.
#[derive(Default)]
struct Known {
    requests: u64,
    picks: BTreeMap<String, u64>,
}

impl Survival {
    fn new(table: &str) -> Survival {
        let mut bed = Bed::new(5, "round_robin eject=1h eject_max=1h").http(table);
        bed.backends[0].set(Behaviour::Refuse).unwrap();
        // So that some requests are under way at any time.
        bed.backends[2].set(Behaviour::Slow(Duration::from_millis(40))).unwrap();
        let lines: Vec<_> = bed.backends.iter().map(|b| format!("server {};", b.addr())).collect();
        let edit = |edits: &[(usize, &str)]| {
            let mut config = bed.config.clone().daemon();
            for &(i, parameters) in edits {
                let line = lines[i].replace(';', &format!(" {parameters};"));
                config.http = config.http.replace(&lines[i], if parameters.is_empty() { "" } else { &line });
            }
            config
        };
        let four = edit(&[(4, "")]);
        let lists = vec![
            (four.clone(), 1, 4),
            (edit(&[]), 1, 5),
            (edit(&[(3, ""), (4, "")]), 1, 3),
            (edit(&[(1, "weight=3"), (4, "")]), 3, 4),
            (four, 1, 4),
        ];
        Survival { bed, in_file: !table.is_empty(), lists }
    }

    fn run(&self) {
        let mut nginx = Nginx::start(&self.lists[0].0).unwrap();
        let running = Load { duration: LONGEST, fresh_percent: 40, ..load(&nginx) }.start();
        let mut list = 0;
        self.settle(&running);
        let mut known = self.learn(&nginx, list, &Known::default());
        let mut kills = 0;
        for (i, event) in plan().into_iter().enumerate() {
            match event {
                Event::Reload => {
                    list = (list + 1) % self.lists.len();
                    running.retirement(true);
                    nginx.reload(Some(&self.lists[list].0)).unwrap();
                    assert!(wait_until(LIMIT, || nginx.retiring().is_empty()), "{}", nginx.log());
                    running.retirement(false);
                }
                Event::Kill => {
                    kill(&mut nginx, &running, i);
                    kills += 1;
                }
                Event::Upgrade => {
                    list = (list + 1) % self.lists.len();
                    running.retirement(true);
                    nginx.upgrade(&self.lists[list].0).unwrap();
                    known = self.learn(&nginx, list, &known);
                    kill(&mut nginx, &running, i);
                    kills += 1;
                    nginx.retire_former().unwrap();
                    running.retirement(false);
                }
                Event::Restart => {
                    running.retirement(true);
                    running.closed(true);
                    nginx.restart(&self.lists[list].0).unwrap();
                    running.closed(false);
                    running.retirement(false);
                    if !self.in_file {
                        known = Known::default();
                        // The fresh table has to find out for itself.
                        self.settle(&running);
                    }
                }
            }
            self.settle(&running);
            known = self.learn(&nginx, list, &known);
            for (config, ..) in &self.lists[..2] {
                let (accepted, said) = nginx_test(config).unwrap();
                assert!(accepted, "{said}");
            }
            known = self.learn(&nginx, list, &known);
        }
        running.stop();
        let mut report = Report::default();
        running.finish().iter().for_each(|interval| report.merge(interval));
        println!("{}, {kills} kills\n{report}", if self.in_file { "file" } else { "memory" });
        self.judge(&nginx, &report, &known);
    }

    /// Waits until a good number of requests have gone through since now.
    fn settle(&self, running: &Running) {
        let (interval, enough) = (running.next_interval(), if full() { 300 } else { 40 });
        assert!(wait_until(LIMIT, || running.report(interval).done() >= enough));
    }

    /// Reads the table, and checks that it knows what it knew, and follows this configuration.
    fn learn(&self, nginx: &Nginx, list: usize, before: &Known) -> Known {
        let status = status(nginx);
        let (_, weight, count) = self.lists[list];
        assert_eq!(peers(&status).len(), count, "{status:#}");
        let peer = |i: usize| -> &Value {
            let address = self.bed.backends[i].addr().to_string();
            peers(&status).iter().find(|p| p["address"] == address.as_str()).expect("a peer in every list")
        };
        let (sick, heavy) = (peer(0), peer(1));
        assert_eq!((&sick["health"], &sick["ejections"]), (&"ejected".into(), &1.into()), "{status:#}");
        assert_eq!(heavy["weight"], weight, "{status:#}");
        let requests = status["upstreams"][0]["requests"].as_u64().expect("requests");
        assert!(requests >= before.requests, "{requests} requests, {} before", before.requests);
        let mut picks = BTreeMap::new();
        // The last two come and go, and are new when they come.
        for i in 0..3 {
            let (address, n) = (self.bed.backends[i].addr().to_string(), peer(i)["picks"].as_u64().expect("picks"));
            assert!(n >= before.picks.get(&address).copied().unwrap_or(0), "{status:#}");
            picks.insert(address, n);
        }
        Known { requests, picks }
    }

    fn judge(&self, nginx: &Nginx, report: &Report, known: &Known) {
        for tally in [report.get, report.post] {
            assert_eq!(tally.failed + tally.cut + tally.wrong + tally.malformed, 0, "{report}\n{}", nginx.log());
        }
        assert!(self.bed.executions.duplicated_posts().unwrap().is_empty());
        assert!(wait_until(LIMIT, || in_flight(nginx) == 0), "{:#}", status(nginx));
        assert!(wait_until(LIMIT, || status(nginx)["workers"].as_array().is_some_and(|w| w.len() == 2)));
        let refused = nginx.log().matches("connect() failed (111").count();
        if self.in_file {
            // Both workers may have tried it in the first moment; nobody did so again.
            assert!(refused <= 2, "{refused}\n{}", nginx.log());
            let good = report.get.good + report.post.good;
            assert!(known.requests >= good * 9 / 10, "{} of {good} requests are known", known.requests);
        } else {
            assert!(refused <= 4, "{refused}\n{}", nginx.log());
        }
        nginx.assert_clean_log();
    }
}

/// Kills one of the two workers.
fn kill(nginx: &mut Nginx, running: &Running, which: usize) {
    let victim = nginx.workers()[which % 2];
    running.connections_die();
    nginx.kill_worker(victim).unwrap();
}

/// For a machine that is very busy.
const LIMIT: Duration = Duration::from_secs(15);
const LONGEST: Duration = Duration::from_secs(600);
