//! How far each endpoint was when it last answered.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many slots an endpoint may be behind the others: some 20 seconds.
pub(super) const MAX_LAG: u64 = 50;
/// How many slots the last final block is behind the newest one.
pub(super) const FINALITY_DEPTH: u64 = 32;

/// The newest slot of each endpoint's last answer, 0 before the first. The last and not the highest: what an endpoint
/// once made up is gone with its next answer.
#[derive(Debug)]
pub(super) struct Slots(Vec<AtomicU64>);

impl Slots {
    pub fn new(endpoints: usize) -> Self {
        Self((0..endpoints).map(|_| AtomicU64::new(0)).collect())
    }

    pub fn saw(&self, endpoint: usize, slot: u64) {
        self.0[endpoint].store(slot, Ordering::Relaxed);
    }

    pub fn highest(&self) -> u64 {
        self.0.iter().map(|slot| slot.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    /// How far `slot` is behind the furthest of the other endpoints.
    pub fn lag(&self, endpoint: usize, slot: u64) -> u64 {
        let others = self.0.iter().enumerate().filter(|(index, _)| *index != endpoint);
        let highest = others.map(|(_, slot)| slot.load(Ordering::Relaxed)).max().unwrap_or(0);
        highest.saturating_sub(slot)
    }
}
