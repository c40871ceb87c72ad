//! A PostgreSQL that goes away, hangs, or refuses: every operation ends in bounded time with an error that says so,
//! and works again when the server does, with the store that is open.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use pay402::{
    metrics::Metrics,
    payments::{
        Entry, Payment, PaymentStore,
        RecordOutcome::{self, AlreadyUsed, Recorded},
        Used,
    },
    store::{Books, postgres::PostgresStore},
    store_error::StoreError,
};
use sqlx::{Connection, PgConnection};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{OWNER, payment, signature};
use crate::harness::{postgres::PostgresServer, wire::PATIENCE};

/// No operation may take longer. A little more than the store allows itself, for busy machines.
const BOUND: Duration = Duration::from_secs(16);

async fn start() -> (PostgresServer, Books) {
    let server = PostgresServer::start().await;
    let books = open(&server).await;
    books.database.migrate().await.unwrap();
    (server, books)
}

async fn open(server: &PostgresServer) -> Books {
    Books::new(PostgresStore::open(&server.url(), Arc::new(Metrics::new())).await.unwrap())
}

fn record(books: &Books, payment: Payment) -> JoinHandle<Result<RecordOutcome, StoreError>> {
    let store = Arc::clone(&books.payments);
    tokio::spawn(async move { store.record_all(&[payment]).await.map(|outcomes| outcomes[0]) })
}

/// Every kind of operation, all of them at once, ends in time and says that the database is unavailable.
async fn assert_unavailable(books: &Books) {
    let (payments, requirements) = (&books.payments, &books.requirements);
    let (new, transaction) = (payment(900), signature(900));
    let batch = [new];
    let all = async {
        tokio::join!(
            payments.record_all(&batch),
            payments.on_record("n", &transaction, None),
            payments.find(OWNER, "n"),
            payments.list(OWNER, 1, 0),
            requirements.find("n"),
            books.database.check_writable(),
            books.database.migration_status(),
        )
    };
    let (recorded, used, found, listed, requirement, writable, status) =
        timeout(BOUND, all).await.expect("operations end in bounded time");
    // On a connection from before the statement was sent, and nobody can say what became of it.
    assert!(matches!(recorded, Err(StoreError::Unavailable(_) | StoreError::Unknown)), "{recorded:?}");
    let errors = [used.err(), found.err(), listed.err(), requirement.err(), writable.err(), status.err()];
    for error in errors {
        assert!(matches!(error, Some(StoreError::Unavailable(_))), "{error:?}");
    }
}

/// The processes of the server that wait for a lock, as soon as there are any but those.
pub(super) async fn blocked(connection: &mut PgConnection, but: &[i32]) -> Vec<i32> {
    let deadline = Instant::now() + BOUND;
    loop {
        let select = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND NOT pid = ANY ($1)";
        let pids: Vec<i32> = sqlx::query_scalar(select).bind(but).fetch_all(&mut *connection).await.unwrap();
        if !pids.is_empty() {
            return pids;
        }
        assert!(Instant::now() < deadline, "nothing waits for a lock");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Writes somebody else's row with a payment's nonce and transaction, within a transaction that has begun.
async fn write_row(connection: &mut PgConnection, payment: &Payment) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO transactions (id, state, signature, nonce, payer, recipient, currency, amount, network, \
                      slot, block_time_ms, verified_at_ms) \
                  VALUES ('foreign ' || $2, 'settled', $1, $2, 'p', 'r', 'USDC', 1, 'sandbox', 1, 1, 1)";
    sqlx::query(insert)
        .bind(payment.transaction.to_string())
        .bind(&payment.nonce)
        .execute(connection)
        .await
        .map(drop)
}

async fn run(connection: &mut PgConnection, statement: &'static str) {
    sqlx::query(statement).execute(connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_and_started_again() {
    let (mut server, books) = start().await;
    books.payments.record_all(&[payment(1)]).await.unwrap();
    server.stop().await;
    assert_unavailable(&books).await;
    // Opening says at once what is wrong.
    let began = Instant::now();
    let error = PostgresStore::open(&server.url(), Arc::new(Metrics::new())).await.unwrap_err();
    assert!(format!("{error:?}").contains("ConnectionRefused"), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(matches!(books.database.migrate().await, Err(StoreError::Unavailable(_))));

    server.restart().await;
    assert_eq!(
        books.payments.record_all(&[payment(1), payment(2)]).await.unwrap(),
        [AlreadyUsed(Used::Nonce), Recorded]
    );
    books.database.check_writable().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_and_goes_on() {
    let (mut server, books) = start().await;
    // Connections that are open and idle when it happens.
    join_all((0..8).map(|number| record(&books, payment(number)))).await;
    let leaving = open(&server).await;
    leaving.payments.record_all(&[payment(8)]).await.unwrap();
    server.pause();
    timeout(BOUND, leaving.database.close()).await.expect("closing ends in bounded time");
    assert_unavailable(&books).await;
    server.resume();
    books.payments.record_all(&[payment(50)]).await.unwrap();
    books.database.check_writable().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_ended_in_the_middle_is_replaced() {
    let (server, books) = start().await;
    let (mut rival, mut operator) = (server.connect().await, server.connect().await);
    run(&mut rival, "BEGIN").await;
    write_row(&mut rival, &payment(1)).await.unwrap();
    let recording = record(&books, payment(1));
    let first = blocked(&mut operator, &[]).await;
    let ended: bool = sqlx::query_scalar("SELECT pg_terminate_backend($1)")
        .bind(first[0])
        .fetch_one(&mut operator)
        .await
        .unwrap();
    assert!(ended);
    // It comes back over another connection, and waits for the rival again.
    blocked(&mut operator, &first).await;
    run(&mut rival, "ROLLBACK").await;
    assert_eq!(recording.await.unwrap().unwrap(), Recorded);
}

/// Neither refused nor accepted before the other transaction has ended, and then by what became of that.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_waits_for_the_transaction_that_is_about_to_have_its_nonce() {
    let (server, books) = start().await;
    let (mut rival, mut operator) = (server.connect().await, server.connect().await);
    run(&mut rival, "BEGIN").await;
    write_row(&mut rival, &payment(1)).await.unwrap();
    let batch = [payment(0), payment(1), Payment { nonce: payment(1).nonce, ..payment(2) }, payment(3)];
    let store = Arc::clone(&books.payments);
    let recording = tokio::spawn(async move { store.record_all(&batch).await });
    blocked(&mut operator, &[]).await;
    run(&mut rival, "COMMIT").await;
    let outcomes = recording.await.unwrap().unwrap();
    assert_eq!(outcomes, [Recorded, AlreadyUsed(Used::Nonce), AlreadyUsed(Used::Nonce), Recorded]);
}

/// A batch and somebody else's transaction wait for each other: the batch gives way, and is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_no_failure() {
    let (server, books) = start().await;
    let (mut rival, mut operator) = (server.connect().await, server.connect().await);
    // Usually the batch, which waits first, finds the deadlock. Should it look too early, the rival does.
    run(&mut rival, "SET deadlock_timeout = '3s'").await;
    run(&mut rival, "BEGIN").await;
    write_row(&mut rival, &payment(1)).await.unwrap();
    let store = Arc::clone(&books.payments);
    let recording = tokio::spawn(async move { store.record_all(&[payment(1), payment(0)]).await });
    blocked(&mut operator, &[]).await;
    let _ = write_row(&mut rival, &payment(0)).await;
    run(&mut rival, "ROLLBACK").await;
    assert_eq!(recording.await.unwrap().unwrap(), [Recorded, Recorded]);
    assert_eq!(
        books.payments.list(OWNER, 10, 0).await.unwrap().payments,
        [payment(1).into(), payment(0).into()]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_nobody_gives_back_uses_up_the_pool_but_no_time() {
    let (server, books) = start().await;
    let mut operator = server.connect().await;
    run(&mut operator, "BEGIN").await;
    run(&mut operator, "LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE").await;
    let requests = (0..40).map(|number| {
        let store = Arc::clone(&books.payments);
        tokio::spawn(async move { store.on_record("n", &signature(number), None).await })
    });
    let answers = timeout(BOUND, join_all(requests)).await.expect("requests end in bounded time");
    for answer in answers {
        let answer = answer.unwrap();
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    let connections: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '402pay-facilitator'",
    )
    .fetch_one(&mut operator)
    .await
    .unwrap();
    assert!(connections <= 16, "{connections}");
    run(&mut operator, "ROLLBACK").await;
    assert_eq!(books.payments.on_record("n", &signature(1), None).await.unwrap().used, None);
}

/// As after a failover: connections lead to what is now a standby.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_writes_for_a_while() {
    let (server, books) = start().await;
    let mut operator = server.connect().await;
    run(&mut operator, "ALTER DATABASE postgres SET default_transaction_read_only = on").await;
    let refusing = open(&server).await;
    for _ in 0..3 {
        let outcome = refusing.payments.record_all(&[payment(1)]).await;
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        let writable = refusing.database.check_writable().await;
        assert!(matches!(writable, Err(StoreError::Unavailable(_))), "{writable:?}");
        assert_eq!(
            refusing.payments.on_record("n", &signature(1), None).await.unwrap().used,
            None,
            "reading goes on"
        );
    }
    run(&mut operator, "BEGIN READ WRITE").await;
    run(&mut operator, "ALTER DATABASE postgres RESET default_transaction_read_only").await;
    run(&mut operator, "COMMIT").await;
    // Each connection from before is met once at most, and not kept.
    let deadline = Instant::now() + PATIENCE;
    let recorded = loop {
        match refusing.payments.record_all(&[payment(1)]).await {
            Ok(recorded) => break recorded,
            Err(error) => {
                let is_refused = matches!(error, StoreError::Unavailable(_));
                assert!(is_refused && Instant::now() < deadline, "{error:?}");
            }
        }
    };
    assert_eq!(recorded, [Recorded]);
    assert_eq!(books.payments.find_by_nonce(&payment(1).nonce).await.unwrap(), Some(payment(1)));
}

/// Killed and restarted under load: who was told that a payment is recorded finds it, and nothing is there twice. A
/// refusal goes only to those who were told before that the outcome is unknown.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_forgets_nothing() {
    const WRITERS: u64 = 8;
    const EACH: u64 = 60;
    let (mut server, books) = start().await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store: Arc<dyn PaymentStore> = Arc::clone(&books.payments);
            tokio::spawn(async move {
                for number in (0..EACH).map(|number| writer * EACH + number) {
                    let mut in_doubt = false;
                    loop {
                        match store.record_all(&[payment(number)]).await.map(|outcomes| outcomes[0]) {
                            Ok(Recorded) => break,
                            Ok(AlreadyUsed(Used::Nonce)) if in_doubt => break,
                            Err(StoreError::Unknown) => in_doubt = true,
                            // Nothing was written.
                            Err(StoreError::Unavailable(_)) => {}
                            other => panic!("{number}: {other:?}"),
                        }
                    }
                }
            })
        })
        .collect();
    for number in [50, 150] {
        while books.payments.list(OWNER, 1, 0).await.map_or(0, |page| page.total) < number {
            sleep(Duration::from_millis(1)).await;
        }
        server.kill9();
        server.restart().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let page = books.payments.list(OWNER, 1000, 0).await.unwrap();
    let expected: Vec<Entry> = (0..WRITERS * EACH).rev().map(|number| payment(number).into()).collect();
    assert_eq!(page.payments, expected);
    let mut operator = server.connect().await;
    let whole: (i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM nonces), (SELECT count(*) FROM analytics_events)")
            .fetch_one(&mut operator)
            .await
            .unwrap();
    assert_eq!(whole, (480, 480));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_url_is_told_and_its_password_is_not() {
    let server = PostgresServer::start().await;
    let metrics = || Arc::new(Metrics::new());
    let missing = server.url().replace("/postgres", "/missing").replace("postgres@", "postgres:secret@");
    let error = PostgresStore::open(&missing, metrics()).await.unwrap_err();
    let told = format!("{error:?}");
    assert!(told.contains("does not exist") && !told.contains("secret"), "{told}");
    for wrong in ["", "postgres://h:port/x", "postgres://localhost/x?sslmode=nonsense"] {
        assert!(
            matches!(PostgresStore::open(wrong, metrics()).await, Err(StoreError::Unavailable(_))),
            "{wrong}"
        );
    }
    let store = PostgresStore::open(&server.url().replace('@', ":secret@"), metrics()).await.unwrap();
    assert!(!format!("{store:?}").contains("secret"));
    assert_eq!(server.connect().await.ping().await.ok(), Some(()));
}
