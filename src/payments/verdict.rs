//! What was decided about a payment.

use std::fmt;

use super::Payment;
use crate::clock::UnixMs;

/// The decision.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Good, and committed to the books.
    Accepted(Box<Payment>),
    /// Accepted by an earlier attempt of the same request, whose answer was lost.
    AcceptedBefore(Box<Payment>),
    Refused(Refusal),
}

/// Why a payment is not good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: RefusalCode,
    /// A sentence for a person: what is wrong, and what would be right.
    pub message: String,
    /// Where a limit is in the way.
    pub limit: Option<LimitFacts>,
}

/// What a limit leaves, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitFacts {
    /// In atomic units.
    pub left: u64,
    /// Digits after the decimal point of one whole token.
    pub decimals: u8,
    /// When there will be more. `None`: waiting does not help.
    pub resets_at: Option<UnixMs>,
}

impl Refusal {
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), limit: None }
    }
}

/// The published codes of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    InvalidPayment,
    PaymentExpired,
    InsufficientAmount,
    InvalidSignature,
    NonceMismatch,
    TransactionFailed,
    SubscriptionNotFound,
    SubscriptionInactive,
    SubscriptionAlreadyPaid,
    AgentNotFound,
    AmountMismatch,
    RecipientMismatch,
    CurrencyMismatch,
    ReplayAttack,
    SpendingLimitExceeded,
    ServiceNotAllowed,
}

impl RefusalCode {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidPayment => "INVALID_PAYMENT",
            Self::PaymentExpired => "PAYMENT_EXPIRED",
            Self::InsufficientAmount => "INSUFFICIENT_AMOUNT",
            Self::InvalidSignature => "INVALID_SIGNATURE",
            Self::NonceMismatch => "NONCE_MISMATCH",
            Self::TransactionFailed => "TRANSACTION_FAILED",
            Self::SubscriptionNotFound => "SUBSCRIPTION_NOT_FOUND",
            Self::SubscriptionInactive => "SUBSCRIPTION_INACTIVE",
            Self::SubscriptionAlreadyPaid => "SUBSCRIPTION_ALREADY_PAID",
            Self::AgentNotFound => "AGENT_NOT_FOUND",
            Self::AmountMismatch => "AMOUNT_MISMATCH",
            Self::RecipientMismatch => "RECIPIENT_MISMATCH",
            Self::CurrencyMismatch => "CURRENCY_MISMATCH",
            Self::ReplayAttack => "REPLAY_ATTACK",
            Self::SpendingLimitExceeded => "SPENDING_LIMIT_EXCEEDED",
            Self::ServiceNotAllowed => "SERVICE_NOT_ALLOWED",
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
