//! The moments in the life of a settlement at which a service can be stopped dead: each is held from outside until the
//! process is killed, so that none is a matter of luck.

use std::time::Duration;

use pay402::sandbox::{Held, Hold, SandboxNode, faults::ALWAYS};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use tokio::time::{sleep, timeout};

use super::stage::{Payment, Stage, eventually};
use crate::{conformance::Backend, harness::x402::PATIENCE};

/// Where the service is when it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The message is claimed, and the chain is asked whether the payment is good.
    Verifying,
    /// Signed; the chain is asked how long it can land.
    Signed,
    /// The journal entry waits for the database.
    Journalling,
    /// Journalled; the send has not reached the chain.
    Journalled,
    /// The chain has it; the send is not answered.
    Sent,
    /// Confirmed; the chain is asked what became of it.
    Landed,
    /// Confirmed and known to be; writing that down waits for the database.
    Finishing,
}

impl Moment {
    pub const ALL: [Self; 7] = [
        Self::Verifying,
        Self::Signed,
        Self::Journalling,
        Self::Journalled,
        Self::Sent,
        Self::Landed,
        Self::Finishing,
    ];

    /// Whether the journal entry is committed by then.
    pub const fn is_journalled(self) -> bool {
        matches!(self, Self::Journalled | Self::Sent | Self::Landed | Self::Finishing)
    }

    /// Whether it is on the chain by then.
    pub const fn has_landed(self) -> bool {
        matches!(self, Self::Sent | Self::Landed | Self::Finishing)
    }

    /// Before the payment is asked for, on the node that the service talks to.
    pub fn prepare(self, node: &SandboxNode) -> Held {
        let (method, hold) = match self {
            Self::Verifying => ("simulateTransaction", Hold::Before),
            Self::Signed | Self::Journalling => ("getLatestBlockhash", Hold::Before),
            Self::Journalled => ("sendTransaction", Hold::Before),
            Self::Sent => ("sendTransaction", Hold::After),
            Self::Landed | Self::Finishing => ("getSignatureStatuses", Hold::Before),
        };
        node.faults().hold(method, hold, ALWAYS)
    }

    /// Returns when the service is there. It stays there for as long as what is returned is kept.
    pub async fn reached(self, stage: &Stage, held: Held, payment: &Payment) -> Stuck {
        timeout(PATIENCE, held.arrived(1)).await.expect("the call arrives");
        if matches!(self, Self::Landed | Self::Finishing) {
            stage.confirmed(payment).await;
        }
        if !matches!(self, Self::Journalling | Self::Finishing) {
            return Stuck { held: Some(held), lock: None };
        }
        let lock = Lock::take(stage).await;
        held.release();
        Stuck { held: None, lock: Some(lock.blocking().await) }
    }
}

/// What keeps the service where it is.
pub struct Stuck {
    held: Option<Held>,
    lock: Option<Lock>,
}

impl Stuck {
    /// For a service that is dead: what it was about to do never happens.
    pub async fn clear_away(self) {
        if let Some(held) = self.held {
            held.lose();
        }
        if let Some(lock) = self.lock {
            lock.release().await;
        }
    }
}

/// Keeps everyone else from committing anything about settlements.
pub enum Lock {
    Sqlite(SqliteConnection),
    /// Who holds the lock, and who sees whether somebody waits for it.
    Postgres(Box<(PgConnection, PgConnection)>),
}

impl Lock {
    pub async fn take(stage: &Stage) -> Self {
        match &stage.backend {
            Backend::Sqlite(_) => {
                let mut rival = SqliteConnection::connect(&stage.backend.database_url()).await.unwrap();
                rival.execute("BEGIN IMMEDIATE").await.unwrap();
                Self::Sqlite(rival)
            }
            Backend::Postgres(server) => {
                let (mut rival, watcher) = (server.connect().await, server.connect().await);
                rival.execute("BEGIN").await.unwrap();
                // What is written last before the commit, at both ends of a settlement.
                rival.execute("LOCK TABLE sponsored_lamports IN ACCESS EXCLUSIVE MODE").await.unwrap();
                Self::Postgres(Box::new((rival, watcher)))
            }
        }
    }

    /// Returns when somebody waits for it, where that can be seen. In SQLite it cannot; there the commit is held up all the
    /// same, whether it is waiting already or about to.
    pub async fn blocking(mut self) -> Self {
        match &mut self {
            Self::Sqlite(_) => sleep(Duration::from_millis(200)).await,
            Self::Postgres(connections) => {
                let watcher = &mut connections.1;
                let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
                eventually("nobody waits for the lock", async || {
                    sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *watcher).await.unwrap() > 0
                })
                .await;
            }
        }
        self
    }

    pub async fn release(self) {
        match self {
            Self::Sqlite(mut rival) => {
                rival.execute("ROLLBACK").await.unwrap();
                rival.close().await.unwrap();
            }
            Self::Postgres(connections) => {
                let (mut rival, watcher) = *connections;
                rival.execute("ROLLBACK").await.unwrap();
                rival.close().await.unwrap();
                watcher.close().await.unwrap();
            }
        }
    }
}
