//! Usage: what was used under subscriptions, counted once and within the plan's limits.
//!
//! Counts are kept by period, day and resource as usage comes in, so that no request adds up what came before. Whoever
//! counts holds the subscription: of requests at the same time, on whatever instance, none sees another's half.

mod meter;
mod record;
pub mod service;
mod store;
mod wire;

pub use meter::{DayCount, Held, Meter, OverLimit, Quota, Window};
pub use record::{Counted, NewUsage, Refused, UsageRecord, key_of_request};
pub use store::{Outcome, ResourceSum, UsagePage, UsageStore};
pub use wire::{BatchMembers, UsageBody, UsageMembers};
