//! Issuing requirements and telling where they stand.

use std::sync::Arc;

use solana_pubkey::Pubkey;

use super::{IssuedRequirement, NewRequirement, Requirement, RequirementStore};
use crate::{
    api_keys::Caller,
    clock::Clock,
    ids::{Entropy, random_nonce},
    input::FieldErrors,
    store_error::StoreError,
};

/// Why no requirement was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("the request cannot be read")]
    Malformed(FieldErrors),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub struct Requirements {
    store: Arc<dyn RequirementStore>,
    /// Who is paid where neither the request nor the key says.
    merchant_wallets: Vec<Pubkey>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Requirements {
    #[must_use]
    pub fn new(
        store: Arc<dyn RequirementStore>,
        merchant_wallets: Vec<Pubkey>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { store, merchant_wallets, clock, entropy }
    }

    /// Issues a requirement under a fresh nonce.
    ///
    /// # Errors
    /// When the request is malformed or names nobody to be paid, or the database does not take it.
    pub async fn issue(&self, caller: &Caller, body: &[u8]) -> Result<IssuedRequirement, IssueError> {
        let now = self.clock.now();
        let new = NewRequirement::parse(body, now).map_err(IssueError::Malformed)?;
        let configured = caller.recipients.first().or_else(|| self.merchant_wallets.first()).copied();
        let recipient = new.recipient.or(configured).ok_or_else(|| {
            IssueError::Malformed(FieldErrors::one("recipient", "is required: no recipient is configured"))
        })?;
        let nonce = random_nonce(self.entropy.as_ref());
        let issued = IssuedRequirement {
            nonce: nonce.clone(),
            owner: caller.user.clone(),
            requirement: Requirement {
                amount: new.amount,
                currency: new.currency,
                recipient,
                scheme: new.scheme,
                resource: new.resource,
                nonce: Some(nonce),
                expires_at: Some(new.expires_at),
            },
            metadata: new.metadata,
            created_at: now,
            payment_id: None,
        };
        self.store.issue(&issued).await?;
        Ok(issued)
    }

    /// The caller's own requirement under this nonce.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find(&self, caller: &Caller, nonce: &str) -> Result<Option<IssuedRequirement>, StoreError> {
        Ok(self.store.find(nonce).await?.filter(|issued| issued.owner == caller.user))
    }
}
