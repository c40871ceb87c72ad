//! The secret that keys are tagged with, which every instance and the command line have from the database.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

use super::{KeyCheckError, key::TagSecret};
use crate::{
    ids::Entropy,
    server_secrets::{ServerSecretStore, server_secret},
};

/// The secret's name.
const NAME: &str = "api_key_tag";
/// How long it is not asked for again after it could not be had, and how long anybody waits for who asks.
const PAUSE: Duration = Duration::from_secs(1);
/// How long at most between two attempts to have it before it is needed.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// Asked for once the service runs, so that one whose database is away can start, and no request has to wait for it.
#[derive(Debug)]
pub struct Tags {
    secrets: Arc<dyn ServerSecretStore>,
    entropy: Arc<dyn Entropy>,
    secret: OnceLock<TagSecret>,
    /// Held by whoever asks; when it failed last.
    asking: Mutex<Option<Instant>>,
}

impl Tags {
    #[must_use]
    pub fn new(secrets: Arc<dyn ServerSecretStore>, entropy: Arc<dyn Entropy>) -> Self {
        Self { secrets, entropy, secret: OnceLock::new(), asking: Mutex::default() }
    }

    /// Asks until it is there.
    pub async fn prime(&self) {
        let mut backoff = PAUSE;
        while let Err(error) = self.secret().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the secret of API keys cannot be read: none can be checked"
            );
            sleep(backoff).await;
            backoff = MAX_BACKOFF.min(2 * backoff);
        }
    }

    pub(super) fn is_there(&self) -> bool {
        self.secret.get().is_some()
    }

    /// # Errors
    /// When the database does not answer, or did not a moment ago.
    pub(super) async fn secret(&self) -> Result<&TagSecret, KeyCheckError> {
        if let Some(secret) = self.secret.get() {
            return Ok(secret);
        }
        let mut failed = timeout(PAUSE, self.asking.lock()).await.map_err(|_| KeyCheckError::Away)?;
        if let Some(secret) = self.secret.get() {
            return Ok(secret);
        }
        if failed.is_some_and(|failed| failed.elapsed() < PAUSE) {
            return Err(KeyCheckError::Away);
        }
        match server_secret(self.secrets.as_ref(), NAME, self.entropy.as_ref()).await {
            Ok(secret) => Ok(self.secret.get_or_init(|| TagSecret::new(secret))),
            Err(error) => {
                *failed = Some(Instant::now());
                Err(error.into())
            }
        }
    }
}
