//! Maglev's look-up table, weighted: built when a list is published, read by one load (Eisenbud et al., NSDI 2016).
//!
//! The entries are given out in the order of `schedule`, in which every backend's turns are evenly spread; at its turn a
//! backend claims the next free entry of its own permutation, offset + n · skip modulo the prime size. Backends are
//! ordered by the hash of their identity, so that a table depends on the set of peers alone: not on the order of the
//! list, on slots, or on the process that builds it. It takes no notice of health: who finds a backend out goes on from
//! the hash, and no other key moves.
//!
//! Bound: a backend has ⌊M·w/W⌋ or ⌈M·w/W⌉ entries of M, and one where that is less than one. When one of N equal
//! backends goes, its own keys move, and few others: the paper finds 1 to 2 % for M = 65537 and N = 1000; here the tests
//! hold it below an eighth of the others' keys. Cost: O(M log M) to build, 320,000 entries for 10,000 backends.

use super::schedule;

/// What a table is built from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backend {
    pub weight: u32,
    /// Of its identity.
    pub hash: u64,
}

/// The entries of a table in so many words: the largest prime that fits, 0 without backends.
pub(super) fn size(backends: usize, words: usize) -> usize {
    let most = words * 4;
    if backends == 0 { 0 } else { (backends.max(2)..=most).rev().find(|&n| is_prime(n)).unwrap_or(0) }
}

/// The place of a backend for each entry.
pub(super) fn build(backends: &[Backend], size: usize) -> Vec<u16> {
    if backends.is_empty() || size < backends.len() {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..backends.len()).collect();
    order.sort_by_key(|&i| (backends[i].hash, i));
    let weights: Vec<u32> = order.iter().map(|&i| backends[i].weight).collect();
    let mut claims: Vec<Claims> = order.iter().map(|&i| Claims::of(backends[i].hash, size)).collect();
    let mut table = vec![NOBODY; size];
    schedule::fill(&quotas(&weights, size), |turn| {
        let claim = &mut claims[turn];
        while table[claim.at] != NOBODY {
            claim.step(size);
        }
        table[claim.at] = order[turn] as u32;
    });
    table.into_iter().map(|place| place as u16).collect()
}

const NOBODY: u32 = u32::MAX;

/// Where a backend stands in its permutation.
struct Claims {
    at: usize,
    skip: usize,
}

impl Claims {
    fn of(hash: u64, size: usize) -> Claims {
        let other = crate::random::mix(hash);
        Claims { at: (hash % size as u64) as usize, skip: (other % (size as u64 - 1)) as usize + 1 }
    }

    fn step(&mut self, size: usize) {
        self.at += self.skip;
        if self.at >= size {
            self.at -= size;
        }
    }
}

/// How many of `size` entries each weight gets: they add up.
fn quotas(weights: &[u32], size: usize) -> Vec<u32> {
    let sum: u64 = weights.iter().map(|&w| u64::from(w)).sum();
    let exact = |w: u32| u64::from(w) * size as u64;
    let mut quotas: Vec<u32> = weights.iter().map(|&w| ((exact(w) / sum) as u32).max(1)).collect();
    let given: u64 = quotas.iter().map(|&q| u64::from(q)).sum();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    if given <= size as u64 {
        // What was cut off goes to those that lost most.
        order.sort_by_key(|&i| (std::cmp::Reverse(exact(weights[i]) % sum), i));
        order.iter().take(size - given as usize).for_each(|&i| quotas[i] += 1);
    } else {
        // What was given to the smallest comes from the largest.
        order.sort_by_key(|&i| (std::cmp::Reverse(quotas[i]), i));
        let mut over = given - size as u64;
        for &i in &order {
            let part = over.min(u64::from(quotas[i]) - 1).min((u64::from(quotas[i]) * over).div_ceil(given).max(1));
            quotas[i] -= part as u32;
            over -= part;
        }
        // Rounding left little; it comes from whoever has most.
        for &i in order.iter().cycle().take(order.len() * 64) {
            if over > 0 && quotas[i] > 1 {
                quotas[i] -= 1;
                over -= 1;
            }
        }
    }
    quotas
}

fn is_prime(n: usize) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn backends(weights: &[u32]) -> Vec<Backend> {
        let hash = |i: usize| crate::random::mix((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        weights.iter().enumerate().map(|(i, &weight)| Backend { weight, hash: hash(i) }).collect()
    }

    fn entries(table: &[u16], n: usize) -> Vec<usize> {
        let mut entries = vec![0; n];
        table.iter().for_each(|&place| entries[place as usize] += 1);
        entries
    }

    proptest! {
        #[test]
        fn entries_are_shared_by_weight_to_within_one(weights in prop::collection::vec(1u32..50, 1..40)) {
            let size = size(weights.len(), 1024);
            let sum: u32 = weights.iter().sum();
            for (n, &w) in entries(&build(&backends(&weights), size), weights.len()).iter().zip(&weights) {
                let exact = size as f64 * f64::from(w) / f64::from(sum);
                prop_assert!((*n as f64 - exact).abs() < 1.0, "{n} instead of {exact}");
            }
        }

        #[test]
        fn any_weights_fill_the_table_and_leave_nobody_out(weights in prop::collection::vec(1u32..=65535, 1..60), heavy in 0usize..60) {
            let mut weights = weights;
            let n = weights.len();
            weights[heavy % n] = 65535;
            for (i, w) in weights.iter_mut().enumerate() {
                if i != heavy % n && i % 2 == 0 { *w = 1 }
            }
            let table = build(&backends(&weights), size(n, n * 2));
            prop_assert_eq!(table.len(), size(n, n * 2));
            prop_assert!(entries(&table, n).iter().all(|&e| e >= 1));
        }

        #[test]
        fn few_keys_move_but_those_of_the_one_that_went(n in 3usize..60, gone in 0usize..60) {
            let all = backends(&vec![1; n]);
            let gone = gone % n;
            let rest: Vec<Backend> = (0..n).filter(|&i| i != gone).map(|i| all[i]).collect();
            let size = size(n, 1024);
            let (before, after) = (build(&all, size), build(&rest, size));
            let now = |place: u16| usize::from(place) + usize::from(usize::from(place) >= gone);
            let others = before.iter().filter(|&&b| usize::from(b) != gone).count();
            let moved = before.iter().zip(&after).filter(|&(&b, &a)| usize::from(b) != gone && usize::from(b) != now(a));
            let share = moved.count() as f64 / others as f64;
            prop_assert!(share < 0.125, "{share} of the others' keys moved");
        }

        #[test]
        fn the_order_of_the_list_does_not_matter(n in 2usize..40, by in 1usize..40) {
            let all = backends(&(1..=n as u32).collect::<Vec<_>>());
            let mut turned = all.clone();
            turned.rotate_left(by % n);
            let (a, b) = (build(&all, 4093), build(&turned, 4093));
            prop_assert!(a.iter().zip(&b).all(|(&a, &b)| usize::from(a) == (usize::from(b) + by % n) % n));
        }
    }

    #[test]
    fn a_table_of_ten_thousand_is_built() {
        let all = backends(&vec![1; 10_000]);
        let size = size(all.len(), 80_000);
        let start = std::time::Instant::now();
        let table = build(&all, size);
        println!("{size} entries for 10,000 backends: {:?}", start.elapsed());
        assert!(entries(&table, 10_000).iter().all(|n| (31..=32).contains(n)));
    }
}
