//! When clients come, and how long a peer works for one.
//!
//! Arrivals: Poisson; constant; bursty (a Markov-modulated Poisson process of two states, whose mean is the given rate);
//! a ramp (Poisson with a rate that swings as a cosine between a low and a high one, like a day). Service times:
//! exponential, lognormal, Pareto, bimodal, fixed; each is given by its mean, so that loads stay comparable over shapes.
//!
//! Cost: two or three random numbers a request. Reference: Law, *Simulation Modeling and Analysis*, chapters 6 and 8.

use crate::scenario::Wrong;
use crate::units::{Nanos, Positive, Share};
use rand::Rng;
use rand_distr::{Distribution, Exp1, LogNormal, Pareto};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Deserialize;

/// When clients come.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Arrivals {
    /// The process.
    pub kind: Process,
    /// The share of the peers' capacity that clients ask for; read if `rate` is unset.
    pub load: Positive,
    /// Requests a second.
    pub rate: Option<Positive>,
    /// `bursty`: how many times the rate of a burst is that of the calm.
    pub factor: Positive,
    /// `bursty`: mean length of a burst.
    pub burst: Nanos,
    /// `bursty`: mean length of the calm between. `ramp`: one low and one high.
    pub period: Nanos,
    /// `ramp`: the lowest rate as a share of the mean one.
    pub low: Share,
}

impl Default for Arrivals {
    fn default() -> Arrivals {
        Arrivals {
            kind: Process::Poisson,
            load: Positive(0.6),
            rate: None,
            factor: Positive(5.0),
            burst: Nanos::from_ms(200),
            period: Nanos::from_s(2),
            low: Share(0.2),
        }
    }
}

/// An arrival process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Process {
    /// Independent clients.
    Poisson,
    /// One every so often.
    Constant,
    /// Calm and bursts.
    Bursty,
    /// A day.
    Ramp,
}

impl Arrivals {
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        let timed = matches!(self.kind, Process::Bursty | Process::Ramp);
        if timed && (self.period.0 == 0 || self.burst.0 == 0) {
            return Err(Wrong::new("arrivals: period and burst are above 0"));
        }
        Ok(())
    }
}

/// The times at which clients come, one after the other.
pub(crate) struct Clients {
    arrivals: Arrivals,
    /// Requests a nanosecond.
    rate: f64,
    now: f64,
    /// `bursty`: whether there is a burst, and until when this lasts.
    burst: bool,
    until: f64,
    random: Xoshiro256PlusPlus,
}

impl Clients {
    pub fn new(arrivals: &Arrivals, rate_per_s: f64, start: u64, random: Xoshiro256PlusPlus) -> Clients {
        let (burst, calm) = (arrivals.burst.0 as f64, arrivals.period.0 as f64);
        let rate = match arrivals.kind {
            // The rate in the calm, so that the mean over both is what was asked for.
            Process::Bursty => rate_per_s * (burst + calm) / (calm + burst * arrivals.factor.0),
            _ => rate_per_s,
        };
        let arrivals = arrivals.clone();
        Clients { arrivals, rate: rate / 1e9, now: start as f64, burst: true, until: 0.0, random }
    }

    /// When the next one comes.
    #[inline]
    pub fn next(&mut self) -> u64 {
        self.now += match self.arrivals.kind {
            Process::Constant => 1.0 / self.rate,
            Process::Poisson => self.exponential() / self.rate,
            Process::Ramp => {
                // Slow against the gaps between clients: the rate of now holds for the next one.
                let low = self.arrivals.low.0;
                let phase = self.now / self.arrivals.period.0 as f64 * std::f64::consts::TAU;
                self.exponential() / (self.rate * (1.0 - (1.0 - low) * phase.cos()))
            }
            Process::Bursty => return self.next_bursty(),
        };
        self.now as u64
    }

    /// A gap that would pass the end of a state is drawn anew from there: a Poisson process has no memory.
    fn next_bursty(&mut self) -> u64 {
        loop {
            if self.now >= self.until {
                self.burst = !self.burst;
                let mean = if self.burst { self.arrivals.burst } else { self.arrivals.period };
                self.until = self.now + self.exponential() * mean.0 as f64;
            }
            let rate = if self.burst { self.rate * self.arrivals.factor.0 } else { self.rate };
            let next = self.now + self.exponential() / rate;
            self.now = next.min(self.until);
            if next <= self.until {
                return self.now as u64;
            }
        }
    }

    #[inline]
    fn exponential(&mut self) -> f64 {
        self.random.sample(Exp1)
    }
}

/// How long a peer works for one request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// The shape.
    pub kind: Shape,
    /// The mean.
    pub mean: Nanos,
    /// `lognormal`: the standard deviation of the logarithm.
    pub sigma: Positive,
    /// `pareto`: the exponent, above 1; up to 2 the variance is infinite.
    pub alpha: Positive,
    /// `bimodal`: the share of slow ones.
    pub slow_share: Share,
    /// `bimodal`: how many times longer they take.
    pub slow_factor: Positive,
}

impl Default for Service {
    fn default() -> Service {
        Service {
            kind: Shape::Exponential,
            mean: Nanos::from_ms(10),
            sigma: Positive(1.0),
            alpha: Positive(2.1),
            slow_share: Share(0.05),
            slow_factor: Positive(10.0),
        }
    }
}

/// A shape of service times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// All alike.
    Fixed,
    /// Without memory.
    Exponential,
    /// Skewed.
    Lognormal,
    /// Heavy-tailed.
    Pareto,
    /// Cheap and dear requests.
    Bimodal,
}

impl Service {
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        if self.mean.0 == 0 {
            return Err(Wrong::new("service.mean is above 0"));
        }
        if self.kind == Shape::Pareto && self.alpha.0 <= 1.0 {
            return Err(Wrong::new(format!("service.alpha is {}: above 1, or there is no mean", self.alpha.0)));
        }
        Ok(())
    }

    pub(crate) fn mean_s(&self) -> f64 {
        self.mean.seconds()
    }
}

/// A service time, drawn as often as needed.
pub(crate) enum Draw {
    Fixed(f64),
    Exponential(f64),
    Lognormal(LogNormal<f64>),
    Pareto(Pareto<f64>),
    Bimodal { fast: f64, slow: f64, share: f64 },
}

impl Draw {
    pub fn new(service: &Service) -> Result<Draw, Wrong> {
        let mean = service.mean.0 as f64;
        let wrong = |e: &dyn std::fmt::Display| Wrong::new(format!("service: {e}"));
        Ok(match service.kind {
            Shape::Fixed => Draw::Fixed(mean),
            Shape::Exponential => Draw::Exponential(mean),
            Shape::Lognormal => {
                let sigma = service.sigma.0;
                Draw::Lognormal(LogNormal::new(mean.ln() - sigma * sigma / 2.0, sigma).map_err(|e| wrong(&e))?)
            }
            Shape::Pareto => {
                let alpha = service.alpha.0;
                Draw::Pareto(Pareto::new(mean * (alpha - 1.0) / alpha, alpha).map_err(|e| wrong(&e))?)
            }
            Shape::Bimodal => {
                let (share, factor) = (service.slow_share.0, service.slow_factor.0);
                let fast = mean / (1.0 - share + share * factor);
                Draw::Bimodal { fast, slow: fast * factor, share }
            }
        })
    }

    /// In nanoseconds, at least 1.
    #[inline]
    pub fn next(&self, random: &mut Xoshiro256PlusPlus) -> f64 {
        let time = match self {
            Draw::Fixed(time) => *time,
            Draw::Exponential(mean) => random.sample::<f64, _>(Exp1) * mean,
            Draw::Lognormal(shape) => shape.sample(random),
            Draw::Pareto(shape) => shape.sample(random),
            Draw::Bimodal { fast, slow, share } => {
                if random.random::<f64>() < *share {
                    *slow
                } else {
                    *fast
                }
            }
        };
        time.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn random() -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(7)
    }

    #[test]
    fn every_shape_has_the_mean_that_was_asked_for() {
        for kind in [Shape::Fixed, Shape::Exponential, Shape::Lognormal, Shape::Pareto, Shape::Bimodal] {
            let alpha = Positive(3.0);
            let draw = Draw::new(&Service { kind, alpha, ..Service::default() }).unwrap();
            let mut random = random();
            let mean = (0..200_000).map(|_| draw.next(&mut random)).sum::<f64>() / 200_000.0;
            assert!((mean / 1e7 - 1.0).abs() < 0.03, "{kind:?}: {mean}");
        }
    }

    #[test]
    fn every_process_has_the_rate_that_was_asked_for() {
        for kind in [Process::Poisson, Process::Constant, Process::Bursty, Process::Ramp] {
            let arrivals = Arrivals { kind, ..Arrivals::default() };
            let mut clients = Clients::new(&arrivals, 1000.0, 0, random());
            let end = (0..2_000_000).map(|_| clients.next()).last().unwrap();
            let rate = 2_000_000.0 / (end as f64 / 1e9);
            assert!((rate / 1000.0 - 1.0).abs() < 0.05, "{kind:?}: {rate}");
        }
    }
}
