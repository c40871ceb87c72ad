//! Payment requirements: what a merchant asks to be paid, as sent along with a proof or issued by the service.

mod requirement;
pub mod service;
mod store;
mod wire;

pub use requirement::{IssuedRequirement, Requirement, RequirementState, Scheme};
pub use store::RequirementStore;
pub use wire::{MAX_NONCE, MAX_RESOURCE, NewRequirement, read_requirement};
