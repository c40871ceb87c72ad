//! What is counted.

use crate::{
    clock::UnixMs,
    ids::{AgentId, EventId, PaymentId, SubscriptionId},
    money::{Currency, Sum},
    payments::{PaymentState, Source},
};

/// How many payments, and what they come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub payments: u64,
    /// Nothing, where the currency is not known.
    pub amount: Sum,
}

impl Tally {
    pub fn add(&mut self, more: Self) {
        self.payments += more.payments;
        self.amount += more.amount;
    }
}

/// Payments that have all this in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaymentSum {
    pub state: PaymentState,
    pub source: Source,
    /// `None` for a mint that is no known currency.
    pub currency: Option<Currency>,
    pub tally: Tally,
}

/// What was settled in a currency within an hour or a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevenueSum {
    pub start: UnixMs,
    pub currency: Option<Currency>,
    pub tally: Tally,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: EventId,
    /// Such as `payment.verified`.
    pub kind: String,
    /// The payment it is about.
    pub payment: Option<PaymentId>,
    /// The agent it is about, or whose payment or subscription that is.
    pub agent: Option<AgentId>,
    /// The subscription it is about.
    pub subscription: Option<SubscriptionId>,
    pub occurred_at: UnixMs,
}

/// How many events there are of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeCount {
    pub kind: String,
    pub events: u64,
}

/// One page of a user's events, newest first, and how many there are of which type, whatever the page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPage {
    pub events: Vec<Event>,
    /// By type.
    pub types: Vec<TypeCount>,
}
