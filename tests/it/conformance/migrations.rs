//! Migrations, by several instances that start at once.

use std::sync::Arc;

use futures_util::future::join_all;
use pay402::{store::Books, store_error::StoreError};
use tokio::sync::Barrier;

use super::{Backend, OWNER, on_both, payment};

on_both!(
    instances_that_start_together_migrate_once,
    a_database_that_is_not_migrated_says_so,
    a_database_of_a_newer_version_is_refused,
);

async fn instances_that_start_together_migrate_once(backend: Backend) {
    let opened: Vec<Books> = join_all((0..8).map(|_| backend.open())).await;
    let together = Arc::new(Barrier::new(opened.len()));
    let migrating = opened.into_iter().map(|books| {
        let together = Arc::clone(&together);
        tokio::spawn(async move {
            together.wait().await;
            books.database.migrate().await.unwrap();
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
