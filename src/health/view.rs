//! What is known of a peer, decoded for people.

use crate::cause::Cause;
use crate::error::{Error, TIDEGATE_ERR_NOT_FOUND};
use crate::table::{Admin, Detector, Health, PeerHandle, Table, Tick};

/// One peer at one time.
pub struct PeerView {
    /// Its upstream's id.
    pub upstream: u32,
    /// What live traffic says.
    pub health: Health,
    /// Whether active checks keep it out.
    pub down: bool,
    /// What a person said.
    pub admin: Admin,
    /// As declared.
    pub weight: u32,
    /// 0 primary, 1 backup.
    pub priority: u32,
    /// 0: no limit.
    pub max_in_flight: u32,
    /// The exact sum.
    pub in_flight: u32,
    /// Consecutive failures.
    pub streak: u32,
    /// Decayed.
    pub ejections: u32,
    /// Attempts.
    pub picks: u64,
    /// Those charged.
    pub failures: u64,
    /// Until its first trial.
    pub ejected_for_ns: u64,
    /// What ejected it last, and the cause.
    pub last_ejection: Option<(Detector, Cause)>,
    /// The estimate of its latency; 0: never measured, or not by this selector.
    pub latency_ns: u64,
}

impl PeerView {
    /// Reads one peer. Linear in the workers.
    pub fn of(table: &Table, peer: PeerHandle, now: u64) -> Result<PeerView, Error> {
        let gone = || Error::of(TIDEGATE_ERR_NOT_FOUND);
        let state = table.state(peer).ok_or_else(gone)?;
        let parameters = table.peer_parameters(peer.slot());
        let (picks, in_flight) = table.peer_counts(peer);
        let ejected_for_ns = match state.health() {
            Health::Ejected => state.until().since(Tick::at(now, table.epoch())),
            Health::Healthy | Health::HalfOpen => 0,
        };
        Ok(PeerView {
            upstream: table.peer_upstream(peer.slot()).ok_or_else(gone)?.number(),
            health: state.health(),
            down: state.is_down(),
            admin: state.admin(),
            weight: u32::from(parameters.weight),
            priority: u32::from(parameters.backup),
            max_in_flight: parameters.limit,
            in_flight,
            streak: state.streak(),
            ejections: state.ejections(),
            picks,
            failures: table.peer_failures(peer),
            ejected_for_ns,
            last_ejection: table.last_ejection(peer.slot()),
            latency_ns: table.latency_ns(peer, now),
        })
    }
}
