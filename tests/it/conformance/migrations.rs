//! Migrations, by several instances that start at once.

use std::{path::Path, sync::Arc};

use futures_util::future::join_all;
use pay402::{payments::Payment, store::Books, store_error::StoreError};
use sqlx::{Connection, migrate::Migrator};
use tokio::sync::Barrier;

use super::{Backend, OWNER, on_both, payment};

on_both!(
    instances_that_start_together_migrate_once,
    a_database_that_is_not_migrated_says_so,
    a_database_of_a_newer_version_is_refused,
    a_database_of_the_level_before_is_upgraded_with_its_rows,
);

/// Only one of them can turn the new file to its write-ahead log, and SQLite fails the others without a wait.
#[tokio::test(flavor = "multi_thread")]
async fn instances_that_start_together_open_a_new_sqlite_file() {
    for _ in 0..20 {
        let new = Backend::sqlite();
        for books in join_all((0..16).map(|_| new.open())).await {
            books.database.migration_status().await.unwrap();
        }
    }
}

async fn instances_that_start_together_migrate_once(backend: Backend) {
    let opened: Vec<Books> = join_all((0..8).map(|_| backend.open())).await;
    let together = Arc::new(Barrier::new(opened.len()));
    let migrating = opened.into_iter().map(|books| {
        let together = Arc::clone(&together);
        tokio::spawn(async move {
            together.wait().await;
            // On a slow disk the first may take longer than the others wait.
            while let Err(error) = books.database.migrate().await {
                assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
            }
            books
        })
    });
    for (number, books) in (0..).zip(join_all(migrating).await) {
        let books = books.unwrap();
        books.payments.record_all(&[payment(number)]).await.unwrap();
        books.database.migrate().await.unwrap();
        let status = books.database.migration_status().await.unwrap();
        assert!(status.iter().all(|migration| migration.applied), "{status:?}");
    }
    assert_eq!(backend.open().await.payments.list(OWNER, 50, 0).await.unwrap().total, 8);
}

async fn a_database_that_is_not_migrated_says_so(backend: Backend) {
    let books = backend.open().await;
    let status = books.database.migration_status().await.unwrap();
    assert!(status.len() >= 2 && status.iter().all(|migration| !migration.applied), "{status:?}");
    assert!(status.is_sorted_by_key(|migration| migration.version));
    let outcome = books.payments.record_all(&[payment(1)]).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    books.database.migrate().await.unwrap();
    books.database.check_writable().await.unwrap();
    books.payments.record_all(&[payment(1)]).await.unwrap();
}

async fn a_database_of_a_newer_version_is_refused(backend: Backend) {
    let books = backend.books().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (99999, 'newer', true, '', 0)";
    match &backend {
        Backend::Sqlite(folder) => {
            let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("books.db"));
            let mut connection = sqlx::ConnectOptions::connect(&file).await.unwrap();
            sqlx::query(newer).execute(&mut connection).await.unwrap();
        }
        Backend::Postgres(server) => {
            sqlx::query(newer).execute(&mut server.connect().await).await.unwrap();
        }
    }
    assert!(books.database.migrate().await.is_err());
}

/// Applies the migrations but the last one, as the version before did.
async fn migrate_to_the_level_before(backend: &Backend) {
    let name = match backend {
        Backend::Sqlite(_) => "sqlite",
        Backend::Postgres(_) => "postgres",
    };
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(name);
    let mut files: Vec<_> = std::fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.pop().expect("there are migrations");
    let before = tempfile::tempdir().unwrap();
    for file in files {
        std::fs::copy(&file, before.path().join(file.file_name().unwrap())).unwrap();
    }
    let migrator = Migrator::new(before.path()).await.unwrap();
    match backend {
        Backend::Sqlite(folder) => {
            let url = format!("sqlite://{}?mode=rwc", folder.path().join("books.db").display());
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            migrator.run_direct(None, &mut connection, false).await.unwrap();
            connection.close().await.unwrap();
        }
        Backend::Postgres(server) => {
            migrator.run_direct(None, &mut server.connect().await, false).await.unwrap();
        }
    }
}

/// All that a payment without a requirement is, in columns that were there before.
fn as_the_version_before_writes(payment: &Payment) -> [String; 2] {
    let Payment { id, transaction, nonce, payer, recipient, currency, network, slot, .. } = payment;
    let (amount, block_time, at) = (payment.amount.atomic(), payment.block_time.0, payment.verified_at.0);
    [
        format!(
            "INSERT INTO transactions (id, state, owner, signature, nonce, payer, recipient, currency, amount, \
                 network, slot, block_time_ms, verified_at_ms) \
             VALUES ('{id}', 'settled', '{OWNER}', '{transaction}', '{nonce}', '{payer}', '{recipient}', '{currency}', \
                 {amount}, '{network}', {slot}, {block_time}, {at})"
        ),
        format!("INSERT INTO nonces (nonce, payment_id, used_at_ms) VALUES ('{nonce}', '{id}', {at})"),
    ]
}

async fn run(backend: &Backend, statement: String) {
    let statement = sqlx::AssertSqlSafe(statement);
    match backend {
        Backend::Sqlite(folder) => {
            let url = format!("sqlite://{}", folder.path().join("books.db").display());
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            sqlx::query(statement).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
        Backend::Postgres(server) => {
            sqlx::query(statement).execute(&mut server.connect().await).await.unwrap();
        }
    }
}

async fn a_database_of_the_level_before_is_upgraded_with_its_rows(backend: Backend) {
    migrate_to_the_level_before(&backend).await;
    let payments = [payment(1), payment(2)];
    for payment in &payments {
        for statement in as_the_version_before_writes(payment) {
            run(&backend, statement).await;
        }
    }
    let books = backend.open().await;
    let missing = async || {
        let status = books.database.migration_status().await.unwrap();
        status.iter().filter(|migration| !migration.applied).count()
    };
    assert_eq!(missing().await, 1);

    books.database.migrate().await.unwrap();
    assert_eq!(missing().await, 0);
    for before in &payments {
        let after = books.payments.find(OWNER, before.id.as_str()).await.unwrap();
        assert_eq!(after, Some(before.clone().into()));
        let used = books.payments.on_record(&before.nonce, &before.transaction, None).await.unwrap().used;
        assert!(used.is_some());
    }
    assert_eq!(books.payments.list(OWNER, 50, 0).await.unwrap().total, 2);
}
