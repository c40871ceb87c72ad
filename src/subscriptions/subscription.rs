//! What a subscription is.

use std::collections::BTreeMap;

use solana_pubkey::Pubkey;

use super::{Anchor, Period};
use crate::{
    clock::UnixMs,
    ids::{AgentId, PlanId, SubscriptionId},
    money::{Amount, Currency},
    plans::Limits,
};

/// Where a subscription stands. What has ended stays ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// May be used: its period is paid, or free of charge.
    Active {
        /// It ends with the time that is paid.
        cancel_at_period_end: bool,
    },
    /// Its period is not paid, and may not be used.
    PastDue {
        /// From this moment on a payment comes too late.
        expires_at: UnixMs,
    },
    Cancelled {
        at: UnixMs,
        /// Whether it was to run until then.
        at_period_end: bool,
    },
    Expired {
        at: UnixMs,
    },
}

impl Standing {
    /// As on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active { .. } => "active",
            Self::PastDue { .. } => "past_due",
            Self::Cancelled { .. } => "cancelled",
            Self::Expired { .. } => "expired",
        }
    }

    #[must_use]
    pub const fn cancel_at_period_end(self) -> bool {
        matches!(
            self,
            Self::Active { cancel_at_period_end: true } | Self::Cancelled { at_period_end: true, .. }
        )
    }

    /// When it ended.
    #[must_use]
    pub const fn ended_at(self) -> Option<UnixMs> {
        match self {
            Self::Cancelled { at, .. } | Self::Expired { at } => Some(at),
            Self::Active { .. } | Self::PastDue { .. } => None,
        }
    }
}

/// An agent's subscription to a plan, month by month.
///
/// Periods follow each other on its anchor. Time up to `paid_until`, which is the start of a period, is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub id: SubscriptionId,
    /// The user who made it, whose plan and agent these are.
    pub owner: String,
    pub plan: PlanId,
    pub agent: AgentId,
    /// Who pays.
    pub wallet: Pubkey,
    pub standing: Standing,
    pub anchor: Anchor,
    /// The current period; of one that has ended, the last.
    pub period: Period,
    /// What the current period costs.
    pub price: Amount,
    pub paid_until: UnixMs,
    /// What the periods to come cost that are paid, by their starts.
    pub ahead: BTreeMap<UnixMs, Amount>,
    /// The owner's own JSON object.
    pub metadata: Option<String>,
    pub created_at: UnixMs,
    pub updated_at: UnixMs,
}

/// A subscription to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSubscription {
    pub id: SubscriptionId,
    pub owner: String,
    pub plan: PlanId,
    pub agent: AgentId,
    pub wallet: Pubkey,
    /// The first period has to be paid before it can be used.
    pub require_payment: bool,
    pub metadata: Option<String>,
}

/// A subscription with what its plan says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    pub subscription: Subscription,
    pub price: Price,
    pub limits: Limits,
}

impl Subscribed {
    /// As it is now, though the worker may not have seen to it yet.
    #[must_use]
    pub fn at(self, now: UnixMs) -> Self {
        let advanced = self.subscription.advance(now, self.price.amount);
        Self { subscription: advanced.subscription, ..self }
    }
}

/// What the plan asks for periods that begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    pub amount: Amount,
    pub currency: Currency,
}
