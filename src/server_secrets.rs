//! Secrets that the service makes for itself, once, and keeps in the database, so that every instance and the command
//! line share them and nobody has to configure them.

use std::fmt;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretBox};

use crate::{ids::Entropy, store_error::StoreError};

/// 32 random bytes. Never printed.
#[derive(Debug)]
pub struct ServerSecret(SecretBox<[u8; 32]>);

impl ServerSecret {
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }

    #[must_use]
    pub fn fresh(entropy: &dyn Entropy) -> Self {
        Self(SecretBox::init_with_mut(|bytes: &mut [u8; 32]| entropy.fill(bytes)))
    }

    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

impl Clone for ServerSecret {
    fn clone(&self) -> Self {
        Self::new(*self.expose())
    }
}

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
    store.keep_secret(name, &ServerSecret::fresh(entropy)).await
}
