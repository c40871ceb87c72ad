//! Agents in both databases: the statements, what their rows mean, and the database transactions made of them, which read
//! the same in both.

use sqlx::FromRow;

use super::rows::{column, corrupt};
use crate::{
    agents::{Agent, AgentPage, AllowedServices, DaySpending, Limits, Reputation, Spending, UnitLimits},
    clock::UnixMs,
    ids::AgentId,
    money::Amount,
    store_error::StoreError,
};

pub(super) const AGENTS: &str = "agents";
pub(super) const SPENDING: &str = "agent_spending";
pub(super) const HOLDS: &str = "agent_holds";
pub(super) const FAILURES: &str = "agent_failures";

macro_rules! agent_columns {
    () => {
        "a.id AS agent_id, a.owner AS agent_owner, a.name AS agent_name, a.public_key, a.daily_limit, \
         a.per_transaction_limit, a.sol_daily_limit, a.sol_per_transaction_limit, a.allowed_services, \
         a.reputation_score, a.transaction_count, a.metadata AS agent_metadata, \
         a.created_at_ms AS agent_created_at_ms, a.updated_at_ms AS agent_updated_at_ms"
    };
}
pub(super) use agent_columns;

/// The unique constraint decides whether the owner has the wallet.
pub(super) const CREATE_AGENT: &str = "\
    INSERT INTO agents (id, owner, name, public_key, daily_limit, per_transaction_limit, sol_daily_limit, \
        sol_per_transaction_limit, allowed_services, metadata, created_at_ms, updated_at_ms) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11) ON CONFLICT DO NOTHING";

/// By id, or else by public key. Each has an index; of an `OR` SQLite would make a walk through all that the owner has.
macro_rules! named_agent {
    () => {
        " FROM agents a WHERE a.owner = $2 AND a.deleted_at_ms IS NULL AND a.id = coalesce(\
             (SELECT id FROM agents WHERE id = $1), \
             (SELECT id FROM agents WHERE public_key = $1 AND owner = $2 AND deleted_at_ms IS NULL))"
    };
}
pub(super) use named_agent;

pub const FIND_AGENT: &str = concat!("SELECT ", agent_columns!(), named_agent!());

pub const LIST_AGENTS: &str = concat!(
    "SELECT ",
    agent_columns!(),
    " FROM agents a WHERE a.owner = $1 AND a.deleted_at_ms IS NULL ORDER BY a.id DESC LIMIT $2 OFFSET $3"
);

pub const COUNT_AGENTS: &str = "SELECT count(*) FROM agents WHERE owner = $1 AND deleted_at_ms IS NULL";

pub(super) const CHANGE_AGENT: &str = "\
    UPDATE agents SET name = $2, daily_limit = $3, per_transaction_limit = $4, sol_daily_limit = $5, \
        sol_per_transaction_limit = $6, allowed_services = $7, metadata = $8, updated_at_ms = $9 \
    WHERE id = $1";

pub(super) const DELETE_AGENT: &str =
    "UPDATE agents SET deleted_at_ms = $2, updated_at_ms = $2 WHERE id = $1";

pub(super) const NOTE_FAILURE: &str = "\
    INSERT INTO agent_failures (agent_id, attempt, failed_at_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";

pub(super) const TELL_OF_FAILURE: &str = "\
    INSERT INTO analytics_events (id, type, owner, agent_id, occurred_at_ms) \
    SELECT $1, 'payment.refused', owner, id, $3 FROM agents WHERE id = $2";

pub const FORGET_FAILURES: &str = "\
    DELETE FROM agent_failures WHERE (agent_id, attempt) IN (\
        SELECT agent_id, attempt FROM agent_failures WHERE failed_at_ms < $1 ORDER BY failed_at_ms LIMIT $2)";

/// The outer condition keeps what is prolonged, or becomes a settlement's, while the batch is picked.
pub const FORGET_HOLDS: &str = "\
    DELETE FROM agent_holds WHERE expires_at_ms <= $1 AND (message, agent_id) IN (\
        SELECT message, agent_id FROM agent_holds WHERE expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2)";

pub(super) const TELL_OF_AGENT: &str = "\
    INSERT INTO analytics_events (id, type, owner, agent_id, occurred_at_ms) VALUES ($1, $2, $3, $4, $5)";

macro_rules! spent_on_day {
    ($unit:literal) => {
        concat!(
            "coalesce((SELECT spent FROM agent_spending WHERE agent_id = $1 AND day = $2 AND unit = '",
            $unit,
            "'), 0), (SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM agent_holds \
             WHERE agent_id = $1 AND day = $2 AND unit = '",
            $unit,
            "' AND (expires_at_ms IS NULL OR expires_at_ms > $3))"
        )
    };
}

/// What was spent on a day, and what is held then: of stablecoins, and of SOL.
pub const SPENDING_OF_DAY: &str = concat!("SELECT ", spent_on_day!("stable"), ", ", spent_on_day!("sol"));

#[derive(FromRow)]
pub(super) struct AgentRow {
    agent_id: String,
    agent_owner: String,
    agent_name: String,
    public_key: String,
    daily_limit: Option<i64>,
    per_transaction_limit: Option<i64>,
    sol_daily_limit: Option<i64>,
    sol_per_transaction_limit: Option<i64>,
    allowed_services: Option<String>,
    reputation_score: i64,
    transaction_count: i64,
    agent_metadata: Option<String>,
    agent_created_at_ms: i64,
    agent_updated_at_ms: i64,
}

impl TryFrom<AgentRow> for Agent {
    type Error = StoreError;

    fn try_from(row: AgentRow) -> Result<Self, StoreError> {
        let limit = |units: Option<i64>| units.map(unsigned).transpose();
        Ok(Self {
            id: AgentId::from_stored(row.agent_id),
            owner: row.agent_owner,
            name: row.agent_name,
            public_key: column(AGENTS, &row.public_key)?,
            limits: Limits {
                stable: UnitLimits {
                    daily: limit(row.daily_limit)?,
                    per_transaction: limit(row.per_transaction_limit)?,
                },
                sol: UnitLimits {
                    daily: limit(row.sol_daily_limit)?,
                    per_transaction: limit(row.sol_per_transaction_limit)?,
                },
            },
            allowed_services: row.allowed_services.as_deref().map(services).transpose()?,
            reputation: Reputation {
                score: u16::try_from(row.reputation_score).map_err(|error| corrupt(AGENTS, &error))?,
                transaction_count: unsigned(row.transaction_count)?,
            },
            metadata: row.agent_metadata,
            created_at: UnixMs(row.agent_created_at_ms),
            updated_at: UnixMs(row.agent_updated_at_ms),
        })
    }
}

pub(super) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|error| corrupt(AGENTS, &error))
}

fn services(text: &str) -> Result<AllowedServices, StoreError> {
    serde_json::from_str(text).map(AllowedServices::from_stored).map_err(|error| corrupt(AGENTS, &error))
}

/// A page of rows, and how many there are on all pages.
pub(super) fn page(rows: Vec<AgentRow>, total: i64) -> Result<AgentPage, StoreError> {
    let agents = rows.into_iter().map(Agent::try_from).collect::<Result<_, _>>()?;
    Ok(AgentPage { agents, total: unsigned(total)? })
}

/// The patterns as a column holds them.
pub(super) fn services_text(agent: &Agent) -> Option<String> {
    let services = agent.allowed_services.as_ref()?;
    Some(services.texts().collect::<serde_json::Value>().to_string())
}

/// A limit as a column holds it; none is larger than [`Amount::MAX`].
pub(super) fn limit(units: Option<u64>) -> Option<i64> {
    units.map(|units| i64::try_from(units.min(Amount::MAX)).unwrap_or(i64::MAX))
}

/// Spent and reserved, of stablecoins and of SOL.
pub(super) type SpendingRow = (i64, i64, i64, i64);

pub(super) fn spending((stable, held_stable, sol, held_sol): SpendingRow) -> Result<Spending, StoreError> {
    let day = |spent, held| Ok(DaySpending { spent: unsigned(spent)?, reserved: unsigned(held)? });
    Ok(Spending { stable: day(stable, held_stable)?, sol: day(sol, held_sol)? })
}

/// The database transactions. `$begin` takes the locks that they need, `$lock` an agent that is to be changed.
macro_rules! agent_transactions {
    ($connection:ty, $begin:literal, $lock:literal) => {
        use sqlx::Connection;

        use $crate::{
            agents::{Agent, AgentPatch, Created, Failure, Updated},
            clock::UnixMs,
            ids::{AgentId, EventId},
            store::{
                agents::{self, AgentRow, limit, services_text},
                decisions::COUNT_FAILURE,
            },
            store_error::StoreError,
        };

        /// Locked, so that changes come one after the other.
        const FIND_AND_LOCK: &str = concat!(
            "SELECT ",
            $crate::store::agents::agent_columns!(),
            $crate::store::agents::named_agent!(),
            " ",
            $lock
        );

        pub(super) async fn create(
            connection: &mut $connection,
            agent: &Agent,
            event: &EventId,
        ) -> Result<Created, sqlx::Error> {
            let mut transaction = connection.begin_with($begin).await?;
            let inserted = sqlx::query(agents::CREATE_AGENT)
                .bind(agent.id.as_str())
                .bind(&agent.owner)
                .bind(&agent.name)
                .bind(agent.public_key.to_string())
                .bind(limit(agent.limits.stable.daily))
                .bind(limit(agent.limits.stable.per_transaction))
                .bind(limit(agent.limits.sol.daily))
                .bind(limit(agent.limits.sol.per_transaction))
                .bind(services_text(agent))
                .bind(&agent.metadata)
                .bind(agent.created_at.0)
                .execute(&mut *transaction)
                .await?;
            if inserted.rows_affected() == 0 {
                let taken: Option<AgentRow> = sqlx::query_as(agents::FIND_AGENT)
                    .bind(agent.public_key.to_string())
                    .bind(&agent.owner)
                    .fetch_optional(&mut *transaction)
                    .await?;
                transaction.rollback().await?;
                // Deleted in this moment: whoever tries again finds the wallet free.
                let by = taken.map_or_else(|| agent.id.clone(), |row| AgentId::from_stored(row.id()));
                return Ok(Created::WalletTaken(by));
            }
            tell(&mut transaction, "agent.created", agent, agent.created_at, event).await?;
            transaction.commit().await?;
            Ok(Created::Kept)
        }

        /// The outer failure is the database's, the inner one that of a row which makes no sense.
        pub(super) async fn update(
            connection: &mut $connection,
            owner: &str,
            name: &str,
            patch: &AgentPatch,
            at: UnixMs,
            event: &EventId,
        ) -> Result<Result<Updated, StoreError>, sqlx::Error> {
            let mut transaction = connection.begin_with($begin).await?;
            let found = find_and_lock(&mut transaction, owner, name).await?.map(Agent::try_from);
            let updated = match found.map(|agent| agent.map(|agent| patch.applied_to(agent))) {
                None => Ok(Updated::NotFound),
                Some(Err(error)) => Err(error),
                Some(Ok(Err(errors))) => Ok(Updated::Refused(errors)),
                Some(Ok(Ok(agent))) => {
                    let agent = Agent { updated_at: at, ..agent };
                    write(&mut transaction, &agent).await?;
                    tell(&mut transaction, "agent.updated", &agent, at, event).await?;
                    Ok(Updated::Changed(Box::new(agent)))
                }
            };
            transaction.commit().await?;
            Ok(updated)
        }

        async fn write(connection: &mut $connection, changed: &Agent) -> Result<(), sqlx::Error> {
            sqlx::query(agents::CHANGE_AGENT)
                .bind(changed.id.as_str())
                .bind(&changed.name)
                .bind(limit(changed.limits.stable.daily))
                .bind(limit(changed.limits.stable.per_transaction))
                .bind(limit(changed.limits.sol.daily))
                .bind(limit(changed.limits.sol.per_transaction))
                .bind(services_text(changed))
                .bind(&changed.metadata)
                .bind(changed.updated_at.0)
                .execute(connection)
                .await
                .map(drop)
        }

        pub(super) async fn delete(
            connection: &mut $connection,
            owner: &str,
            name: &str,
            at: UnixMs,
            event: &EventId,
        ) -> Result<Result<Option<Agent>, StoreError>, sqlx::Error> {
            let mut transaction = connection.begin_with($begin).await?;
            let found = find_and_lock(&mut transaction, owner, name).await?.map(Agent::try_from).transpose();
            if let Ok(Some(agent)) = &found {
                // A clock that went back does not make it end before it began.
                let at = at.max(agent.created_at);
                let delete = sqlx::query(agents::DELETE_AGENT).bind(agent.id.as_str()).bind(at.0);
                delete.execute(&mut *transaction).await?;
                tell(&mut transaction, "agent.deleted", agent, at, event).await?;
            }
            transaction.commit().await?;
            Ok(found)
        }

        /// Whether it was not noted before.
        pub(super) async fn note_failure(
            connection: &mut $connection,
            failure: &Failure,
        ) -> Result<bool, sqlx::Error> {
            let mut transaction = connection.begin_with($begin).await?;
            let noted = sqlx::query(agents::NOTE_FAILURE)
                .bind(failure.agent.as_str())
                .bind(&failure.attempt)
                .bind(failure.at.0)
                .execute(&mut *transaction)
                .await?;
            let first = noted.rows_affected() == 1;
            if first {
                let count = sqlx::query(COUNT_FAILURE).bind(failure.agent.as_str());
                count.execute(&mut *transaction).await?;
                let tell = sqlx::query(agents::TELL_OF_FAILURE)
                    .bind(failure.event.as_str())
                    .bind(failure.agent.as_str())
                    .bind(failure.at.0);
                tell.execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
            Ok(first)
        }

        async fn find_and_lock(
            connection: &mut $connection,
            owner: &str,
            name: &str,
        ) -> Result<Option<AgentRow>, sqlx::Error> {
            sqlx::query_as(FIND_AND_LOCK).bind(name).bind(owner).fetch_optional(connection).await
        }

        async fn tell(
            connection: &mut $connection,
            what: &str,
            agent: &Agent,
            at: UnixMs,
            event: &EventId,
        ) -> Result<(), sqlx::Error> {
            let insert = sqlx::query(agents::TELL_OF_AGENT)
                .bind(event.as_str())
                .bind(what)
                .bind(&agent.owner)
                .bind(agent.id.as_str())
                .bind(at.0);
            insert.execute(connection).await.map(drop)
        }
    };
}
pub(super) use agent_transactions;

impl AgentRow {
    pub(super) fn id(self) -> String {
        self.agent_id
    }
}
