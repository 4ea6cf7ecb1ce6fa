//! A table that is not the one before: other capacities, another file, another layout, other servers. nginx says so and
//! goes on serving; only at a start it can refuse to.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tidegate_testbed::nginx::nginx_test;
use tidegate_testbed::process::{Signal, signal, wait_until};
use tidegate_testbed::{Behaviour, Config, Nginx, Request, Scratch};

use crate::bed::{Bed, client, get, in_flight, need_nginx, peers, status};

/// Three servers, the first one refusing; how many are ejected tells whether the table is the old one.
fn bed() -> Bed {
    let mut bed = Bed::new(3, "round_robin eject=1h eject_max=1h");
    bed.backends[0].set(Behaviour::Refuse).unwrap();
    bed.config.daemon = true;
    bed
}

fn with(bed: &Bed, table: &str) -> Config {
    bed.config.clone().http(&format!("tidegate_table {table};"))
}

fn ejected(nginx: &Nginx) -> usize {
    peers(&status(nginx)).iter().filter(|p| p["health"] == "ejected").count()
}

/// Asks until the first server is found out.
fn find_out(nginx: &Nginx) {
    for _ in 0..12 {
        assert_eq!(get(nginx, "/x").status, 200);
    }
    assert_eq!(ejected(nginx), 1);
}

/// Writes the configuration, sends the master a signal, and waits until it has said this and still serves.
fn refuses(nginx: &Nginx, config: &Config, how: Signal, sentence: &str) {
    let conf = nginx.prefix().join("nginx.conf");
    let before = nginx.log().len();
    fs::write(&conf, config.render(nginx.prefix(), nginx.addr().port())).unwrap();
    signal(nginx.master(), how);
    assert!(wait_until(LIMIT, || nginx.log()[before..].contains(sentence)), "{}", nginx.log());
    let pid = nginx.master().to_string();
    assert!(wait_until(LIMIT, || nginx.file("nginx.pid").trim() == pid && nginx.file("nginx.pid.oldbin").is_empty()));
    assert_eq!(get(nginx, "/x").status, 200);
}

/// Faults in the log, those that contain the sentence left out.
fn other_faults(nginx: &Nginx, sentence: &str) -> Vec<String> {
    nginx.faults().into_iter().filter(|line| !line.contains(sentence)).collect()
}

#[test]
fn other_capacities_start_empty_in_memory() {
    need_nginx!();
    let bed = bed();
    let mut nginx = Nginx::start(&with(&bed, "peers=64")).unwrap();
    find_out(&nginx);
    // A new binary says so on standard error too.
    let sentence = "are not those of before: the table starts empty";
    let warnings = |nginx: &Nginx| nginx.log().lines().filter(|l| l.contains(sentence) && l.contains('#')).count();
    nginx.reload(Some(&with(&bed, "peers=64"))).unwrap();
    nginx.upgrade(&with(&bed, "peers=64")).unwrap();
    nginx.retire_former().unwrap();
    assert_eq!((ejected(&nginx), warnings(&nginx)), (1, 0), "{}", nginx.log());
    for (i, table) in ["peers=65", "peers=65 workers=16", "peers=65 upstreams=3"].iter().enumerate() {
        nginx.reload(Some(&with(&bed, table))).unwrap();
        assert_eq!((ejected(&nginx), warnings(&nginx)), (0, i + 1), "{}", nginx.log());
        find_out(&nginx);
    }
    let (accepted, said) = nginx_test(&with(&bed, "peers=66")).unwrap();
    assert!(accepted, "{said}");
    nginx.upgrade(&with(&bed, "peers=66")).unwrap();
    nginx.retire_former().unwrap();
    assert_eq!((ejected(&nginx), warnings(&nginx)), (0, 4), "{}", nginx.log());
    find_out(&nginx);
    // A reload after an upgrade keeps the new binary's table, not the one that the environment still names.
    nginx.reload(None).unwrap();
    assert_eq!((ejected(&nginx), warnings(&nginx)), (1, 4), "{}", nginx.log());
    nginx.assert_clean_log();
}

#[test]
fn other_capacities_of_a_file_are_refused_or_replace_it() {
    need_nginx!();
    let (bed, place) = (bed(), Place::new());
    let fits = with(&bed, &place.table("peers=64"));
    let mut nginx = Nginx::start(&fits).unwrap();
    find_out(&nginx);
    let (other, sentence) = (with(&bed, &place.table("peers=65")), "was made with max_peers 64: asked for is 65");
    let (accepted, said) = nginx_test(&other).unwrap();
    assert!(!accepted && said.contains("[emerg]") && said.contains(sentence), "{said}");
    refuses(&nginx, &other, Signal::HUP, sentence);
    refuses(&nginx, &other, Signal::USR2, sentence);
    assert_eq!(ejected(&nginx), 1);
    // What it refused does not keep it from taking what fits.
    nginx.upgrade(&fits).unwrap();
    nginx.retire_former().unwrap();
    assert_eq!(ejected(&nginx), 1);
    let said = nginx.restart(&other).unwrap_err();
    assert!(said.contains(sentence), "{said}");

    let replace = with(&bed, &place.table("peers=65 mismatch=replace"));
    let (accepted, said) = nginx_test(&replace).unwrap();
    assert!(accepted && said.contains("[warn]") && said.contains("a fresh table will replace"), "{said}");
    assert!(said.contains(sentence), "{said}");
    let mut nginx = Nginx::start(&fits).unwrap();
    assert_eq!(ejected(&nginx), 1, "nginx -t has replaced nothing");
    nginx.restart(&replace).unwrap();
    assert_eq!(ejected(&nginx), 0);
    find_out(&nginx);
    nginx.assert_clean_log();
}

#[test]
fn another_layout_is_refused_or_replaced() {
    need_nginx!();
    let (bed, place) = (bed(), Place::new());
    let config = with(&bed, &place.table(""));
    let mut nginx = Nginx::start(&config).unwrap();
    find_out(&nginx);
    nginx.quit().unwrap();
    nginx.assert_clean_log();
    // Its second word is the layout's version.
    let file = fs::File::options().write(true).open(&place.file).unwrap();
    file.write_all_at(&999u64.to_ne_bytes(), 8).unwrap();
    let sentence = "layout version 999 with features 0x0: this library reads version";
    let (accepted, said) = nginx_test(&config).unwrap();
    assert!(!accepted && said.contains(sentence), "{said}");
    let said = Nginx::start(&config).err().expect("it is refused");
    assert!(said.contains("[emerg]") && said.contains(sentence), "{said}");
    let replace = with(&bed, &place.table("mismatch=replace"));
    let (accepted, said) = nginx_test(&replace).unwrap();
    assert!(accepted && said.contains("a fresh table will replace") && said.contains(sentence), "{said}");
    let nginx = Nginx::start(&replace).unwrap();
    find_out(&nginx);
    nginx.assert_clean_log();
}

#[test]
fn another_layout_in_memory_starts_empty() {
    need_nginx!();
    let bed = bed();
    let mut nginx = Nginx::start(&bed.config).unwrap();
    find_out(&nginx);
    // What a binary with another layout would leave; those that use the table have long read its header.
    let descriptors = fs::read_dir(format!("/proc/{}/fd", nginx.master())).unwrap().map(|entry| entry.unwrap().path());
    let is_table =
        |path: &PathBuf| fs::read_link(path).is_ok_and(|to| to.starts_with("/memfd:tidegate-table (deleted)"));
    let tables: Vec<_> = descriptors.filter(is_table).collect();
    assert_eq!(tables.len(), 1, "{tables:?}");
    let memory = fs::File::options().write(true).open(&tables[0]).unwrap();
    memory.write_all_at(&999u64.to_ne_bytes(), 8).unwrap();
    nginx.upgrade(&bed.config).unwrap();
    nginx.retire_former().unwrap();
    assert!(nginx.log().contains("the former binary's table is of another layout: it starts empty"), "{}", nginx.log());
    assert_eq!(ejected(&nginx), 0);
    find_out(&nginx);
    for worker in nginx.workers() {
        let fds = fs::read_dir(format!("/proc/{worker}/fd")).unwrap().map(|entry| entry.unwrap().path());
        assert_eq!(fds.filter(is_table).count(), 0, "workers have the mapping only");
    }
    nginx.assert_clean_log();
}

#[test]
fn another_path_is_another_table() {
    need_nginx!();
    let (bed, one, two) = (bed(), Place::new(), Place::new());
    let first = with(&bed, &one.table(""));
    let mut nginx = Nginx::start(&first).unwrap();
    find_out(&nginx);
    let said = |nginx: &Nginx| nginx.log().matches("has another \"path\" than before").count();
    let away = [with(&bed, &two.table("")), bed.config.clone()];
    for (i, config) in away.iter().enumerate() {
        nginx.reload(Some(config)).unwrap();
        assert_eq!((ejected(&nginx), said(&nginx)), (0, 2 * i + 1), "{}", nginx.log());
        nginx.reload(Some(&first)).unwrap();
        assert_eq!((ejected(&nginx), said(&nginx)), (1, 2 * i + 2), "the first file still knows");
    }
    let nowhere = with(&bed, &format!("path={}/missing/nginx.table", one.file.parent().unwrap().display()));
    let (accepted, text) = nginx_test(&nowhere).unwrap();
    assert!(!accepted && text.contains("looking for its directory"), "{text}");
    let sentence = "making a file in its directory: No such file";
    refuses(&nginx, &nowhere, Signal::HUP, sentence);
    assert_eq!(ejected(&nginx), 1);
    assert_eq!(other_faults(&nginx, sentence), Vec::<String>::new());
}

#[test]
fn a_test_of_the_configuration_makes_no_file() {
    need_nginx!();
    let (bed, place) = (bed(), Place::new());
    let (accepted, said) = nginx_test(&with(&bed, &place.table(""))).unwrap();
    assert!(accepted, "{said}");
    assert!(!place.file.exists());
    fs::write(&place.file, b"somebody's letters").unwrap();
    let (accepted, said) = nginx_test(&with(&bed, &place.table("mismatch=replace"))).unwrap();
    assert!(!accepted && said.contains("is not a table"), "{said}");
    assert_eq!(fs::read(&place.file).unwrap(), b"somebody's letters");
}

/// The workers of the former configuration finish their requests on peers that are no more, and pick among the new
/// ones. The table has room for just these three.
#[test]
fn old_workers_go_on_with_the_newest_list() {
    need_nginx!();
    let mut bed = Bed::new(3, "round_robin fails=31").http("tidegate_table peers=3;");
    let lines: Vec<_> = bed.backends.iter().map(|b| format!("server {};", b.addr())).collect();
    let without = |gone: &[usize]| {
        let mut config = bed.config.clone();
        gone.iter().for_each(|&i| config.http = config.http.replace(&lines[i], ""));
        config
    };
    let (old, new, all) = (without(&[2]), without(&[0, 1]), bed.config.clone());
    let mut nginx = Nginx::start(&old).unwrap();
    for backend in &mut bed.backends[..2] {
        backend.set(Behaviour::Hang).unwrap();
    }
    let mut held: Vec<_> = (0..4).map(|_| client(&nginx)).collect();
    for client in &mut held {
        client.connect().unwrap();
        client.send(&Request::get("/held").to_bytes(nginx.addr())).unwrap();
    }
    assert!(wait_until(LIMIT, || bed.requests() == 4));
    nginx.reload(Some(&new)).unwrap();
    let names = |nginx: &Nginx| -> Vec<Value> { peers(&status(nginx)).iter().map(|p| p["address"].clone()).collect() };
    assert_eq!(names(&nginx), [bed.backends[2].addr().to_string()]);
    assert!(!nginx.retiring().is_empty());
    // Their connections break: each request is tried again by the worker that has it, and only the new one is left.
    for backend in &mut bed.backends[..2] {
        backend.set(Behaviour::Refuse).unwrap();
    }
    for client in &mut held {
        let response = client.read("GET").unwrap();
        assert_eq!((response.status, response.fields.first("x-backend")), (200, Some("b2")), "{}", nginx.log());
    }
    assert!(wait_until(LIMIT, || nginx.retiring().is_empty()));
    assert_eq!(in_flight(&nginx), 0);
    // The removed peers' places are free again.
    nginx.reload(Some(&all)).unwrap();
    assert_eq!(names(&nginx).len(), 3);
    assert!(!nginx.log().contains("could not be declared"), "{}", nginx.log());
    nginx.assert_clean_log();
}

/// Nobody is left to take the dead workers' requests off but those that come after.
#[test]
fn a_table_in_a_file_outlives_the_death_of_all() {
    need_nginx!();
    let (mut bed, place) = (bed(), Place::new());
    let config = with(&bed, &place.table(""));
    let mut nginx = Nginx::start(&config).unwrap();
    find_out(&nginx);
    bed.backends[1].set(Behaviour::Hang).unwrap();
    bed.backends[2].set(Behaviour::Hang).unwrap();
    let before = bed.requests();
    let mut held: Vec<_> = (0..6).map(|_| client(&nginx)).collect();
    for client in &mut held {
        client.connect().unwrap();
        client.send(&Request::get("/held").to_bytes(nginx.addr())).unwrap();
    }
    assert!(wait_until(LIMIT, || bed.requests() - before >= 6));
    assert!(in_flight(&nginx) > 0);
    nginx.crash(&config).unwrap();
    bed.backends[1].set(Behaviour::Ok).unwrap();
    bed.backends[2].set(Behaviour::Ok).unwrap();
    assert_eq!(ejected(&nginx), 1);
    assert!(wait_until(LIMIT, || in_flight(&nginx) == 0), "{:#}", status(&nginx));
    for _ in 0..6 {
        assert_eq!(get(&nginx, "/x").status, 200);
    }
    assert_eq!(nginx.log().matches("connect() failed (111").count(), 1, "{}", nginx.log());
    nginx.assert_clean_log();
}

/// What the new binary's time taught stays; its servers too, until the old binary reads its configuration again.
#[test]
fn an_upgrade_can_be_taken_back() {
    need_nginx!();
    let bed = bed();
    let mut fewer = bed.config.clone();
    fewer.http = fewer.http.replace(&format!("server {};", bed.backends[2].addr()), "");
    let mut nginx = Nginx::start(&bed.config).unwrap();
    let old = nginx.master();
    nginx.upgrade(&fewer).unwrap();
    find_out(&nginx);
    nginx.take_back().unwrap();
    assert_eq!(nginx.master(), old);
    assert_eq!((ejected(&nginx), peers(&status(&nginx)).len()), (1, 2));
    nginx.reload(Some(&bed.config)).unwrap();
    assert_eq!((ejected(&nginx), peers(&status(&nginx)).len()), (1, 3));
    nginx.upgrade(&bed.config).unwrap();
    nginx.retire_former().unwrap();
    assert_eq!((ejected(&nginx), in_flight(&nginx)), (1, 0));
    nginx.assert_clean_log();
}

/// A file for a table, on a tmpfs where there is one.
struct Place {
    file: PathBuf,
    _directory: Scratch,
}

impl Place {
    fn new() -> Place {
        let directory = Scratch::in_memory("nginx-tables");
        Place { file: Path::join(directory.path(), "nginx.table"), _directory: directory }
    }

    /// Arguments of the directive.
    fn table(&self, more: &str) -> String {
        format!("path={} {more}", self.file.display())
    }
}

/// For a machine that is very busy.
const LIMIT: Duration = Duration::from_secs(15);
