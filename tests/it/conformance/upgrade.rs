//! A database with rows in it gets the settlements, and keeps its rows and what holds them together.

use std::path::Path;

use pay402::payments::{RecordOutcome, Used};
use sqlx::{Connection, migrate::Migrator};

use super::{Backend, OWNER, on_both, payment, trouble::blocked};

on_both!(the_books_keep_their_rows_when_settlements_come);

/// Of the last level without settlements.
const BEFORE: i64 = 4;
/// Of the last level without sums of agents.
const WITHOUT_AGENT_SUMS: i64 = 9;

/// As the version before writes.
const OLD_ROWS: [&str; 6] = [
    "INSERT INTO payment_requirements (nonce, owner, amount, currency, recipient, scheme, expires_at_ms, \
         created_at_ms) VALUES ('nonce 7', 'merchant', 1, 'USDC', \
         '11111111111111111111111111111111', 'exact', 1, 1)",
    "INSERT INTO transactions (id, state, owner, signature, nonce, requirement_nonce, payer, recipient, currency, \
         amount, network, slot, block_time_ms, verified_at_ms) \
     VALUES ('pay_old', 'settled', 'merchant', \
         '1111111111111111111111111111111111111111111111111111111111111111', 'nonce 7', 'nonce 7', \
         '11111111111111111111111111111111', '11111111111111111111111111111111', 'USDC', 5, 'sandbox', 3, 4, 5)",
    "INSERT INTO nonces (nonce, payment_id, used_at_ms) VALUES ('nonce 7', 'pay_old', 5)",
    "INSERT INTO analytics_events (id, type, owner, payment_id, occurred_at_ms) \
     VALUES ('evt_old', 'payment.verified', 'merchant', 'pay_old', 5)",
    "INSERT INTO analytics_events (id, type, owner, payment_id, occurred_at_ms) \
     VALUES ('evt_none', 'other', NULL, NULL, 5)",
    "INSERT INTO agents (id, owner, name, public_key, created_at_ms, updated_at_ms) \
     VALUES ('agent_1', 'merchant', 'a', '11111111111111111111111111111111', 1, 1)",
];

/// What the tables must refuse after it as before it.
const STILL_REFUSED: [&str; 7] = [
    "INSERT INTO nonces (nonce, payment_id, used_at_ms) VALUES ('n', 'nobody', 5)",
    "INSERT INTO analytics_events (id, type, payment_id, occurred_at_ms) VALUES ('e', 't', 'nobody', 5)",
    "DELETE FROM transactions",
    "UPDATE transactions SET requirement_nonce = NULL, nonce = NULL",
    "UPDATE transactions SET slot = NULL",
    "UPDATE transactions SET state = 'pending'",
    "INSERT INTO settlements (message, terms, state, holder, attempt, lease_until_ms, claimed_at_ms) \
     VALUES ('short', 'short', 'claimed', 'h', 'a', 1, 1)",
];

async fn run(backend: &Backend, statement: &'static str) -> Result<(), sqlx::Error> {
    match backend {
        Backend::Sqlite(folder) => {
            let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("books.db"));
            let mut connection = sqlx::SqliteConnection::connect_with(&file.foreign_keys(true)).await?;
            sqlx::query(statement).execute(&mut connection).await?;
            connection.close().await
        }
        Backend::Postgres(server) => {
            sqlx::query(statement).execute(&mut server.connect().await).await.map(drop)
        }
    }
}

/// Applies the migrations up to that level, as a version of then did.
async fn migrate_to(backend: &Backend, level: i64) {
    let name = match backend {
        Backend::Sqlite(_) => "sqlite",
        Backend::Postgres(_) => "postgres",
    };
    let all =
        Migrator::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(name)).await.unwrap();
    let before: Vec<_> = all.iter().filter(|migration| migration.version <= level).cloned().collect();
    let before = Migrator { migrations: before.into(), ..Migrator::DEFAULT };
    match backend {
        Backend::Sqlite(folder) => {
            let url = format!("sqlite://{}?mode=rwc", folder.path().join("books.db").display());
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            before.run_direct(None, &mut connection, false).await.unwrap();
            connection.close().await.unwrap();
        }
        Backend::Postgres(server) => {
            before.run_direct(None, &mut server.connect().await, false).await.unwrap();
        }
    }
}

async fn the_books_keep_their_rows_when_settlements_come(backend: Backend) {
    migrate_to(&backend, BEFORE).await;
    for row in OLD_ROWS {
        run(&backend, row).await.unwrap();
    }
    let books = backend.books().await;

    let old = books.payments.find(OWNER, "pay_old").await.unwrap().unwrap();
    assert_eq!((old.slot, old.nonce.as_deref(), old.amount.atomic()), (Some(3), Some("nonce 7"), 5));
    assert_eq!(books.payments.list(OWNER, 5, 0).await.unwrap().total, 1);
    let issued = books.requirements.find("nonce 7").await.unwrap().unwrap();
    assert_eq!(issued.payment_id.as_deref(), Some("pay_old"));
    let again = pay402::payments::Payment { nonce: "nonce 7".to_owned(), ..payment(1) };
    let outcome = books.payments.record_all(&[again]).await.unwrap();
    assert_eq!(outcome, [RecordOutcome::AlreadyUsed(Used::Nonce)]);
    assert_eq!(books.payments.record_all(&[payment(2)]).await.unwrap(), [RecordOutcome::Recorded]);
    for statement in STILL_REFUSED {
        assert!(run(&backend, statement).await.is_err(), "{statement}");
    }
    // The version before is still running, and writes what it wrote.
    run(&backend, "DELETE FROM nonces WHERE nonce = 'nonce 7'").await.unwrap();
    run(&backend, "DELETE FROM analytics_events").await.unwrap();
    run(&backend, "DELETE FROM nonces").await.unwrap();
    run(&backend, "DELETE FROM transactions").await.unwrap();
    for row in &OLD_ROWS[1..5] {
        run(&backend, row).await.unwrap();
    }
}

/// The version before writes events and then what they are about, in one database transaction. No migration waits for the
/// events while it keeps that from the other.
#[tokio::test(flavor = "multi_thread")]
async fn the_version_before_and_a_migration_do_not_wait_for_each_other_in_a_circle() {
    let backend = Backend::postgres().await;
    migrate_to(&backend, WITHOUT_AGENT_SUMS).await;
    run(&backend, OLD_ROWS[5]).await.unwrap();
    let Backend::Postgres(server) = &backend else { unreachable!() };
    let (mut before, mut operator) = (server.connect().await, server.connect().await);
    sqlx::query("BEGIN").execute(&mut before).await.unwrap();
    sqlx::query(OLD_ROWS[4]).execute(&mut before).await.unwrap();
    let books = backend.open().await;
    let migrating = tokio::spawn(async move { books.database.migrate().await });
    blocked(&mut operator, &[]).await;
    for statement in
        ["UPDATE agents SET transaction_count = 1", "UPDATE rollups SET rolled_until_ms = 1", "COMMIT"]
    {
        sqlx::query(statement).execute(&mut before).await.unwrap();
    }
    migrating.await.unwrap().unwrap();
}
