//! Making, changing and showing plans.

use std::sync::Arc;

use super::{Changed, NewPlan, Plan, PlanChange, PlanPage, PlanStore, Removed};
use crate::{
    api_keys::Caller,
    clock::Clock,
    ids::{Entropy, PlanId},
    input::FieldErrors,
    store_error::StoreError,
};

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("the request cannot be read")]
    Malformed(FieldErrors),
    #[error("there is no such plan")]
    NotFound,
    #[error("too many subscriptions of the plan have to be brought to the present first")]
    NotYet,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How often a change is tried whose subscriptions are brought to the present first.
const MAX_TRIES: u32 = 20;

#[derive(Debug)]
pub struct Plans {
    store: Arc<dyn PlanStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Plans {
    #[must_use]
    pub fn new(store: Arc<dyn PlanStore>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { store, clock, entropy }
    }

    /// # Errors
    /// When the request is malformed, or the database does not take it.
    pub async fn create(&self, caller: &Caller, body: &[u8]) -> Result<Plan, PlanError> {
        let new = NewPlan::parse(body).map_err(PlanError::Malformed)?;
        let now = self.clock.now();
        let plan = Plan {
            id: PlanId::new(now, self.entropy.as_ref()),
            owner: caller.user.clone(),
            name: new.name,
            description: new.description,
            price_per_month: new.price_per_month,
            currency: new.currency,
            features: new.features,
            limits: new.limits,
            metadata: new.metadata,
            created_at: now,
            updated_at: now,
            retired_at: None,
        };
        self.store.create_plan(&plan).await?;
        Ok(plan)
    }

    /// Anybody's plan; a retired one for its owner alone, who is the one that is subscribed to it.
    ///
    /// # Errors
    /// When there is no such plan, or the database does not answer.
    pub async fn find(&self, caller: Option<&Caller>, id: &str) -> Result<Plan, PlanError> {
        let found = self.store.find_plan(id).await?;
        let is_owner = |plan: &Plan| caller.is_some_and(|caller| caller.user == plan.owner);
        found.filter(|plan| plan.retired_at.is_none() || is_owner(plan)).ok_or(PlanError::NotFound)
    }

    /// Everybody's plans that can be subscribed to, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn on_offer(&self, limit: u32, offset: u32) -> Result<PlanPage, StoreError> {
        self.store.plans_on_offer(limit, offset).await
    }

    /// # Errors
    /// When the request is malformed, the caller has no such plan, or the database does not take it.
    pub async fn change(&self, caller: &Caller, id: String, body: &[u8]) -> Result<Plan, PlanError> {
        let change = PlanChange::parse(body).map_err(PlanError::Malformed)?;
        let (id, now) = (PlanId::from_stored(id), self.clock.now());
        for _ in 0..MAX_TRIES {
            match self.store.change_plan(&caller.user, &id, &change, now).await? {
                Changed::Done(plan) => return Ok(*plan),
                Changed::Malformed(errors) => return Err(PlanError::Malformed(errors)),
                Changed::NotFound => return Err(PlanError::NotFound),
                Changed::NotYet => {}
            }
        }
        Err(PlanError::NotYet)
    }

    /// The plan as it is or was, and whether it is gone.
    ///
    /// # Errors
    /// When the caller has no such plan, or the database does not answer.
    pub async fn remove(&self, caller: &Caller, id: String) -> Result<(Plan, bool), PlanError> {
        match self.store.remove_plan(&caller.user, &PlanId::from_stored(id), self.clock.now()).await? {
            Removed::Deleted(plan) => Ok((*plan, true)),
            Removed::Retired(plan) => Ok((*plan, false)),
            Removed::NotFound => Err(PlanError::NotFound),
        }
    }
}
