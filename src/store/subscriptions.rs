//! Subscriptions in both databases: the statements, what their rows mean, and the database transactions made of them.

use std::collections::BTreeMap;

use sqlx::FromRow;

use super::{
    plans::limits,
    rows::{amount, column, corrupt},
};
use crate::{
    clock::UnixMs,
    ids::{AgentId, PlanId, SubscriptionId},
    money::Amount,
    store_error::StoreError,
    subscriptions::{Anchor, Period, Price, Standing, Subscribed, Subscription, SubscriptionPage},
};

pub(super) const SUBSCRIPTIONS: &str = "subscriptions";
const PERIODS: &str = "subscription_periods";

macro_rules! subscribed {
    ($rest:literal) => {
        concat!(
            "SELECT s.id, s.owner, s.plan_id, s.agent_id, s.wallet_address, s.status, s.anchor_day, \
                 s.current_period_start_ms, s.current_period_end_ms, s.cancel_at_period_end, s.period_price, \
                 s.paid_until_ms, s.due_at_ms, s.ended_at_ms, s.metadata, s.created_at_ms, s.updated_at_ms, \
                 p.price_per_month, p.currency, p.requests_per_month, p.requests_per_day, \
                 (SELECT string_agg(q.start_ms || ' ' || q.price, ',') FROM subscription_periods q \
                  WHERE q.subscription_id = s.id AND q.start_ms > s.current_period_start_ms) AS ahead \
             FROM subscriptions s JOIN subscription_plans p ON p.id = s.plan_id ",
            $rest
        )
    };
}

pub(super) const NAME_SUBSCRIPTION: &str =
    "SELECT s.id FROM subscriptions s WHERE s.id = $1 AND s.owner = $2";

pub const FIND_SUBSCRIPTION: &str = subscribed!("WHERE s.id = $1 AND s.owner = $2");

pub const LIST_SUBSCRIPTIONS: &str = subscribed!("WHERE s.owner = $1 ORDER BY s.id DESC LIMIT $2 OFFSET $3");

pub const COUNT_SUBSCRIPTIONS: &str = "SELECT count(*) FROM subscriptions WHERE owner = $1";

pub const DUE_SUBSCRIPTIONS: &str =
    subscribed!("WHERE s.due_at_ms <= $1 ORDER BY s.due_at_ms LIMIT $2 OFFSET $3");

/// In the order in which they are held elsewhere.
pub(super) const DUE_OF_PLAN: &str =
    subscribed!("WHERE s.plan_id = $1 AND s.due_at_ms <= $2 ORDER BY s.id LIMIT $3");

/// Asked before anything is locked: mostly there is nothing to do.
pub const ANY_DUE: &str = "SELECT EXISTS (SELECT 1 FROM subscriptions WHERE due_at_ms <= $1)";

pub(super) const BEGIN_SUBSCRIPTION: &str = "\
    INSERT INTO subscriptions (id, owner, plan_id, agent_id, wallet_address, status, anchor_day, \
        current_period_start_ms, current_period_end_ms, cancel_at_period_end, period_price, paid_until_ms, due_at_ms, \
        ended_at_ms, metadata, created_at_ms, updated_at_ms) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";

pub(super) const CHANGE_SUBSCRIPTION: &str = "\
    UPDATE subscriptions SET status = $2, current_period_start_ms = $3, current_period_end_ms = $4, \
        cancel_at_period_end = $5, period_price = $6, paid_until_ms = $7, due_at_ms = $8, ended_at_ms = $9, \
        updated_at_ms = $10 WHERE id = $1";

pub(super) const TELL: &str = "\
    INSERT INTO analytics_events (id, type, owner, subscription_id, agent_id, payment_id, occurred_at_ms) \
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

pub(super) const NOTE_PAID: &str = "\
    INSERT INTO subscription_periods (subscription_id, start_ms, end_ms, price, payment_id, paid_at_ms) \
    VALUES ($1, $2, $3, $4, $5, $6)";

/// A subscription and what its plan says now.
#[derive(FromRow)]
pub(super) struct SubscribedRow {
    pub(super) id: String,
    owner: String,
    plan_id: String,
    agent_id: String,
    wallet_address: String,
    status: String,
    anchor_day: i64,
    current_period_start_ms: i64,
    current_period_end_ms: i64,
    cancel_at_period_end: bool,
    period_price: i64,
    paid_until_ms: i64,
    pub(super) due_at_ms: Option<i64>,
    ended_at_ms: Option<i64>,
    metadata: Option<String>,
    created_at_ms: i64,
    updated_at_ms: i64,
    price_per_month: i64,
    currency: String,
    requests_per_month: Option<i64>,
    requests_per_day: Option<i64>,
    /// Start and price of each.
    ahead: Option<String>,
}

impl SubscribedRow {
    fn ahead(&self) -> Result<BTreeMap<UnixMs, Amount>, StoreError> {
        let paid = |paid: &str| {
            let numbers = paid.split_once(' ').map(|(start, price)| (start.parse(), price.parse()));
            let Some((Ok(start), Ok(price))) = numbers else { return Err(corrupt(PERIODS, &paid)) };
            Ok((UnixMs(start), amount(PERIODS, price)?))
        };
        self.ahead.iter().flat_map(|ahead| ahead.split(',')).map(paid).collect()
    }

    fn standing(&self) -> Result<Standing, StoreError> {
        let at = |at: Option<i64>| {
            at.map(UnixMs).ok_or_else(|| corrupt(SUBSCRIPTIONS, &format!("{} without a time", self.status)))
        };
        let cancel_at_period_end = self.cancel_at_period_end;
        Ok(match self.status.as_str() {
            "active" => Standing::Active { cancel_at_period_end },
            "past_due" => Standing::PastDue { expires_at: at(self.due_at_ms)? },
            "cancelled" => {
                Standing::Cancelled { at: at(self.ended_at_ms)?, at_period_end: cancel_at_period_end }
            }
            "expired" => Standing::Expired { at: at(self.ended_at_ms)? },
            other => return Err(corrupt(SUBSCRIPTIONS, &format!("status {other}"))),
        })
    }
}

impl TryFrom<SubscribedRow> for Subscribed {
    type Error = StoreError;

    fn try_from(row: SubscribedRow) -> Result<Self, StoreError> {
        let (standing, ahead) = (row.standing()?, row.ahead()?);
        let period =
            Period { start: UnixMs(row.current_period_start_ms), end: UnixMs(row.current_period_end_ms) };
        let anchor = Anchor::from_stored(row.anchor_day, period.start)
            .ok_or_else(|| corrupt(SUBSCRIPTIONS, &format!("anchor day {}", row.anchor_day)))?;
        let subscription = Subscription {
            id: SubscriptionId::from_stored(row.id),
            owner: row.owner,
            plan: PlanId::from_stored(row.plan_id),
            agent: AgentId::from_stored(row.agent_id),
            wallet: column(SUBSCRIPTIONS, &row.wallet_address)?,
            standing,
            anchor,
            period,
            price: amount(SUBSCRIPTIONS, row.period_price)?,
            paid_until: UnixMs(row.paid_until_ms),
            ahead,
            metadata: row.metadata,
            created_at: UnixMs(row.created_at_ms),
            updated_at: UnixMs(row.updated_at_ms),
        };
        let price = Price {
            amount: amount(SUBSCRIPTIONS, row.price_per_month)?,
            currency: column(SUBSCRIPTIONS, &row.currency)?,
        };
        Ok(Self { subscription, price, limits: limits(row.requests_per_month, row.requests_per_day)? })
    }
}

pub(super) fn subscription_page(
    rows: Vec<SubscribedRow>,
    total: i64,
) -> Result<SubscriptionPage, StoreError> {
    Ok(SubscriptionPage {
        subscriptions: rows.into_iter().map(Subscribed::try_from).collect::<Result<_, _>>()?,
        total: u64::try_from(total).map_err(|error| corrupt(SUBSCRIPTIONS, &error))?,
    })
}

/// The database transactions. `$begin` and the locks keep others from what is being changed; what another instance has in
/// hand, `$skip_locked` leaves to it.
macro_rules! subscription_transactions {
    ($connection:ty, $begin:literal, $begin_reading:literal, $share:literal, $lock:literal, $skip_locked:literal) => {
        use sqlx::Connection;

        use $crate::{
            clock::UnixMs,
            ids::{EventId, PaymentId, PlanId, SubscriptionId},
            payments::Payment,
            plans::Plan,
            store::{
                plans::{OWN_PLAN, PlanRow},
                rows::units,
                subscriptions::{self, SubscribedRow},
            },
            store_error::StoreError,
            subscriptions::{
                Advanced, Begun, Happening, NewSubscription, PaidPeriod, Price, Seen, Subscribed,
                Subscription, Told, When,
            },
        };

        pub(in $crate::store) async fn begin(
            connection: &mut $connection,
            new: &NewSubscription,
            at: UnixMs,
        ) -> Result<Result<Begun, StoreError>, sqlx::Error> {
            let mut transaction = connection.begin_with($begin).await?;
            // Held against its removal.
            let plan: Option<PlanRow> = sqlx::query_as(sqlx::AssertSqlSafe([OWN_PLAN, $share].concat()))
                .bind(new.plan.as_str())
                .bind(&new.owner)
                .fetch_optional(&mut *transaction)
                .await?;
            let plan = match plan.map(Plan::try_from).transpose() {
                Ok(Some(plan)) if plan.retired_at.is_some() => return Ok(Ok(Begun::PlanRetired)),
                Ok(Some(plan)) => plan,
                Ok(None) => return Ok(Ok(Begun::NoPlan)),
                Err(error) => return Ok(Err(error)),
            };
            let price = Price { amount: plan.price_per_month, currency: plan.currency };
            let Advanced { subscription, told } = Subscription::begin(new.clone(), at, price.amount);
            insert(&mut transaction, &subscription).await?;
            tell(&mut transaction, &subscription, &told, None).await?;
            transaction.commit().await?;
            Ok(Ok(Begun::Kept(Box::new(Subscribed { subscription, price, limits: plan.limits }))))
        }

        /// Rows and total of the same moment.
        pub(in $crate::store) async fn list(
            connection: &mut $connection,
            owner: &str,
            limit: u32,
            offset: u32,
        ) -> Result<(Vec<SubscribedRow>, i64), sqlx::Error> {
            let mut snapshot = connection.begin_with($begin_reading).await?;
            let rows = sqlx::query_as(subscriptions::LIST_SUBSCRIPTIONS)
                .bind(owner)
                .bind(i64::from(limit))
                .bind(i64::from(offset))
                .fetch_all(&mut *snapshot)
                .await?;
            let total = sqlx::query_scalar(subscriptions::COUNT_SUBSCRIPTIONS).bind(owner);
            let total = total.fetch_one(&mut *snapshot).await?;
            snapshot.commit().await?;
            Ok((rows, total))
        }

        /// The owner's subscription is held until the transaction ends.
        pub(in $crate::store) async fn lock(
            connection: &mut $connection,
            owner: &str,
            id: &str,
        ) -> Result<(), sqlx::Error> {
            let lock = [subscriptions::NAME_SUBSCRIPTION, $lock].concat();
            let lock = sqlx::query(sqlx::AssertSqlSafe(lock)).bind(id).bind(owner);
            lock.execute(connection).await.map(drop)
        }

        /// The owner's subscription as it was left.
        pub(in $crate::store) async fn find(
            connection: &mut $connection,
            owner: &str,
            id: &str,
        ) -> Result<Option<Result<Subscribed, StoreError>>, sqlx::Error> {
            let row: Option<SubscribedRow> = sqlx::query_as(subscriptions::FIND_SUBSCRIPTION)
                .bind(id)
                .bind(owner)
                .fetch_optional(connection)
                .await?;
            Ok(row.map(Subscribed::try_from))
        }

        /// As it was left, and held until the transaction ends. Read once it is held: a statement that has waited for a row
        /// sees that row as it is now, and all else as it was before.
        pub(in $crate::store) async fn hold(
            connection: &mut $connection,
            owner: &str,
            id: &str,
        ) -> Result<Option<Result<Subscribed, StoreError>>, sqlx::Error> {
            lock(&mut *connection, owner, id).await?;
            find(connection, owner, id).await
        }

        pub(in $crate::store) async fn cancel(
            connection: &mut $connection,
            owner: &str,
            id: &str,
            when: When,
            now: UnixMs,
        ) -> Result<Result<Option<Subscribed>, StoreError>, sqlx::Error> {
            let mut transaction = connection.begin_with($begin).await?;
            let held = match hold(&mut transaction, owner, id).await? {
                Some(Ok(held)) => held,
                Some(Err(error)) => return Ok(Err(error)),
                None => return Ok(Ok(None)),
            };
            let Advanced { subscription, mut told } = held.subscription.advance(now, held.price.amount);
            let cancelled = subscription.cancel(when, now);
            told.extend(cancelled.told);
            let cancelled = Advanced { subscription: cancelled.subscription, told };
            write(&mut transaction, &cancelled, None).await?;
            transaction.commit().await?;
            Ok(Ok(Some(Subscribed { subscription: cancelled.subscription, ..held })))
        }

        pub(in $crate::store) async fn advance_due(
            connection: &mut $connection,
            now: UnixMs,
            skip: u32,
            limit: u32,
        ) -> Result<Seen, sqlx::Error> {
            let mut transaction = connection.begin_with($begin).await?;
            let lock = [subscriptions::DUE_SUBSCRIPTIONS, $skip_locked].concat();
            let rows: Vec<SubscribedRow> = sqlx::query_as(sqlx::AssertSqlSafe(lock))
                .bind(now.0)
                .bind(i64::from(limit))
                .bind(i64::from(skip))
                .fetch_all(&mut *transaction)
                .await?;
            let seen = advance_all(&mut transaction, rows, now).await?;
            transaction.commit().await?;
            Ok(seen)
        }

        /// Those of a plan, while it costs what it does.
        pub(in $crate::store) async fn advance_of_plan(
            connection: &mut $connection,
            plan: &PlanId,
            now: UnixMs,
            limit: u32,
        ) -> Result<Seen, sqlx::Error> {
            let lock = [subscriptions::DUE_OF_PLAN, $lock].concat();
            let rows: Vec<SubscribedRow> = sqlx::query_as(sqlx::AssertSqlSafe(lock))
                .bind(plan.as_str())
                .bind(now.0)
                .bind(i64::from(limit))
                .fetch_all(&mut *connection)
                .await?;
            advance_all(connection, rows, now).await
        }

        /// A row that makes no sense is told to the log and left alone: others must not wait for it.
        async fn advance_all(
            connection: &mut $connection,
            rows: Vec<SubscribedRow>,
            now: UnixMs,
        ) -> Result<Seen, sqlx::Error> {
            let mut seen = Seen::default();
            for row in rows {
                let id = row.id.clone();
                match Subscribed::try_from(row) {
                    Ok(due) => {
                        let advanced = due.subscription.advance(now, due.price.amount);
                        write(&mut *connection, &advanced, None).await?;
                        seen.advanced += 1;
                    }
                    Err(error) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            id,
                            "a subscription is left alone"
                        );
                        seen.left_alone += 1;
                    }
                }
            }
            Ok(seen)
        }

        /// Writes down what has happened, `payment` being what paid; nothing, where nothing has.
        pub(in $crate::store) async fn write(
            connection: &mut $connection,
            advanced: &Advanced,
            payment: Option<&PaymentId>,
        ) -> Result<(), sqlx::Error> {
            if advanced.told.is_empty() {
                return Ok(());
            }
            let subscription = &advanced.subscription;
            sqlx::query(subscriptions::CHANGE_SUBSCRIPTION)
                .bind(subscription.id.as_str())
                .bind(subscription.standing.as_str())
                .bind(subscription.period.start.0)
                .bind(subscription.period.end.0)
                .bind(subscription.standing.cancel_at_period_end())
                .bind(units(subscription.price))
                .bind(subscription.paid_until.0)
                .bind(subscription.due_at().map(|at| at.0))
                .bind(subscription.standing.ended_at().map(|at| at.0))
                .bind(subscription.updated_at.0)
                .execute(&mut *connection)
                .await?;
            tell(connection, subscription, &advanced.told, payment).await
        }

        /// A period is paid once.
        pub(in $crate::store) async fn note_paid(
            connection: &mut $connection,
            subscription: &SubscriptionId,
            paid: &PaidPeriod,
            payment: &Payment,
        ) -> Result<(), sqlx::Error> {
            sqlx::query(subscriptions::NOTE_PAID)
                .bind(subscription.as_str())
                .bind(paid.period.start.0)
                .bind(paid.period.end.0)
                .bind(units(paid.price))
                .bind(payment.id.as_str())
                .bind(payment.verified_at.0)
                .execute(connection)
                .await
                .map(drop)
        }

        async fn insert(
            connection: &mut $connection,
            subscription: &Subscription,
        ) -> Result<(), sqlx::Error> {
            sqlx::query(subscriptions::BEGIN_SUBSCRIPTION)
                .bind(subscription.id.as_str())
                .bind(&subscription.owner)
                .bind(subscription.plan.as_str())
                .bind(subscription.agent.as_str())
                .bind(subscription.wallet.to_string())
                .bind(subscription.standing.as_str())
                .bind(subscription.anchor.day())
                .bind(subscription.period.start.0)
                .bind(subscription.period.end.0)
                .bind(subscription.standing.cancel_at_period_end())
                .bind(units(subscription.price))
                .bind(subscription.paid_until.0)
                .bind(subscription.due_at().map(|at| at.0))
                .bind(subscription.standing.ended_at().map(|at| at.0))
                .bind(&subscription.metadata)
                .bind(subscription.created_at.0)
                .bind(subscription.updated_at.0)
                .execute(connection)
                .await
                .map(drop)
        }

        async fn tell(
            connection: &mut $connection,
            subscription: &Subscription,
            told: &[Told],
            payment: Option<&PaymentId>,
        ) -> Result<(), sqlx::Error> {
            for Told { what, at } in told {
                let payment = payment.filter(|_| *what == Happening::Paid).map(PaymentId::as_str);
                let kind = what.event_type();
                let about = [subscription.id.as_str(), kind, payment.unwrap_or_default()];
                sqlx::query(subscriptions::TELL)
                    .bind(EventId::about(*at, &about).as_str())
                    .bind(kind)
                    .bind(&subscription.owner)
                    .bind(subscription.id.as_str())
                    .bind(subscription.agent.as_str())
                    .bind(payment)
                    .bind(at.0)
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(())
        }
    };
}
pub(super) use subscription_transactions;
