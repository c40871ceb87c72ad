//! A line of the books.

use serde::Serialize;
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use utoipa::ToSchema;

use super::{Payment, PaymentState};
use crate::{
    clock::UnixMs,
    ids::{AgentId, PaymentId, SubscriptionId},
    money::{Amount, Currency},
};

/// How a payment came into the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// It had been made, and was proved.
    Proof,
    /// The service signed for its fee and sent it.
    X402,
}

/// A payment in the books, wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: PaymentId,
    pub state: PaymentState,
    pub source: Source,
    pub owner: Option<String>,
    pub transaction: Signature,
    /// A proof's.
    pub nonce: Option<String>,
    pub payer: Pubkey,
    pub recipient: Pubkey,
    /// `None` for a mint that is no known currency.
    pub currency: Option<Currency>,
    /// The mint, of what the service settled.
    pub asset: Option<Pubkey>,
    pub amount: Amount,
    pub resource: Option<String>,
    pub network: &'static str,
    /// Where it landed.
    pub slot: Option<u64>,
    pub block_time: Option<UnixMs>,
    pub verified_at: UnixMs,
    /// The agent whose limits it counts against.
    pub agent: Option<AgentId>,
    /// The subscription, a period of which it paid.
    pub subscription: Option<SubscriptionId>,
    /// What the service settles cannot land in a block higher than this.
    pub last_valid_block_height: Option<u64>,
}

impl Entry {
    /// What anybody may know who knows the transaction, which is on a public chain.
    #[must_use]
    pub fn for_anybody(self) -> Self {
        Self { owner: None, nonce: None, resource: None, ..self }
    }
}

impl From<Payment> for Entry {
    fn from(payment: Payment) -> Self {
        Self {
            id: payment.id,
            state: payment.state,
            source: Source::Proof,
            owner: payment.owner,
            transaction: payment.transaction,
            nonce: Some(payment.nonce),
            payer: payment.payer,
            recipient: payment.recipient,
            currency: Some(payment.currency),
            asset: None,
            amount: payment.amount,
            resource: payment.resource,
            network: payment.network,
            slot: Some(payment.slot),
            block_time: Some(payment.block_time),
            verified_at: payment.verified_at,
            agent: payment.agent,
            subscription: payment.subscription,
            last_valid_block_height: None,
        }
    }
}
