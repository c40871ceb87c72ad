//! The handlers.

pub(super) mod api_keys;
pub(super) mod docs;
pub(super) mod health;
pub(super) mod payments;
pub(super) mod plans;
pub(super) mod requirements;
pub(super) mod verify;
