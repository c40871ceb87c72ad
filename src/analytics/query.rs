//! Which time is asked about.

use super::calendar::{Period, UnknownPeriod};
use crate::{calendar::DAY_MS, clock::UnixMs, input::FieldErrors};

/// How many points a series has, at most.
pub const MAX_BUCKETS: usize = 1000;
/// The end of the year 9999, beyond which nobody asks.
const LAST_MS: i64 = 253_402_300_800_000;

/// From one UTC hour to another, which does not belong to it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub from: UnixMs,
    pub to: UnixMs,
}

impl Window {
    /// All of it.
    pub const ALL: Self = Self { from: UnixMs(0), to: UnixMs(LAST_MS) };

    /// Reads `from` and `to`, rounded to whole hours; without `to` up to and with the hour of `now`, without `from` from
    /// `days` days before.
    ///
    /// # Errors
    /// Says of each what is wrong with it.
    pub fn of_days(
        days: i64,
        from: Option<&str>,
        to: Option<&str>,
        now: UnixMs,
    ) -> Result<Self, FieldErrors> {
        let days_before = |to: UnixMs| UnixMs((to.0 - days * DAY_MS).max(0));
        Self::read(from, to, Period::Hour, days_before, next(Period::Hour, now))
    }

    /// Reads `from` and `to`, rounded to whole hours; what is not said is not bounded.
    ///
    /// # Errors
    /// Says of each what is wrong with it.
    pub fn of_all(from: Option<&str>, to: Option<&str>) -> Result<Self, FieldErrors> {
        Self::read(from, to, Period::Hour, |_| Self::ALL.from, Self::ALL.to)
    }

    fn read(
        from: Option<&str>,
        to: Option<&str>,
        period: Period,
        default_from: impl FnOnce(UnixMs) -> UnixMs,
        default_to: UnixMs,
    ) -> Result<Self, FieldErrors> {
        let mut errors = FieldErrors::default();
        let mut time = |field, text: Option<&str>, first: i64| {
            let time = text.map(|text| text.parse().ok().filter(|time| (first..=LAST_MS).contains(time)));
            if time == Some(None) {
                errors.add(field, format!("must be Unix milliseconds, {first} to {LAST_MS}"));
            }
            time.flatten().map(UnixMs)
        };
        let (from, to) = (time("from", from, 0), time("to", to, 1));
        if !errors.is_empty() {
            return Err(errors);
        }
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            return Err(FieldErrors::one("from", "must be before to"));
        }
        let to = to.map_or(default_to, |to| period.end_of(to));
        let from = from.map_or_else(|| default_from(to), |from| period.start_of(from));
        if from >= to {
            return Err(FieldErrors::one("from", "must not be in the future: give to as well"));
        }
        Ok(Self { from, to })
    }

    /// The whole UTC days in it, and thereby the hours before and after them. Without any they begin and end with the
    /// window's end.
    #[must_use]
    pub const fn whole_days(self) -> Self {
        self.whole(DAY_MS)
    }

    /// The whole spans of that length in it, as with days.
    #[must_use]
    pub const fn whole(self, span_ms: i64) -> Self {
        let from = self.from.0 + (-self.from.0).rem_euclid(span_ms);
        let to = self.to.0 - self.to.0.rem_euclid(span_ms);
        if from < to {
            Self { from: UnixMs(from), to: UnixMs(to) }
        } else {
            Self { from: self.to, to: self.to }
        }
    }
}

/// When the period after the one of `now` begins: what is of this very moment belongs to what is shown.
fn next(period: Period, now: UnixMs) -> UnixMs {
    period.later(period.start_of(now), 1)
}

/// Both, or everything that is wrong with either.
pub(super) fn both<A, B>(
    one: Result<A, FieldErrors>,
    other: Result<B, FieldErrors>,
) -> Result<(A, B), FieldErrors> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(mut errors), Err(more)) => {
            for error in more.into_details() {
                errors.add(&error.field, error.message);
            }
            Err(errors)
        }
        (Err(errors), Ok(_)) | (Ok(_), Err(errors)) => Err(errors),
    }
}

/// Periods, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    pub period: Period,
    /// When each begins, and at last when the last one ends.
    bounds: Vec<UnixMs>,
}

impl Buckets {
    /// Reads `period`, `from` and `to`. Times are rounded to whole periods; without `to` they end with the one of `now`,
    /// without `from` there are as many as are [shown](Period::shown).
    ///
    /// # Errors
    /// Says of each what is wrong with it, or that there would be too many.
    pub fn read(
        period: Option<&str>,
        from: Option<&str>,
        to: Option<&str>,
        now: UnixMs,
    ) -> Result<Self, FieldErrors> {
        let period = period.map_or(Ok(Period::Day), str::parse);
        let period =
            period.map_err(|unknown: UnknownPeriod| FieldErrors::one("period", format!("{unknown}")));
        // The times are read whatever is wrong with that.
        let of = *period.as_ref().unwrap_or(&Period::Day);
        // A week may begin before 1970.
        let some_before = |to| of.later(to, -of.shown()).max(of.start_of(UnixMs(0)));
        let (period, window) = both(period, Window::read(from, to, of, some_before, next(of, now)))?;
        Self::within(period, window)
    }

    fn within(period: Period, window: Window) -> Result<Self, FieldErrors> {
        let mut bounds = vec![window.from];
        let mut start = window.from;
        while start < window.to {
            if bounds.len() > MAX_BUCKETS {
                let problem = format!(
                    "is more than {MAX_BUCKETS} times the period {} before to: move them together, or ask for a longer \
                     period",
                    period.as_str()
                );
                return Err(FieldErrors::one("from", problem));
            }
            start = period.later(start, 1);
            bounds.push(start);
        }
        Ok(Self { period, bounds })
    }

    #[must_use]
    pub fn window(&self) -> Window {
        let first = self.bounds.first().copied().unwrap_or(UnixMs(0));
        Window { from: first, to: self.bounds.last().copied().unwrap_or(first) }
    }

    /// When each begins and ends.
    #[must_use]
    pub fn spans(&self) -> impl ExactSizeIterator<Item = (UnixMs, UnixMs)> {
        self.bounds.windows(2).map(|pair| (pair[0], pair[1]))
    }

    /// Which one `at` falls into.
    #[must_use]
    pub fn position(&self, at: UnixMs) -> Option<usize> {
        let after = self.bounds.partition_point(|bound| *bound <= at);
        (after < self.bounds.len()).then(|| after.checked_sub(1)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Buckets, LAST_MS, MAX_BUCKETS, Window};
    use crate::{
        analytics::{EIGHT_DAYS_MS, Period},
        calendar::{DAY_MS, HOUR_MS},
        clock::UnixMs,
    };

    /// Thursday, 1 January 2026, 12:34:56.
    const NOW: UnixMs = UnixMs(1_767_270_896_000);
    const NEW_YEAR: i64 = 1_767_225_600_000;

    fn buckets(period: &str, from: Option<&str>, to: Option<&str>) -> Result<Buckets, String> {
        Buckets::read(Some(period), from, to, NOW).map_err(|errors| {
            let errors = errors.into_details();
            let lines: Vec<_> =
                errors.iter().map(|error| format!("{} {}", error.field, error.message)).collect();
            lines.join("; ")
        })
    }

    #[test]
    fn without_from_and_to_it_ends_with_the_period_of_now() {
        for (period, count, first, last) in [
            ("hour", 24, NEW_YEAR - 11 * HOUR_MS, NEW_YEAR + 13 * HOUR_MS),
            ("day", 30, NEW_YEAR - 29 * DAY_MS, NEW_YEAR + DAY_MS),
            ("week", 12, NEW_YEAR - (3 + 11 * 7) * DAY_MS, NEW_YEAR + 4 * DAY_MS),
            ("month", 12, NEW_YEAR - 334 * DAY_MS, NEW_YEAR + 31 * DAY_MS),
        ] {
            let buckets = buckets(period, None, None).unwrap();
            assert_eq!(buckets.spans().len(), count, "{period}");
            assert_eq!(buckets.window(), Window { from: UnixMs(first), to: UnixMs(last) }, "{period}");
            assert!(buckets.position(NOW) == Some(count - 1), "{period}");
        }
        assert_eq!(Buckets::read(None, None, None, NOW), Ok(buckets("day", None, None).unwrap()));
    }

    #[test]
    fn times_are_rounded_to_whole_periods() {
        let (from, to) = ((NEW_YEAR - 1).to_string(), (NEW_YEAR + 1).to_string());
        for (period, first, last) in [
            ("hour", NEW_YEAR - HOUR_MS, NEW_YEAR + HOUR_MS),
            ("day", NEW_YEAR - DAY_MS, NEW_YEAR + DAY_MS),
            ("week", NEW_YEAR - 3 * DAY_MS, NEW_YEAR + 4 * DAY_MS),
            ("month", NEW_YEAR - 31 * DAY_MS, NEW_YEAR + 31 * DAY_MS),
        ] {
            let window = buckets(period, Some(&from), Some(&to)).unwrap().window();
            assert_eq!(window, Window { from: UnixMs(first), to: UnixMs(last) }, "{period}");
        }
        let exact = buckets("day", Some("1767225600000"), Some("1767312000000")).unwrap();
        assert_eq!(exact.window(), Window { from: UnixMs(NEW_YEAR), to: UnixMs(NEW_YEAR + DAY_MS) });
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (period, from, to, said) in [
            ("days", None, None, "period must be hour, day, week or month"),
            ("day", Some("-1"), None, "from must be Unix milliseconds"),
            ("day", Some(""), Some("1"), "from must be Unix milliseconds"),
            ("day", Some("1.0"), None, "from must be Unix milliseconds"),
            ("day", None, Some("0"), "to must be Unix milliseconds, 1 to"),
            ("day", None, Some("253402300800001"), "to must be Unix milliseconds"),
            ("day", Some("5"), Some("5"), "from must be before to"),
            ("day", Some("1767400000000"), None, "from must not be in the future"),
            ("hour", Some("0"), None, "from is more than 1000 times the period hour"),
        ] {
            let error = buckets(period, from, to).unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
        assert_eq!(buckets("day", Some("x"), Some("y")).unwrap_err().matches("must be Unix").count(), 2);
    }

    #[test]
    fn a_thousand_are_enough_and_no_more() {
        let to = |hours: i64| (hours * HOUR_MS).to_string();
        let most = i64::try_from(MAX_BUCKETS).unwrap();
        assert_eq!(buckets("hour", Some("0"), Some(&to(most))).unwrap().spans().len(), MAX_BUCKETS);
        assert!(buckets("hour", Some("0"), Some(&to(most + 1))).is_err());
        assert!(buckets("month", Some("0"), Some(&LAST_MS.to_string())).is_err());
        let first = buckets("week", None, Some("1")).unwrap();
        assert_eq!(first.window(), Window { from: UnixMs(-3 * DAY_MS), to: UnixMs(4 * DAY_MS) });
    }

    #[test]
    fn windows_are_of_whole_hours() {
        let read = |from, to| Window::of_days(30, from, to, NOW).unwrap();
        let next_hour = NEW_YEAR + 13 * HOUR_MS;
        assert_eq!(read(None, None), Window { from: UnixMs(next_hour - 30 * DAY_MS), to: UnixMs(next_hour) });
        assert_eq!(read(Some("1"), Some("2")), Window { from: UnixMs(0), to: UnixMs(HOUR_MS) });
        assert_eq!(read(None, Some("2")), Window { from: UnixMs(0), to: UnixMs(HOUR_MS) });
        assert_eq!(Window::of_all(None, None), Ok(Window::ALL));
    }

    proptest! {
        /// The hours before, the days, and the hours after are the window, and nothing twice.
        #[test]
        fn whole_days_part_a_window(from in 0..200_i64, hours in 1..200_i64) {
            let window = Window { from: UnixMs(from * HOUR_MS), to: UnixMs((from + hours) * HOUR_MS) };
            let days = window.whole_days();
            prop_assert!(window.from <= days.from && days.from <= days.to && days.to <= window.to);
            prop_assert!(days.from == days.to || days.from.0 % DAY_MS == 0 && days.to.0 % DAY_MS == 0);
            let at_the_end = if days.from == days.to { window.from.0 } else { days.to.0 };
            prop_assert!(window.to.0 - at_the_end < 2 * DAY_MS);
            prop_assert!(days.from == days.to || days.from.0 - window.from.0 < DAY_MS);
        }

        /// And so do longer spans the days.
        #[test]
        fn longer_spans_part_the_days(from in 0..2000_i64, hours in 1..2000_i64) {
            let window = Window { from: UnixMs(from * HOUR_MS), to: UnixMs((from + hours) * HOUR_MS) };
            let days = window.whole_days();
            let long = days.whole(EIGHT_DAYS_MS);
            prop_assert!(days.from <= long.from && long.from <= long.to && long.to <= days.to);
            let whole = long.from.0 % EIGHT_DAYS_MS == 0 && long.to.0 % EIGHT_DAYS_MS == 0;
            prop_assert!(long.from == long.to || whole);
            prop_assert!(long.from != long.to || days.to.0 - days.from.0 < 2 * EIGHT_DAYS_MS);
        }

        /// A moment is in the one bucket whose span it is in, and in none outside.
        #[test]
        fn a_moment_is_in_one_bucket(at in 1_700_000_000_000..1_800_000_000_000_i64) {
            for period in Period::ALL {
                let buckets = buckets(period.as_str(), None, None).unwrap();
                let found = buckets.spans().position(|(start, end)| start.0 <= at && at < end.0);
                prop_assert_eq!(buckets.position(UnixMs(at)), found);
            }
        }
    }
}
