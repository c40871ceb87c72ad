//! Stretches of UTC time, and when each begins.

use std::str::FromStr;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    calendar::{DAY_MS, Day, HOUR_MS, Month},
    clock::UnixMs,
};

/// Counted from 1970 on.
pub const EIGHT_DAYS_MS: i64 = 8 * DAY_MS;

/// What a series has a point for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    Hour,
    /// From midnight to midnight, UTC.
    Day,
    /// From Monday to Sunday, UTC, as in ISO 8601.
    Week,
    /// A month of the calendar, UTC.
    Month,
}

/// A period there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be hour, day, week or month")]
pub struct UnknownPeriod;

impl FromStr for Period {
    type Err = UnknownPeriod;

    fn from_str(text: &str) -> Result<Self, UnknownPeriod> {
        Self::ALL.into_iter().find(|period| period.as_str() == text).ok_or(UnknownPeriod)
    }
}

impl Period {
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Month];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// How many of them are shown where nothing else is asked for.
    #[must_use]
    pub const fn shown(self) -> i64 {
        match self {
            Self::Hour => 24,
            Self::Day => 30,
            Self::Week | Self::Month => 12,
        }
    }

    /// The largest span that the sums are kept by and that each of these is made of.
    #[must_use]
    pub const fn span_ms(self) -> i64 {
        match self {
            Self::Hour => HOUR_MS,
            Self::Day | Self::Week | Self::Month => DAY_MS,
        }
    }

    /// When the one that `at` falls into begins.
    #[must_use]
    pub fn start_of(self, at: UnixMs) -> UnixMs {
        let day = Day::of(at);
        match self {
            Self::Hour => UnixMs(at.0 - at.0.rem_euclid(HOUR_MS)),
            Self::Day => day.start(),
            // 1 January 1970 was a Thursday.
            Self::Week => Day(day.0 - (day.0 + 3).rem_euclid(7)).start(),
            Self::Month => Month::and_day(day).0.start().start(),
        }
    }

    /// When the one begins that is `count` later than the one that begins at `start`; earlier, where `count` is negative.
    #[must_use]
    pub fn later(self, start: UnixMs, count: i64) -> UnixMs {
        match self {
            Self::Hour => UnixMs(start.0 + count * HOUR_MS),
            Self::Day => UnixMs(start.0 + count * DAY_MS),
            Self::Week => UnixMs(start.0 + count * 7 * DAY_MS),
            Self::Month => Month::and_day(Day::of(start)).0.later(count).start().start(),
        }
    }

    /// `at`, where one begins then, else when the next one begins.
    #[must_use]
    pub fn end_of(self, at: UnixMs) -> UnixMs {
        let start = self.start_of(at);
        if start == at { at } else { self.later(start, 1) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Period;
    use crate::{
        calendar::{DAY_MS, HOUR_MS},
        clock::UnixMs,
    };

    fn days(year: i64, month: usize) -> i64 {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month]
    }

    /// Every day of 700 years, told by counting.
    #[test]
    fn months_begin_on_their_first_day() {
        let (mut year, mut month, mut of_month, mut start) = (1970, 0, 0, 0);
        for day in 0..365 * 700 {
            let at = UnixMs(day * DAY_MS + day % DAY_MS);
            assert_eq!(Period::Month.start_of(at), UnixMs(start), "{year}-{}", month + 1);
            of_month += 1;
            if of_month == days(year, month) {
                (month, of_month, start) = ((month + 1) % 12, 0, (day + 1) * DAY_MS);
                year += i64::from(month == 0);
                let last = Period::Month.start_of(at);
                assert_eq!(Period::Month.later(last, 1), UnixMs(start));
                assert_eq!(Period::Month.later(UnixMs(start), -1), last);
            }
        }
    }

    #[test]
    fn weeks_begin_on_mondays() {
        // 29 December 2025 and 5 January 2026 are Mondays.
        let (first, next) = (UnixMs(1_766_966_400_000), UnixMs(1_767_571_200_000));
        for (at, start) in [(first, first), (UnixMs(next.0 - 1), first), (next, next)] {
            assert_eq!(Period::Week.start_of(at), start, "{at:?}");
        }
        assert_eq!(Period::Week.later(first, 1), next);
        assert_eq!(Period::Week.start_of(UnixMs(0)), UnixMs(-3 * DAY_MS));
    }

    #[test]
    fn they_are_told_by_their_names() {
        for period in Period::ALL {
            assert_eq!(period.as_str().parse(), Ok(period));
        }
        assert!("Day".parse::<Period>().is_err() && "".parse::<Period>().is_err());
    }

    proptest! {
        /// Every moment is in exactly one, and stepping from one to another comes back.
        #[test]
        fn they_follow_each_other(at in 0..4_000_000_000_000_i64, count in -500..500_i64) {
            for period in Period::ALL {
                let start = period.start_of(UnixMs(at));
                let next = period.later(start, 1);
                prop_assert!(start.0 <= at && at < next.0);
                prop_assert_eq!(period.start_of(start), start);
                prop_assert_eq!(period.start_of(next), next);
                prop_assert_eq!(period.start_of(UnixMs(next.0 - 1)), start);
                prop_assert_eq!(period.later(period.later(start, count), -count), start);
                prop_assert_eq!(start.0 % period.span_ms(), 0);
                let end = if at == start.0 { start } else { next };
                prop_assert_eq!(period.end_of(UnixMs(at)), end);
                prop_assert!(next.0 - start.0 >= HOUR_MS);
            }
        }
    }
}
