//! Where issued requirements are kept.

use async_trait::async_trait;

use super::IssuedRequirement;
use crate::store_error::StoreError;

#[async_trait]
pub trait RequirementStore: std::fmt::Debug + Send + Sync {
    /// Keeps a new requirement. Its nonce is random, so it is not met twice.
    ///
    /// # Errors
    /// When the database does not take it.
    async fn issue(&self, issued: &IssuedRequirement) -> Result<(), StoreError>;

    /// # Errors
    /// When the database does not answer.
    async fn find(&self, nonce: &str) -> Result<Option<IssuedRequirement>, StoreError>;
}
