//! Weights spread evenly over a cycle: what makes round robin smooth in O(1).
//!
//! [`fill`] lays out a cycle of S turns in which a peer of weight w stands w times. Its n-th turn (from 0) may come
//! from ⌊nS/w⌋ on and must come before ⌈(n+1)S/w⌉; of the turns that may come, the one that must come first is next.
//! Every turn then falls into its window, so that no prefix of the cycle is a whole turn off a peer's share: Baruah,
//! Cohen, Plaxton and Varvel, "Proportionate progress", Algorithmica 15 (1996).
//!
//! Weights whose sum, divided by their greatest common divisor, exceeds the room are rounded to it: the share of a peer
//! is then off by at most two turns in a cycle, and a peer keeps at least one. Cost: O(S log n), off the request path.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The turns of each weight in a cycle of at most `room` turns. `room` must be at least the number of weights.
pub(super) fn turns(weights: &[u16], room: usize) -> Vec<u32> {
    let divisor = weights.iter().fold(0u32, |a, &w| gcd(a, u32::from(w))).max(1);
    let sum: u64 = weights.iter().map(|&w| u64::from(w)).sum();
    let exact = (sum / u64::from(divisor)) as usize;
    if exact <= room {
        return weights.iter().map(|&w| u32::from(w) / divisor).collect();
    }
    // One turn each, then the rest by weight; flooring keeps the sum within the room.
    let spare = (room - weights.len()) as u64;
    let share = |w: u16| (u64::from(w) * room as u64 / sum).saturating_sub(1);
    let wanted: u64 = weights.iter().map(|&w| share(w)).sum();
    weights.iter().map(|&w| 1 + if wanted <= spare { share(w) } else { share(w) * spare / wanted } as u32).collect()
}

/// Calls `place` with the index of the weight for every turn of the cycle, in order.
pub(super) fn fill(turns: &[u32], mut place: impl FnMut(usize)) {
    let cycle: u64 = turns.iter().map(|&t| u64::from(t)).sum();
    if cycle == turns.len() as u64 {
        return (0..turns.len()).for_each(place);
    }
    let window = |i: usize, n: u64| {
        let w = u64::from(turns[i]);
        (n * cycle / w, ((n + 1) * cycle).div_ceil(w))
    };
    // (from, index, n) and (before, index, n).
    let mut waiting: BinaryHeap<_> = (0..turns.len()).filter(|&i| turns[i] > 0).map(|i| Reverse((0, i, 0))).collect();
    let mut ready = BinaryHeap::new();
    for now in 0..cycle {
        while let Some(&Reverse((from, i, n))) = waiting.peek() {
            if from > now && !ready.is_empty() {
                break;
            }
            waiting.pop();
            ready.push(Reverse((window(i, n).1, i, n)));
        }
        let Some(Reverse((_, i, n))) = ready.pop() else { return };
        place(i);
        if n + 1 < u64::from(turns[i]) {
            waiting.push(Reverse((window(i, n + 1).0, i, n + 1)));
        }
    }
}

fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cycle(weights: &[u16], room: usize) -> Vec<usize> {
        let mut out = vec![];
        fill(&turns(weights, room), |i| out.push(i));
        out
    }

    #[test]
    fn equal_weights_take_turns() {
        assert_eq!(cycle(&[7, 7, 7], 100), [0, 1, 2]);
    }

    #[test]
    fn unequal_weights_are_interleaved() {
        let order = cycle(&[5, 1, 1], 100);
        let longest = order.chunk_by(|a, b| a == b).map(<[usize]>::len).max();
        assert!(longest <= Some(3), "{order:?}");
    }

    proptest! {
        #[test]
        fn no_prefix_is_a_turn_off(weights in prop::collection::vec(1u16..=60, 1..12)) {
            let order = cycle(&weights, 4096);
            let turns = turns(&weights, 4096);
            let sum: u32 = turns.iter().sum();
            prop_assert_eq!(order.len(), sum as usize);
            let mut seen = vec![0f64; weights.len()];
            for (n, &i) in order.iter().enumerate() {
                seen[i] += 1.0;
                for (j, &t) in turns.iter().enumerate() {
                    let ideal = (n + 1) as f64 * f64::from(t) / f64::from(sum);
                    prop_assert!((seen[j] - ideal).abs() < 1.0, "peer {} of {:?} after {}", j, turns, n + 1);
                }
            }
        }

        #[test]
        fn rounding_keeps_everybody_and_fits(weights in prop::collection::vec(1u16..=65535, 1..200), spare in 0usize..500) {
            let room = weights.len() + spare;
            let turns = turns(&weights, room);
            prop_assert!(turns.iter().all(|&t| t >= 1));
            prop_assert!(turns.iter().sum::<u32>() as usize <= room);
        }
    }

    #[test]
    fn a_rounded_share_is_off_by_a_turn_at_most() {
        let weights: Vec<u16> = (1..=100).map(|i| i * 601).collect();
        let room = 1024;
        let turns = turns(&weights.iter().map(|w| w + 1).collect::<Vec<_>>(), room);
        let (sum, total): (u64, u32) = (weights.iter().map(|&w| u64::from(w)).sum(), turns.iter().sum());
        for (w, t) in weights.iter().zip(&turns) {
            let ideal = f64::from(*w) / sum as f64;
            assert!((f64::from(*t) / f64::from(total) - ideal).abs() < 2.0 / room as f64, "{w}: {t} of {total}");
        }
    }
}
