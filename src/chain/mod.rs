//! The chain as the rest of the service sees it: transactions that are confirmed, and what they moved.
//!
//! [`Chain`] is the role of who reads them, [`accounts`] and [`simulation`] those of who looks ahead, [`settlement`] and
//! [`hints`] those of who makes payments final; [`solana`] plays them all over Solana's JSON-RPC. What a transaction moved
//! is worked out in [`movement`], which is pure. [`funds`] watches what the fee payers hold.

pub mod accounts;
pub mod assets;
pub mod funds;
pub mod hints;
pub mod movement;
pub mod settlement;
pub mod simulation;
pub mod solana;
mod transaction;

use async_trait::async_trait;
use solana_signature::Signature;

pub use transaction::{ConfirmedTransaction, LamportBalance, TokenBalance};

/// Why the chain could not be read. None of these says anything about a payment.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    #[error("no RPC endpoint answered")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the RPC endpoint's answer makes no sense: {0}")]
    BadResponse(&'static str),
}

/// What became of a look-up.
#[derive(Clone, Debug)]
pub enum Lookup {
    Confirmed(Box<ConfirmedTransaction>),
    /// Not known at `confirmed`: it may still arrive.
    NotVisible,
    /// A transaction version this service cannot read. It will not become readable.
    UnsupportedVersion,
}

/// Reads the chain at commitment `confirmed`.
#[async_trait]
pub trait Chain: std::fmt::Debug + Send + Sync {
    /// The transaction with this signature.
    ///
    /// # Errors
    /// When no endpoint gave an answer that makes sense.
    async fn transaction(&self, signature: &Signature) -> Result<Lookup, ChainError>;

    /// The highest confirmed slot, as a sign of life.
    ///
    /// # Errors
    /// When no endpoint answered.
    async fn slot(&self) -> Result<u64, ChainError>;
}
