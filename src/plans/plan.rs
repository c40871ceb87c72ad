//! What a plan is.

use crate::{
    clock::UnixMs,
    ids::PlanId,
    money::{Amount, Currency},
};

/// How much may be used under a subscription. `None`: as much as there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// In a subscription's period, which is a month.
    pub requests_per_month: Option<u64>,
    /// In a UTC day.
    pub requests_per_day: Option<u64>,
}

/// Something that can be subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub id: PlanId,
    /// The user whose plan it is.
    pub owner: String,
    pub name: String,
    pub description: Option<String>,
    pub price_per_month: Amount,
    /// Never changes: what was paid and what is to be paid stay comparable.
    pub currency: Currency,
    pub features: Vec<String>,
    pub limits: Limits,
    /// The owner's own JSON object.
    pub metadata: Option<String>,
    pub created_at: UnixMs,
    pub updated_at: UnixMs,
    /// From then on it takes no new subscriptions.
    pub retired_at: Option<UnixMs>,
}
