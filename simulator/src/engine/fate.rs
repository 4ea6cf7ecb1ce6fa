//! What becomes of an attempt: drawn when it is sent, from what its peer is like at that time.

use crate::fault::Effect;
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// What becomes of an attempt, if its time-out does not come first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Served,
    Error(u16),
    FastError(u16),
    Hang,
    Reset,
    BreakOff,
    Refused,
    Unreachable,
}

impl Fate {
    /// Of an attempt on a peer that is like this.
    pub fn draw(effect: &Effect, random: &mut Xoshiro256PlusPlus) -> Fate {
        let mut meets = |share: f64| share > 0.0 && random.random::<f64>() < share;
        if effect.refuses {
            Fate::Refused
        } else if effect.unreachable {
            Fate::Unreachable
        } else if meets(effect.fast_errors) {
            Fate::FastError(effect.status as u16)
        } else if meets(effect.hangs) {
            Fate::Hang
        } else if meets(effect.resets) {
            Fate::Reset
        } else if meets(effect.errors) {
            Fate::Error(effect.status as u16)
        } else if meets(effect.break_offs) {
            Fate::BreakOff
        } else {
            Fate::Served
        }
    }
}
