//! The proof as it arrives in JSON.

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use solana_signature::Signature;
use utoipa::ToSchema;

use super::{PaymentProof, ProofRequest};
use crate::{
    clock::UnixMs,
    input::{self, FieldErrors},
    money::Currency,
    requirements::{MAX_NONCE, MAX_RESOURCE, RequirementMembers, read_requirement},
    schema,
};

/// Longest `agentId` and `subscriptionId`, in bytes.
const MAX_ID: usize = 64;

/// A payment proof: the payer's signature over a nonce, and the transaction that paid.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(
    as = PaymentProof,
    example = json!({
        "signature": "5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBgmQpjKhoR4tjF3ZpRzrFmBV6UjKdiSZkQUW",
        "payer": "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
        "amount": "0.05",
        "currency": "USDC",
        "nonce": "9hqhG4LuA1o2vT6bYx3rKe",
        "timestamp": 1_767_225_600_000_i64,
        "transactionId": "5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBgmQpjKhoR4tjF3ZpRzrFmBV6UjKdiSZkQUW",
    }),
)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
pub struct ProofMembers<'a> {
    /// By `payer`, over the UTF-8 bytes of `nonce`.
    #[schema(value_type = schema::Signature, required)]
    #[serde(borrow)]
    signature: Option<&'a RawValue>,
    /// The wallet that paid. It must have signed the transaction.
    #[schema(value_type = schema::PublicKey, required)]
    #[serde(borrow)]
    payer: Option<&'a RawValue>,
    /// What was paid, exactly.
    #[schema(value_type = schema::AmountIn, required)]
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    #[schema(value_type = Currency, required)]
    #[serde(borrow)]
    currency: Option<&'a RawValue>,
    /// Used once, ever.
    #[schema(value_type = schema::Nonce, required)]
    #[serde(borrow)]
    nonce: Option<&'a RawValue>,
    /// When the proof was made: not older than 15 minutes, not more than 60 s ahead.
    #[schema(value_type = UnixMs, required)]
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    /// The Solana transaction that paid.
    #[schema(value_type = schema::Signature, required)]
    #[serde(borrow)]
    transaction_id: Option<&'a RawValue>,
    /// What was asked for. Left out, the requirement issued under the nonce counts.
    #[schema(value_type = Option<RequirementMembers>)]
    #[serde(borrow)]
    requirement: Option<&'a RawValue>,
    /// What was paid for; kept with the payment.
    #[schema(value_type = Option<schema::Resource>)]
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    /// The agent that paid, by its id or public key. Left out, it is the caller's agent with the payer's wallet, if there is
    /// one. Without a key it is an agent of whoever issued the requirement under the nonce.
    #[schema(value_type = Option<schema::OtherId>)]
    #[serde(borrow)]
    agent_id: Option<&'a RawValue>,
    /// The caller's subscription that it pays: the first of its periods that is not paid.
    #[schema(value_type = Option<schema::OtherId>)]
    #[serde(borrow)]
    subscription_id: Option<&'a RawValue>,
}

impl ProofRequest {
    /// # Errors
    /// Every field that is wrong.
    pub fn parse(body: &[u8]) -> Result<Self, FieldErrors> {
        let members: ProofMembers = input::object(body)?;
        let mut errors = FieldErrors::default();
        let signature = errors.required("signature", members.signature, signature);
        let payer = errors.required("payer", members.payer, input::public_key);
        let currency = errors.required("currency", members.currency, input::currency);
        let decimals = currency.map_or(Currency::MAX_DECIMALS, Currency::decimals);
        let amount = errors.required("amount", members.amount, |raw| input::amount(raw, decimals));
        let nonce = errors.required("nonce", members.nonce, |raw| input::text(raw, MAX_NONCE));
        let timestamp = errors.required("timestamp", members.timestamp, |raw| {
            input::integer(raw).map(UnixMs).map_err(|_| "must be a whole number of Unix milliseconds")
        });
        let transaction_id =
            errors.required("transactionId", members.transaction_id, signature_of_transaction);
        let resource = errors.optional("resource", members.resource, |raw| input::text(raw, MAX_RESOURCE));
        let agent_id = errors.optional("agentId", members.agent_id, |raw| input::text(raw, MAX_ID));
        let subscription_id =
            errors.optional("subscriptionId", members.subscription_id, |raw| input::text(raw, MAX_ID));
        let requirement = members.requirement.and_then(|raw| read_requirement(raw, &mut errors));

        let proof = (|| {
            Some(PaymentProof {
                signature: signature?,
                payer: payer?,
                amount: amount?,
                currency: currency?,
                nonce: nonce?,
                timestamp: timestamp?,
                transaction_id: transaction_id?,
                resource,
                agent_id,
                subscription_id,
            })
        })();
        match proof {
            Some(proof) if errors.is_empty() => {
                Ok(Self { proof, requirement, digest: Sha256::digest(body).into() })
            }
            _ => Err(errors),
        }
    }
}

fn signature(raw: &RawValue) -> Result<Signature, &'static str> {
    input::parsed(raw, "must be an Ed25519 signature (64 bytes in base58)")
}

fn signature_of_transaction(raw: &RawValue) -> Result<Signature, &'static str> {
    input::parsed(raw, "must be a Solana transaction signature (64 bytes in base58)")
}
