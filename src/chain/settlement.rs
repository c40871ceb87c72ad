//! What settling a payment asks of the chain: to take a transaction, and to tell what became of it.
//!
//! Nothing here is taken for an answer that is none: whatever a send returns, the transaction may land, and it has not
//! landed only when the chain, asked with its history, does not know it after the last block it could have landed in.

use std::time::Duration;

use async_trait::async_trait;
use solana_signature::Signature;

use super::ChainError;
use crate::clock::UnixMs;

/// How far the chain is beyond doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finality {
    /// The slot of the last final block.
    pub slot: u64,
    /// That block's height.
    pub block_height: u64,
}

/// How sure it is that a transaction stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Commitment {
    Processed,
    Confirmed,
    Finalized,
}

/// A transaction that is in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureStatus {
    pub slot: u64,
    pub commitment: Commitment,
    /// The chain's own words for why it failed. It is as final as a success.
    pub failure: Option<String>,
}

/// What became of some transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// In the order asked for; `None` where nobody knows one.
    pub statuses: Vec<Option<SignatureStatus>>,
    /// Of a search in the history: what landed at this time or later would be known. `None` where no endpoint tells how
    /// far back its history reaches, and of the recent past.
    pub since: Option<UnixMs>,
}

/// How thoroughly statuses are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// In the recent past that nodes keep at hand: at one endpoint, at the others as well for what would end a settlement,
    /// and now and then for what is not known.
    Recent,
    /// In all history, at every endpoint; only endpoints that have seen this slot count. None of the transactions was signed
    /// longer ago than `age`: whoever names a slot of before that is not believed for others' histories being too short.
    History { seen: u64, age: Duration },
}

/// Role of the chain in a settlement.
#[async_trait]
pub trait SettlementChain: std::fmt::Debug + Send + Sync {
    /// No transaction whose blockhash is good now can land in a block higher than this.
    ///
    /// # Errors
    /// When no endpoint gave an answer that makes sense.
    async fn last_valid_block_height(&self) -> Result<u64, ChainError>;

    /// # Errors
    /// When no endpoint gave an answer that makes sense.
    async fn finality(&self) -> Result<Finality, ChainError>;

    /// Hands the transaction's bytes to every endpoint.
    ///
    /// # Errors
    /// When none took it, which does not mean that none passed it on.
    async fn send(&self, transaction: &[u8]) -> Result<(), ChainError>;

    /// The statuses of up to 256 signatures.
    ///
    /// # Errors
    /// When no endpoint gave an answer that makes sense, or for [`Search::History`], when not a single one that counts
    /// did. An unknown answer is an error, never a `None`; what endpoints contradict each other about, or one alone says
    /// against others, is a status that is only processed, and what one alone calls final is as sure as another one is.
    async fn statuses(&self, signatures: &[Signature], search: Search) -> Result<Findings, ChainError>;
}
