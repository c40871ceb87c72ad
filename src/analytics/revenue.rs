//! Revenue: what was settled, by currency and period.

use super::{Buckets, Period, RevenueSum, Tally, Window};
use crate::{
    clock::UnixMs,
    money::{Currency, Sum},
};

/// One period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub start: UnixMs,
    pub end: UnixMs,
    pub tally: Tally,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrencyRevenue {
    pub currency: Currency,
    pub total: Tally,
    /// Every period, those too in which nothing was settled.
    pub series: Vec<Point>,
}

impl CurrencyRevenue {
    fn of(buckets: &Buckets, sums: &[RevenueSum], currency: Currency) -> Option<Self> {
        let own = || sums.iter().filter(|sum| sum.currency == Some(currency));
        own().next()?;
        let mut total = Tally::default();
        own().for_each(|sum| total.add(sum.tally));
        Some(Self { currency, total, series: series(buckets, own()) })
    }

    /// To the nearest atomic unit.
    #[must_use]
    pub fn average(&self) -> Option<Sum> {
        self.total.amount.average(self.total.payments)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revenue {
    pub period: Period,
    pub window: Window,
    /// In all currencies.
    pub payments: u64,
    /// Those in which anything was settled.
    pub currencies: Vec<CurrencyRevenue>,
    /// In mints that are no known currency.
    pub other_payments: u64,
}

impl Revenue {
    /// Adds the sums up by period.
    #[must_use]
    pub fn of(buckets: &Buckets, sums: &[RevenueSum]) -> Self {
        let payments = |wanted: &dyn Fn(&RevenueSum) -> bool| {
            sums.iter().filter(|sum| wanted(sum)).map(|sum| sum.tally.payments).sum()
        };
        Self {
            period: buckets.period,
            window: buckets.window(),
            payments: payments(&|_| true),
            currencies: Currency::ALL
                .into_iter()
                .filter_map(|currency| CurrencyRevenue::of(buckets, sums, currency))
                .collect(),
            other_payments: payments(&|sum| sum.currency.is_none()),
        }
    }
}

fn series<'a>(buckets: &Buckets, sums: impl Iterator<Item = &'a RevenueSum>) -> Vec<Point> {
    let empty = |(start, end)| Point { start, end, tally: Tally::default() };
    let mut points: Vec<Point> = buckets.spans().map(empty).collect();
    for sum in sums {
        // The sums are of the buckets' time.
        if let Some(point) = buckets.position(sum.start).and_then(|place| points.get_mut(place)) {
            point.tally.add(sum.tally);
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Revenue;
    use crate::{
        analytics::{Buckets, Period, RevenueSum, Tally},
        clock::UnixMs,
        money::{Currency, Sum},
    };

    const NOW: UnixMs = UnixMs(1_767_270_896_000);

    fn sum_of(at: i64, currency: Option<Currency>, units: u64) -> RevenueSum {
        let amount = Sum::from_atomic(u128::from(units));
        RevenueSum { start: UnixMs(at), currency, tally: Tally { payments: 1, amount } }
    }

    fn currencies() -> impl Strategy<Value = Option<Currency>> {
        (0..5_usize).prop_map(|number| Currency::ALL.get(number).copied())
    }

    proptest! {
        /// As if every payment were looked at for every point.
        #[test]
        fn every_payment_is_in_its_point(
            paid in prop::collection::vec((1_700_000_000_000..=NOW.0, currencies(), 1..=u64::MAX), 0..40),
            period in (0..4_usize).prop_map(|number| Period::ALL[number]),
        ) {
            let buckets = Buckets::read(Some(period.as_str()), None, None, NOW).unwrap();
            let window = buckets.window();
            let within: Vec<_> = paid.into_iter().filter(|(at, ..)| *at >= window.from.0).collect();
            let sums: Vec<_> = within
                .iter()
                .map(|(at, currency, units)| {
                    sum_of(at - at.rem_euclid(period.span_ms()), *currency, *units)
                })
                .collect();
            let revenue = Revenue::of(&buckets, &sums);

            let naive = |currency, from: UnixMs, to: UnixMs| {
                let own = within.iter().filter(|(at, of, _)| *of == currency && from.0 <= *at && *at < to.0);
                own.fold((0, 0), |(count, sum), (.., units)| (count + 1, sum + u128::from(*units)))
            };
            let plain = |tally: Tally| (tally.payments, tally.amount.atomic());
            prop_assert_eq!(revenue.payments, within.len() as u64);
            prop_assert_eq!(revenue.other_payments, naive(None, window.from, window.to).0);
            let mut shown = Vec::new();
            for one in &revenue.currencies {
                let currency = Some(one.currency);
                prop_assert_eq!(plain(one.total), naive(currency, window.from, window.to));
                prop_assert_eq!(one.series.len(), buckets.spans().len());
                for point in &one.series {
                    prop_assert_eq!(plain(point.tally), naive(currency, point.start, point.end));
                }
                shown.push(one.currency);
            }
            for currency in Currency::ALL {
                let any = naive(Some(currency), window.from, window.to).0 > 0;
                prop_assert_eq!(shown.contains(&currency), any);
            }
        }
    }
}
