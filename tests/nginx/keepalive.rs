//! Idle connections that the peer closes: nobody's fault, and no request is lost by them.

use std::time::Duration;

use tidegate_testbed::Behaviour;

use crate::bed::{Bed, load, need_nginx, peers, status};

#[test]
fn closed_idle_connections_eject_nobody() {
    need_nginx!();
    let mut bed = Bed::new(4, "round_robin");
    bed.set_all(&Behaviour::CloseIdle { percent: 30, within: Duration::from_millis(20) });
    let nginx = bed.nginx();
    let mut load = load(&nginx);
    load.duration = Duration::from_secs(5);
    let report = load.run();
    assert_eq!(report.get.failed, 0, "{report}\n{}", nginx.log());
    assert!(bed.executions.duplicated_posts().unwrap().is_empty());
    println!("POSTs lost to the race before it was known: {} of {}", report.post.failed, report.post.done);
    // One worker's first race is every worker's warning: what can't be repeated then takes new connections.
    assert!(report.post.failed <= 6, "{report}");
    let status = status(&nginx);
    for peer in peers(&status) {
        assert_eq!(peer["ejections"], 0, "{status:#}");
    }
    assert!(!nginx.log().contains("no live upstreams"));
    assert!(!nginx.log().contains("no attempt on upstream"));
    nginx.assert_clean_log();
}

/// After a stale connection the same request never meets a second one, so one good peer is enough.
#[test]
fn a_stale_connection_is_followed_by_a_fresh_one() {
    need_nginx!();
    let mut bed = Bed::new(1, "round_robin");
    bed.set_all(&Behaviour::CloseIdle { percent: 100, within: Duration::from_millis(5) });
    let nginx = bed.nginx();
    let mut load = load(&nginx);
    load.post_percent = 0;
    load.duration = Duration::from_secs(3);
    let report = load.run();
    assert_eq!(report.get.failed, 0, "{report}\n{}", nginx.log());
    nginx.assert_clean_log();
}
