//! What is done on a connection, in both databases.

/// `$read` begins a snapshot, `$write` a database transaction that writes; `$share` keeps a row from being written by others.
macro_rules! analytics_transactions {
    ($connection:ty, $read:literal, $write:literal, $share:literal, $list_all:expr) => {
        use sqlx::Connection;

        use $crate::{
            analytics::{Log, Ranking, Rolled, Window},
            clock::UnixMs,
            ids::{EventId, PaymentId},
            store::{
                analytics::{self, EventRow, PaymentSumRow, RankedRow, RevenueSumRow},
                subscriptions,
            },
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

        pub(super) async fn agents(
            connection: &mut $connection,
            owner: &str,
            window: Window,
            ranking: Ranking,
            (limit, offset): (u32, u32),
        ) -> Result<Vec<RankedRow>, sqlx::Error> {
            let mut snapshot = connection.begin_with($read).await?;
            let (rolled, days) = (rolled_until(&mut snapshot, Log::Agents).await?, window.whole_days());
            let eights = days.whole(Log::Agents.longest_span_ms());
            let rows = sqlx::query_as(analytics::TOP_AGENTS)
                .bind(owner)
                .bind(PaymentId::lowest_at(rolled).as_str())
                .bind(rolled.0)
                .bind(window.from.0)
                .bind(days.from.0)
                .bind(eights.from.0)
                .bind(eights.to.0)
                .bind(days.to.0)
                .bind(window.to.0)
                .bind(ranking.as_str())
                .bind(i64::from(limit))
                .bind(i64::from(offset))
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
            before: Option<&EventId>,
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
            let end = EventId::lowest_at(window.to);
            let rows = list
                .bind(EventId::lowest_at(window.from).as_str())
                .bind(before.map_or(&end, |before| before.min(&end)).as_str())
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
            let until = complete_until(connection, log, until).await?;
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

        /// Whether the sums reached beyond that time, and reach to `to` now.
        pub(super) async fn take_back(
            connection: &mut $connection,
            log: Log,
            beyond: UnixMs,
            to: UnixMs,
        ) -> Result<bool, sqlx::Error> {
            let from = rolled_until(connection, log).await?;
            if from <= beyond.max(to) {
                return Ok(false);
            }
            let mut transaction = connection.begin_with($write).await?;
            let moved = sqlx::query(analytics::MOVE_ON)
                .bind(log.as_str())
                .bind(from.0)
                .bind(to.0)
                .execute(&mut *transaction)
                .await?;
            if moved.rows_affected() == 1 {
                sqlx::query(analytics::take_back(log)).bind(to.0).execute(&mut *transaction).await?;
                transaction.commit().await?;
            } else {
                transaction.rollback().await?;
            }
            Ok(true)
        }

        /// Up to where nothing is missing any more. Asked before anything is added: what is written down of a subscription in
        /// between is found where it is added.
        async fn complete_until(
            connection: &mut $connection,
            log: Log,
            until: UnixMs,
        ) -> Result<UnixMs, sqlx::Error> {
            if log != Log::Events {
                return Ok(until);
            }
            // A subscription that is due gets the events of what time has made of it when somebody looks after it, and they
            // bear the time at which it was due: nothing from there on is complete.
            let rows = sqlx::query_as(subscriptions::DUE_SUBSCRIPTIONS)
                .bind(until.0)
                .bind(i64::from(analytics::DUE_LOOKED_AT))
                .bind(0_i64)
                .fetch_all(connection)
                .await?;
            let due = analytics::first_due(rows);
            Ok(due.map_or(until, |due| until.min(UnixMs(due))))
        }

        async fn next(
            connection: &mut $connection,
            log: Log,
            from: UnixMs,
            until: UnixMs,
            limit: u32,
        ) -> Result<Vec<(i64, Option<i64>)>, sqlx::Error> {
            let by_id = match log {
                Log::Payments | Log::Agents => sqlx::query_as(analytics::NEXT_PROOFS)
                    .bind(PaymentId::lowest_at(from).as_str().to_owned())
                    .bind(PaymentId::lowest_at(until).as_str().to_owned()),
                Log::Events => sqlx::query_as(analytics::NEXT_EVENTS)
                    .bind(EventId::lowest_at(from).as_str().to_owned())
                    .bind(EventId::lowest_at(until).as_str().to_owned()),
            };
            let mut next = vec![by_id.bind(i64::from(limit)).fetch_one(&mut *connection).await?];
            if log != Log::Events {
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
                Log::Payments => analytics::ROLL_PAYMENTS,
                Log::Agents => analytics::ROLL_AGENTS,
                Log::Events => analytics::ROLL_EVENTS,
            };
            let add = match log {
                Log::Payments | Log::Agents => sqlx::query(add)
                    .bind(PaymentId::lowest_at(from).as_str().to_owned())
                    .bind(PaymentId::lowest_at(to).as_str().to_owned())
                    .bind(from.0)
                    .bind(to.0),
                Log::Events => sqlx::query(add)
                    .bind(EventId::lowest_at(from).as_str().to_owned())
                    .bind(EventId::lowest_at(to).as_str().to_owned()),
            };
            add.execute(connection).await.map(drop)
        }

        /// A payment has found its owner, and so have its events, in this database transaction: what is summed up already
        /// gets them here, the rest when its time comes. Sums stay where they are meanwhile.
        pub(in $crate::store) async fn add_adopted(
            connection: &mut $connection,
            payment: &str,
            events: &[String],
        ) -> Result<(), sqlx::Error> {
            let payment = [payment.to_owned()];
            for log in Log::ALL {
                let (add, lines) = match log {
                    Log::Payments => (analytics::ADD_PAYMENT, payment.as_slice()),
                    Log::Agents => (analytics::ADD_AGENT, payment.as_slice()),
                    Log::Events => (analytics::ADD_EVENT, events),
                };
                let until: i64 =
                    sqlx::query_scalar(concat!($crate::store::analytics::rolled_until!(), $share))
                        .bind(log.as_str())
                        .fetch_one(&mut *connection)
                        .await?;
                for line in lines {
                    sqlx::query(add).bind(line).bind(until).execute(&mut *connection).await?;
                }
            }
            Ok(())
        }
    };
}
pub(in crate::store) use analytics_transactions;
