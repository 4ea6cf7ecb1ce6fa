//! What the core did about the faults: its events, held against the truth.
//!
//! A peer is faulty from the beginning of a fault to its end. An ejection in that time is a detection, and its delay
//! counts from the fault's beginning; one at another time is false, but for a short grace after a fault, in which
//! outcomes of attempts that met it still come in. A half-open peer that is still faulty is a *false half-open*: trials
//! are how a recovery is found, so these have a price and not a blame. Nobody here reads the core's inside: only the
//! event ring that every host can read.

use crate::fault::Kind;
use crate::timeline::Meeting;
use serde::Serialize;
use std::collections::HashMap;
use tidegate::ffi::table::*;

/// One fault on one peer, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Detection {
    /// The peer.
    pub peer: u32,
    /// What broke.
    pub kind: Kind,
    /// With its severity.
    pub label: String,
    /// In seconds from the start.
    pub from_s: f64,
    /// See `from_s`.
    pub to_s: f64,
    /// From the fault to the ejection, for each table; none: not ejected while it lasted.
    pub delay_s: Vec<Option<f64>>,
    /// From the fault's end to the peer's return, for each table where it was out.
    pub return_s: Vec<Option<f64>>,
    /// Attempts that met it: those on a flapping peer that is up do not.
    pub attempts: u64,
    /// Half-opens while it lasted, over all tables.
    pub false_half_opens: u32,
    /// Returns while it lasted, over all tables.
    pub false_returns: u32,
}

/// Counts over a whole run and all tables.
#[derive(Clone, Copy, Default, Debug, PartialEq, Serialize)]
pub struct HealthCounts {
    /// All ejections, those after a failed trial too.
    pub ejections: u64,
    /// Ejections of peers that were well.
    pub false_ejections: u64,
    /// Ejections of a well peer when no other well peer was in.
    pub last_good_ejected: u64,
    /// Ejections that the capacity floor held back.
    pub spared: u64,
    /// Peers half-open.
    pub half_opens: u64,
}

/// The keeper of the truth.
pub(crate) struct Watch {
    handles: HashMap<(usize, u64), u32>,
    /// By table and peer.
    out: Vec<Vec<bool>>,
    detections: Vec<Detection>,
    spans: Vec<(u64, u64)>,
    of_peer: HashMap<u32, Vec<usize>>,
    counts: HealthCounts,
    start: u64,
    grace: u64,
}

impl Watch {
    pub fn new(meetings: &[Meeting], peers: usize, tables: usize, start: u64, grace: u64) -> Watch {
        let detection = |m: &Meeting| Detection {
            peer: m.peer,
            kind: m.kind,
            label: m.label.clone(),
            from_s: m.from as f64 / 1e9,
            to_s: m.to as f64 / 1e9,
            delay_s: vec![None; tables],
            return_s: vec![None; tables],
            attempts: 0,
            false_half_opens: 0,
            false_returns: 0,
        };
        let mut of_peer: HashMap<u32, Vec<usize>> = HashMap::new();
        for (i, meeting) in meetings.iter().enumerate() {
            of_peer.entry(meeting.peer).or_default().push(i);
        }
        Watch {
            handles: HashMap::new(),
            out: vec![vec![false; peers]; tables],
            detections: meetings.iter().map(detection).collect(),
            spans: meetings.iter().map(|m| (m.from, m.to)).collect(),
            of_peer,
            counts: HealthCounts::default(),
            start,
            grace,
        }
    }

    /// A table's handle for a peer.
    pub fn learn(&mut self, table: usize, handle: u64, peer: u32) {
        if self.handles.insert((table, handle), peer).is_none() {
            self.out[table][peer as usize] = false;
        }
    }

    /// The peer behind a handle that was learnt.
    pub fn peer(&self, table: usize, handle: u64) -> u32 {
        self.handles.get(&(table, handle)).copied().unwrap_or(u32::MAX)
    }

    /// A peer was sent an attempt.
    pub fn count(&mut self, peer: u32, now: u64) {
        if let Some(i) = self.fault_of(peer, now.saturating_sub(self.start), 0) {
            self.detections[i].attempts += 1;
        }
    }

    /// Something happened in a table.
    pub fn see(&mut self, table: usize, event: &tidegate_event, members: &[bool]) {
        let Some(&peer) = self.handles.get(&(table, event.peer)) else { return };
        let at = event.time_ns.saturating_sub(self.start);
        let fault = self.fault_of(peer, at, 0);
        match event.kind {
            TIDEGATE_EVENT_PEER_EJECTED => {
                self.counts.ejections += 1;
                self.out[table][peer as usize] = true;
                match fault {
                    Some(i) => {
                        let delay = (at - self.spans[i].0) as f64 / 1e9;
                        self.detections[i].delay_s[table].get_or_insert(delay);
                    }
                    None if self.fault_of(peer, at, self.grace).is_some() => {}
                    None => self.charge_false_ejection(table, peer, at, members),
                }
            }
            TIDEGATE_EVENT_PEER_HALF_OPEN => {
                self.counts.half_opens += 1;
                if let Some(i) = fault {
                    self.detections[i].false_half_opens += 1;
                }
            }
            TIDEGATE_EVENT_PEER_HEALTHY => {
                self.out[table][peer as usize] = false;
                match (fault, self.last_fault_of(peer, at)) {
                    (Some(i), _) => self.detections[i].false_returns += 1,
                    (None, Some(i)) => {
                        let after = (at - self.spans[i].1) as f64 / 1e9;
                        self.detections[i].return_s[table].get_or_insert(after);
                    }
                    (None, None) => {}
                }
            }
            TIDEGATE_EVENT_PEER_SPARED => self.counts.spared += 1,
            _ => {}
        }
    }

    pub fn finish(self) -> (Vec<Detection>, HealthCounts) {
        (self.detections, self.counts)
    }

    fn charge_false_ejection(&mut self, table: usize, peer: u32, at: u64, members: &[bool]) {
        self.counts.false_ejections += 1;
        let serves = |&other: &usize| members[other] && !self.out[table][other] && other != peer as usize;
        let well = |other: usize| self.fault_of(other as u32, at, 0).is_none();
        if !(0..members.len()).filter(serves).any(well) {
            self.counts.last_good_ejected += 1;
        }
    }

    /// The fault that a peer is under, or was until so long ago.
    fn fault_of(&self, peer: u32, at: u64, grace: u64) -> Option<usize> {
        let meets = |&&i: &&usize| self.spans[i].0 <= at && at < self.spans[i].1.saturating_add(grace);
        self.of_peer.get(&peer)?.iter().find(meets).copied()
    }

    fn last_fault_of(&self, peer: u32, at: u64) -> Option<usize> {
        let past = self.of_peer.get(&peer)?.iter().filter(|&&i| self.spans[i].1 <= at);
        past.max_by_key(|&&i| self.spans[i].1).copied()
    }
}
