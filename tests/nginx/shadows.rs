//! What `tidegate_server` and `tidegate_shadow` do to traffic: zones and draining do, a shadow does not.

use tidegate_testbed::{Backend, Behaviour};

use crate::bed::{Bed, get, need_nginx, peers, status};

#[test]
fn zones_and_draining_are_heeded() {
    need_nginx!();
    let mut bed = Bed::new(3, "round_robin zone=1");
    let servers: Vec<_> = bed.backends.iter().map(|b| b.addr().to_string()).collect();
    let more = format!(
        "tidegate_server {} zone=1 name=near; tidegate_server {} zone=2; tidegate_server {} zone=1 state=drain;",
        servers[0], servers[1], servers[2]
    );
    bed.config = tidegate_testbed::Config::tidegate()
        .upstream("app", "tidegate round_robin zone=1;", &servers, &more)
        .server("location = /tidegate { tidegate_status; }\nlocation / { proxy_pass http://app; }");
    let nginx = bed.nginx();
    (0..12).for_each(|_| assert_eq!(get(&nginx, "/x").status, 200));
    let served: Vec<_> = bed.backends.iter().map(Backend::requests).collect();
    assert_eq!(served, [12, 0, 0], "all that one near peer of two zones can carry stays near");
    let json = status(&nginx);
    let admin = |name: &str| peers(&json).iter().find(|p| p["name"] == name).map(|p| p["admin"].clone());
    assert_eq!(admin("near"), Some("enabled".into()), "{json:#}");
    assert_eq!(admin(&servers[2]), Some("draining".into()), "{json:#}");
    nginx.assert_clean_log();
}

#[test]
fn a_shadow_counts_and_changes_nothing() {
    need_nginx!();
    let mut bed = Bed::new(
        2,
        "round_robin fails=31 budget=off; tidegate_health without=rate; tidegate_shadow round_robin fails=1",
    );
    bed.backends[0].set(Behaviour::Reset).unwrap();
    let nginx = bed.nginx();
    (0..20).for_each(|_| assert_eq!(get(&nginx, "/x").status, 200));
    let json = status(&nginx);
    assert_eq!(json["upstreams"].as_array().unwrap().len(), 1, "{json:#}");
    let shadow = &json["upstreams"][0]["shadow"];
    let of = |key: &str| shadow[key].as_u64().unwrap();
    assert!(of("picks") >= 20 && of("ejections_more") >= 1 && of("picks_out") >= 1, "{json:#}");
    assert_eq!(shadow["out"][0], bed.backends[0].addr().to_string().as_str());
    assert!(peers(&json).iter().all(|p| p["health"] == "healthy" && p["in_flight"] == 0), "{json:#}");
    assert!(get(&nginx, "/tidegate?format=text").text().contains("\n  shadow round_robin  picks "));
    nginx.assert_clean_log();
}
