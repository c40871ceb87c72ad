//! How far each endpoint was when it last answered.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How many slots an endpoint may be behind the others: some 20 seconds.
pub(super) const MAX_LAG: u64 = 50;
/// How many slots the last final block is behind the newest one.
pub(super) const FINALITY_DEPTH: u64 = 32;
/// No chain gets here for thousands of years: who says so makes it up.
pub(super) const MAX_SLOT: u64 = 1 << 40;
/// For how long others are held against what an endpoint said. What it made up is forgotten by then, also when it never
/// answers again.
const FRESH_FOR: Duration = Duration::from_secs(30);
/// An endpoint whose slot does not grow for so long has lost the chain.
const STUCK_AFTER: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
struct Sighting {
    slot: u64,
    at: Instant,
    /// The highest one, and when it was first said. Methods differ in which slot they tell, by less than an endpoint may be
    /// behind: going back and forth between those is not growing.
    highest: u64,
    grew_at: Instant,
}

/// The newest slot of each endpoint's last answer. The last and not the highest: what an endpoint once made up is gone with
/// its next answer.
#[derive(Debug)]
pub(super) struct Slots(Mutex<Vec<Option<Sighting>>>);

impl Slots {
    pub fn new(endpoints: usize) -> Self {
        Self(Mutex::new(vec![None; endpoints]))
    }

    fn sightings(&self) -> MutexGuard<'_, Vec<Option<Sighting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn saw(&self, endpoint: usize, slot: u64, now: Instant) {
        let sighting = &mut self.sightings()[endpoint];
        let no_news = |before: &Sighting| slot <= before.highest && before.highest - slot <= MAX_LAG;
        let (highest, grew_at) =
            sighting.filter(no_news).map_or((slot, now), |before| (before.highest, before.grew_at));
        *sighting = Some(Sighting { slot, at: now, highest, grew_at });
    }

    /// What the endpoints have said lately, without that of one of them, in ascending order.
    fn fresh(&self, except: Option<usize>, now: Instant) -> Vec<u64> {
        let sightings = self.sightings();
        let others = sightings.iter().enumerate().filter(|(index, _)| Some(*index) != except);
        let fresh = others.filter_map(|(_, seen)| seen.filter(|seen| seen.at + FRESH_FOR > now));
        let mut slots: Vec<u64> = fresh.map(|seen| seen.slot).collect();
        slots.sort_unstable();
        slots
    }

    pub fn highest(&self, now: Instant) -> u64 {
        self.fresh(None, now).last().copied().unwrap_or(0)
    }

    /// How far `slot` is behind the other endpoints: behind the middle one of them, the lower one of two, so that one that
    /// is ahead of all the others leaves nobody behind. Of two endpoints, either is all there is to compare the other with.
    pub fn lag(&self, endpoint: usize, slot: u64, now: Instant) -> u64 {
        let others = self.fresh(Some(endpoint), now);
        let middle = others.get(others.len().saturating_sub(1) / 2).copied().unwrap_or(0);
        middle.saturating_sub(slot)
    }

    /// Whether an endpoint answers, and yet hears of no new slot; and as many do hear of some. Where most hear of none, it may
    /// be the chain that stands still, and whoever says that it goes on makes it up.
    pub fn is_stuck(&self, endpoint: usize, now: Instant) -> bool {
        let hears_of_none = |seen: &Sighting| seen.grew_at + STUCK_AFTER <= now;
        let sightings = self.sightings();
        let fresh = || sightings.iter().flatten().filter(|seen| seen.at + FRESH_FOR > now);
        let stuck = fresh().filter(|seen| hears_of_none(seen)).count();
        sightings[endpoint].as_ref().is_some_and(hears_of_none) && fresh().count() - stuck >= stuck
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{FRESH_FOR, STUCK_AFTER, Slots};

    #[test]
    fn one_that_is_ahead_of_two_others_leaves_nobody_behind() {
        for liar in 0..3 {
            let (slots, now) = (Slots::new(3), Instant::now());
            for endpoint in 0..3 {
                slots.saw(endpoint, if endpoint == liar { 1_000_000 } else { 1_000 }, now);
            }
            for endpoint in 0..3 {
                assert_eq!(slots.lag(endpoint, 1_000, now), 0, "{endpoint} beside {liar}");
            }
        }
    }

    #[test]
    fn one_that_is_behind_two_others_is_found_out() {
        let (slots, now) = (Slots::new(3), Instant::now());
        slots.saw(0, 1_000, now);
        slots.saw(1, 1_003, now);
        slots.saw(2, 400, now);
        assert_eq!(slots.lag(2, 400, now), 600);
        assert_eq!(slots.lag(1, 1_003, now), 0);
    }

    #[test]
    fn what_was_said_long_ago_is_held_against_nobody() {
        let (slots, now) = (Slots::new(2), Instant::now());
        slots.saw(0, 1_000_000, now);
        slots.saw(1, 1_000, now);
        assert_eq!(slots.lag(1, 1_000, now), 999_000);
        assert_eq!(slots.lag(1, 1_000, now + FRESH_FOR), 0);
        assert_eq!((slots.highest(now), slots.highest(now + FRESH_FOR)), (1_000_000, 0));
    }

    #[test]
    fn who_hears_of_no_new_slot_is_stuck() {
        let (slots, now) = (Slots::new(2), Instant::now());
        assert!(!slots.is_stuck(0, now));
        slots.saw(0, 1_000, now);
        slots.saw(0, 1_032, now);
        let later = now + STUCK_AFTER;
        for slot in [1_000, 1_032, 1_001] {
            slots.saw(0, slot, later);
            slots.saw(1, 1_100, later);
            assert!(slots.is_stuck(0, later), "{slot}");
        }
        slots.saw(0, 1_033, later);
        assert!(!slots.is_stuck(0, later));
        // What it once made up is no reason to think so.
        slots.saw(0, 1_000_000, later);
        slots.saw(0, 1_034, later);
        assert!(!slots.is_stuck(0, later + STUCK_AFTER / 2));
    }

    #[test]
    fn one_that_goes_on_does_not_make_two_others_stuck() {
        let (slots, now) = (Slots::new(3), Instant::now());
        let stuck = |at| [0, 1, 2].map(|endpoint| slots.is_stuck(endpoint, at));
        for at in [now, now + STUCK_AFTER] {
            slots.saw(0, 1_000, at);
            slots.saw(1, 1_001, at);
            slots.saw(2, if at == now { 1_000 } else { 1_040 }, at);
        }
        assert_eq!(stuck(now + STUCK_AFTER), [false, false, false]);
        // Two that go on do.
        slots.saw(1, 1_041, now + STUCK_AFTER);
        assert_eq!(stuck(now + STUCK_AFTER), [true, false, false]);
        // And one does where there is no third.
        let (slots, later) = (Slots::new(2), now + STUCK_AFTER);
        slots.saw(0, 1_000, now);
        slots.saw(0, 1_000, later);
        assert!(!slots.is_stuck(0, later), "nobody says otherwise");
        slots.saw(1, 1_040, later);
        assert!(slots.is_stuck(0, later));
    }
}
