//! Payments by where they stand, how they came, and what they are in.

use super::{PaymentSum, Tally, Window};
use crate::{
    money::{Currency, Sum},
    payments::{PaymentState, Source},
};

/// One of each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByState<T> {
    pub pending: T,
    pub settled: T,
    pub failed: T,
    pub expired: T,
}

impl<T> ByState<T> {
    const fn of(&mut self, state: PaymentState) -> &mut T {
        match state {
            PaymentState::Pending => &mut self.pending,
            PaymentState::Settled => &mut self.settled,
            PaymentState::Failed => &mut self.failed,
            PaymentState::Expired => &mut self.expired,
        }
    }
}

impl ByState<u64> {
    /// How many there are in all states.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.pending + self.settled + self.failed + self.expired
    }

    fn count(sums: &[PaymentSum], wanted: impl Fn(&PaymentSum) -> bool) -> Self {
        let mut counts = Self::default();
        for sum in sums.iter().filter(|sum| wanted(sum)) {
            *counts.of(sum.state) += sum.tally.payments;
        }
        counts
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrencySummary {
    pub currency: Currency,
    pub states: ByState<Tally>,
}

impl CurrencySummary {
    fn of(sums: &[PaymentSum], currency: Currency) -> Option<Self> {
        let mut own = sums.iter().filter(|sum| sum.currency == Some(currency)).peekable();
        own.peek()?;
        let mut states = ByState::<Tally>::default();
        own.for_each(|sum| states.of(sum.state).add(sum.tally));
        Some(Self { currency, states })
    }

    /// In all states.
    #[must_use]
    pub const fn payments(&self) -> u64 {
        let ByState { pending, settled, failed, expired } = &self.states;
        pending.payments + settled.payments + failed.payments + expired.payments
    }

    /// What a settled payment comes to on average, to the nearest atomic unit.
    #[must_use]
    pub fn average(&self) -> Option<Sum> {
        self.states.settled.amount.average(self.states.settled.payments)
    }
}

/// Payments of a stretch of time. What they come to is told by currency alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub window: Window,
    pub states: ByState<u64>,
    pub proofs: u64,
    pub settlements: u64,
    /// Those in which there is any payment.
    pub currencies: Vec<CurrencySummary>,
    /// In mints that are no known currency.
    pub other_assets: ByState<u64>,
}

impl Summary {
    #[must_use]
    pub fn of(window: Window, sums: &[PaymentSum]) -> Self {
        let currencies = Currency::ALL.into_iter();
        Self {
            window,
            states: ByState::count(sums, |_| true),
            proofs: ByState::count(sums, |sum| sum.source == Source::Proof).total(),
            settlements: ByState::count(sums, |sum| sum.source == Source::X402).total(),
            currencies: currencies.filter_map(|currency| CurrencySummary::of(sums, currency)).collect(),
            other_assets: ByState::count(sums, |sum| sum.currency.is_none()),
        }
    }
}
