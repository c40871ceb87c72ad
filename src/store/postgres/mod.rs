//! The books in PostgreSQL: a bounded pool of connections, every wait with an end, every commit synced to the disk.
//!
//! Statements end at the server by its own timeouts. Against a server that no longer answers, or a network that loses
//! what is sent, every operation also ends on this side, and its connection with it.

mod agents;
pub mod analytics;
mod api_keys;
mod decisions;
mod idempotency;
mod payments;
mod plans;
mod record;
mod requirements;
mod server_secrets;
mod settlements;
mod subscriptions;
mod usage;

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{
    Connection, FromRow, PgConnection, PgPool, Postgres,
    migrate::Migrator,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query::{Query, QueryAs},
};
use tokio::time::{Instant, timeout};

use super::{Database, MigrationStatus, lease::Lease, migration_status, sql};
use crate::{metrics::Metrics, store_error::StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Connections of one instance, at most.
const CONNECTIONS: u32 = 16;
/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an operation takes at most, waiting for a connection and every further attempt included.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(12);
/// How long all migrations may take, waiting for another instance's included.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(10);
/// How long closing may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that nobody used for so long is tried before it is lent out. Trying every one would cost every
/// operation a round trip.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// What the server enforces for every connection of the pool.
const LIMITS: [(&str, &str); 4] = [
    ("statement_timeout", "10s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "10s"),
    // What the statements are written for.
    ("default_transaction_isolation", "read committed"),
];
/// The same for the connection that migrates: there, waiting for another instance's migration is what should happen.
const MIGRATION_LIMITS: [(&str, &str); 2] = [("statement_timeout", "10min"), ("lock_timeout", "1min")];

/// What PostgreSQL calls the connections, where the URL does not say.
const APPLICATION_NAME: &str = "402pay-facilitator";

/// A PostgreSQL database. It need not be up all the time: connections are made when they are needed.
#[derive(Clone)]
pub struct PostgresStore {
    pool: PgPool,
    /// For the connection that migrates.
    migration: PgConnectOptions,
    metrics: Arc<Metrics>,
}

/// The options hold the password.
impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Opens the database at a `postgres://` URL, and makes sure that it answers.
    ///
    /// # Errors
    /// When the URL cannot be read, or the database cannot be reached with it.
    pub async fn open(url: &str, metrics: Arc<Metrics>) -> Result<Self, StoreError> {
        let mut options = PgConnectOptions::from_str(url).map_err(unavailable)?;
        if options.get_application_name().is_none() {
            options = options.application_name(APPLICATION_NAME);
        }
        let migration = options.clone().options(MIGRATION_LIMITS);
        let options = options.options(LIMITS);
        // Not through the pool, which would wait for a server that is down and then only tell that it has waited.
        let first = timeout(ACQUIRE_TIMEOUT, PgConnection::connect_with(&options));
        first.await.map_err(|error| StoreError::Unavailable(Box::new(error)))?.map_err(unavailable)?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > TRUSTED_FOR {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(|connection, _| {
                // A server may be set up to acknowledge commits that a crash can undo. These it must not.
                let durable = "SELECT set_config('synchronous_commit', 'on', false) \
                               WHERE current_setting('synchronous_commit') = 'off'";
                Box::pin(async move { sqlx::query(durable).execute(connection).await.map(drop) })
            })
            .connect_lazy_with(options);
        Ok(Self { pool, migration, metrics })
    }

    /// Runs a statement; how many rows it wrote.
    async fn execute(
        &self,
        operation: &str,
        table: &str,
        statement: Query<'_, Postgres, PgArguments>,
    ) -> Result<u64, StoreError> {
        self.timed(operation, table, async {
            let mut lease = Lease::from(&self.pool).await?;
            let done = statement.execute(&mut *lease).await;
            Ok(lease.end(done)?.rows_affected())
        })
        .await
    }

    /// The row that a statement selects, if there is one.
    async fn row<R>(
        &self,
        table: &str,
        statement: QueryAs<'_, Postgres, R, PgArguments>,
    ) -> Result<Option<R>, StoreError>
    where
        R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        self.timed("select", table, async {
            let mut lease = Lease::from(&self.pool).await?;
            let row = statement.fetch_optional(&mut *lease).await;
            lease.end(row)
        })
        .await
    }

    async fn timed<T>(
        &self,
        operation: &str,
        table: &str,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let result = timeout(OPERATION_TIMEOUT, work).await;
        self.metrics.database_query(operation, table, started.elapsed());
        result.map_err(|error| StoreError::Unavailable(Box::new(error)))?.map_err(failed)
    }
}

#[async_trait]
impl Database for PostgresStore {
    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let work = async {
            let mut connection = PgConnection::connect_with(&self.migration).await?;
            // Takes an advisory lock, which ends with the connection if not before.
            MIGRATIONS.run_direct(None, &mut connection, false).await?;
            connection.close().await?;
            Ok(())
        };
        let result: Result<(), sqlx::migrate::MigrateError> = timeout(MIGRATION_TIMEOUT, work)
            .await
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        result.map_err(|error| StoreError::Unavailable(Box::new(error)))
    }

    async fn migration_status(&self) -> Result<Vec<MigrationStatus>, StoreError> {
        let applied = self.timed("select", "_sqlx_migrations", async {
            let mut lease = Lease::from(&self.pool).await?;
            let applied = applied(&mut lease).await;
            lease.end(applied)
        });
        Ok(migration_status(&MIGRATIONS, &applied.await?))
    }

    /// Asks for an insert of no rows: a standby, a database set to read-only, and a role without the right refuse it.
    async fn check_writable(&self) -> Result<(), StoreError> {
        self.execute("check", "none", sqlx::query(sql::WRITE_NOTHING)).await.map(drop)
    }

    async fn close(&self) {
        if timeout(CLOSE_TIMEOUT, self.pool.close()).await.is_err() {
            tracing::warn!("the database connections did not close in time");
        }
    }
}

async fn applied(connection: &mut PgConnection) -> Result<Vec<i64>, sqlx::Error> {
    let has_table = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL");
    if !has_table.fetch_one(&mut *connection).await? {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success").fetch_all(connection).await
}

fn failed(error: sqlx::Error) -> StoreError {
    let rejected = sqlstate(&error).is_some_and(|code| {
        // Data exceptions and broken constraints: no later try will get around them.
        code.starts_with("22") || code.starts_with("23")
    });
    if rejected { StoreError::Rejected(Box::new(error)) } else { unavailable(error) }
}

fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}

/// The five characters by which PostgreSQL names an error.
fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(std::borrow::Cow::into_owned)
}

/// A text PostgreSQL cannot hold, so that nothing is found under it.
fn unstorable(text: &str) -> bool {
    text.contains('\0')
}
