//! What the books come to: payments, revenue, agents and events of a user, by time.
//!
//! A payment that was proved counts when it was verified, one that the service settles when it ended, and until then as
//! pending. Whatever may still change is counted where it stands; the rest has been summed up by the hour and the day
//! ([`Rollup`]). Both together are exact at any time, also before anything was ever summed up: `store` reads them in one
//! snapshot, and the time up to which sums reach is moved in the database transaction that adds to them.
//!
//! Time is counted in whole UTC hours. Amounts of different currencies are never added together, but for the stablecoins that
//! agents are ranked by, at par.

mod agents;
mod calendar;
mod model;
mod query;
mod revenue;
mod rollup;
pub mod service;
mod store;
mod summary;

pub use agents::{AgentPage, Ranking, Spent, TopAgent, UnknownRanking};
pub use calendar::{EIGHT_DAYS_MS, Period};
pub use model::{Event, EventPage, PaymentSum, RevenueSum, Tally, TypeCount};
pub use query::{Buckets, MAX_BUCKETS, Window};
pub use revenue::{CurrencyRevenue, Point, Revenue};
pub use rollup::{Rollup, SETTLED_AFTER};
pub use store::{AnalyticsStore, Log, Rolled};
pub use summary::{ByState, CurrencySummary, Summary};
