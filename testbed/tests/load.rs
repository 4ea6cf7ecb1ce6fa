//! The load generator: it keeps its schedule, notices what is wrong, and blames rightly.

use std::sync::Arc;
use std::time::Duration;

use tidegate_testbed::process::wait_until;
use tidegate_testbed::verdict::Origin;
use tidegate_testbed::{Backend, Behaviour, Client, Executions, Load, Report, Request, Scratch, Then};

struct Bed {
    backend: Backend,
    executions: Arc<Executions>,
    _scratch: Scratch,
}

fn bed(behaviour: Behaviour) -> Bed {
    let scratch = Scratch::new("load");
    let executions = Arc::new(Executions::open(scratch.path().join("log")).unwrap());
    let mut backend = Backend::start("b1", 0, &executions).unwrap();
    backend.set(behaviour).unwrap();
    Bed { backend, executions, _scratch: scratch }
}

fn load(bed: &Bed) -> Load {
    Load { rate: 1000, max_requests: 200, duration: Duration::from_secs(60), ..Load::new(bed.backend.addr()) }
}

fn run(behaviour: Behaviour) -> Report {
    load(&bed(behaviour)).run()
}

#[test]
fn right_answers_are_all_good_and_each_request_goes_once() {
    let bed = bed(Behaviour::Ok);
    let report = load(&bed).run();
    assert!(report.all_good(), "{report}");
    assert_eq!(report.done(), 200);
    assert_eq!(report.answered(200, Origin::Upstream), 200);
    let share = report.post.done;
    assert!((10..=80).contains(&share), "{share} POSTs where 40 are expected");
    assert_eq!(bed.executions.of("POST").unwrap().len() as u64, share);
    assert!(bed.executions.duplicated_posts().unwrap().is_empty());
}

#[test]
fn the_same_seed_sends_the_same_requests() {
    let [a, b] = [(), ()].map(|()| {
        let bed = bed(Behaviour::Ok);
        load(&bed).run();
        (bed.executions.of("GET").unwrap(), bed.executions.of("POST").unwrap())
    });
    assert_eq!(a, b);
}

#[test]
fn a_post_carried_out_twice_is_found() {
    let bed = bed(Behaviour::Ok);
    load(&bed).run();
    let id = bed.executions.of("POST").unwrap().keys().next().unwrap().clone();
    Client::new(bed.backend.addr(), Duration::from_secs(20)).exchange(&Request::post("/", b"").id(&id)).unwrap();
    assert_eq!(bed.executions.duplicated_posts().unwrap().into_keys().collect::<Vec<_>>(), [id]);
}

#[test]
fn each_fault_is_counted_as_what_it_is() {
    let report = run(Behaviour::Garbage);
    assert_eq!((report.get.malformed, report.get.failed), (report.get.done, report.get.done));
    let report = run(Behaviour::BreakOff);
    assert_eq!((report.get.cut, report.get.failed), (report.get.done, 0));
    let report = run(Behaviour::BadChunk);
    assert_eq!((report.post.malformed, report.post.failed), (report.post.done, report.post.done));
    let report = run(Behaviour::Reset);
    assert_eq!((report.get.unanswered, report.get.failed), (report.get.done, report.get.done));
    let report = run(Behaviour::Refuse);
    assert_eq!((report.get.unanswered, report.get.failed), (report.get.done, report.get.done));
    let report = run(Behaviour::Status { code: 502, percent: 100 });
    assert_eq!((report.get.status, report.get.failed), (report.get.done, report.get.done));
    assert_eq!(report.answered(502, Origin::Upstream), 200);
}

#[test]
fn a_well_formed_answer_that_is_not_the_echo_is_wrong() {
    let report = run(Behaviour::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec(), Then::KeepOpen));
    assert_eq!((report.get.wrong, report.get.failed), (report.get.done, report.get.done));
}

#[test]
fn origin_follows_proxy_status() {
    let answer = |member: &str| {
        let text = format!("HTTP/1.1 502 Bad Gateway\r\nProxy-Status: {member}\r\nContent-Length: 0\r\n\r\n");
        run(Behaviour::Raw(text.into(), Then::KeepOpen))
    };
    assert_eq!(answer("cdn, tidegate; error=connection_refused").answered(502, Origin::Gateway), 200);
    assert_eq!(answer("\"tidegate\";error=x").answered(502, Origin::Gateway), 200);
    assert_eq!(answer("nottidegate; error=connection_refused").answered(502, Origin::Unknown), 200);
}

#[test]
fn late_answers_do_not_slow_the_schedule() {
    let bed = bed(Behaviour::Hang);
    let load = Load { timeout: Duration::from_secs(5), ..load(&bed) };
    let running = load.start();
    // All requests reach the backend though none is answered: a closed loop would stop at the first.
    assert!(wait_until(LIMIT, || bed.backend.requests() == 200));
    drop(bed.backend);
    let report = &running.finish()[0];
    assert_eq!(report.get.unanswered + report.post.unanswered, 200);
}

#[test]
fn outages_and_kills_excuse_what_they_caused_and_nothing_else() {
    let mut bed = bed(Behaviour::Ok);
    let load = Load { max_requests: u64::MAX, ..load(&bed) };
    let running = load.start();
    let served = |bed: &Bed, n: u64| {
        let before = bed.backend.requests();
        assert!(wait_until(LIMIT, || bed.backend.requests() > before + n));
    };
    served(&bed, 20);
    let outage = running.next_interval();
    running.outage(true);
    bed.backend.set(Behaviour::Status { code: 503, percent: 100 }).unwrap();
    // Not by what the backend served: under load those may be requests of the first interval.
    assert!(wait_until(LIMIT, || running.report(outage).get.outage > 0));
    bed.backend.set(Behaviour::Ok).unwrap();
    served(&bed, 1);
    let after = running.next_interval();
    let report = running.settled(outage);
    assert_eq!(report.get.failed, 0, "{report}");

    running.outage(false);
    served(&bed, 5);
    // Now the same without a declaration.
    bed.backend.set(Behaviour::Status { code: 503, percent: 100 }).unwrap();
    assert!(wait_until(LIMIT, || running.report(after).get.failed > 0));
    // A kill excuses lost connections; answers are held against the gateway all the same.
    running.connections_die();
    served(&bed, 20);
    running.stop();
    let reports = running.finish();
    // Not `all_good`: its last requests may have met the outage.
    assert_eq!(reports[0].get.failed, 0, "{}", reports[0]);
    assert_eq!(reports[after].get.lost_with_worker, 0);
}

#[test]
fn connections_that_die_with_a_killed_process_are_counted_apart() {
    let mut bed = bed(Behaviour::Hang);
    let running = Load { max_requests: 20, ..load(&bed) }.start();
    assert!(wait_until(LIMIT, || bed.backend.requests() == 20));
    running.connections_die();
    bed.backend.set(Behaviour::Refuse).unwrap();
    let report = &running.finish()[0];
    assert_eq!(report.get.lost_with_worker + report.post.lost_with_worker, 20);
    assert_eq!((report.get.failed, report.get.unanswered), (0, 0));
}

/// Reached only on a machine that stands still.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn some_requests_take_new_connections() {
    let bed = bed(Behaviour::Ok);
    let load = Load { fresh_percent: 50, max_workers: 1, ..load(&bed) };
    assert!(load.run().all_good());
    assert!(
        (60..=140).contains(&bed.backend.accepted()),
        "{} connections where 100 are expected",
        bed.backend.accepted()
    );
}

/// Nothing but what was declared is excused, and a GET only by a second try.
#[test]
fn what_retires_or_is_closed_is_counted_apart() {
    let bed = bed(Behaviour::CloseIdle { percent: 100, within: Duration::from_millis(2) });
    let running = Load { max_requests: 600, max_workers: 1, ..load(&bed) }.start();
    running.retirement(true);
    let report = running.finish().remove(0);
    assert_eq!(report.get.good, report.get.done, "{report}");
    assert_eq!(report.post.good + report.post.raced, report.post.done, "{report}");

    let mut bed = self::bed(Behaviour::Refuse);
    let running = load(&bed).start();
    running.closed(true);
    let report = running.finish().remove(0);
    assert_eq!((report.get.refused, report.get.failed), (report.get.done, 0), "{report}");
    bed.backend.set(Behaviour::Reset).unwrap();
    let running = load(&bed).start();
    running.retirement(true);
    let report = running.finish().remove(0);
    assert_eq!((report.get.raced, report.get.failed), (0, report.get.done), "only idle connections: {report}");
}
