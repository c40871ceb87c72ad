//! Analytics in both databases: the statements, what their rows mean, and what is done in one snapshot or one database
//! transaction, which reads the same in both.
//!
//! What was proved is told apart from what is summed up by its id, which is of the time that it was verified at: the books
//! need no index more for it, and recording a payment costs what it did. What the service settles ends later than its id
//! says, and is found by the time of its end; events are of the time in their ids.

use sqlx::FromRow;

use super::rows::{column, corrupt, payment_state, source};
use crate::{
    analytics::{Event, Log, PaymentSum, RevenueSum, Tally, TypeCount},
    clock::UnixMs,
    ids::{EventId, PaymentId},
    money::{Currency, Sum},
    store_error::StoreError,
};

pub(super) const PAYMENT_SUMS: &str = "payment_sums";
pub(super) const EVENT_SUMS: &str = "event_sums";
pub(super) const EVENTS: &str = "analytics_events";

/// The table that a log's sums are kept in.
pub(super) const fn sums(log: Log) -> &'static str {
    match log {
        Log::Payments => PAYMENT_SUMS,
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

/// The owner's ($1) payments that have ended and are not summed up: from an id ($2) and a time ($3) on.
macro_rules! unrolled {
    () => {
        concat!(
            "SELECT verified_at_ms AS counted_at, state, source, coalesce(currency, '') AS currency, ",
            halves!(),
            " FROM transactions WHERE owner = $1 AND id >= $2 AND source = 'proof' \
             UNION ALL \
             SELECT ended_at_ms, state, source, coalesce(currency, ''), ",
            halves!(),
            " FROM transactions WHERE owner = $1 AND ended_at_ms >= $3"
        )
    };
}

macro_rules! totals {
    () => {
        "CAST(sum(payments) AS BIGINT) AS payments, CAST(sum(amount_high) AS BIGINT) AS amount_high, \
         CAST(sum(amount_low) AS BIGINT) AS amount_low"
    };
}

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

/// The types of the owner's ($1) events, each found by one look into the index.
macro_rules! types {
    () => {
        "WITH RECURSIVE types (type) AS (\
            SELECT min(type) FROM analytics_events WHERE owner = $1 \
            UNION ALL \
            SELECT (SELECT min(e.type) FROM analytics_events e WHERE e.owner = $1 AND e.type > types.type) \
            FROM types WHERE types.type IS NOT NULL) "
    };
}
pub(super) use types;

/// The owner's ($1) events from $3 to $6, of which $4 to $5 are whole days, by type; not summed up from an id ($2) on.
pub const COUNT_EVENTS: &str = concat!(
    types!(),
    "SELECT type, CAST(sum(events) AS BIGINT) AS events FROM (\
        SELECT type, events FROM event_sums \
        WHERE owner = $1 AND span_ms = 3600000 AND start_ms >= $3 AND start_ms < $4 \
        UNION ALL \
        SELECT type, events FROM event_sums \
        WHERE owner = $1 AND span_ms = 86400000 AND start_ms >= $4 AND start_ms < $5 \
        UNION ALL \
        SELECT type, events FROM event_sums \
        WHERE owner = $1 AND span_ms = 3600000 AND start_ms >= $5 AND start_ms < $6 \
        UNION ALL \
        SELECT types.type, (SELECT count(*) FROM analytics_events e WHERE e.owner = $1 AND e.type = types.type \
            AND e.id >= $2 AND e.occurred_at_ms >= $3 AND e.occurred_at_ms < $6) \
        FROM types WHERE types.type IS NOT NULL\
    ) counted GROUP BY type HAVING sum(events) > 0"
);

macro_rules! event_columns {
    () => {
        "SELECT id, type, payment_id, occurred_at_ms FROM analytics_events WHERE id IN "
    };
}
pub(super) use event_columns;

/// A page of the owner's ($1) events of a type ($2), with ids from $3 to $4. Those left out are only read in the index.
pub const LIST_EVENTS: &str = concat!(
    event_columns!(),
    "(SELECT id FROM analytics_events WHERE owner = $1 AND type = $2 AND id >= $3 AND id < $4 \
        ORDER BY id DESC LIMIT $5 OFFSET $6) ORDER BY id DESC"
);

pub(super) const ROLLED_UNTIL: &str = "SELECT rolled_until_ms FROM rollups WHERE name = $1";

pub(super) const MOVE_ON: &str =
    "UPDATE rollups SET rolled_until_ms = $3 WHERE name = $1 AND rolled_until_ms = $2";

/// How many of the next lines there are, up to a limit, and the time of the last of them.
pub const NEXT_PROOFS: &str = "\
    SELECT count(*), max(at_ms) FROM (\
        SELECT verified_at_ms AS at_ms FROM transactions WHERE id >= $1 AND id < $2 AND source = 'proof' \
        ORDER BY id LIMIT $3) next";
pub const NEXT_ENDED: &str = "\
    SELECT count(*), max(at_ms) FROM (\
        SELECT ended_at_ms AS at_ms FROM transactions WHERE ended_at_ms >= $1 AND ended_at_ms < $2 \
        ORDER BY ended_at_ms LIMIT $3) next";
pub const NEXT_EVENTS: &str = "\
    SELECT count(*), max(at_ms) FROM (\
        SELECT occurred_at_ms AS at_ms FROM analytics_events WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3) next";

macro_rules! spans {
    () => {
        "CROSS JOIN (SELECT 3600000 AS span_ms UNION ALL SELECT 86400000) spans"
    };
}

/// Proofs with ids from $1 to $2, and what ended from $3 to $4.
pub const ROLL_PAYMENTS: &str = concat!(
    "INSERT INTO payment_sums AS kept (owner, span_ms, start_ms, state, source, currency, payments, amount_high, \
        amount_low) \
    SELECT owner, span_ms, counted_at - counted_at % span_ms, state, source, currency, count(*), \
        CAST(sum(amount_high) AS BIGINT), CAST(sum(amount_low) AS BIGINT) FROM (\
        SELECT owner, verified_at_ms AS counted_at, state, source, coalesce(currency, '') AS currency, ",
    halves!(),
    " FROM transactions WHERE id >= $1 AND id < $2 AND source = 'proof' \
        UNION ALL \
        SELECT owner, ended_at_ms, state, source, coalesce(currency, ''), ",
    halves!(),
    " FROM transactions WHERE ended_at_ms >= $3 AND ended_at_ms < $4\
    ) ended ",
    spans!(),
    " WHERE owner IS NOT NULL \
    GROUP BY owner, span_ms, counted_at - counted_at % span_ms, state, source, currency \
    ON CONFLICT (owner, span_ms, start_ms, state, source, currency) DO UPDATE SET \
        payments = kept.payments + excluded.payments, amount_high = kept.amount_high + excluded.amount_high, \
        amount_low = kept.amount_low + excluded.amount_low"
);

/// Events with ids from $1 to $2.
pub const ROLL_EVENTS: &str = concat!(
    "INSERT INTO event_sums AS kept (owner, span_ms, start_ms, type, events) \
    SELECT owner, span_ms, occurred_at_ms - occurred_at_ms % span_ms, type, count(*) FROM analytics_events ",
    spans!(),
    " WHERE id >= $1 AND id < $2 AND owner IS NOT NULL \
    GROUP BY owner, span_ms, occurred_at_ms - occurred_at_ms % span_ms, type \
    ON CONFLICT (owner, span_ms, start_ms, type) DO UPDATE SET events = kept.events + excluded.events"
);

/// The version before says in the settlement alone when it ended.
pub const NOTE_ENDS: &str = "\
    UPDATE transactions SET ended_at_ms = \
        (SELECT s.finished_at_ms FROM settlements s WHERE s.payment_id = transactions.id) \
    WHERE id IN (\
        SELECT t.id FROM transactions t JOIN settlements s ON s.payment_id = t.id \
        WHERE t.source = 'x402' AND t.state <> 'pending' AND t.ended_at_ms IS NULL AND s.finished_at_ms IS NOT NULL \
        LIMIT $1)";

/// How far a step goes, of the logs' next lines and their last times: all the way, unless there are more lines than that.
/// `None`: there is nothing to be summed up.
pub(super) fn step(from: UnixMs, until: UnixMs, limit: u32, next: &[(i64, Option<i64>)]) -> Option<UnixMs> {
    if next.iter().all(|(lines, _)| *lines == 0) {
        return None;
    }
    let full = next.iter().filter(|(lines, _)| *lines >= i64::from(limit));
    let first = full.filter_map(|(_, last)| *last).min().unwrap_or(until.0);
    // Lines of one moment are summed up together, however many they are.
    Some(UnixMs(first.clamp(from.0 + 1, until.0)))
}

/// Sums, as both statements give them.
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

#[derive(FromRow)]
pub(super) struct PaymentSumRow {
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
pub(super) struct RevenueSumRow {
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

fn currency(text: &str) -> Result<Option<Currency>, StoreError> {
    if text.is_empty() { Ok(None) } else { column(PAYMENT_SUMS, text).map(Some) }
}

#[derive(FromRow)]
pub(super) struct EventRow {
    id: String,
    #[sqlx(rename = "type")]
    kind: String,
    payment_id: Option<String>,
    occurred_at_ms: i64,
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Self {
            id: EventId::from_stored(row.id),
            kind: row.kind,
            payment: row.payment_id.map(PaymentId::from_stored),
            occurred_at: UnixMs(row.occurred_at_ms),
        }
    }
}

pub(super) fn type_counts(rows: Vec<(String, i64)>) -> Result<Vec<TypeCount>, StoreError> {
    let count = |(kind, events)| {
        let events = u64::try_from(events).map_err(|error| corrupt(EVENT_SUMS, &error))?;
        Ok(TypeCount { kind, events })
    };
    let mut counts: Vec<TypeCount> = rows.into_iter().map(count).collect::<Result<_, _>>()?;
    // Whatever the database thinks of the order of texts.
    counts.sort_by(|one, other| one.kind.cmp(&other.kind));
    Ok(counts)
}

/// All rows, or the first that makes no sense.
pub(super) fn all<R, T: TryFrom<R>>(rows: Vec<R>) -> Result<Vec<T>, T::Error> {
    rows.into_iter().map(T::try_from).collect()
}

/// What is done on a connection. `$read` begins a snapshot, `$write` a database transaction that writes.
macro_rules! analytics_transactions {
    ($connection:ty, $read:literal, $write:literal, $list_all:expr) => {
        use sqlx::Connection;

        use $crate::{
            analytics::{Log, Rolled, Window},
            clock::UnixMs,
            ids::{EventId, PaymentId},
            store::analytics::{self, EventRow, PaymentSumRow, RevenueSumRow},
        };

        async fn rolled_until(connection: &mut $connection, log: Log) -> Result<UnixMs, sqlx::Error> {
            let until = sqlx::query_scalar(analytics::ROLLED_UNTIL).bind(log.as_str());
            until.fetch_one(connection).await.map(UnixMs)
        }

        pub(super) async fn payments(
            connection: &mut $connection,
            owner: &str,
            window: Window,
        ) -> Result<Vec<PaymentSumRow>, sqlx::Error> {
            let mut snapshot = connection.begin_with($read).await?;
            let (rolled, days) = (rolled_until(&mut snapshot, Log::Payments).await?, window.whole_days());
            let rows = sqlx::query_as(analytics::SUM_PAYMENTS)
                .bind(owner)
                .bind(PaymentId::lowest_at(rolled).as_str())
                .bind(rolled.0)
                .bind(window.from.0)
                .bind(days.from.0)
                .bind(days.to.0)
                .bind(window.to.0)
                .fetch_all(&mut *snapshot)
                .await?;
            snapshot.commit().await?;
            Ok(rows)
        }

        pub(super) async fn revenue(
            connection: &mut $connection,
            owner: &str,
            span_ms: i64,
            window: Window,
        ) -> Result<Vec<RevenueSumRow>, sqlx::Error> {
            let mut snapshot = connection.begin_with($read).await?;
            let rolled = rolled_until(&mut snapshot, Log::Payments).await?;
            let rows = sqlx::query_as(analytics::SUM_REVENUE)
                .bind(owner)
                .bind(PaymentId::lowest_at(rolled).as_str())
                .bind(rolled.0)
                .bind(window.from.0)
                .bind(window.to.0)
                .bind(span_ms)
                .fetch_all(&mut *snapshot)
                .await?;
            snapshot.commit().await?;
            Ok(rows)
        }

        /// A page of events, and how many there are of each type.
        pub(super) async fn events(
            connection: &mut $connection,
            owner: &str,
            kind: Option<&str>,
            window: Window,
            (limit, offset): (u32, u32),
        ) -> Result<(Vec<EventRow>, Vec<(String, i64)>), sqlx::Error> {
            let mut snapshot = connection.begin_with($read).await?;
            let (rolled, days) = (rolled_until(&mut snapshot, Log::Events).await?, window.whole_days());
            let types = sqlx::query_as(analytics::COUNT_EVENTS)
                .bind(owner)
                .bind(EventId::lowest_at(rolled).as_str())
                .bind(window.from.0)
                .bind(days.from.0)
                .bind(days.to.0)
                .bind(window.to.0)
                .fetch_all(&mut *snapshot)
                .await?;
            let list = match kind {
                Some(kind) => sqlx::query_as(analytics::LIST_EVENTS).bind(owner).bind(kind),
                None => sqlx::query_as($list_all).bind(owner).bind(i64::from(limit) + i64::from(offset)),
            };
            let rows = list
                .bind(EventId::lowest_at(window.from).as_str())
                .bind(EventId::lowest_at(window.to).as_str())
                .bind(i64::from(limit))
                .bind(i64::from(offset))
                .fetch_all(&mut *snapshot)
                .await?;
            snapshot.commit().await?;
            Ok((rows, types))
        }

        /// The first thing that is written is the time up to which the sums reach, so that of two instances at the same
        /// step the second waits for the first, and then finds that there is nothing for it to do.
        pub(super) async fn roll(
            connection: &mut $connection,
            log: Log,
            until: UnixMs,
            limit: u32,
        ) -> Result<Rolled, sqlx::Error> {
            let from = rolled_until(connection, log).await?;
            let next = if from < until { next(connection, log, from, until, limit).await? } else { vec![] };
            let Some(to) = analytics::step(from, until, limit, &next) else { return Ok(Rolled::All) };
            let mut transaction = connection.begin_with($write).await?;
            let moved = sqlx::query(analytics::MOVE_ON)
                .bind(log.as_str())
                .bind(from.0)
                .bind(to.0)
                .execute(&mut *transaction)
                .await?;
            if moved.rows_affected() == 1 {
                add(&mut transaction, log, from, to).await?;
                transaction.commit().await?;
            } else {
                transaction.rollback().await?;
            }
            Ok(Rolled::Some)
        }

        async fn next(
            connection: &mut $connection,
            log: Log,
            from: UnixMs,
            until: UnixMs,
            limit: u32,
        ) -> Result<Vec<(i64, Option<i64>)>, sqlx::Error> {
            let by_id = match log {
                Log::Payments => sqlx::query_as(analytics::NEXT_PROOFS)
                    .bind(PaymentId::lowest_at(from).as_str().to_owned())
                    .bind(PaymentId::lowest_at(until).as_str().to_owned()),
                Log::Events => sqlx::query_as(analytics::NEXT_EVENTS)
                    .bind(EventId::lowest_at(from).as_str().to_owned())
                    .bind(EventId::lowest_at(until).as_str().to_owned()),
            };
            let mut next = vec![by_id.bind(i64::from(limit)).fetch_one(&mut *connection).await?];
            if log == Log::Payments {
                let ended = sqlx::query_as(analytics::NEXT_ENDED).bind(from.0).bind(until.0);
                next.push(ended.bind(i64::from(limit)).fetch_one(connection).await?);
            }
            Ok(next)
        }

        async fn add(
            connection: &mut $connection,
            log: Log,
            from: UnixMs,
            to: UnixMs,
        ) -> Result<(), sqlx::Error> {
            let add = match log {
                Log::Payments => sqlx::query(analytics::ROLL_PAYMENTS)
                    .bind(PaymentId::lowest_at(from).as_str().to_owned())
                    .bind(PaymentId::lowest_at(to).as_str().to_owned())
                    .bind(from.0)
                    .bind(to.0),
                Log::Events => sqlx::query(analytics::ROLL_EVENTS)
                    .bind(EventId::lowest_at(from).as_str().to_owned())
                    .bind(EventId::lowest_at(to).as_str().to_owned()),
            };
            add.execute(connection).await.map(drop)
        }
    };
}
pub(super) use analytics_transactions;
