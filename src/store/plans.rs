//! Plans in both databases: the statements, what their rows mean, and the database transactions made of them.

use sqlx::FromRow;

use super::rows::{amount, column, corrupt};
use crate::{
    clock::UnixMs,
    ids::PlanId,
    plans::{Limits, Plan, PlanPage},
    store_error::StoreError,
};

pub(super) const PLANS: &str = "subscription_plans";
/// Most subscriptions that are brought to the present in the transaction that changes their plan's price.
pub(super) const MAX_DUE: u32 = 500;

macro_rules! plan_columns {
    () => {
        "id, owner, name, description, price_per_month, currency, features, requests_per_month, requests_per_day, \
         metadata, created_at_ms, updated_at_ms, retired_at_ms"
    };
}

pub(super) const CREATE_PLAN: &str = concat!(
    "INSERT INTO subscription_plans (",
    plan_columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
);

pub const FIND_PLAN: &str = concat!("SELECT ", plan_columns!(), " FROM subscription_plans WHERE id = $1");

/// Follows a lock, where the database has them.
pub(super) const OWN_PLAN: &str =
    concat!("SELECT ", plan_columns!(), " FROM subscription_plans WHERE id = $1 AND owner = $2");

pub const PLANS_ON_OFFER: &str = concat!(
    "SELECT ",
    plan_columns!(),
    " FROM subscription_plans WHERE retired_at_ms IS NULL ORDER BY id DESC LIMIT $1 OFFSET $2"
);

pub const COUNT_PLANS_ON_OFFER: &str = "SELECT count(*) FROM subscription_plans WHERE retired_at_ms IS NULL";

pub(super) const CHANGE_PLAN: &str = "\
    UPDATE subscription_plans SET name = $2, description = $3, price_per_month = $4, features = $5, \
        requests_per_month = $6, requests_per_day = $7, metadata = $8, updated_at_ms = $9 WHERE id = $1";

pub const PLAN_IN_USE: &str = "SELECT EXISTS (SELECT 1 FROM subscriptions WHERE plan_id = $1)";

pub(super) const DELETE_PLAN: &str = "DELETE FROM subscription_plans WHERE id = $1";

pub(super) const RETIRE_PLAN: &str =
    "UPDATE subscription_plans SET retired_at_ms = $2 WHERE id = $1 AND retired_at_ms IS NULL";

#[derive(FromRow)]
pub(super) struct PlanRow {
    id: String,
    owner: String,
    name: String,
    description: Option<String>,
    price_per_month: i64,
    currency: String,
    features: Option<String>,
    requests_per_month: Option<i64>,
    requests_per_day: Option<i64>,
    metadata: Option<String>,
    created_at_ms: i64,
    updated_at_ms: i64,
    retired_at_ms: Option<i64>,
}

impl TryFrom<PlanRow> for Plan {
    type Error = StoreError;

    fn try_from(row: PlanRow) -> Result<Self, StoreError> {
        let features = row.features.map(|json| serde_json::from_str(&json)).transpose();
        Ok(Self {
            id: PlanId::from_stored(row.id),
            owner: row.owner,
            name: row.name,
            description: row.description,
            price_per_month: amount(PLANS, row.price_per_month)?,
            currency: column(PLANS, &row.currency)?,
            features: features.map_err(|error| corrupt(PLANS, &error))?.unwrap_or_default(),
            limits: limits(row.requests_per_month, row.requests_per_day)?,
            metadata: row.metadata,
            created_at: UnixMs(row.created_at_ms),
            updated_at: UnixMs(row.updated_at_ms),
            retired_at: row.retired_at_ms.map(UnixMs),
        })
    }
}

pub(super) fn limits(per_month: Option<i64>, per_day: Option<i64>) -> Result<Limits, StoreError> {
    let limit =
        |limit: Option<i64>| limit.map(u64::try_from).transpose().map_err(|error| corrupt(PLANS, &error));
    Ok(Limits { requests_per_month: limit(per_month)?, requests_per_day: limit(per_day)? })
}

/// Features as a column holds them.
pub(super) fn features(plan: &Plan) -> Option<String> {
    let json = (!plan.features.is_empty()).then(|| serde_json::to_string(&plan.features));
    json.and_then(Result::ok)
}

/// A limit as a column holds it. The highest one that is taken fits.
pub(super) fn limit(limit: Option<u64>) -> Option<i64> {
    limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

/// A page of plans, and how many there are on all pages.
pub(super) fn plan_page(rows: Vec<PlanRow>, total: i64) -> Result<PlanPage, StoreError> {
    Ok(PlanPage {
        plans: rows.into_iter().map(Plan::try_from).collect::<Result<_, _>>()?,
        total: u64::try_from(total).map_err(|error| corrupt(PLANS, &error))?,
    })
}

/// The database transactions. `$begin` and `$lock` take the locks that they need; those of subscriptions are in
/// `$subscriptions`.
macro_rules! plan_transactions {
    ($connection:ty, $begin:literal, $lock:literal, $begin_reading:literal, $subscriptions:path) => {
        use sqlx::Connection;
        use $subscriptions as subscriptions;

        use $crate::{
            clock::UnixMs,
            ids::PlanId,
            plans::{Changed, Plan, PlanChange, Removed},
            store::{
                plans::{self, MAX_DUE, PlanRow, features, limit},
                rows::units,
            },
            store_error::StoreError,
        };

        pub(super) async fn create(connection: &mut $connection, plan: &Plan) -> Result<(), sqlx::Error> {
            sqlx::query(plans::CREATE_PLAN)
                .bind(plan.id.as_str())
                .bind(&plan.owner)
                .bind(&plan.name)
                .bind(&plan.description)
                .bind(units(plan.price_per_month))
                .bind(plan.currency.as_str())
                .bind(features(plan))
                .bind(limit(plan.limits.requests_per_month))
                .bind(limit(plan.limits.requests_per_day))
                .bind(&plan.metadata)
                .bind(plan.created_at.0)
                .bind(plan.updated_at.0)
                .bind(plan.retired_at.map(|at| at.0))
                .execute(connection)
                .await
                .map(drop)
        }

        /// Rows and total of the same moment.
        pub(super) async fn on_offer(
            connection: &mut $connection,
            limit: u32,
            offset: u32,
        ) -> Result<(Vec<PlanRow>, i64), sqlx::Error> {
            let mut snapshot = connection.begin_with($begin_reading).await?;
            let rows = sqlx::query_as(plans::PLANS_ON_OFFER)
                .bind(i64::from(limit))
                .bind(i64::from(offset))
                .fetch_all(&mut *snapshot)
                .await?;
            let total = sqlx::query_scalar(plans::COUNT_PLANS_ON_OFFER).fetch_one(&mut *snapshot).await?;
            snapshot.commit().await?;
            Ok((rows, total))
        }

        /// The owner's plan, held until the transaction ends.
        async fn hold(
            connection: &mut $connection,
            owner: &str,
            id: &PlanId,
        ) -> Result<Option<Result<Plan, StoreError>>, sqlx::Error> {
            let lock = sqlx::AssertSqlSafe([plans::OWN_PLAN, $lock].concat());
            let row: Option<PlanRow> =
                sqlx::query_as(lock).bind(id.as_str()).bind(owner).fetch_optional(connection).await?;
            Ok(row.map(Plan::try_from))
        }

        pub(super) async fn change(
            connection: &mut $connection,
            owner: &str,
            id: &PlanId,
            change: &PlanChange,
            at: UnixMs,
        ) -> Result<Result<Changed, StoreError>, sqlx::Error> {
            let mut transaction = connection.begin_with($begin).await?;
            let plan = match hold(&mut transaction, owner, id).await? {
                Some(Ok(plan)) => plan,
                Some(Err(error)) => return Ok(Err(error)),
                None => return Ok(Ok(Changed::NotFound)),
            };
            let old = plan.price_per_month;
            let plan = match change.apply(plan, at) {
                Ok(plan) => plan,
                Err(errors) => return Ok(Ok(Changed::Malformed(errors))),
            };
            if plan.price_per_month != old {
                // What has begun by now costs what the plan cost, whether anybody has noticed it yet or not.
                let seen = subscriptions::advance_of_plan(&mut transaction, id, at, MAX_DUE).await?;
                if seen.advanced > 0 && seen.all() == MAX_DUE {
                    transaction.commit().await?;
                    return Ok(Ok(Changed::NotYet));
                }
            }
            sqlx::query(plans::CHANGE_PLAN)
                .bind(plan.id.as_str())
                .bind(&plan.name)
                .bind(&plan.description)
                .bind(units(plan.price_per_month))
                .bind(features(&plan))
                .bind(limit(plan.limits.requests_per_month))
                .bind(limit(plan.limits.requests_per_day))
                .bind(&plan.metadata)
                .bind(plan.updated_at.0)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(Ok(Changed::Done(Box::new(plan))))
        }

        pub(super) async fn remove(
            connection: &mut $connection,
            owner: &str,
            id: &PlanId,
            at: UnixMs,
        ) -> Result<Result<Removed, StoreError>, sqlx::Error> {
            let mut transaction = connection.begin_with($begin).await?;
            // Held against subscriptions that begin meanwhile: they refer to it.
            let plan = match hold(&mut transaction, owner, id).await? {
                Some(Ok(plan)) => plan,
                Some(Err(error)) => return Ok(Err(error)),
                None => return Ok(Ok(Removed::NotFound)),
            };
            let in_use: bool =
                sqlx::query_scalar(plans::PLAN_IN_USE).bind(id.as_str()).fetch_one(&mut *transaction).await?;
            let removed = if in_use {
                let at = at.max(plan.created_at);
                sqlx::query(plans::RETIRE_PLAN)
                    .bind(id.as_str())
                    .bind(at.0)
                    .execute(&mut *transaction)
                    .await?;
                Removed::Retired(Box::new(Plan { retired_at: plan.retired_at.or(Some(at)), ..plan }))
            } else {
                sqlx::query(plans::DELETE_PLAN).bind(id.as_str()).execute(&mut *transaction).await?;
                Removed::Deleted(Box::new(plan))
            };
            transaction.commit().await?;
            Ok(Ok(removed))
        }
    };
}
pub(super) use plan_transactions;
