//! The handlers.

pub(super) mod agents;
pub(super) mod analytics;
pub(super) mod api_keys;
pub(super) mod docs;
pub(super) mod health;
pub(super) mod payments;
pub(super) mod plans;
pub(super) mod requirements;
pub(super) mod subscriptions;
pub(super) mod usage;
pub(super) mod verify;
pub(super) mod x402;
