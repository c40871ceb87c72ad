//! Accounts as they are now.

use async_trait::async_trait;
use solana_pubkey::Pubkey;

use super::ChainError;

/// An account that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The program it belongs to.
    pub owner: Pubkey,
    pub lamports: u64,
    pub data: Vec<u8>,
}

/// Reads accounts at commitment `confirmed`.
#[async_trait]
pub trait AccountReader: std::fmt::Debug + Send + Sync {
    /// Up to 100 accounts, in the order of `addresses`, all of the same slot; `None` for those that do not exist.
    ///
    /// # Errors
    /// When no endpoint gave an answer that makes sense.
    async fn accounts(&self, addresses: &[Pubkey]) -> Result<Vec<Option<Account>>, ChainError>;

    /// Lamports; 0 only where the chain says so.
    ///
    /// # Errors
    /// When no endpoint gave an answer that makes sense.
    async fn balance(&self, address: &Pubkey) -> Result<u64, ChainError>;
}
