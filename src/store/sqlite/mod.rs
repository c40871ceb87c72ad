//! The books in SQLite: one writer, several readers, write-ahead log, every commit synced to the disk.

mod agents;
pub mod analytics;
mod api_keys;
mod decisions;
mod idempotency;
mod payments;
mod plans;
mod requirements;
mod server_secrets;
mod settlements;
mod subscriptions;
mod usage;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    io::Errno,
};
use sqlx::{
    Connection, Sqlite, SqliteConnection, SqlitePool,
    error::ErrorKind,
    migrate::Migrator,
    query::Query,
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
    },
};
use tokio::{
    sync::{Mutex, RwLock},
    time::{Instant, timeout},
};

use super::{Database, MigrationStatus, lease::Lease, migration_status, sql};
use crate::{metrics::Metrics, store_error::StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Connections that read.
const READERS: u32 = 4;
/// How long a request waits for a connection. With the wait for the lock it is shorter than the time a commit is given, so
/// that a commit that never began is not taken for one that was cut off.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long opening may take while other instances are at it, and the pause between two tries.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
const OPEN_PAUSE: Duration = Duration::from_millis(20);
/// Where a lock is another's.
const SQLITE_BUSY: i32 = 5;
/// Where what is wanted would write to what may only be read.
const SQLITE_READONLY: i32 = 8;
/// The pause after all connections were replaced, or need not be since the files still may not be written.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// How long closing may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long SQLite waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

/// An open SQLite database.
///
/// A connection is replaced after every failure. Among others a commit that fails for want of space demands it: SQLite
/// rolls back by itself, which sqlx does not notice, and the connection would refuse every further transaction, or read
/// for ever what stood in the books when it began one.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    /// One connection: SQLite admits one writer at a time, and waiting here is fairer than its lock.
    writer: SqlitePool,
    /// Nobody is lent one while all connections are replaced.
    readers: Arc<RwLock<SqlitePool>>,
    reconnecting: Arc<Mutex<()>>,
    metrics: Arc<Metrics>,
}

impl SqliteStore {
    /// Opens the database, making the file and its folder where they are missing.
    ///
    /// # Errors
    /// When the file cannot be opened for writing.
    pub async fn open(path: &Path, metrics: Arc<Metrics>) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = pool(1, options.clone());
        let readers = Arc::new(RwLock::new(pool(READERS, options.read_only(true))));
        first_connection(&writer).await.map_err(unavailable)?;
        Ok(Self { writer, readers, reconnecting: Arc::default(), metrics })
    }

    /// Closes every connection, and only then lets new ones be opened. All of a process share one mapping of the `-shm`
    /// file: while one of them lives since a time when that could only be read, none can write, however new it is.
    async fn reconnect(self) {
        let Ok(_alone) = self.reconnecting.try_lock() else { return };
        let options = self.writer.connect_options();
        if files(options.get_filename()).iter().all(|file| may_write(file)) {
            let writer = self.writer.acquire().await;
            let mut readers = self.readers.write().await;
            let fresh = pool(READERS, (*readers.connect_options()).clone());
            std::mem::replace(&mut *readers, fresh).close().await;
            if let Ok(writer) = writer {
                let _ = writer.close().await;
            }
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }

    /// Runs a statement that writes; how many rows it wrote.
    async fn execute(
        &self,
        operation: &str,
        table: &str,
        statement: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<u64, StoreError> {
        let done = self.write(operation, table, async |writer| statement.execute(writer).await).await?;
        Ok(done.rows_affected())
    }

    async fn write<T>(
        &self,
        operation: &str,
        table: &str,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        self.timed(operation, table, async {
            let mut lease = Lease::from(&self.writer).await?;
            let done = work(&mut lease).await;
            lease.end(done)
        })
        .await
    }

    async fn read<T>(
        &self,
        table: &str,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        self.timed("select", table, async {
            let lend = async { self.readers.read().await.acquire().await };
            let mut reader =
                timeout(ACQUIRE_TIMEOUT, lend).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
            let found = work(&mut reader).await;
            if found.is_err() {
                reader.close_on_drop();
            }
            found
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
        let result = work.await;
        self.metrics.database_query(operation, table, started.elapsed());
        if result.as_ref().is_err_and(|error| primary_code(error) == Some(SQLITE_READONLY)) {
            tokio::spawn(self.clone().reconnect());
        }
        result.map_err(failed)
    }
}

#[async_trait]
impl Database for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        // The migrator takes no lock on SQLite: without this one, instances that start together would apply a
        // migration twice, and all but the first would fail.
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
        MIGRATIONS
            .run_direct(None, &mut *transaction, false)
            .await
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        transaction.commit().await.map_err(unavailable)
    }

    async fn migration_status(&self) -> Result<Vec<MigrationStatus>, StoreError> {
        let has_table: bool =
            sqlx::query_scalar("SELECT count(*) > 0 FROM sqlite_master WHERE name = '_sqlx_migrations'")
                .fetch_one(&self.writer)
                .await
                .map_err(unavailable)?;
        let applied: Vec<i64> = if has_table {
            sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
                .fetch_all(&self.writer)
                .await
                .map_err(unavailable)?
        } else {
            Vec::new()
        };
        Ok(migration_status(&MIGRATIONS, &applied))
    }

    /// Asks for an insert of no rows, which a read-only file refuses; beginning a transaction is not enough for that.
    async fn check_writable(&self) -> Result<(), StoreError> {
        self.execute("check", "none", sqlx::query(sql::WRITE_NOTHING)).await.map(drop)
    }

    async fn close(&self) {
        let closing = async {
            self.readers.read().await.close().await;
            self.writer.close().await;
        };
        if timeout(CLOSE_TIMEOUT, closing).await.is_err() {
            tracing::warn!("the database did not close in time");
        }
    }
}

fn pool(connections: u32, options: SqliteConnectOptions) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // One that was given up on while it read: what it still had to do is done once it answers a ping.
        .after_release(|connection, _| {
            Box::pin(async move {
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
        .connect_lazy_with(options)
}

/// The files of a database, of which the last two may be missing.
fn files(database: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut file = database.as_os_str().to_owned();
        file.push(suffix);
        file.into()
    })
}

/// Whether nothing is known to forbid writing a file. It is not opened to find out: closing it would give up all locks
/// that the process has on it.
fn may_write(file: &Path) -> bool {
    let answer = accessat(CWD, file, Access::WRITE_OK, AtFlags::EACCESS);
    !matches!(answer, Err(Errno::ACCESS | Errno::PERM | Errno::ROFS))
}

/// Waits while other instances open the file. Turning a new one to its write-ahead log takes the file for oneself, and
/// where several try at once SQLite does not wait: it fails all but one, whatever the busy timeout.
async fn first_connection(writer: &SqlitePool) -> Result<(), sqlx::Error> {
    let deadline = Instant::now() + OPEN_TIMEOUT;
    loop {
        match writer.acquire().await {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                tokio::time::sleep(OPEN_PAUSE).await;
            }
            connected => return connected.map(drop),
        }
    }
}

/// Whether another connection was in the way, or the machine too busy to connect in time.
fn is_busy(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::PoolTimedOut) || primary_code(error) == Some(SQLITE_BUSY)
}

/// What SQLite says went wrong, without the upper bytes, which tell more.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?.parse::<i32>().ok()?;
    Some(code & 0xFF)
}

fn failed(error: sqlx::Error) -> StoreError {
    match &error {
        // A constraint that no later try will get around. `Other` is all else: busy, full, read-only, corrupt.
        sqlx::Error::Database(database) if !matches!(database.kind(), ErrorKind::Other) => {
            StoreError::Rejected(Box::new(error))
        }
        _ => StoreError::Unavailable(Box::new(error)),
    }
}

fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}

#[cfg(test)]
mod tests {
    use std::{future::pending, path::Path, sync::Arc};

    use futures_util::future::join_all;
    use sqlx::Connection;
    use tokio::sync::Notify;

    use super::{READERS, SqliteConnection, SqliteStore};
    use crate::metrics::Metrics;

    async fn store(folder: &Path) -> SqliteStore {
        SqliteStore::open(&folder.join("books.db"), Arc::new(Metrics::new())).await.unwrap()
    }

    async fn count(reader: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
        let mut snapshot = reader.begin().await?;
        sqlx::query_scalar("SELECT count(*) FROM notes").fetch_one(&mut *snapshot).await
    }

    /// A connection whose transaction went wrong would read for ever what stood in the books then. Where a disk fails,
    /// SQLite rolls back of itself, and sqlx takes the transaction for one that goes on.
    #[tokio::test]
    async fn what_is_read_after_a_failure_is_of_now() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        store.execute("create", "notes", sqlx::query("CREATE TABLE notes (note TEXT)")).await.unwrap();
        let mut written = 0;
        for given_up in [false, true] {
            let lost = Notify::new();
            let failing = store.read("notes", async |reader| {
                let mut snapshot = reader.begin().await?;
                sqlx::query("ROLLBACK").execute(&mut *snapshot).await?;
                if given_up {
                    lost.notify_one();
                    pending::<()>().await;
                }
                Err::<(), _>(sqlx::Error::RowNotFound)
            });
            tokio::select! {
                failed = failing => assert!(failed.is_err() && !given_up),
                () = lost.notified() => {}
            }
            for _ in 0..3 {
                // By every connection there is.
                for found in join_all((0..2 * READERS).map(|_| store.read("notes", count))).await {
                    assert_eq!(found.unwrap(), written, "given up: {given_up}");
                }
                store
                    .execute("insert", "notes", sqlx::query("INSERT INTO notes VALUES ('n')"))
                    .await
                    .unwrap();
                written += 1;
            }
        }
    }

    #[tokio::test]
    async fn a_connection_that_failed_reads_nothing_more() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        let failed = store.read("notes", async |reader| {
            sqlx::query("CREATE TEMPORARY TABLE mark (note TEXT)").execute(reader).await?;
            Err::<(), _>(sqlx::Error::RowNotFound)
        });
        failed.await.unwrap_err();
        let marked = async |reader: &mut SqliteConnection| {
            sqlx::query_scalar::<_, i64>("SELECT count(*) FROM sqlite_temp_master").fetch_one(reader).await
        };
        for _ in 0..3 {
            for found in join_all((0..2 * READERS).map(|_| store.read("notes", marked))).await {
                assert_eq!(found.unwrap(), 0);
            }
        }
    }
}
