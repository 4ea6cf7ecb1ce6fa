//! What can eject a peer, by name: in events and in status. What each looks for is the business of `health`.

/// A detector. Its numbers are part of the ABI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Detector {
    /// Consecutive failures.
    Streak = 1,
    /// A connection was refused, or the address can't be reached.
    Refused = 2,
    /// A share of failures far above that of the other peers.
    Rate = 3,
    /// Requests stay unanswered while other peers answer.
    Pending = 4,
    /// A trial failed.
    Trial = 5,
}

impl Detector {
    /// Its number in the ABI.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// By its number.
    pub fn from_number(n: u32) -> Option<Detector> {
        [Detector::Streak, Detector::Refused, Detector::Rate, Detector::Pending, Detector::Trial]
            .into_iter()
            .find(|d| d.number() == n)
    }

    /// Its name in status output.
    pub fn name(self) -> &'static str {
        match self {
            Detector::Streak => "streak",
            Detector::Refused => "refused",
            Detector::Rate => "rate",
            Detector::Pending => "pending",
            Detector::Trial => "trial",
        }
    }
}
