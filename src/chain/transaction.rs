//! A confirmed transaction, reduced to what judging a payment needs.

use serde::{Deserialize, Serialize};
use solana_pubkey::Pubkey;
use solana_signature::Signature;

use crate::clock::UnixMs;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmedTransaction {
    pub signature: Signature,
    pub slot: u64,
    pub block_time: UnixMs,
    /// The chain's own words for why it failed.
    pub failure: Option<String>,
    /// Everyone whose signature over the message was checked. The first one paid the fee.
    pub signers: Vec<Pubkey>,
    /// Lamports.
    pub fee: u64,
    pub lamports: Vec<LamportBalance>,
    /// Token accounts before the transaction.
    pub tokens_before: Vec<TokenBalance>,
    /// Token accounts after it.
    pub tokens_after: Vec<TokenBalance>,
}

/// An account's lamports on both sides of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LamportBalance {
    pub account: Pubkey,
    pub before: u64,
    pub after: u64,
}

/// What a token account holds on one side of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBalance {
    pub account: Pubkey,
    pub owner: Pubkey,
    pub mint: Pubkey,
    pub decimals: u8,
    pub amount: u64,
}
