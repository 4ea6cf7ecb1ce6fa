//! Which pool a pick begins with, and where it goes from there.
//!
//! Primaries before backups and near before far, or as the shares say that `table::capacity` keeps: a priority is drawn,
//! and in it near or far. Where a pick finds nobody in its pool it goes on to the other side of the same priority, then
//! to the other priority. A key draws by its hash and so stays in its pool while the shares stay.
//!
//! Bound: a pool's picks are its share of n within ± 6·√n/2, those excepted that find nobody there.

use super::Filter;
use crate::table::POOLS;

/// The order without shares.
pub(super) const IN_ORDER: [usize; POOLS] = [0, 1, 2, 3];

/// The order of the pools for one pick.
#[cold]
pub(super) fn drawn(filter: &Filter) -> [usize; POOLS] {
    let shares = filter.table.shares(filter.upstream);
    let exceeds = |salt: u64, share: u32| (filter.draw(salt) >> 48) as u32 >= share;
    let backups = exceeds(PRIORITY, shares.primary());
    let far = [false, true].map(|backup| exceeds(ZONE, shares.near(backup)));
    let pool = |backup: bool, far: bool| usize::from(backup) * 2 + usize::from(far);
    let side = |backup: bool| far[usize::from(backup)];
    [
        pool(backups, side(backups)),
        pool(backups, !side(backups)),
        pool(!backups, side(!backups)),
        pool(!backups, !side(!backups)),
    ]
}

/// What keeps the draws of one key apart.
const PRIORITY: u64 = 0x517c_c1b7_2722_0a95;
const ZONE: u64 = 0x2545_f491_4f6c_dd1d;
