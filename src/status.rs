//! The whole table as JSON or text: what `tidegate_status` in nginx and the proxy's status page show. Reads the shared
//! words as they are, takes no lock, and allocates: not for the request path.

use crate::cause::Cause;
use crate::health::PeerView;
use crate::table::{PeerHandle, Table, UpstreamId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

#[derive(Serialize)]
struct TableStatus {
    version: &'static str,
    size_bytes: usize,
    workers: Vec<WorkerStatus>,
    late_outcomes: u64,
    /// Who makes the active checks.
    checker: Option<CheckerStatus>,
    upstreams: Vec<UpstreamStatus>,
}

#[derive(Serialize)]
struct CheckerStatus {
    tenure: u64,
    pid: u32,
    silent_ms: u64,
}

#[derive(Serialize)]
struct WorkerStatus {
    lane: u32,
    pid: u32,
}

#[derive(Serialize)]
struct UpstreamStatus {
    name: String,
    selector: &'static str,
    requests: u64,
    causes: BTreeMap<&'static str, u64>,
    peers: Vec<PeerStatus>,
}

#[derive(Serialize)]
struct PeerStatus {
    name: String,
    address: String,
    health: &'static str,
    /// Out by active checks.
    down: bool,
    admin: &'static str,
    weight: u32,
    backup: bool,
    max_in_flight: u32,
    in_flight: u32,
    picks: u64,
    failures: u64,
    streak: u32,
    ejections: u32,
    ejected_for_ms: u64,
    /// What ejected it last: detector, cause.
    ejected_by: Option<[&'static str; 2]>,
    causes: BTreeMap<&'static str, u64>,
}

/// One JSON object.
pub(crate) fn json(table: &Table, now: u64) -> String {
    serde_json::to_string(&TableStatus::read(table, now)).unwrap_or_default()
}

/// Columns for a terminal.
pub(crate) fn text(table: &Table, now: u64) -> String {
    let status = TableStatus::read(table, now);
    let mut out =
        format!("tidegate {}  workers {}  table {} bytes\n", status.version, status.workers.len(), status.size_bytes);
    for upstream in &status.upstreams {
        let (name, selector, requests) = (&upstream.name, upstream.selector, upstream.requests);
        let _ = writeln!(out, "\nupstream {name}  {selector}  requests {requests}");
        let _ = writeln!(
            out,
            "  {:<28} {:<9} {:<9} {:>6} {:>9} {:>10} {:>8} {:>6}  causes",
            "peer", "health", "admin", "weight", "in_flight", "picks", "failures", "streak"
        );
        for peer in &upstream.peers {
            let backup = if peer.backup { " (backup)" } else { "" };
            let _ = writeln!(
                out,
                "  {:<28} {:<9} {:<9} {:>6} {:>9} {:>10} {:>8} {:>6}  {}",
                format!("{}{backup}", peer.name),
                if peer.down { "down" } else { peer.health },
                peer.admin,
                peer.weight,
                peer.in_flight,
                peer.picks,
                peer.failures,
                peer.streak,
                list(&peer.causes)
            );
        }
        let _ = writeln!(out, "  causes: {}", list(&upstream.causes));
    }
    out
}

fn list(causes: &BTreeMap<&str, u64>) -> String {
    if causes.is_empty() {
        return "-".into();
    }
    causes.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
}

impl TableStatus {
    fn read(table: &Table, now: u64) -> TableStatus {
        TableStatus {
            version: env!("CARGO_PKG_VERSION"),
            size_bytes: table.size(),
            workers: table.workers().map(|(lane, pid)| WorkerStatus { lane, pid }).collect(),
            late_outcomes: table.late_outcomes(),
            checker: table.watcher(now).map(|(tenure, pid, silent_ms)| CheckerStatus { tenure, pid, silent_ms }),
            upstreams: table.upstream_ids().map(|id| UpstreamStatus::read(table, id, now)).collect(),
        }
    }
}

impl UpstreamStatus {
    fn read(table: &Table, id: UpstreamId, now: u64) -> UpstreamStatus {
        UpstreamStatus {
            name: String::from_utf8_lossy(&table.upstream_name(id).unwrap_or_default()).into_owned(),
            selector: table.packed_policy(id).selector().name(),
            requests: table.requests(id),
            causes: counts(|cause| table.upstream_cause_count(id, cause).unwrap_or(0)),
            peers: table.members(id).into_iter().filter_map(|peer| PeerStatus::read(table, peer, now)).collect(),
        }
    }
}

impl PeerStatus {
    /// `None` if the peer was removed meanwhile.
    fn read(table: &Table, peer: PeerHandle, now: u64) -> Option<PeerStatus> {
        let view = PeerView::of(table, peer, now).ok()?;
        Some(PeerStatus {
            name: table.peer_display_name(peer).ok()?,
            address: table.peer_address(peer).ok()?.to_string(),
            health: view.health.name(),
            down: view.down,
            admin: view.admin.name(),
            weight: view.weight,
            backup: view.priority != 0,
            max_in_flight: view.max_in_flight,
            in_flight: view.in_flight,
            picks: view.picks,
            failures: view.failures,
            streak: view.streak,
            ejections: view.ejections,
            ejected_for_ms: view.ejected_for_ns / 1_000_000,
            ejected_by: view.last_ejection.map(|(detector, cause)| [detector.name(), cause.name()]),
            causes: counts(|cause| u64::from(table.peer_cause_count(peer, cause))),
        })
    }
}

fn counts(count: impl Fn(Cause) -> u64) -> BTreeMap<&'static str, u64> {
    Cause::ALL.iter().map(|&cause| (cause.name(), count(cause))).filter(|&(_, n)| n != 0).collect()
}
