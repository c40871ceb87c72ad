//! UTC days and months of the calendar.

use crate::clock::UnixMs;

/// Milliseconds of an hour.
pub const HOUR_MS: i64 = 3_600_000;
/// Milliseconds of a UTC day.
pub const DAY_MS: i64 = 24 * HOUR_MS;
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
pub struct Month(i64);

impl Month {
    /// The month that a day is in, and which of its days it is, from 1. Years are counted from March, so that the leap
    /// day is the last of its year.
    #[must_use]
    pub const fn and_day(day: Day) -> (Self, i64) {
        let days = day.0 + EPOCH_DAYS;
        let (cycle, days) = (days.div_euclid(CYCLE_DAYS), days.rem_euclid(CYCLE_DAYS));
        let year = (days - days / 1460 + days / 36_524 - days / (CYCLE_DAYS - 1)) / 365;
        let days = days - (365 * year + year / 4 - year / 100);
        let month = (5 * days + 2) / 153;
        let day = days - (153 * month + 2) / 5 + 1;
        (Self((cycle * 400 + year) * 12 + month + 2), day)
    }

    /// Its first day.
    #[must_use]
    pub const fn start(self) -> Day {
        let from_march = self.0 - 2;
        let (year, month) = (from_march.div_euclid(12), from_march.rem_euclid(12));
        let (cycle, year) = (year.div_euclid(400), year.rem_euclid(400));
        let days = 365 * year + year / 4 - year / 100 + (153 * month + 2) / 5;
        Day(cycle * CYCLE_DAYS + days - EPOCH_DAYS)
    }

    /// How many it has.
    #[must_use]
    pub const fn days(self) -> i64 {
        self.later(1).start().0 - self.start().0
    }

    /// The one so many months later; earlier, where that is negative.
    #[must_use]
    pub const fn later(self, months: i64) -> Self {
        Self(self.0 + months)
    }

    const fn year(self) -> i64 {
        self.0.div_euclid(12)
    }

    /// From 1.
    const fn number(self) -> i64 {
        self.0.rem_euclid(12) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::{Day, Month};
    use crate::clock::UnixMs;

    #[test]
    fn a_day_ends_when_the_next_one_begins() {
        assert_eq!(Day::of(UnixMs(86_399_999)), Day(0));
        assert_eq!(Day::of(UnixMs(86_400_000)), Day(1));
        assert_eq!(Day::of(UnixMs(-1)), Day(-1));
        assert_eq!(Day(0).next().start(), UnixMs(86_400_000));
    }

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
}
