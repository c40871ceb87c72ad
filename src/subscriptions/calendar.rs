//! Months and days in UTC: where periods begin.

use crate::clock::UnixMs;

/// Milliseconds of a UTC day.
const DAY_MS: i64 = 86_400_000;
/// Days of 400 years, after which the calendar repeats.
const CYCLE_DAYS: i64 = 146_097;
/// From the first of March of the year 0 to the epoch.
const EPOCH_DAYS: i64 = 719_468;

/// A UTC day, counted from the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i64);

impl Day {
    #[must_use]
    pub const fn of(at: UnixMs) -> Self {
        Self(at.0.div_euclid(DAY_MS))
    }

    /// Its first moment.
    #[must_use]
    pub const fn start(self) -> UnixMs {
        UnixMs(self.0.saturating_mul(DAY_MS))
    }

    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// As in `2028-02-29`.
    #[must_use]
    pub fn iso(self) -> String {
        let (month, day) = Month::and_day(self);
        format!("{:04}-{:02}-{day:02}", month.year(), month.number())
    }
}

/// A month of a year: the year times twelve and the month from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Month(i64);

impl Month {
    /// The month that a day is in, and which of its days it is, from 1. Years are counted from March, so that the leap
    /// day is the last of its year.
    fn and_day(day: Day) -> (Self, i64) {
        let days = day.0 + EPOCH_DAYS;
        let (cycle, days) = (days.div_euclid(CYCLE_DAYS), days.rem_euclid(CYCLE_DAYS));
        let year = (days - days / 1460 + days / 36_524 - days / (CYCLE_DAYS - 1)) / 365;
        let days = days - (365 * year + year / 4 - year / 100);
        let month = (5 * days + 2) / 153;
        let day = days - (153 * month + 2) / 5 + 1;
        (Self((cycle * 400 + year) * 12 + month + 2), day)
    }

    /// Its first day.
    fn start(self) -> Day {
        let from_march = self.0 - 2;
        let (year, month) = (from_march.div_euclid(12), from_march.rem_euclid(12));
        let (cycle, year) = (year.div_euclid(400), year.rem_euclid(400));
        let days = 365 * year + year / 4 - year / 100 + (153 * month + 2) / 5;
        Day(cycle * CYCLE_DAYS + days - EPOCH_DAYS)
    }

    fn days(self) -> i64 {
        self.next().start().0 - self.start().0
    }

    const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    const fn previous(self) -> Self {
        Self(self.0 - 1)
    }

    const fn year(self) -> i64 {
        self.0.div_euclid(12)
    }

    /// From 1.
    const fn number(self) -> i64 {
        self.0.rem_euclid(12) + 1
    }
}

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
            Period { start, end: self.in_month(month.next()) }
        } else {
            Period { start: self.in_month(month.previous()), end: start }
        }
    }

    /// The start of the period so many periods after the one that begins at `start`.
    #[must_use]
    pub fn after(self, start: UnixMs, periods: u32) -> UnixMs {
        let (month, _) = Month::and_day(Day::of(start));
        self.in_month(Month(month.0 + i64::from(periods)))
    }

    fn in_month(self, month: Month) -> UnixMs {
        let day = self.day.min(month.days());
        UnixMs((month.start().0 + day - 1) * DAY_MS + self.time_of_day_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Anchor, DAY_MS, Day, Month};
    use crate::clock::UnixMs;

    /// Days one after the other, by the rules everybody knows.
    fn every_day_from_1970_to_2400() -> impl Iterator<Item = (i64, i64, i64)> {
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = move |year, month| match month {
            2 if leap(year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        (1970..2400).flat_map(move |year| {
            (1..=12).flat_map(move |month| (1..=days(year, month)).map(move |day| (year, month, day)))
        })
    }

    #[test]
    fn days_have_their_dates() {
        for (number, (year, month, day)) in (0..).zip(every_day_from_1970_to_2400()) {
            assert_eq!(Day(number).iso(), format!("{year:04}-{month:02}-{day:02}"));
            let (found, day_of_month) = Month::and_day(Day(number));
            assert_eq!((found.start().0, day_of_month), (number - day + 1, day));
        }
        assert_eq!(Day(-1).iso(), "1969-12-31");
    }

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
