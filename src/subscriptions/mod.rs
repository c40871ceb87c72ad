//! Subscriptions: agents on plans, month by month.
//!
//! `state` says how a subscription goes from one state to the next, `calendar` where its periods begin. The `worker` writes
//! down what time has made of them; nobody waits for it.

mod calendar;
pub mod service;
mod state;
mod store;
mod subscription;
mod wire;
pub mod worker;

pub use calendar::{Anchor, Period};
pub use state::{Advanced, GRACE, Happening, MAX_PERIODS_AHEAD, Money, PaidPeriod, Told, Unpayable, When};
pub use store::{Begun, Seen, SubscriptionPage, SubscriptionStore};
pub use subscription::{NewSubscription, Price, Standing, Subscribed, Subscription};
pub use wire::{CancelMembers, CreateMembers};
