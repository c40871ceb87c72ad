//! Decisions about agents' money: the statements, and what is made of them in both databases.
//!
//! Whoever decides locks the agent first, so that decisions about one agent come one after the other. What a day comes to is
//! what was spent on it, and what is held on it: each hold is for one transaction's message, and ends by itself at its
//! time, or with the message's settlement. So a crash leaves nothing to be mended: holds are rows beside what they are for.

/// What was spent, and what is held that has not run out, without what a message itself holds.
pub(super) const SO_FAR: &str = "\
    SELECT \
        coalesce((SELECT spent FROM agent_spending WHERE agent_id = $1 AND day = $2 AND unit = $3), 0), \
        (SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM agent_holds \
         WHERE agent_id = $1 AND day = $2 AND unit = $3 AND (expires_at_ms IS NULL OR expires_at_ms > $4) \
            AND message <> $5)";

pub(super) const SPENT: &str =
    "SELECT spent FROM agent_spending WHERE agent_id = $1 AND day = $2 AND unit = $3";

/// The sum is made under the agent's lock.
pub(super) const SPEND: &str = "\
    INSERT INTO agent_spending (agent_id, day, unit, spent) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (agent_id, day, unit) DO UPDATE SET spent = excluded.spent";

/// A point of reputation for each payment, up to the best.
pub(super) const COUNT_SUCCESS: &str = "\
    UPDATE agents SET transaction_count = transaction_count + 1, \
        reputation_score = CASE WHEN reputation_score < 1000 THEN reputation_score + 1 ELSE 1000 END \
    WHERE id = $1";

/// Costs five points, down to none.
pub(super) const COUNT_FAILURE: &str = "\
    UPDATE agents SET reputation_score = CASE WHEN reputation_score > 5 THEN reputation_score - 5 ELSE 0 END \
    WHERE id = $1";

/// What a settlement holds stays as it is.
pub(super) const HOLD: &str = "\
    INSERT INTO agent_holds AS kept (message, agent_id, day, unit, amount, expires_at_ms) \
    VALUES ($1, $2, $3, $4, $5, $6) \
    ON CONFLICT (message, agent_id) DO UPDATE SET \
        day = excluded.day, unit = excluded.unit, amount = excluded.amount, expires_at_ms = excluded.expires_at_ms \
    WHERE kept.expires_at_ms IS NOT NULL";

pub(super) const END_HOLD: &str = "\
    DELETE FROM agent_holds WHERE message = $1 AND agent_id = $2 RETURNING day, unit, amount";

/// Nothing is held any more for what is settled already, or is about to be.
pub(super) const IS_JOURNALLED: &str =
    "SELECT EXISTS (SELECT 1 FROM settlements WHERE message = $1 AND state <> 'claimed')";

/// No message has it: nothing is left out of what is held.
pub(super) const NO_MESSAGE: &[u8] = &[];

/// What the decisions are made of. `$begin` begins a database transaction that locks what it reads, `$lock` locks an agent
/// for as long as its transaction lasts.
macro_rules! agent_decisions {
    ($connection:ty, $begin:literal, $lock:literal) => {
        use sqlx::Connection;

        use $crate::{
            agents::{Agent, DaySpending, Held, Hold, NotAdmitted, Purchase, SpendingUnit},
            calendar::Day,
            clock::UnixMs,
            ids::AgentId,
            payments::settlement::Ending,
            store::{
                agents::AgentRow,
                decisions::{
                    COUNT_FAILURE, COUNT_SUCCESS, END_HOLD, HOLD, IS_JOURNALLED, SO_FAR, SPEND, SPENT,
                },
                rows::units,
                settlements::AdoptedRow,
            },
        };

        const LOCK_AGENT: &str = concat!(
            "SELECT ",
            $crate::store::agents::agent_columns!(),
            " FROM agents a WHERE a.id = $1 AND a.deleted_at_ms IS NULL ",
            $lock
        );

        /// Deleted ones too.
        const LOCK: &str = concat!("SELECT id FROM agents WHERE id = $1 ", $lock);

        const OF_AGENT: &str = "SELECT public_key, owner FROM agents WHERE id = $1";

        const LOCK_WALLET: &str = concat!(
            "SELECT id FROM agents WHERE public_key = $1 AND owner = $2 AND deleted_at_ms IS NULL ",
            $lock
        );

        /// `None`: it was deleted.
        pub(super) async fn lock_agent(
            connection: &mut $connection,
            id: &AgentId,
        ) -> Result<Option<Agent>, sqlx::Error> {
            let row: Option<AgentRow> =
                sqlx::query_as(LOCK_AGENT).bind(id.as_str()).fetch_optional(connection).await?;
            row.map(Agent::try_from).transpose().map_err(|error| sqlx::Error::Decode(error.into()))
        }

        /// What the day of a moment comes to by then, without what `message` holds itself.
        pub(super) async fn so_far(
            connection: &mut $connection,
            agent: &AgentId,
            unit: SpendingUnit,
            at: UnixMs,
            message: &[u8],
        ) -> Result<DaySpending, sqlx::Error> {
            let (spent, held): (i64, i64) = sqlx::query_as(SO_FAR)
                .bind(agent.as_str())
                .bind(Day::of(at).0)
                .bind(unit.as_str())
                .bind(at.0)
                .bind(message)
                .fetch_one(connection)
                .await?;
            let units = |number: i64| u64::try_from(number).unwrap_or(0);
            Ok(DaySpending { spent: units(spent), reserved: units(held) })
        }

        /// Counts a payment that an agent has made: `spent` is what its day comes to with it.
        pub(super) async fn capture(
            connection: &mut $connection,
            agent: &AgentId,
            unit: SpendingUnit,
            day: Day,
            spent: u64,
        ) -> Result<(), sqlx::Error> {
            sqlx::query(SPEND)
                .bind(agent.as_str())
                .bind(day.0)
                .bind(unit.as_str())
                .bind(i64::try_from(spent).unwrap_or(i64::MAX))
                .execute(&mut *connection)
                .await?;
            count(connection, COUNT_SUCCESS, agent).await
        }

        async fn count(
            connection: &mut $connection,
            statement: &'static str,
            agent: &AgentId,
        ) -> Result<(), sqlx::Error> {
            sqlx::query(statement).bind(agent.as_str()).execute(connection).await.map(drop)
        }

        /// Holds an amount, in a database transaction of its own.
        pub(super) async fn hold_until(
            connection: &mut $connection,
            wanted: &Hold,
            until: UnixMs,
        ) -> Result<Held, sqlx::Error> {
            let mut transaction = connection.begin_with($begin).await?;
            let agent = match lock_agent(&mut transaction, &wanted.agent).await? {
                Some(agent) => Some(agent),
                None => lock_successor(&mut transaction, &wanted.agent).await?,
            };
            let Some(agent) = agent else {
                transaction.rollback().await?;
                return Ok(Held::AgentGone);
            };
            let is_journalled: bool = sqlx::query_scalar(IS_JOURNALLED)
                .bind(wanted.message.as_slice())
                .fetch_one(&mut *transaction)
                .await?;
            let held = match is_journalled {
                true => Ok(()),
                false => hold(&mut transaction, &agent, wanted, Some(until)).await?,
            };
            transaction.commit().await?;
            Ok(held.map_or_else(|why| Held::NotAdmitted { agent: agent.id, why }, |()| Held::Held))
        }

        /// Holds an amount for a locked agent, until that moment, or until the message's settlement ends. Held before for
        /// the same message, it is held once.
        pub(super) async fn hold(
            connection: &mut $connection,
            agent: &Agent,
            wanted: &Hold,
            until: Option<UnixMs>,
        ) -> Result<Result<(), NotAdmitted>, sqlx::Error> {
            let so_far = match wanted.unit {
                Some(unit) => so_far(connection, &agent.id, unit, wanted.at, &wanted.message).await?,
                None => DaySpending::default(),
            };
            let purchase =
                Purchase { unit: wanted.unit, amount: wanted.amount, resource: wanted.resource.as_deref() };
            let day = Day::of(wanted.at);
            if let Err(refused) = agent.admit(&purchase, so_far, day) {
                return Ok(Err(refused));
            }
            // What has no known worth is not counted.
            if let Some(unit) = wanted.unit {
                sqlx::query(HOLD)
                    .bind(wanted.message.as_slice())
                    .bind(agent.id.as_str())
                    .bind(day.0)
                    .bind(unit.as_str())
                    .bind(units(wanted.amount))
                    .bind(until.map(|until| until.0))
                    .execute(connection)
                    .await?;
            }
            Ok(Ok(()))
        }

        /// The user's agent with a wallet, locked.
        pub(super) async fn lock_wallet(
            connection: &mut $connection,
            wallet: &str,
            owner: &str,
        ) -> Result<Option<AgentId>, sqlx::Error> {
            let id: Option<String> =
                sqlx::query_scalar(LOCK_WALLET).bind(wallet).bind(owner).fetch_optional(connection).await?;
            Ok(id.map(AgentId::from_stored))
        }

        /// The agent, locked, that has the wallet of one that was deleted: registered anew by the same user.
        async fn lock_successor(
            connection: &mut $connection,
            gone: &AgentId,
        ) -> Result<Option<Agent>, sqlx::Error> {
            let of: Option<(String, String)> =
                sqlx::query_as(OF_AGENT).bind(gone.as_str()).fetch_optional(&mut *connection).await?;
            let Some((wallet, owner)) = of else { return Ok(None) };
            match lock_wallet(&mut *connection, &wallet, &owner).await? {
                Some(id) => lock_agent(connection, &id).await,
                None => Ok(None),
            }
        }

        /// An x402 payment that turns out to be a locked agent's when it is in the books already counts, whatever the
        /// limits say: its money has moved, or may any moment.
        pub(super) async fn count_after_all(
            connection: &mut $connection,
            agent: &AgentId,
            message: &[u8],
            payment: &AdoptedRow,
        ) -> Result<(), sqlx::Error> {
            if !matches!(payment.state.as_str(), "pending" | "settled") {
                return Ok(());
            }
            let currency = payment.currency.as_deref().and_then(|currency| currency.parse().ok());
            if let Some(unit) = currency.map(SpendingUnit::of) {
                sqlx::query(HOLD)
                    .bind(message)
                    .bind(agent.as_str())
                    .bind(Day::of(UnixMs(payment.verified_at_ms)).0)
                    .bind(unit.as_str())
                    .bind(payment.amount)
                    .bind(None::<i64>)
                    .execute(&mut *connection)
                    .await?;
            }
            if payment.state == "settled" {
                end_hold(connection, agent, message, &Ending::Settled { slot: 0 }).await?;
            }
            Ok(())
        }

        /// A settlement has ended: what was held for it was spent, or is free again.
        pub(super) async fn end_hold(
            connection: &mut $connection,
            agent: &AgentId,
            message: &[u8],
            ending: &Ending,
        ) -> Result<(), sqlx::Error> {
            sqlx::query(LOCK).bind(agent.as_str()).execute(&mut *connection).await?;
            let held: Option<(i64, String, i64)> = sqlx::query_as(END_HOLD)
                .bind(message)
                .bind(agent.as_str())
                .fetch_optional(&mut *connection)
                .await?;
            let held = held.and_then(|(day, unit, amount)| {
                let unit = SpendingUnit::ALL.into_iter().find(|one| one.as_str() == unit)?;
                Some((Day(day), unit, u64::try_from(amount).ok()?))
            });
            match (ending, held) {
                (Ending::Settled { .. }, Some((day, unit, amount))) => {
                    let spent: Option<i64> = sqlx::query_scalar(SPENT)
                        .bind(agent.as_str())
                        .bind(day.0)
                        .bind(unit.as_str())
                        .fetch_optional(&mut *connection)
                        .await?;
                    let spent = u64::try_from(spent.unwrap_or(0)).unwrap_or(0);
                    capture(connection, agent, unit, day, spent.saturating_add(amount)).await
                }
                (Ending::Settled { .. }, None) => count(connection, COUNT_SUCCESS, agent).await,
                (Ending::Failed { .. }, _) => count(connection, COUNT_FAILURE, agent).await,
                // Not the agent's doing, as far as anybody knows.
                (Ending::Expired, _) => Ok(()),
            }
        }
    };
}
pub(super) use agent_decisions;
