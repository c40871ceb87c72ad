//! Secrets that the service makes for itself, once, and keeps in the database, so that every instance and the command
//! line share them and nobody has to configure them.

use std::fmt;

use async_trait::async_trait;

use crate::{ids::Entropy, store_error::StoreError};

/// 32 random bytes.
pub type ServerSecret = [u8; 32];

#[async_trait]
pub trait ServerSecretStore: fmt::Debug + Send + Sync {
    /// The secret of this name, if it was made.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn find_secret(&self, name: &str) -> Result<Option<ServerSecret>, StoreError>;

    /// Keeps a new secret, unless there is one of this name; the one that is kept. Of several instances that do so at once,
    /// all get the same.
    ///
    /// # Errors
    /// When the database does not take it.
    async fn keep_secret(&self, name: &str, fresh: &ServerSecret) -> Result<ServerSecret, StoreError>;
}

/// The secret of this name, made where there is none yet.
///
/// # Errors
/// When the database does not answer.
pub async fn server_secret(
    store: &dyn ServerSecretStore,
    name: &str,
    entropy: &dyn Entropy,
) -> Result<ServerSecret, StoreError> {
    if let Some(secret) = store.find_secret(name).await? {
        return Ok(secret);
    }
    let mut fresh = [0; 32];
    entropy.fill(&mut fresh);
    store.keep_secret(name, &fresh).await
}
