//! What payments come to: by where they stand and how they came, and revenue by time.

use sqlx::FromRow;

use super::{Sums, currency, halves, totals, unrolled};
use crate::{
    analytics::{PaymentSum, RevenueSum},
    clock::UnixMs,
    store::rows::{payment_state, source},
    store_error::StoreError,
};

/// The owner's ($1) payments from $4 to $7, of which $5 to $6 are whole days.
pub const SUM_PAYMENTS: &str = concat!(
    "SELECT state, source, currency, ",
    totals!(),
    " FROM (\
        SELECT state, source, currency, payments, amount_high, amount_low FROM payment_sums \
        WHERE owner = $1 AND span_ms = 3600000 AND start_ms >= $4 AND start_ms < $5 \
        UNION ALL \
        SELECT state, source, currency, payments, amount_high, amount_low FROM payment_sums \
        WHERE owner = $1 AND span_ms = 86400000 AND start_ms >= $5 AND start_ms < $6 \
        UNION ALL \
        SELECT state, source, currency, payments, amount_high, amount_low FROM payment_sums \
        WHERE owner = $1 AND span_ms = 3600000 AND start_ms >= $6 AND start_ms < $7 \
        UNION ALL \
        SELECT state, source, currency, 1, amount_high, amount_low FROM (",
    unrolled!(),
    ") unrolled WHERE counted_at >= $4 AND counted_at < $7 \
        UNION ALL \
        SELECT state, source, coalesce(currency, ''), 1, ",
    halves!(),
    " FROM transactions \
        WHERE owner = $1 AND state = 'pending' AND verified_at_ms >= $4 AND verified_at_ms < $7\
    ) counted GROUP BY state, source, currency"
);

/// What was settled for the owner ($1) from $4 to $5, by spans of $6.
pub const SUM_REVENUE: &str = concat!(
    "SELECT start_ms, currency, ",
    totals!(),
    " FROM (\
        SELECT start_ms, currency, payments, amount_high, amount_low FROM payment_sums \
        WHERE owner = $1 AND span_ms = $6 AND start_ms >= $4 AND start_ms < $5 AND state = 'settled' \
        UNION ALL \
        SELECT counted_at - counted_at % $6, currency, 1, amount_high, amount_low FROM (",
    unrolled!(),
    ") unrolled WHERE counted_at >= $4 AND counted_at < $5 AND state = 'settled'\
    ) counted GROUP BY start_ms, currency"
);

#[derive(FromRow)]
pub(in crate::store) struct PaymentSumRow {
    state: String,
    source: String,
    currency: String,
    #[sqlx(flatten)]
    sums: Sums,
}

impl TryFrom<PaymentSumRow> for PaymentSum {
    type Error = StoreError;

    fn try_from(row: PaymentSumRow) -> Result<Self, StoreError> {
        Ok(Self {
            state: payment_state(&row.state)?,
            source: source(&row.source)?,
            currency: currency(&row.currency)?,
            tally: row.sums.tally()?,
        })
    }
}

#[derive(FromRow)]
pub(in crate::store) struct RevenueSumRow {
    start_ms: i64,
    currency: String,
    #[sqlx(flatten)]
    sums: Sums,
}

impl TryFrom<RevenueSumRow> for RevenueSum {
    type Error = StoreError;

    fn try_from(row: RevenueSumRow) -> Result<Self, StoreError> {
        let (start, currency) = (UnixMs(row.start_ms), currency(&row.currency)?);
        Ok(Self { start, currency, tally: row.sums.tally()? })
    }
}
