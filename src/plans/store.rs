//! Where plans are kept.

use async_trait::async_trait;

use super::{Plan, PlanChange};
use crate::{clock::UnixMs, ids::PlanId, input::FieldErrors, store_error::StoreError};

/// One page of plans, newest first.
#[derive(Clone, Debug)]
pub struct PlanPage {
    pub plans: Vec<Plan>,
    /// How many there are on all pages.
    pub total: u64,
}

/// What became of a plan that was to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    Done(Box<Plan>),
    /// Nothing was changed: the change cannot be made to what is there.
    Malformed(FieldErrors),
    /// Nothing was changed: some subscriptions of the plan had to be brought to the present first, and more have to be.
    NotYet,
    NotFound,
}

/// What became of a plan that was to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone; so it was.
    Deleted(Box<Plan>),
    /// It has been subscribed to, so it stays, but takes no new subscriptions.
    Retired(Box<Plan>),
    NotFound,
}

#[async_trait]
pub trait PlanStore: std::fmt::Debug + Send + Sync {
    /// # Errors
    /// When the database does not take it.
    async fn create_plan(&self, plan: &Plan) -> Result<(), StoreError>;

    /// The plan, whoever owns it, retired or not.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn find_plan(&self, id: &str) -> Result<Option<Plan>, StoreError>;

    /// Those that can be subscribed to.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn plans_on_offer(&self, limit: u32, offset: u32) -> Result<PlanPage, StoreError>;

    /// Changes the owner's plan; changes made at the same time come one after the other. A new price holds for periods that
    /// begin after `at`.
    ///
    /// # Errors
    /// When the database does not take it.
    async fn change_plan(
        &self,
        owner: &str,
        id: &PlanId,
        change: &PlanChange,
        at: UnixMs,
    ) -> Result<Changed, StoreError>;

    /// Deletes the owner's plan, or retires it where it was ever subscribed to. Retiring it again changes nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn remove_plan(&self, owner: &str, id: &PlanId, at: UnixMs) -> Result<Removed, StoreError>;
}
