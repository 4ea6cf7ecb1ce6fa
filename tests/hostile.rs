//! Hostile bytes in a table: the oracle of the fuzz target `table`, driven by seeds. The seed of a failing round is in the
//! message; TIDEGATE_HOSTILE_ROUNDS asks for more rounds, TIDEGATE_HOSTILE_SEED begins elsewhere.

#[path = "../fuzz/oracles/table.rs"]
mod table;

const THREADS: u64 = 8;

#[test]
fn hostile_bytes_do_not_hurt() {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let rounds = number("TIDEGATE_HOSTILE_ROUNDS").unwrap_or(3000);
    let start = number("TIDEGATE_HOSTILE_SEED").unwrap_or(1);
    // Rounds wait most of the time, for owners of the control word that damage has made up.
    std::thread::scope(|scope| {
        for first in start..start + THREADS {
            scope.spawn(move || {
                for seed in (first..start + rounds).step_by(THREADS as usize) {
                    let round = std::panic::catch_unwind(|| table::run(&seed.to_le_bytes()));
                    assert!(round.is_ok(), "round {seed}");
                }
            });
        }
    });
}
