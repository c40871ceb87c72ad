//! What a requirement is.

use serde::Serialize;
use solana_pubkey::Pubkey;
use utoipa::ToSchema;

use crate::{
    clock::UnixMs,
    money::{Amount, Currency},
};

/// How the amount is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Just that amount.
    Exact,
    /// That amount or more.
    Minimum,
    /// From that amount up to and including this one.
    Range { max: Amount },
}

impl Scheme {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Minimum => "minimum",
            Self::Range { .. } => "range",
        }
    }

    #[must_use]
    pub const fn max_amount(self) -> Option<Amount> {
        match self {
            Self::Range { max } => Some(max),
            Self::Exact | Self::Minimum => None,
        }
    }
}

/// A scheme on the wire: just the amount, that or more, or from it to `maxAmount`.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(as = Scheme, rename_all = "lowercase")]
pub enum SchemeName {
    Exact,
    Minimum,
    Range,
}

/// What must have been paid, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub amount: Amount,
    pub currency: Currency,
    pub recipient: Pubkey,
    pub scheme: Scheme,
    pub resource: Option<String>,
    pub nonce: Option<String>,
    /// A payment made in a later block is too late.
    pub expires_at: Option<UnixMs>,
}

impl Requirement {
    /// What meets both this and the other one; `None` where they ask for different things.
    #[must_use]
    pub fn and(&self, other: &Self) -> Option<Self> {
        fn agree<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
            one.zip(other).is_none_or(|(one, other)| one == other)
        }
        let same = self.amount == other.amount
            && self.currency == other.currency
            && self.recipient == other.recipient
            && self.scheme == other.scheme
            && agree(self.nonce.as_ref(), other.nonce.as_ref())
            && agree(self.resource.as_ref(), other.resource.as_ref());
        same.then(|| Self {
            nonce: self.nonce.clone().or_else(|| other.nonce.clone()),
            resource: self.resource.clone().or_else(|| other.resource.clone()),
            expires_at: [self.expires_at, other.expires_at].into_iter().flatten().min(),
            ..self.clone()
        })
    }
}

/// A requirement the service issued. Its nonce names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedRequirement {
    pub nonce: String,
    /// The user whose key asked for it.
    pub owner: String,
    pub requirement: Requirement,
    /// The merchant's own JSON object, kept as it came.
    pub metadata: Option<String>,
    pub created_at: UnixMs,
    /// The payment that met it.
    pub payment_id: Option<String>,
}

/// Where an issued requirement stands. Not stored: it follows from the books and the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequirementState {
    Pending,
    Paid,
    Expired,
}

impl IssuedRequirement {
    #[must_use]
    pub fn state(&self, now: UnixMs) -> RequirementState {
        if self.payment_id.is_some() {
            RequirementState::Paid
        } else if self.requirement.expires_at.is_some_and(|expires_at| now > expires_at) {
            RequirementState::Expired
        } else {
            RequirementState::Pending
        }
    }
}
