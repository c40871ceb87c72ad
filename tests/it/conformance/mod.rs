//! What every database must do, asked of each: one suite, both backends. Then what only one of them can be asked.

pub mod agents;
mod api_key_lines;
mod api_keys;
mod batches;
mod constraints;
mod hold_units;
mod holds;
mod idempotency;
mod migrations;
mod payments;
mod plans;
mod races;
mod requirements;
mod settlement_races;
pub mod settlement_trouble;
pub mod settlements;
mod subscriptions;
mod trouble;
mod upgrade;

use std::sync::Arc;

use pay402::{
    clock::UnixMs,
    ids::PaymentId,
    metrics::Metrics,
    money::{Amount, Currency},
    payments::{Payment, PaymentState},
    store::{Books, postgres::PostgresStore, sqlite::SqliteStore},
};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::harness::{TestApp, logs, postgres::PostgresServer};

/// A database of the test's own, which instances can be opened on.
#[derive(Debug)]
pub enum Backend {
    Sqlite(TempDir),
    Postgres(Box<PostgresServer>),
}

impl Backend {
    pub fn sqlite() -> Self {
        logs::watch();
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub async fn postgres() -> Self {
        Self::Postgres(Box::new(PostgresServer::start().await))
    }

    /// Another, empty one of the same kind.
    pub async fn another(&self) -> Self {
        match self {
            Self::Sqlite(_) => Self::sqlite(),
            Self::Postgres(_) => Self::postgres().await,
        }
    }

    /// What a service is configured with to use it.
    pub fn database_url(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite://{}", folder.path().join("books.db").display()),
            Self::Postgres(server) => server.url(),
        }
    }

    /// Another instance's access to the database, whatever the state that is in.
    pub async fn open(&self) -> Books {
        let metrics = Arc::new(Metrics::new());
        match self {
            Self::Sqlite(folder) => {
                Books::new(SqliteStore::open(&folder.path().join("books.db"), metrics).await.unwrap())
            }
            Self::Postgres(server) => Books::new(PostgresStore::open(&server.url(), metrics).await.unwrap()),
        }
    }

    /// Where a service keeps it. A [`TestApp`](crate::harness::TestApp) has its own SQLite.
    pub fn url(&self) -> Option<String> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(server) => Some(server.url()),
        }
    }

    /// The service on this very database.
    pub async fn app(&self) -> TestApp {
        let url = match self {
            Self::Sqlite(folder) => format!("sqlite://{}", folder.path().join("books.db").display()),
            Self::Postgres(server) => server.url(),
        };
        TestApp::with(|environment, _| environment.with("DATABASE_URL", url)).await
    }

    /// What a statement selects: a text and a number a row.
    pub async fn select(&self, statement: &'static str) -> Vec<(String, i64)> {
        let rows = match self {
            Self::Sqlite(folder) => {
                let file = SqliteConnectOptions::new().filename(folder.path().join("books.db"));
                sqlx::query_as(statement).fetch_all(&mut file.connect().await.unwrap()).await
            }
            Self::Postgres(server) => sqlx::query_as(statement).fetch_all(&mut server.connect().await).await,
        };
        rows.unwrap()
    }

    /// Has a statement change something behind the store's back.
    pub async fn execute(&self, statement: &'static str) {
        let done = match self {
            Self::Sqlite(folder) => {
                let file = SqliteConnectOptions::new().filename(folder.path().join("books.db"));
                sqlx::query(statement).execute(&mut file.connect().await.unwrap()).await.map(drop)
            }
            Self::Postgres(server) => {
                sqlx::query(statement).execute(&mut server.connect().await).await.map(drop)
            }
        };
        done.unwrap();
    }

    pub async fn books(&self) -> Books {
        let books = self.open().await;
        books.database.migrate().await.unwrap();
        books
    }
}

/// Makes each of these functions, which take a [`Backend`], a test on SQLite and one on PostgreSQL.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name(crate::conformance::Backend::sqlite()).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name(crate::conformance::Backend::postgres().await).await;
                }
            )+
        }
    };
}
pub(crate) use on_both;

pub const OWNER: &str = "merchant";

pub fn signature(number: u64) -> Signature {
    let mut bytes = [7; 64];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Signature::from(bytes)
}

/// The payment of this number: no two have anything in common that must be unique.
pub fn payment(number: u64) -> Payment {
    Payment {
        id: PaymentId::from_stored(format!("pay_{number:026}")),
        state: PaymentState::Settled,
        owner: Some(OWNER.to_owned()),
        transaction: signature(number),
        nonce: format!("nonce {number}"),
        meets_requirement: false,
        payer: Pubkey::new_from_array([1; 32]),
        recipient: Pubkey::new_from_array([2; 32]),
        currency: Currency::Usdc,
        amount: Amount::from_atomic(50_000).unwrap(),
        resource: None,
        network: "sandbox",
        slot: 7,
        block_time: UnixMs(1_700_000_000_000),
        verified_at: UnixMs(1_700_000_001_234),
        agent: None,
        subscription: None,
        request_tag: None,
    }
}
