//! Subscriptions: agents on plans, month by month.
//!
//! `state` says how a subscription goes from one state to the next, `calendar` where its periods begin.

mod calendar;
mod state;
mod subscription;

pub use calendar::{Anchor, Day, Period};
pub use state::{Advanced, GRACE, Happening, MAX_PERIODS_AHEAD, Money, PaidPeriod, Told, Unpayable, When};
pub use subscription::{NewSubscription, Price, Standing, Subscribed, Subscription};
