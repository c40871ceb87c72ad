//! Making, showing and cancelling subscriptions.

use std::sync::Arc;

use super::{Begun, NewSubscription, Subscribed, SubscriptionPage, SubscriptionStore, wire};
use crate::{
    agents::AgentStore,
    api_keys::Caller,
    clock::Clock,
    ids::{Entropy, PlanId, SubscriptionId},
    input::FieldErrors,
    store_error::StoreError,
};

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    #[error("the request cannot be read")]
    Malformed(FieldErrors),
    #[error("there is no such subscription")]
    NotFound,
    #[error("there is no such plan")]
    NoPlan,
    #[error("the plan takes no new subscriptions")]
    PlanRetired,
    #[error("there is no such agent")]
    NoAgent,
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub struct Subscriptions {
    store: Arc<dyn SubscriptionStore>,
    agents: Arc<dyn AgentStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Subscriptions {
    #[must_use]
    pub fn new(
        store: Arc<dyn SubscriptionStore>,
        agents: Arc<dyn AgentStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { store, agents, clock, entropy }
    }

    /// Subscribes one of the caller's agents to one of their plans.
    ///
    /// # Errors
    /// When the request is malformed, the caller lacks the plan or the agent, or the database does not take it.
    pub async fn create(&self, caller: &Caller, body: &[u8]) -> Result<Subscribed, SubscriptionError> {
        let wanted = wire::Wanted::parse(body).map_err(SubscriptionError::Malformed)?;
        let agent = self.agents.find(&caller.user, &wanted.agent_id).await?;
        let agent = agent.ok_or(SubscriptionError::NoAgent)?;
        let now = self.clock.now();
        let new = NewSubscription {
            id: SubscriptionId::new(now, self.entropy.as_ref()),
            owner: caller.user.clone(),
            plan: PlanId::from_stored(wanted.plan_id),
            agent: agent.id,
            wallet: wanted.wallet.unwrap_or(agent.public_key),
            require_payment: wanted.require_payment,
            metadata: wanted.metadata,
        };
        match self.store.begin_subscription(&new, now).await? {
            Begun::Kept(subscribed) => Ok(*subscribed),
            Begun::NoPlan => Err(SubscriptionError::NoPlan),
            Begun::PlanRetired => Err(SubscriptionError::PlanRetired),
        }
    }

    /// The caller's subscription, as it is now.
    ///
    /// # Errors
    /// When there is none, or the database does not answer.
    pub async fn find(&self, caller: &Caller, id: &str) -> Result<Subscribed, SubscriptionError> {
        let found = self.store.find_subscription(&caller.user, id).await?;
        found.map(|found| found.at(self.clock.now())).ok_or(SubscriptionError::NotFound)
    }

    /// The caller's subscriptions, newest first, as they are now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(
        &self,
        caller: &Caller,
        limit: u32,
        offset: u32,
    ) -> Result<SubscriptionPage, StoreError> {
        let now = self.clock.now();
        let page = self.store.list_subscriptions(&caller.user, limit, offset).await?;
        let subscriptions = page.subscriptions.into_iter().map(|found| found.at(now)).collect();
        Ok(SubscriptionPage { subscriptions, ..page })
    }

    /// # Errors
    /// When the request is malformed, there is no such subscription, or the database does not take it.
    pub async fn cancel(
        &self,
        caller: &Caller,
        id: &str,
        body: &[u8],
    ) -> Result<Subscribed, SubscriptionError> {
        let when = wire::when(body).map_err(SubscriptionError::Malformed)?;
        let (user, now) = (&caller.user, self.clock.now());
        let cancelled = self.store.cancel_subscription(user, id, when, now).await?;
        cancelled.ok_or(SubscriptionError::NotFound)
    }
}
