//! Registering agents and looking after them, for the user whose they are.

use std::sync::Arc;

use super::{Agent, AgentPage, AgentPatch, AgentStore, Created, NewAgent, Reputation, Spending, Updated};
use crate::{
    api_keys::Caller,
    clock::{Clock, UnixMs},
    ids::{AgentId, Entropy, EventId},
    input::FieldErrors,
    store_error::StoreError,
};

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("the request cannot be read")]
    Malformed(FieldErrors),
    #[error("the caller has no such agent")]
    NotFound,
    #[error("the caller has registered the wallet before")]
    WalletTaken(AgentId),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub struct Agents {
    store: Arc<dyn AgentStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Agents {
    #[must_use]
    pub fn new(store: Arc<dyn AgentStore>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { store, clock, entropy }
    }

    /// # Errors
    /// When the request is malformed, the caller has the wallet already, or the database does not take it.
    pub async fn register(&self, caller: &Caller, body: &[u8]) -> Result<Agent, AgentError> {
        let new = NewAgent::parse(body).map_err(AgentError::Malformed)?;
        let now = self.clock.now();
        let agent = Agent {
            id: AgentId::new(now, self.entropy.as_ref()),
            owner: caller.user.clone(),
            name: new.name,
            public_key: new.public_key,
            limits: new.limits,
            allowed_services: new.allowed_services,
            reputation: Reputation::default(),
            metadata: new.metadata,
            created_at: now,
            updated_at: now,
        };
        match self.store.create(&agent, &self.event(now)).await? {
            Created::Kept => Ok(agent),
            Created::WalletTaken(by) => Err(AgentError::WalletTaken(by)),
        }
    }

    /// The caller's agent with this id or public key.
    ///
    /// # Errors
    /// When there is none, or the database does not answer.
    pub async fn find(&self, caller: &Caller, id_or_public_key: &str) -> Result<Agent, AgentError> {
        self.store.find(&caller.user, id_or_public_key).await?.ok_or(AgentError::NotFound)
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn list(&self, caller: &Caller, limit: u32, offset: u32) -> Result<AgentPage, StoreError> {
        self.store.list(&caller.user, limit, offset).await
    }

    /// # Errors
    /// When the request is malformed, there is no such agent, or the database does not take it.
    pub async fn change(
        &self,
        caller: &Caller,
        id_or_public_key: &str,
        body: &[u8],
    ) -> Result<Agent, AgentError> {
        let patch = AgentPatch::parse(body).map_err(AgentError::Malformed)?;
        let now = self.clock.now();
        let event = self.event(now);
        match self.store.update(&caller.user, id_or_public_key, &patch, now, &event).await? {
            Updated::Changed(agent) => Ok(*agent),
            Updated::NotFound => Err(AgentError::NotFound),
            Updated::Refused(errors) => Err(AgentError::Malformed(errors)),
        }
    }

    /// Deletes an agent; what it was. Its payments stay in the books.
    ///
    /// # Errors
    /// When there is no such agent, or the database does not take it.
    pub async fn delete(&self, caller: &Caller, id_or_public_key: &str) -> Result<Agent, AgentError> {
        let now = self.clock.now();
        let event = self.event(now);
        let deleted = self.store.delete(&caller.user, id_or_public_key, now, &event).await?;
        deleted.ok_or(AgentError::NotFound)
    }

    /// An agent, and what it has spent on the UTC day of the given moment, which is now.
    ///
    /// # Errors
    /// When there is no such agent, or the database does not answer.
    pub async fn spending(
        &self,
        caller: &Caller,
        id_or_public_key: &str,
    ) -> Result<(Agent, Spending, UnixMs), AgentError> {
        let agent = self.find(caller, id_or_public_key).await?;
        let now = self.clock.now();
        let spending = self.store.spending(&agent.id, now).await?;
        Ok((agent, spending, now))
    }

    fn event(&self, now: UnixMs) -> EventId {
        EventId::new(now, self.entropy.as_ref())
    }
}
