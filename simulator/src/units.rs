//! Quantities as people write them in a scenario: times ("250ms", "2s"), shares (0 to 1), factors.
//!
//! Parsed once, so that a wrong one is refused with the line it stands on and what is allowed there.

use serde::de::{Deserialize, Deserializer, Error};

/// A length of time in nanoseconds: written with its unit, `ns`, `us`, `ms`, `s`, `m` or `h`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// So many milliseconds.
    pub const fn from_ms(ms: u64) -> Nanos {
        Nanos(ms * 1_000_000)
    }

    /// So many seconds.
    pub const fn from_s(s: u64) -> Nanos {
        Nanos(s * 1_000_000_000)
    }

    /// In seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    fn parse(text: &str) -> Option<Nanos> {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = text.split_at(digits);
        let scale = match unit.trim() {
            "ns" => 1.0,
            "us" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        let nanos = number.parse::<f64>().ok()? * scale;
        // A virtual clock that could wrap would prove nothing.
        (nanos <= 1e15).then_some(Nanos(nanos.round() as u64))
    }
}

impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Nanos, D::Error> {
        let text = String::deserialize(deserializer)?;
        Nanos::parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "\"{text}\" is not a time: write a number with ns, us, ms, s, m or h, at most 277h"
            ))
        })
    }
}

/// A part of a whole: 0 to 1.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Share(pub f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Share, D::Error> {
        match f64::deserialize(deserializer)? {
            share if (0.0..=1.0).contains(&share) => Ok(Share(share)),
            other => Err(D::Error::custom(format!("{other} is not a share: 0.0 to 1.0"))),
        }
    }
}

/// Above 0 and finite: factors, loads, rates.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Positive(pub f64);

impl<'de> Deserialize<'de> for Positive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Positive, D::Error> {
        match f64::deserialize(deserializer)? {
            value if value > 0.0 && value.is_finite() => Ok(Positive(value)),
            other => Err(D::Error::custom(format!("{other} is not above 0"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit_and_not_without() {
        assert_eq!(Nanos::parse("250us"), Some(Nanos(250_000)));
        assert_eq!(Nanos::parse("1.5 s"), Some(Nanos(1_500_000_000)));
        for wrong in ["", "10", "s", "-1s", "1 day", "1e9s", "99999h"] {
            assert_eq!(Nanos::parse(wrong), None, "{wrong}");
        }
    }
}
