//! Payment requirements: what a merchant asks to be paid, as sent along with a proof or issued by the service.

mod requirement;
pub mod service;
mod store;
mod wire;

pub use requirement::{IssuedRequirement, Requirement, RequirementState, Scheme, SchemeName};
pub use store::RequirementStore;
pub use wire::{
    MAX_NONCE, MAX_RESOURCE, NewRequirement, NewRequirementMembers, RequirementMembers, read_requirement,
};
