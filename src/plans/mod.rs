//! Plans: what can be subscribed to, and what it costs a month.
//!
//! Plans are on offer to everybody, and their owner's to change. One that was ever subscribed to is retired, not deleted.

mod plan;
pub mod service;
mod store;
mod wire;

pub use plan::{Limits, Plan};
pub use store::{Changed, PlanPage, PlanStore, Removed};
pub use wire::{CreateMembers, LimitsMembers, NewPlan, PlanChange, UpdateMembers};
