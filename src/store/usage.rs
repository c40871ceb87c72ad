//! Usage in both databases: the statements, what their rows mean, and the database transactions made of them.

use sqlx::FromRow;

use super::rows::corrupt;
use crate::{
    calendar::Day,
    clock::UnixMs,
    ids::{SubscriptionId, UsageId},
    store_error::StoreError,
    usage::{DayCount, ResourceSum, UsagePage, UsageRecord},
};

pub(super) const USAGE: &str = "usage_records";

macro_rules! usage_columns {
    () => {
        "id, subscription_id, quantity, resource, used_at_ms, recorded_at_ms, idempotency_key, metadata, fingerprint"
    };
}

pub(super) const RECORD_USAGE: &str =
    concat!("INSERT INTO usage_records (", usage_columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");

pub const USAGE_BY_KEY: &str = concat!(
    "SELECT ",
    usage_columns!(),
    " FROM usage_records WHERE subscription_id = $1 AND idempotency_key = $2"
);

pub const LIST_USAGE: &str = concat!(
    "SELECT ",
    usage_columns!(),
    " FROM usage_records WHERE subscription_id = $1 AND used_at_ms >= $2 AND used_at_ms < $3 \
     ORDER BY used_at_ms DESC, id DESC LIMIT $4 OFFSET $5"
);

/// A period has at most 32 days, the first and the last of which may have a row for another period too.
pub const USAGE_BY_DAY: &str = "\
    SELECT day, period_start_ms, quantity, records FROM usage_days \
    WHERE subscription_id = $1 AND day >= $2 AND day <= $3 ORDER BY day";

pub const USAGE_BY_RESOURCE: &str = "\
    SELECT resource, quantity, records FROM usage_resources WHERE subscription_id = $1 AND period_start_ms = $2 \
    ORDER BY quantity DESC, resource LIMIT $3 OFFSET $4";

pub(super) const ADD_TO_DAY: &str = "\
    INSERT INTO usage_days AS kept (subscription_id, day, period_start_ms, quantity, records) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (subscription_id, day, period_start_ms) DO UPDATE SET \
        quantity = kept.quantity + excluded.quantity, records = kept.records + excluded.records";

pub(super) const ADD_TO_RESOURCE: &str = "\
    INSERT INTO usage_resources AS kept (subscription_id, period_start_ms, resource, quantity, records) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (subscription_id, period_start_ms, resource) DO UPDATE SET \
        quantity = kept.quantity + excluded.quantity, records = kept.records + excluded.records";

/// The statement is the judge of whether it was told of the window: it ends then ($3).
macro_rules! note_limit {
    ($told:literal) => {
        concat!(
            "UPDATE subscriptions SET ",
            $told,
            " = $3 WHERE id = $1 AND owner = $2 AND coalesce(",
            $told,
            ", 0) < $3"
        )
    };
}

pub(super) const NOTE_DAY_LIMIT: &str = note_limit!("day_limit_told_ms");
pub(super) const NOTE_PERIOD_LIMIT: &str = note_limit!("period_limit_told_ms");

pub(super) const TELL_OF_LIMIT: &str = "\
    INSERT INTO analytics_events (id, type, owner, subscription_id, agent_id, occurred_at_ms) \
    SELECT $1, 'usage.limit_reached', owner, id, agent_id, $3 FROM subscriptions WHERE id = $2";

#[derive(FromRow)]
pub(super) struct UsageRow {
    id: String,
    subscription_id: String,
    quantity: i64,
    resource: Option<String>,
    used_at_ms: i64,
    recorded_at_ms: i64,
    idempotency_key: Option<String>,
    metadata: Option<String>,
    fingerprint: Option<Vec<u8>>,
}

impl UsageRow {
    /// Whether it is of the same words as `fingerprint`.
    pub(super) fn says(&self, fingerprint: [u8; 32]) -> bool {
        self.fingerprint.as_deref() == Some(fingerprint.as_slice())
    }
}

impl TryFrom<UsageRow> for UsageRecord {
    type Error = StoreError;

    fn try_from(row: UsageRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: UsageId::from_stored(row.id),
            subscription: SubscriptionId::from_stored(row.subscription_id),
            quantity: unsigned(row.quantity)?,
            resource: row.resource,
            used_at: UnixMs(row.used_at_ms),
            recorded_at: UnixMs(row.recorded_at_ms),
            idempotency_key: row.idempotency_key,
            metadata: row.metadata,
        })
    }
}

/// Day, start of the period, quantity, records.
pub(super) type DayRow = (i64, i64, i64, i64);
/// Resource, quantity, records.
pub(super) type ResourceRow = (String, i64, i64);

pub(super) fn day_counts(rows: Vec<DayRow>) -> Result<Vec<DayCount>, StoreError> {
    let count = |(day, period_start, quantity, records)| {
        Ok(DayCount {
            day: Day(day),
            period_start: UnixMs(period_start),
            quantity: unsigned(quantity)?,
            records: unsigned(records)?,
        })
    };
    rows.into_iter().map(count).collect()
}

pub(super) fn usage_page(
    (records, resources, days): (Vec<UsageRow>, Vec<ResourceRow>, Vec<DayRow>),
) -> Result<UsagePage, StoreError> {
    let sum = |(resource, quantity, records): ResourceRow| {
        let resource = (!resource.is_empty()).then_some(resource);
        Ok(ResourceSum { resource, quantity: unsigned(quantity)?, records: unsigned(records)? })
    };
    Ok(UsagePage {
        records: records.into_iter().map(UsageRecord::try_from).collect::<Result<_, _>>()?,
        resources: resources.into_iter().map(sum).collect::<Result<_, StoreError>>()?,
        days: day_counts(days)?,
    })
}

fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|error| corrupt(USAGE, &error))
}

/// A count as a column holds it: past 2^63 there is nothing to count.
pub(super) fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The database transactions, with those of subscriptions in `$subscriptions`, which hold the one that is counted for.
macro_rules! usage_transactions {
    ($connection:ty, $begin:literal, $begin_reading:literal, $subscriptions:path) => {
        use std::{
            collections::BTreeMap,
            sync::atomic::{AtomicBool, Ordering},
        };

        use sqlx::Connection;
        use $subscriptions as subscriptions;

        use $crate::{
            calendar::Day,
            clock::UnixMs,
            ids::{EventId, SubscriptionId},
            store::usage::{self, DayRow, ResourceRow, UsageRow, count, day_counts},
            store_error::StoreError,
            subscriptions::Period,
            usage::{Counted, Held, NewUsage, Outcome, OverLimit, Refused, UsageRecord, Window},
        };

        type Step<T> = Result<Result<T, Stop>, sqlx::Error>;

        /// What ends a batch before its end.
        enum Stop {
            Refused(Refused),
            Store(StoreError),
        }

        /// `committing` is set before the commit is sent: from then on it may have taken place.
        pub(super) async fn record(
            connection: &mut $connection,
            owner: &str,
            batch: &[NewUsage],
            now: UnixMs,
            committing: &AtomicBool,
        ) -> Result<Result<Outcome, StoreError>, sqlx::Error> {
            let mut transaction = connection.begin_with($begin).await?;
            let mut held: BTreeMap<&str, Held> = BTreeMap::new();
            let mut counted = Vec::with_capacity(batch.len());
            // In the order of their ids, so that batches wait for each other in the same order.
            let mut turns: Vec<(&str, usize)> =
                batch.iter().enumerate().map(|(index, new)| (new.subscription.as_str(), index)).collect();
            turns.sort_unstable();
            for (id, index) in turns {
                if !held.contains_key(id) {
                    match hold(&mut transaction, owner, id, now).await? {
                        Ok(one) => held.insert(id, one),
                        Err(stop) => return stopped(transaction, stop, index).await,
                    };
                }
            }
            for (index, new) in batch.iter().enumerate() {
                let Some(held) = held.get_mut(new.subscription.as_str()) else { continue };
                match count_one(&mut transaction, held, new, now).await? {
                    Ok(one) => counted.push(one),
                    Err(stop) => return stopped(transaction, stop, index).await,
                }
            }
            for held in held.values() {
                add(&mut transaction, held).await?;
                subscriptions::write(&mut transaction, &held.advanced, None).await?;
            }
            committing.store(true, Ordering::Relaxed);
            transaction.commit().await?;
            Ok(Ok(Outcome::Counted(counted)))
        }

        /// Rolled back here, so that nothing is held any more when it is told.
        async fn stopped(
            transaction: sqlx::Transaction<'_, <$connection as Connection>::Database>,
            stop: Stop,
            index: usize,
        ) -> Result<Result<Outcome, StoreError>, sqlx::Error> {
            transaction.rollback().await?;
            Ok(match stop {
                Stop::Refused(why) => Ok(Outcome::Refused { index, why }),
                Stop::Store(error) => Err(error),
            })
        }

        async fn hold(connection: &mut $connection, owner: &str, id: &str, now: UnixMs) -> Step<Held> {
            let subscribed = match subscriptions::hold(&mut *connection, owner, id).await? {
                Some(Ok(subscribed)) => subscribed,
                Some(Err(error)) => return Ok(Err(Stop::Store(error))),
                None => return Ok(Err(Stop::Refused(Refused::NotFound))),
            };
            let advanced = subscribed.subscription.clone().advance(now, subscribed.price.amount);
            let days = by_day(connection, &subscribed.subscription.id, advanced.subscription.period).await?;
            Ok(match day_counts(days) {
                Ok(counts) => Ok(Held::new(&subscribed, advanced, &counts)),
                Err(error) => Err(Stop::Store(error)),
            })
        }

        async fn by_day(
            connection: &mut $connection,
            subscription: &SubscriptionId,
            period: Period,
        ) -> Result<Vec<DayRow>, sqlx::Error> {
            sqlx::query_as(usage::USAGE_BY_DAY)
                .bind(subscription.as_str())
                .bind(Day::of(period.start).0)
                .bind(Day::of(period.end).0)
                .fetch_all(connection)
                .await
        }

        async fn count_one(
            connection: &mut $connection,
            held: &mut Held,
            new: &NewUsage,
            now: UnixMs,
        ) -> Step<Counted> {
            if let Some(key) = &new.idempotency_key {
                let before: Option<UsageRow> = sqlx::query_as(usage::USAGE_BY_KEY)
                    .bind(&new.subscription)
                    .bind(key)
                    .fetch_optional(&mut *connection)
                    .await?;
                if let Some(row) = before {
                    return Ok(if row.says(new.fingerprint()) {
                        let record = UsageRecord::try_from(row).map_err(Stop::Store);
                        record.map(|record| Counted { record, repeated: true })
                    } else {
                        Err(Stop::Refused(Refused::Conflict))
                    });
                }
            }
            let record = match held.count(new, now) {
                Ok(record) => record,
                Err(why) => return Ok(Err(Stop::Refused(why))),
            };
            sqlx::query(usage::RECORD_USAGE)
                .bind(record.id.as_str())
                .bind(record.subscription.as_str())
                .bind(count(record.quantity))
                .bind(&record.resource)
                .bind(record.used_at.0)
                .bind(record.recorded_at.0)
                .bind(&record.idempotency_key)
                .bind(&record.metadata)
                .bind(record.idempotency_key.as_ref().map(|_| new.fingerprint().to_vec()))
                .execute(connection)
                .await?;
            Ok(Ok(Counted { record, repeated: false }))
        }

        /// What was counted, added to the sums that are kept.
        async fn add(connection: &mut $connection, held: &Held) -> Result<(), sqlx::Error> {
            let subscription = &held.advanced.subscription;
            for (day, (quantity, records)) in held.days() {
                sqlx::query(usage::ADD_TO_DAY)
                    .bind(subscription.id.as_str())
                    .bind(day.0)
                    .bind(subscription.period.start.0)
                    .bind(count(*quantity))
                    .bind(count(*records))
                    .execute(&mut *connection)
                    .await?;
            }
            for (resource, (quantity, records)) in held.resources() {
                sqlx::query(usage::ADD_TO_RESOURCE)
                    .bind(subscription.id.as_str())
                    .bind(subscription.period.start.0)
                    .bind(resource)
                    .bind(count(*quantity))
                    .bind(count(*records))
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(())
        }

        /// Whether it had not been told of the window.
        pub(super) async fn tell_of_limit(
            connection: &mut $connection,
            owner: &str,
            subscription: &str,
            reached: OverLimit,
            at: UnixMs,
            event: &EventId,
        ) -> Result<bool, sqlx::Error> {
            let mut transaction = connection.begin_with($begin).await?;
            let note = match reached.window {
                Window::Day => usage::NOTE_DAY_LIMIT,
                Window::Period => usage::NOTE_PERIOD_LIMIT,
            };
            let noted = sqlx::query(note)
                .bind(subscription)
                .bind(owner)
                .bind(reached.resets_at.0)
                .execute(&mut *transaction)
                .await?;
            let first = noted.rows_affected() == 1;
            if first {
                sqlx::query(usage::TELL_OF_LIMIT)
                    .bind(event.as_str())
                    .bind(subscription)
                    .bind(at.0)
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
            Ok(first)
        }

        /// Records, resources and days of the same moment.
        pub(super) async fn read(
            connection: &mut $connection,
            subscription: &SubscriptionId,
            period: Period,
            limit: u32,
            offset: u32,
        ) -> Result<(Vec<UsageRow>, Vec<ResourceRow>, Vec<DayRow>), sqlx::Error> {
            let mut snapshot = connection.begin_with($begin_reading).await?;
            let (limit, offset) = (i64::from(limit), i64::from(offset));
            let records = sqlx::query_as(usage::LIST_USAGE)
                .bind(subscription.as_str())
                .bind(period.start.0)
                .bind(period.end.0)
                .bind(limit)
                .bind(offset)
                .fetch_all(&mut *snapshot)
                .await?;
            let resources = sqlx::query_as(usage::USAGE_BY_RESOURCE)
                .bind(subscription.as_str())
                .bind(period.start.0)
                .bind(limit)
                .bind(offset)
                .fetch_all(&mut *snapshot)
                .await?;
            let days = by_day(&mut snapshot, subscription, period).await?;
            snapshot.commit().await?;
            Ok((records, resources, days))
        }
    };
}
pub(super) use usage_transactions;
