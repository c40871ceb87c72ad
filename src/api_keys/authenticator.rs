//! From the text a caller presents to who they are.
//!
//! The cheap questions come first: is it a key of the configuration's, does it look like one of ours, is its tag good.
//! Only then is it looked for, see [`remembered`](super::remembered). Whatever is wrong with a key, the answer is `None`.

use std::sync::Arc;

use super::{
    ApiKeyStore, BootstrapKey, BootstrapKeys, Caller, Environment, Hasher, KeyCheckError, LastUsed,
    MAX_KEY_LENGTH, PlainKey, SharedPrefix, Tags,
    digest::Digester,
    remembered::{Reader, Remembered},
};
use crate::{
    clock::{Clock, UnixMs},
    ids::{ApiKeyId, Entropy},
    metrics::{KeyCheck, Metrics},
};

/// What an [`Authenticator`] stands on.
#[derive(Clone, Debug)]
pub struct Foundations {
    pub store: Arc<dyn ApiKeyStore>,
    pub tags: Arc<Tags>,
    pub hasher: Arc<Hasher>,
    pub environment: Environment,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
}

#[derive(Debug)]
pub struct Authenticator {
    bootstrap: BootstrapKeys,
    digester: Digester,
    tags: Arc<Tags>,
    environment: Environment,
    remembered: Remembered,
    last_used: Arc<LastUsed>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl Authenticator {
    /// # Errors
    /// When two of the configuration's keys share their public prefix.
    pub fn new(
        foundations: Foundations,
        bootstrap: &[BootstrapKey],
        last_used: Arc<LastUsed>,
        entropy: &dyn Entropy,
    ) -> Result<Self, SharedPrefix> {
        let Foundations { store, tags, hasher, environment, clock, metrics } = foundations;
        let digester = Digester::new(entropy);
        let reader = Reader::new(store, hasher, environment, Arc::clone(&clock));
        Ok(Self {
            bootstrap: BootstrapKeys::new(bootstrap, &digester)?,
            digester,
            tags,
            environment,
            remembered: Remembered::new(reader),
            last_used,
            clock,
            metrics,
        })
    }

    /// Who the key belongs to; `None` for a key that opens nothing.
    ///
    /// # Errors
    /// When the check could not be made, which says nothing about the key.
    pub async fn caller(&self, presented: &str) -> Result<Option<Caller>, KeyCheckError> {
        let (check, result) = match self.check(presented).await {
            Ok((check, caller)) => (check, Ok(caller)),
            Err(error) => (KeyCheck::Unavailable, Err(error)),
        };
        self.metrics.api_key_check(check);
        result
    }

    /// Has this instance see at once what it changed itself.
    pub(super) fn something_changed(&self) {
        self.remembered.something_changed();
    }

    /// The same for keys that it ended, or that end at this moment.
    pub(super) fn ended(&self, keys: &[ApiKeyId], at: UnixMs) {
        self.remembered.ended(keys, at);
    }

    /// Whether an invented key can be told from one that was made here without asking the database.
    #[must_use]
    pub fn can_tell(&self) -> bool {
        self.tags.is_there()
    }

    async fn check(&self, presented: &str) -> Result<(KeyCheck, Option<Caller>), KeyCheckError> {
        if presented.len() > MAX_KEY_LENGTH {
            return Ok((KeyCheck::Invented, None));
        }
        let digest = self.digester.digest(presented);
        if let Some(caller) = self.bootstrap.caller(&digest) {
            return Ok((KeyCheck::Accepted, Some(caller.clone())));
        }
        let key = PlainKey::parse(presented).filter(|key| key.environment() == self.environment);
        let Some(key) = key else { return Ok((KeyCheck::Invented, None)) };
        if !self.tags.secret().await?.made(&key) {
            return Ok((KeyCheck::Invented, None));
        }
        let Some(record) = self.remembered.look(key, digest).await? else {
            return Ok((KeyCheck::Refused, None));
        };
        self.last_used.note(&record.id, self.clock.now());
        Ok((KeyCheck::Accepted, Some(record.caller())))
    }
}
