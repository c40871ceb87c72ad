//! A payment in the books.

use serde::Serialize;
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use utoipa::ToSchema;

use crate::{
    clock::UnixMs,
    ids::{AgentId, PaymentId, SubscriptionId},
    money::{Amount, Currency},
};

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PaymentState {
    /// It may have been sent. What came of it is not known yet.
    Pending,
    /// The money has moved and the payment was accepted.
    Settled,
    /// The chain refused it. No money has moved.
    Failed,
    /// It was not taken in by the chain in time, and never will be: safe to pay again.
    Expired,
}

/// Money that moved from a payer to a recipient, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    pub id: PaymentId,
    pub state: PaymentState,
    /// The user whose payment it is: who asked for it, or whose requirement it met. `None` for an anonymous caller.
    pub owner: Option<String>,
    /// The Solana transaction. No other payment has it.
    pub transaction: Signature,
    /// No other payment has it.
    pub nonce: String,
    /// Whether it met the requirement issued under its nonce.
    pub meets_requirement: bool,
    pub payer: Pubkey,
    pub recipient: Pubkey,
    pub currency: Currency,
    pub amount: Amount,
    pub resource: Option<String>,
    pub network: &'static str,
    pub slot: u64,
    pub block_time: UnixMs,
    pub verified_at: UnixMs,
    /// The agent that paid, whose limits it counts against.
    pub agent: Option<AgentId>,
    /// The owner's subscription, a period of which it pays.
    pub subscription: Option<SubscriptionId>,
    /// Names the request that made it, where that had an idempotency key: sent again, it gets this payment.
    pub request_tag: Option<String>,
}

impl Payment {
    /// Whether somebody's books change by it besides the merchant's.
    #[must_use]
    pub const fn has_consequences(&self) -> bool {
        self.agent.is_some() || self.subscription.is_some()
    }
}
