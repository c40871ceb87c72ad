//! Analytics in both databases: the statements, what their rows mean, and what is done in one snapshot or one database
//! transaction, which reads the same in both.
//!
//! What was proved is told apart from what is summed up by its id, which is of the time that it was verified at: the books
//! need no index more for it, and recording a payment costs what it did. What the service settles ends later than its id
//! says, and is found by the time of its end; events are of the time in their ids.

mod agents;
mod events;
mod payments;
mod roll;
mod transactions;

use sqlx::FromRow;

use super::rows::{column, corrupt};
use crate::{
    analytics::{Log, Tally},
    money::{Currency, Sum},
    store_error::StoreError,
};

pub use agents::TOP_AGENTS;
pub(super) use agents::{RankedRow, ranked};
pub use events::{COUNT_EVENTS, LIST_EVENTS};
pub(super) use events::{EventRow, event_columns, type_counts, types};
pub(super) use payments::{PaymentSumRow, RevenueSumRow};
pub use payments::{SUM_PAYMENTS, SUM_REVENUE};
pub(super) use roll::{
    ADD_AGENT, ADD_EVENT, ADD_PAYMENT, DUE_LOOKED_AT, MOVE_ON, ROLLED_UNTIL, first_due, rolled_until, step,
    take_back,
};
pub use roll::{NEXT_ENDED, NEXT_EVENTS, NEXT_PROOFS, NOTE_ENDS, ROLL_AGENTS, ROLL_EVENTS, ROLL_PAYMENTS};
pub(super) use transactions::analytics_transactions;

pub(super) const PAYMENT_SUMS: &str = "payment_sums";
pub(super) const AGENT_SUMS: &str = "agent_sums";
pub(super) const EVENT_SUMS: &str = "event_sums";
pub(super) const EVENTS: &str = "analytics_events";

/// The table that a log's sums are kept in.
pub(super) const fn sums(log: Log) -> &'static str {
    match log {
        Log::Payments => PAYMENT_SUMS,
        Log::Agents => AGENT_SUMS,
        Log::Events => EVENT_SUMS,
    }
}

/// An amount in two halves, whose sums fit where the amounts' sum may not. What is in no known currency has none.
macro_rules! halves {
    () => {
        "CASE WHEN currency IS NULL THEN 0 ELSE amount >> 32 END AS amount_high, \
         CASE WHEN currency IS NULL THEN 0 ELSE amount & 4294967295 END AS amount_low"
    };
}
use halves;

/// The owner's ($1) payments that have ended and are not summed up: from an id ($2) and a time ($3) on.
macro_rules! unrolled {
    () => {
        concat!(
            "SELECT agent_id, verified_at_ms AS counted_at, state, source, coalesce(currency, '') AS currency, ",
            halves!(),
            " FROM transactions WHERE owner = $1 AND id >= $2 AND source = 'proof' \
             UNION ALL \
             SELECT agent_id, ended_at_ms, state, source, coalesce(currency, ''), ",
            halves!(),
            " FROM transactions WHERE owner = $1 AND ended_at_ms >= $3"
        )
    };
}
use unrolled;

macro_rules! totals {
    () => {
        "CAST(sum(payments) AS BIGINT) AS payments, CAST(sum(amount_high) AS BIGINT) AS amount_high, \
         CAST(sum(amount_low) AS BIGINT) AS amount_low"
    };
}
use totals;

/// Sums, as the statements give them.
#[derive(FromRow)]
struct Sums {
    payments: i64,
    amount_high: i64,
    amount_low: i64,
}

impl Sums {
    fn tally(&self) -> Result<Tally, StoreError> {
        let unsigned = |number| u64::try_from(number).map_err(|error| corrupt(PAYMENT_SUMS, &error));
        let (high, low) = (unsigned(self.amount_high)?, unsigned(self.amount_low)?);
        Ok(Tally {
            payments: unsigned(self.payments)?,
            amount: Sum::from_atomic((u128::from(high) << 32) + u128::from(low)),
        })
    }
}

fn currency(text: &str) -> Result<Option<Currency>, StoreError> {
    if text.is_empty() { Ok(None) } else { column(PAYMENT_SUMS, text).map(Some) }
}

/// All rows, or the first that makes no sense.
pub(super) fn all<R, T: TryFrom<R>>(rows: Vec<R>) -> Result<Vec<T>, T::Error> {
    rows.into_iter().map(T::try_from).collect()
}
