//! PostgreSQL out of reach, or so busy that no connection is free: the service says so, and recovers by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor};
use tokio::time::{Instant, sleep};

use crate::harness::{Answer, KEY, TestApp, postgres::PostgresServer};

/// How long what must happen may take on a busy machine.
const BOUND: Duration = Duration::from_secs(40);
/// The store's pool.
const CONNECTIONS: i64 = 16;

async fn on(server: &PostgresServer) -> TestApp {
    TestApp::with(|environment, _| environment.with("DATABASE_URL", server.url())).await
}

#[track_caller]
fn assert_unavailable(answer: &Answer) {
    assert_eq!((answer.status, answer.code()), (503, "DATABASE_UNAVAILABLE"), "{answer:?}");
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
}

/// `/ready` names the database, and nothing else; the process lives.
async fn assert_database_is_down(app: &TestApp) {
    let deadline = Instant::now() + BOUND;
    let mut ready = app.get("/ready", None).await;
    // Where others wait for connections too, one may have come its way: it asks for nothing that is locked.
    while ready.status == 200 && Instant::now() < deadline {
        ready = app.get("/ready", None).await;
    }
    assert_eq!((ready.status, &ready.body["status"]), (503, &json!("not_ready")), "{ready:?}");
    assert_eq!(ready.body["degraded"], json!(["database"]));
    assert_eq!(ready.body["components"]["database"]["status"], "down");
    assert_eq!(app.get("/health", None).await.status, 200);
}

async fn assert_ready_again(app: &TestApp) {
    let deadline = Instant::now() + BOUND;
    loop {
        let ready = app.get("/ready", None).await;
        if ready.status == 200 {
            return;
        }
        assert!(Instant::now() < deadline, "{ready:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_connections() {
    let mut server = PostgresServer::start().await;
    let app = on(&server).await;
    let proof = app.proof(&app.pay_merchant(), "n");
    server.stop().await;
    let requirement = app.requirement();
    let (verified, listed, issued, ()) = tokio::join!(
        app.verify(&proof),
        app.get("/payments", Some(KEY)),
        app.post("/requirements", Some(KEY), &requirement),
        assert_database_is_down(&app),
    );
    for answer in [verified, listed, issued] {
        assert_unavailable(&answer);
    }
    server.restart().await;
    assert_ready_again(&app).await;
    app.verify(&proof).await.assert_valid();
    assert_eq!(app.booked().await, 1);
}

/// Every connection waits for a lock: those who get none are told within the time they may wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_exhausted() {
    let server = PostgresServer::start().await;
    let app = Arc::new(on(&server).await);
    let proof = app.proof(&app.pay_merchant(), "n");
    // Two connections: within a transaction the view of who waits does not change.
    let (mut operator, mut watcher) = (server.connect().await, server.connect().await);
    operator.execute("BEGIN").await.unwrap();
    for table in ["transactions", "nonces"] {
        let lock = format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
        operator.execute(AssertSqlSafe(lock)).await.unwrap();
    }
    // Each asks again and again, so that whoever else asks is behind many, whenever that is.
    let over = Arc::new(AtomicBool::new(false));
    let requests: Vec<_> = (0..40)
        .map(|_| {
            let (app, over) = (Arc::clone(&app), Arc::clone(&over));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    assert_unavailable(&app.get("/payments", Some(KEY)).await);
                }
            })
        })
        .collect();
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE application_name = '402pay-facilitator' AND wait_event_type = 'Lock'";
    let deadline = Instant::now() + BOUND;
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut watcher).await.unwrap() < CONNECTIONS {
        assert!(Instant::now() < deadline, "the pool is not used up");
        sleep(Duration::from_millis(10)).await;
    }
    let (verified, ()) = tokio::join!(app.verify(&proof), assert_database_is_down(&app));
    assert_unavailable(&verified);
    over.store(true, Ordering::Relaxed);
    for asked in join_all(requests).await {
        asked.unwrap();
    }
    operator.execute("ROLLBACK").await.unwrap();
    assert_ready_again(&app).await;
    app.verify(&proof).await.assert_valid();
    assert_eq!(app.booked().await, 1);
}
