//! Where agents are kept.

use async_trait::async_trait;

use super::{Agent, AgentPatch, DaySpending, NotAdmitted, SpendingUnit};
use crate::{
    clock::UnixMs,
    ids::{AgentId, EventId},
    input::FieldErrors,
    money::Amount,
    store_error::StoreError,
};

/// What became of a new agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    Kept,
    /// Nothing was written: the owner has this agent with the wallet.
    WalletTaken(AgentId),
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Updated {
    Changed(Box<Agent>),
    NotFound,
    /// Nothing was written: what would come of it is not an agent.
    Refused(FieldErrors),
}

/// One page of a user's agents, newest first.
#[derive(Clone, Debug)]
pub struct AgentPage {
    pub agents: Vec<Agent>,
    /// How many there are on all pages.
    pub total: u64,
}

/// What a day comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    pub stable: DaySpending,
    pub sol: DaySpending,
}

impl Spending {
    #[must_use]
    pub const fn of(self, unit: SpendingUnit) -> DaySpending {
        match unit {
            SpendingUnit::Stable => self.stable,
            SpendingUnit::Sol => self.sol,
        }
    }
}

/// An amount to be held back for a payment that is under way, once for each message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// SHA-256 of the transaction's message.
    pub message: [u8; 32],
    pub agent: AgentId,
    /// `None` for a token whose worth is not known.
    pub unit: Option<SpendingUnit>,
    pub amount: Amount,
    /// What is paid for, whole.
    pub resource: Option<String>,
    pub at: UnixMs,
}

/// What became of a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    Held,
    /// Nothing was written. The agent is the one that has the wallet now.
    NotAdmitted {
        agent: AgentId,
        why: NotAdmitted,
    },
    /// Nothing was written: the agent was deleted, and its owner has no other with its wallet.
    AgentGone,
}

/// A payment of an agent's that was bad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub agent: AgentId,
    /// Names the payment, in 1 to 200 characters: shown again, it is the same failure.
    pub attempt: String,
    pub at: UnixMs,
    pub event: EventId,
}

/// Deleted agents are kept for the books and are not found any more.
#[async_trait]
pub trait AgentStore: std::fmt::Debug + Send + Sync {
    /// Keeps a new agent, and that it was registered.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    async fn create(&self, agent: &Agent, event: &EventId) -> Result<Created, StoreError>;

    /// The owner's agent with this id or public key.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn find(&self, owner: &str, id_or_public_key: &str) -> Result<Option<Agent>, StoreError>;

    /// # Errors
    /// When the database does not answer.
    async fn list(&self, owner: &str, limit: u32, offset: u32) -> Result<AgentPage, StoreError>;

    /// Changes the owner's agent with this id or public key. Changes made at a time come one after the other, so that
    /// none undoes another's members.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    async fn update(
        &self,
        owner: &str,
        id_or_public_key: &str,
        patch: &AgentPatch,
        at: UnixMs,
        event: &EventId,
    ) -> Result<Updated, StoreError>;

    /// Deletes the owner's agent with this id or public key; what it was.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    async fn delete(
        &self,
        owner: &str,
        id_or_public_key: &str,
        at: UnixMs,
        event: &EventId,
    ) -> Result<Option<Agent>, StoreError>;

    /// What the UTC day of `at` comes to.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn spending(&self, agent: &AgentId, at: UnixMs) -> Result<Spending, StoreError>;

    /// Holds an amount until then, if the agent may spend it; if it was deleted, of the agent that its owner has registered with
    /// the same wallet since. What is held for the message already is held on, once; for a message whose settlement is
    /// journalled nothing more is held.
    ///
    /// # Errors
    /// When the database did not confirm the commit. What is held then ends by itself.
    async fn hold(&self, hold: &Hold, until: UnixMs) -> Result<Held, StoreError>;

    /// Lets a failure cost its agent reputation, once; whether it had not yet.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    async fn note_failure(&self, failure: &Failure) -> Result<bool, StoreError>;

    /// Removes up to `limit` holds that have run out by `now`, and as many failures from before `failed_before`; how many
    /// rows they were. A hold that has run out counts no more anyway.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn forget(&self, now: UnixMs, failed_before: UnixMs, limit: u32) -> Result<u64, StoreError>;
}
