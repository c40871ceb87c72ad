//! How subscriptions go from one state to the next. Pure: the time and what was paid go in, the subscription and what is
//! to be told come out.
//!
//! ```text
//! begin ──> active <──pay── past_due <── begin, to be paid first
//!             │ └─ period over, not paid ─^ │
//!             │                             ├─ grace over ──> expired
//!             └─ cancel, or cancelled and   └─ cancel ──────> cancelled
//!                paid time over ────────────────────────────> cancelled
//! ```
//!
//! Nothing here waits for the worker: whoever reads or changes a subscription first brings it to the present with
//! [`Subscription::advance`], and finds the same as the worker would have left there.

use std::{collections::BTreeMap, time::Duration};

use solana_pubkey::Pubkey;

use super::{Anchor, NewSubscription, Period, Price, Standing, Subscription};
use crate::{
    clock::UnixMs,
    money::{Amount, Currency},
};

/// How long a period may go unpaid before the subscription expires. Shorter than any month, so that it ends within the
/// period it began with.
pub const GRACE: Duration = Duration::from_hours(7 * 24);
/// How many periods may be paid besides the current one.
pub const MAX_PERIODS_AHEAD: u32 = 12;

/// Something that happened to a subscription, for the event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    Created,
    /// A period was paid.
    Paid,
    /// A paid period has begun.
    Renewed,
    /// A period has begun that is not paid.
    PastDue,
    /// It is to end with the time that is paid.
    CancelScheduled,
    Cancelled,
    Expired,
}

impl Happening {
    #[must_use]
    pub const fn event_type(self) -> &'static str {
        match self {
            Self::Created => "subscription.created",
            Self::Paid => "subscription.paid",
            Self::Renewed => "subscription.renewed",
            Self::PastDue => "subscription.past_due",
            Self::CancelScheduled => "subscription.cancel_scheduled",
            Self::Cancelled => "subscription.cancelled",
            Self::Expired => "subscription.expired",
        }
    }
}

/// A happening and when it was, which may be before it was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub what: Happening,
    pub at: UnixMs,
}

/// A subscription brought to the present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advanced {
    pub subscription: Subscription,
    /// In the order they happened.
    pub told: Vec<Told>,
}

/// Money that is to pay a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    pub payer: Pubkey,
    pub amount: Amount,
    pub currency: Currency,
}

/// A period that was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaidPeriod {
    pub period: Period,
    /// What it cost.
    pub price: Amount,
}

/// Why money pays nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpayable {
    /// It has ended, or ends with the time that is paid.
    Inactive(Standing),
    /// Somebody else's wallet.
    WrongWallet {
        expected: Pubkey,
    },
    WrongCurrency {
        expected: Currency,
    },
    TooLittle {
        price: Amount,
        currency: Currency,
    },
    /// As much is paid as may be.
    PaidAhead {
        until: UnixMs,
    },
}

/// When a cancellation takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// With the time that is paid.
    PeriodEnd,
    Now,
}

impl Subscription {
    /// A new one, whose first period begins at `at`. It is free of charge, unless it is to be paid first.
    #[must_use]
    pub fn begin(new: NewSubscription, at: UnixMs, price: Amount) -> Advanced {
        let anchor = Anchor::at(at);
        let period = anchor.period(at);
        let (standing, paid_until) = if new.require_payment {
            (Standing::PastDue { expires_at: at + GRACE }, period.start)
        } else {
            (Standing::Active { cancel_at_period_end: false }, period.end)
        };
        let subscription = Self {
            id: new.id,
            owner: new.owner,
            plan: new.plan,
            agent: new.agent,
            wallet: new.wallet,
            standing,
            anchor,
            period,
            price,
            paid_until,
            ahead: BTreeMap::new(),
            metadata: new.metadata,
            created_at: at,
            updated_at: at,
        };
        Advanced { subscription, told: vec![Told { what: Happening::Created, at }] }
    }

    /// When time alone changes it next.
    #[must_use]
    pub const fn due_at(&self) -> Option<UnixMs> {
        match self.standing {
            Standing::Active { .. } => Some(self.period.end),
            Standing::PastDue { expires_at } => Some(expires_at),
            Standing::Cancelled { .. } | Standing::Expired { .. } => None,
        }
    }

    /// Brings it to the present, through all that should have happened since. `price` is what periods cost that begin
    /// meanwhile and were not paid ahead. At most one step for each paid period and two more.
    #[must_use]
    pub fn advance(self, now: UnixMs, price: Amount) -> Advanced {
        let mut advanced = Advanced { subscription: self, told: Vec::new() };
        while advanced.subscription.due_at().is_some_and(|due| due <= now) {
            advanced = advanced.step(price);
        }
        advanced
    }

    /// Cancels one that was brought to the present. One that has ended stays as it is; one that is past due has no paid
    /// time to run on, and ends now.
    #[must_use]
    pub fn cancel(self, when: When, now: UnixMs) -> Advanced {
        let (standing, what) = match (self.standing, when) {
            (Standing::Cancelled { .. } | Standing::Expired { .. }, _)
            | (Standing::Active { cancel_at_period_end: true }, When::PeriodEnd) => {
                return Advanced { subscription: self, told: Vec::new() };
            }
            (Standing::Active { .. }, When::PeriodEnd) => {
                (Standing::Active { cancel_at_period_end: true }, Happening::CancelScheduled)
            }
            (Standing::Active { .. }, When::Now) | (Standing::PastDue { .. }, _) => {
                (Standing::Cancelled { at: now, at_period_end: false }, Happening::Cancelled)
            }
        };
        let told = vec![Told { what, at: now }];
        Advanced { subscription: Self { standing, updated_at: self.updated_at.max(now), ..self }, told }
    }

    /// Pays the first period that is not paid, of one that was brought to the present. More than the price is taken, and
    /// pays no more than the one period.
    ///
    /// # Errors
    /// Why it is not paid.
    pub fn pay(self, money: Money, now: UnixMs, plan: Price) -> Result<(Advanced, PaidPeriod), Unpayable> {
        match self.standing {
            Standing::Active { cancel_at_period_end: false } | Standing::PastDue { .. } => {}
            over => return Err(Unpayable::Inactive(over)),
        }
        if money.payer != self.wallet {
            return Err(Unpayable::WrongWallet { expected: self.wallet });
        }
        if money.currency != plan.currency {
            return Err(Unpayable::WrongCurrency { expected: plan.currency });
        }
        let period = self.anchor.period(self.paid_until);
        let is_ahead = period.start != self.period.start;
        let price = if is_ahead { plan.amount } else { self.price };
        if money.amount < price {
            return Err(Unpayable::TooLittle { price, currency: plan.currency });
        }
        if period.end > self.anchor.after(self.period.end, MAX_PERIODS_AHEAD) {
            return Err(Unpayable::PaidAhead { until: self.paid_until });
        }
        let mut ahead = self.ahead;
        if is_ahead {
            ahead.insert(period.start, price);
        }
        let subscription = Self {
            standing: Standing::Active { cancel_at_period_end: false },
            paid_until: period.end,
            ahead,
            updated_at: self.updated_at.max(now),
            ..self
        };
        let told = vec![Told { what: Happening::Paid, at: now }];
        Ok((Advanced { subscription, told }, PaidPeriod { period, price }))
    }
}

impl Advanced {
    /// What happens at the moment the subscription is due.
    fn step(mut self, price: Amount) -> Self {
        let mut old = self.subscription;
        let end = old.period.end;
        let next = Period { start: end, end: old.anchor.after(end, 1) };
        let paid = old.paid_until > end;
        let (standing, period, at, what) = match old.standing {
            Standing::Active { .. } if paid => (old.standing, next, end, Happening::Renewed),
            Standing::Active { cancel_at_period_end: true } => {
                let ended = Standing::Cancelled { at: end, at_period_end: true };
                (ended, old.period, end, Happening::Cancelled)
            }
            Standing::Active { cancel_at_period_end: false } => {
                (Standing::PastDue { expires_at: end + GRACE }, next, end, Happening::PastDue)
            }
            Standing::PastDue { expires_at } => {
                (Standing::Expired { at: expires_at }, old.period, expires_at, Happening::Expired)
            }
            // Nothing is due any more.
            Standing::Cancelled { .. } | Standing::Expired { .. } => {
                return Self { subscription: old, ..self };
            }
        };
        let price =
            if period == old.period { old.price } else { old.ahead.remove(&period.start).unwrap_or(price) };
        self.told.push(Told { what, at });
        let updated_at = old.updated_at.max(at);
        Self { subscription: Subscription { standing, period, price, updated_at, ..old }, ..self }
    }
}
