//! The nginx of the test bed starts, reloads, loses workers and quits; and what plain nginx does with a sick backend
//! is noticed. Without nginx on the machine these tests say so and pass.

use std::sync::Arc;
use std::time::Duration;

use tidegate_testbed::nginx::{binary, nginx_test};
use tidegate_testbed::process::{Signal, children_of, is_gone, signal, title_of, wait_until};
use tidegate_testbed::{Backend, Behaviour, Client, Config, Executions, Load, Nginx, Request, Scratch};

macro_rules! need_nginx {
    () => {
        if binary().is_none() {
            eprintln!("skipped: nginx is not installed");
            return;
        }
    };
}

const LOCATION: &str = "location / {
    proxy_pass http://app;
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_read_timeout 2s;
}";

struct Bed {
    backends: Vec<Backend>,
    executions: Arc<Executions>,
    config: Config,
    _scratch: Scratch,
}

fn bed(directives: &str) -> Bed {
    let scratch = Scratch::new("nginx-bed");
    let executions = Arc::new(Executions::open(scratch.path().join("log")).unwrap());
    let backends: Vec<_> = ["a", "b"].map(|name| Backend::start(name, 0, &executions).unwrap()).into_iter().collect();
    let servers: Vec<_> = backends.iter().map(|b| format!("{} max_fails=0", b.addr())).collect();
    let config = Config::plain().upstream("app", "", &servers, "keepalive 8;").server(LOCATION).server(directives);
    Bed { backends, executions, config, _scratch: scratch }
}

#[test]
fn a_load_passes_a_reload_and_a_quit() {
    need_nginx!();
    let bed = bed("");
    let mut nginx = Nginx::start(&bed.config).unwrap();
    let load = Load { rate: 500, max_requests: 300, ..Load::new(nginx.addr()) };
    let report = load.run();
    assert!(report.all_good(), "{report}");
    assert!(bed.backends.iter().all(|b| b.requests() > 50));
    assert!(bed.executions.duplicated_posts().unwrap().is_empty());

    let before = nginx.workers();
    assert_eq!(before.len(), 2);
    let teapot = bed.config.clone().server("location = /teapot { return 418; }");
    nginx.reload(Some(&teapot)).unwrap();
    assert!(nginx.workers().iter().all(|pid| !before.contains(pid)));
    let mut client = Client::new(nginx.addr(), Duration::from_secs(20));
    assert_eq!(client.exchange(&Request::get("/teapot")).unwrap().status, 418);
    nginx.assert_clean_log();
    nginx.quit().unwrap();
}

#[test]
fn a_killed_worker_is_replaced_and_declared() {
    need_nginx!();
    let mut nginx = Nginx::start(&bed("").config).unwrap();
    let victim = nginx.workers()[0];
    nginx.kill_worker(victim).unwrap();
    assert_eq!(nginx.workers().len(), 2);
    assert!(nginx.log().contains(&format!("worker process {victim} exited on signal 9")));
    nginx.assert_clean_log();
}

#[test]
fn an_undeclared_death_is_a_fault() {
    need_nginx!();
    let nginx = Nginx::start(&bed("").config).unwrap();
    let victim = nginx.workers()[0];
    tidegate_testbed::process::signal(victim, tidegate_testbed::process::Signal::KILL);
    assert!(tidegate_testbed::process::wait_until(Duration::from_secs(20), || nginx.faults().len() == 1));
}

#[test]
fn a_wrong_configuration_is_told() {
    need_nginx!();
    let wrong = Config::plain().server("no_such_directive on;");
    let (ok, text) = nginx_test(&wrong).unwrap();
    assert!(!ok && text.contains("no_such_directive"), "{text}");
    assert!(Nginx::start(&wrong).err().unwrap().contains("no_such_directive"));
    let (ok, text) = nginx_test(&Config::plain()).unwrap();
    assert!(ok, "{text}");
}

/// nginx takes a status line that it can't read for HTTP/0.9 and passes the bytes on as a 200: the load must see that,
/// or it would not see it behind Tidegate either.
#[test]
fn garbage_that_plain_nginx_passes_on_is_noticed() {
    need_nginx!();
    let mut bed = bed("");
    bed.backends[1].set(Behaviour::Garbage).unwrap();
    let nginx = Nginx::start(&bed.config).unwrap();
    let report = Load { rate: 500, max_requests: 100, ..Load::new(nginx.addr()) }.run();
    assert!(report.get.failed > 0 && report.get.good > 0, "{report}");
}

/// With `non_idempotent` plain nginx repeats POSTs that a backend has already carried out: duplicates must be found.
#[test]
fn posts_that_plain_nginx_repeats_are_found() {
    need_nginx!();
    let mut bed = bed("proxy_next_upstream error timeout non_idempotent;");
    bed.backends[0].set(Behaviour::Reset).unwrap();
    let nginx = Nginx::start(&bed.config).unwrap();
    let load = Load { rate: 500, max_requests: 100, post_percent: 50, ..Load::new(nginx.addr()) };
    let report = load.run();
    let duplicates = bed.executions.duplicated_posts().unwrap();
    assert!(!duplicates.is_empty(), "{report}");
    assert!(duplicates.values().all(|backends| backends == &["a", "b"]), "{duplicates:?}");
}

/// Two binaries at a time, a restart, and nothing left behind, not even a new binary that nobody waited for.
#[test]
fn a_daemon_is_upgraded_restarted_and_ended() {
    need_nginx!();
    let bed = bed("");
    let config = bed.config.clone().daemon();
    let mut nginx = Nginx::start(&config).unwrap();
    let ask = |nginx: &Nginx| Client::new(nginx.addr(), Duration::from_secs(20)).exchange(&Request::get("/x")).unwrap();
    let mut seen = vec![nginx.master()];
    for _ in 0..2 {
        let old = nginx.workers();
        nginx.upgrade(&config).unwrap();
        assert!(!seen.contains(&nginx.master()));
        assert!(old.iter().all(|&pid| !is_gone(pid)), "both serve");
        nginx.retire_former().unwrap();
        assert!(is_gone(*seen.last().unwrap()) && old.iter().all(|&pid| is_gone(pid)));
        assert_eq!(ask(&nginx).status, 200);
        seen.push(nginx.master());
    }
    nginx.restart(&config).unwrap();
    assert_eq!(ask(&nginx).status, 200);
    nginx.assert_clean_log();
    nginx.upgrade(&config).unwrap();
    let (master, workers) = (nginx.master(), nginx.workers());
    drop(nginx);
    assert!(is_gone(master) && workers.iter().all(|&pid| is_gone(pid)), "both masters are ended");

    let nginx = Nginx::start(&config).unwrap();
    let old = nginx.master();
    signal(old, Signal::USR2);
    let is_master = |&pid: &u32| title_of(pid).starts_with("nginx: master");
    let mut new = None;
    assert!(wait_until(Duration::from_secs(15), || {
        new = children_of(old).into_iter().find(is_master);
        new.is_some()
    }));
    drop(nginx);
    assert!(new.is_some_and(is_gone));
}
