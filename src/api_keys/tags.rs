//! The secret that keys are tagged with, which every instance and the command line have from the database.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::key::TagSecret;
use crate::{
    ids::Entropy,
    server_secrets::{ServerSecretStore, server_secret},
    store_error::StoreError,
};

/// The secret's name.
const NAME: &str = "api_key_tag";

/// Asked for when it is first needed, so that a service whose database is away can start.
#[derive(Debug)]
pub struct Tags {
    secrets: Arc<dyn ServerSecretStore>,
    entropy: Arc<dyn Entropy>,
    secret: OnceCell<TagSecret>,
}

impl Tags {
    #[must_use]
    pub fn new(secrets: Arc<dyn ServerSecretStore>, entropy: Arc<dyn Entropy>) -> Self {
        Self { secrets, entropy, secret: OnceCell::new() }
    }

    /// # Errors
    /// When the database does not answer, and has not done so before.
    pub(super) async fn secret(&self) -> Result<&TagSecret, StoreError> {
        let ask =
            async || server_secret(self.secrets.as_ref(), NAME, self.entropy.as_ref()).await.map(TagSecret);
        self.secret.get_or_try_init(ask).await
    }
}
