//! Where periods begin.

use crate::{
    calendar::{DAY_MS, Day, Month},
    clock::UnixMs,
};

/// From its first moment up to, and without, its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub start: UnixMs,
    pub end: UnixMs,
}

impl Period {
    #[must_use]
    pub fn contains(self, at: UnixMs) -> bool {
        (self.start..self.end).contains(&at)
    }
}

/// When periods begin: on this day of the month, or the month's last where it is shorter, and at this time of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// From 1 to 31.
    day: i64,
    time_of_day_ms: i64,
}

impl Anchor {
    /// Of periods the first of which begins at this moment.
    #[must_use]
    pub fn at(start: UnixMs) -> Self {
        let (_, day) = Month::and_day(Day::of(start));
        Self { day, time_of_day_ms: start.0.rem_euclid(DAY_MS) }
    }

    /// As it is stored: the day, and any start of a period. `None` for a day that no month has.
    #[must_use]
    pub fn from_stored(day: i64, period_start: UnixMs) -> Option<Self> {
        (1..=31).contains(&day).then(|| Self { day, time_of_day_ms: period_start.0.rem_euclid(DAY_MS) })
    }

    /// The day of the month, from 1 to 31.
    #[must_use]
    pub const fn day(self) -> i64 {
        self.day
    }

    /// The period that this moment lies in.
    #[must_use]
    pub fn period(self, at: UnixMs) -> Period {
        let (month, _) = Month::and_day(Day::of(at));
        let start = self.in_month(month);
        if start <= at {
            Period { start, end: self.in_month(month.later(1)) }
        } else {
            Period { start: self.in_month(month.later(-1)), end: start }
        }
    }

    /// The start of the period so many periods after the one that begins at `start`.
    #[must_use]
    pub fn after(self, start: UnixMs, periods: u32) -> UnixMs {
        let (month, _) = Month::and_day(Day::of(start));
        self.in_month(month.later(periods.into()))
    }

    fn in_month(self, month: Month) -> UnixMs {
        let day = self.day.min(month.days());
        UnixMs((month.start().0 + day - 1) * DAY_MS + self.time_of_day_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Anchor;
    use crate::{
        calendar::{DAY_MS, Day},
        clock::UnixMs,
    };

    #[track_caller]
    fn starts(from: &str, expected: &[&str]) {
        let day = (0..100_000).find(|day| Day(*day).iso() == from).unwrap();
        let start = UnixMs(day * DAY_MS + 45_296_789);
        let anchor = Anchor::at(start);
        let mut at = start;
        for expected in expected {
            let period = anchor.period(at);
            assert_eq!(period.start, at);
            assert_eq!(anchor.after(at, 1), period.end);
            at = period.end;
            assert_eq!((Day::of(at).iso().as_str(), at.0.rem_euclid(DAY_MS)), (*expected, 45_296_789));
        }
    }

    #[test]
    fn the_31st_comes_back_after_shorter_months() {
        let rest = ["2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31", "2027-06-30", "2027-07-31"];
        starts("2027-01-31", &rest);
        starts("2027-12-31", &["2028-01-31", "2028-02-29", "2028-03-31"]);
        starts("2099-12-31", &["2100-01-31", "2100-02-28", "2100-03-31"]);
        starts("2027-01-30", &["2027-02-28", "2027-03-30"]);
        starts("2028-02-29", &["2028-03-29"]);
        starts("2027-11-15", &["2027-12-15", "2028-01-15"]);
    }

    proptest! {
        /// Periods follow each other without gaps, and are 28 to 31 days long.
        #[test]
        fn periods_cover_all_time(start in 0..8_000_000_000_000_i64, at in 0..8_000_000_000_000_i64) {
            let (anchor, at) = (Anchor::at(UnixMs(start)), UnixMs(at));
            let period = anchor.period(at);
            prop_assert!(period.contains(at));
            prop_assert!((28..=31).contains(&((period.end.0 - period.start.0) / DAY_MS)));
            prop_assert_eq!(anchor.period(period.end).start, period.end);
            prop_assert_eq!(anchor.period(UnixMs(period.end.0 - 1)), period);
            prop_assert_eq!(anchor.period(period.start), period);
            prop_assert_eq!(Anchor::from_stored(anchor.day(), period.start), Some(anchor));
        }

        #[test]
        fn many_periods_are_one_and_one(start in 0..8_000_000_000_000_i64, periods in 0_u32..30) {
            let start = UnixMs(start);
            let anchor = Anchor::at(start);
            let one_by_one = (0..periods).fold(start, |at, _| anchor.after(at, 1));
            prop_assert_eq!(anchor.after(start, periods), one_by_one);
        }
    }
}
