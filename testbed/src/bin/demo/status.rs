//! What the gateway tells of itself: its status as JSON, and two of its own error answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tidegate_testbed::{Client, Request, Response};

use crate::gateway::STATUS;

/// The part of the status that the demo shows.
#[derive(Default)]
pub struct Status {
    /// Over all upstreams.
    pub causes: BTreeMap<String, u64>,
    pub peers: Vec<Peer>,
}

pub struct Peer {
    pub name: String,
    pub health: String,
    pub picks: u64,
    pub failures: u64,
    pub in_flight: u64,
}

impl Status {
    /// Asks the gateway.
    pub fn of(gateway: SocketAddr) -> Result<Status, String> {
        let response = ask(gateway, STATUS, "application/json")?;
        if response.status != 200 {
            return Err(format!("{STATUS} answered {}", response.status));
        }
        let value: Value = serde_json::from_slice(&response.body).map_err(|e| format!("{STATUS}: {e}"))?;
        Status::parse(&value).ok_or_else(|| format!("{STATUS} is not of the expected form: {value}"))
    }

    fn parse(value: &Value) -> Option<Status> {
        let mut status = Status::default();
        for upstream in value.get("upstreams")?.as_array()? {
            for (cause, n) in upstream.get("causes")?.as_object()? {
                *status.causes.entry(cause.clone()).or_default() += n.as_u64()?;
            }
            for peer in upstream.get("peers")?.as_array()? {
                let number = |name: &str| peer.get(name).and_then(Value::as_u64);
                let text = |name: &str| peer.get(name).and_then(Value::as_str).map(str::to_owned);
                status.peers.push(Peer {
                    name: text("name").or_else(|| text("address"))?,
                    health: text("health")?,
                    picks: number("picks")?,
                    failures: number("failures")?,
                    in_flight: number("in_flight")?,
                });
            }
        }
        Some(status)
    }
}

/// One GET with this Accept.
pub fn ask(gateway: SocketAddr, path: &str, accept: &str) -> Result<Response, String> {
    let request = Request::get(path).field("Accept", accept);
    Client::new(gateway, Duration::from_secs(15)).exchange(&request).map_err(|e| format!("{path}: {e:?}"))
}

/// A response as it came, for reading.
pub fn shown(response: &Response) -> String {
    let mut text = format!("HTTP/1.{} {} {}\n", response.minor_version, response.status, response.reason);
    for (name, value) in response.fields.iter() {
        text += &format!("{name}: {value}\n");
    }
    text + "\n" + &response.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_add_up_over_upstreams_and_a_missing_member_is_told() {
        let peer = r#"{"name":"127.0.0.1:1","health":"ejected","in_flight":0,"picks":7,"failures":2}"#;
        let upstream = format!(r#"{{"name":"app","causes":{{"connection_refused":2}},"peers":[{peer}]}}"#);
        let value = serde_json::from_str(&format!(r#"{{"upstreams":[{upstream},{upstream}]}}"#)).unwrap();
        let status = Status::parse(&value).unwrap();
        assert_eq!(status.causes["connection_refused"], 4);
        assert_eq!((status.peers.len(), status.peers[1].picks), (2, 7));
        let value = serde_json::from_str(r#"{"upstreams":[{"name":"app","peers":[]}]}"#).unwrap();
        assert!(Status::parse(&value).is_none());
    }
}
