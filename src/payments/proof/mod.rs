//! The 402pay payment proof: a payer's signature over a nonce, and the Solana transaction that paid.
//!
//! `wire` reads it, `judge` holds the rules that need no network, `verify` asks the chain and the books, `agent` knows whose
//! limits it counts against, `subscription` what it pays.

mod agent;
mod judge;
mod subscription;
mod verify;
mod wire;

use serde::Serialize;
use serde_json::value::RawValue;
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use utoipa::ToSchema;

use crate::{
    clock::UnixMs,
    money::{Amount, Currency},
    requirements::Requirement,
    schema,
};

pub use verify::{ProofPolicy, ProofVerifier, VerifyError};
pub use wire::ProofMembers;

/// A proof that has been read; nothing about it has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentProof {
    /// By `payer`, over the UTF-8 bytes of `nonce`.
    pub signature: Signature,
    pub payer: Pubkey,
    pub amount: Amount,
    pub currency: Currency,
    pub nonce: String,
    pub timestamp: UnixMs,
    pub transaction_id: Signature,
    pub resource: Option<String>,
    pub agent_id: Option<String>,
    pub subscription_id: Option<String>,
}

/// A proof, and the requirement it is to meet where the merchant sent one along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofRequest {
    pub proof: PaymentProof,
    pub requirement: Option<Requirement>,
    /// SHA-256 of the body: requests with the same one are twins.
    pub digest: [u8; 32],
}

impl ProofRequest {
    /// The second of the free checks.
    #[must_use]
    pub fn is_signed_by_payer(&self) -> bool {
        judge::check_signature(&self.proof).is_ok()
    }
}

/// A proof as it is echoed to the caller.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProofEcho {
    #[schema(value_type = schema::Signature)]
    signature: String,
    #[schema(value_type = schema::PublicKey)]
    payer: String,
    #[schema(value_type = schema::AmountOut)]
    amount: Box<RawValue>,
    currency: Currency,
    nonce: String,
    timestamp: UnixMs,
    #[schema(value_type = schema::Signature)]
    transaction_id: String,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
}

impl From<PaymentProof> for ProofEcho {
    fn from(proof: PaymentProof) -> Self {
        Self {
            signature: proof.signature.to_string(),
            payer: proof.payer.to_string(),
            amount: proof.amount.to_json(proof.currency.decimals()),
            currency: proof.currency,
            nonce: proof.nonce,
            timestamp: proof.timestamp,
            transaction_id: proof.transaction_id.to_string(),
            resource: proof.resource,
        }
    }
}
