//! Agents: wallets that a user has registered, what they may spend and on what, and how they have behaved.
//!
//! A limit holds where money moves: the database transaction that books a payment, or reserves for one, is its judge. This
//! room says what the limits are and what is left of them; whoever books asks [`Agent::admit`] with the sums of that
//! moment.

mod admission;
mod limits;
mod model;
pub mod service;
mod services;
mod store;
mod wire;

pub use admission::{NotAdmitted, Purchase};
pub use limits::{DaySpending, Limits, Overspending, SpendingUnit, UnitLimits};
pub use model::{Agent, MAX_REPUTATION, Reputation, TrustLevel};
pub use services::{AllowedServices, MAX_SERVICES, ServicePattern};
pub use store::{AgentPage, AgentStore, Created, Failure, Held, Hold, Spending, Updated};
pub use wire::{
    AgentPatch, LimitMembers, MAX_NAME, NewAgent, NewAgentMembers, PatchMembers, SolLimitMembers,
};
