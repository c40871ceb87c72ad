//! Where answers are kept.

use async_trait::async_trait;

use super::Attempt;
use crate::{clock::UnixMs, store_error::StoreError};

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// 200 to 499.
    pub status: u16,
    /// JSON.
    pub body: Vec<u8>,
}

/// What an attempt finds under its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nothing, or what has run out: the attempt now holds the key.
    Fresh,
    /// The answer to the same request.
    Answered(StoredAnswer),
    /// The same request is being handled.
    Running,
    /// Another request has the key.
    Conflict,
}

#[async_trait]
pub trait IdempotencyStore: std::fmt::Debug + Send + Sync {
    /// Claims the key, or says why not; one atomic decision.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn begin(&self, attempt: &Attempt) -> Result<Begun, StoreError>;

    /// Keeps the answer, if the attempt still holds its key.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn finish(&self, attempt: &Attempt, answer: &StoredAnswer) -> Result<(), StoreError>;

    /// Gives the key back, if the attempt still holds it.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn abandon(&self, attempt: &Attempt) -> Result<(), StoreError>;

    /// Removes up to `limit` answers from before `before`; how many they were.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn purge(&self, before: UnixMs, limit: u32) -> Result<u64, StoreError>;
}
