//! Settlements on a PostgreSQL that goes away in the middle: each call ends in bounded time, says whether it may have been
//! committed, and can be made again.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use pay402::{
    metrics::Metrics,
    payments::settlement::{Claimed, Ending, Journal, Journalled, SettlementState, SettlementStore},
    store::{Books, postgres::PostgresStore},
    store_error::StoreError,
};
use sqlx::{Executor, PgConnection};
use tokio::time::{Instant, sleep, timeout};

use super::settlements::{NOON, claim, journal, put_in_flight};
use crate::harness::postgres::PostgresServer;

/// No operation may take longer. A little more than the store allows itself, for busy machines.
const BOUND: Duration = Duration::from_secs(16);
/// What one settlement reserves, in lamports.
const FEE: u64 = 5_000;

pub async fn start() -> (PostgresServer, Books) {
    let server = PostgresServer::start().await;
    let store = PostgresStore::open(&server.url(), Arc::new(Metrics::new())).await.unwrap();
    let books = Books::new(store);
    books.database.migrate().await.unwrap();
    (server, books)
}

fn is_trouble<T: std::fmt::Debug>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unavailable(_) | StoreError::Unknown))
}

/// Every call at once ends in time and says that it was not confirmed.
async fn assert_unavailable(store: &dyn SettlementStore, entry: &Journal) {
    let (fresh, other) = (claim(200, "other attempt"), journal(claim(201, "another attempt"), 201));
    let of = entry.settlement.signature;
    let messages = [entry.claim.message];
    let all = async {
        tokio::join!(
            store.claim(&fresh),
            store.abandon(&fresh),
            store.journal(&other),
            store.finish(&entry.claim.message, &Ending::Expired, NOON),
            store.renew("instance", &messages, NOON),
            store.take_over("heir", NOON, NOON, 8),
            store.forget_claims(NOON, 8),
            store.find(&of),
            store.sponsored(NOON, None),
        )
    };
    let (claimed, abandoned, journalled, finished, renewed, taken, forgotten, found, sponsored) =
        timeout(BOUND, all).await.expect("every call ends in bounded time");
    assert!(is_trouble(&claimed) && is_trouble(&abandoned) && is_trouble(&journalled));
    assert!(is_trouble(&finished) && is_trouble(&renewed) && is_trouble(&taken));
    assert!(is_trouble(&forgotten) && is_trouble(&found) && is_trouble(&sponsored));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_or_hangs_takes_and_tells_nothing() {
    let (mut server, books) = start().await;
    let store = books.settlements.as_ref();
    let entry = put_in_flight(store, 1).await;
    server.stop().await;
    assert_unavailable(store, &entry).await;
    server.restart().await;
    // Connections that are open and idle when it happens.
    join_all((0..8).map(|_| store.find(&entry.settlement.signature))).await;
    server.pause();
    assert_unavailable(store, &entry).await;
    server.resume();
    let kept = store.find(&entry.settlement.signature).await.unwrap().unwrap();
    assert_eq!(kept.state, SettlementState::Pending, "nobody ended it");
    assert_eq!(store.sponsored(NOON, None).await.unwrap().reserved, FEE);
}

/// Waits until the server has somebody waiting for a lock.
pub async fn blocked(operator: &mut PgConnection) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    let deadline = Instant::now() + BOUND;
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *operator).await.unwrap() == 0 {
        assert!(Instant::now() < deadline, "nothing waits for a lock");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Killed while the last statement before the commit waits: nothing of the transaction is there, and the same call again
/// does it once.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_before_the_commit_has_written_nothing() {
    let (mut server, books) = start().await;
    let store = Arc::clone(&books.settlements);
    let entry = journal(claim(1, "attempt 1"), 1);
    assert_eq!(store.claim(&entry.claim).await.unwrap(), Claimed::Fresh);
    for ending in [None, Some(Ending::Settled { slot: 7 })] {
        let (mut operator, mut watcher) = (server.connect().await, server.connect().await);
        operator.execute("BEGIN").await.unwrap();
        operator.execute("LOCK TABLE sponsored_lamports IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let (held, mine, end) = (Arc::clone(&store), entry.clone(), ending.clone());
        let call = tokio::spawn(async move {
            match end {
                None => held.journal(&mine).await.map(drop),
                Some(end) => held.finish(&mine.claim.message, &end, NOON).await.map(drop),
            }
        });
        blocked(&mut watcher).await;
        server.kill9();
        let outcome = call.await.unwrap();
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        server.restart().await;
        // A connection of before is noticed to be gone by whoever uses it next.
        let found = confirmed(async || store.find(&entry.settlement.signature).await).await;
        match ending {
            None => {
                assert_eq!(found, None);
                assert_eq!(confirmed(async || store.sponsored(NOON, None).await).await.reserved, 0);
                assert_eq!(confirmed(async || store.journal(&entry).await).await, Journalled::Done);
            }
            Some(end) => {
                assert_eq!(found.unwrap().state, SettlementState::Pending);
                let message = entry.claim.message;
                let finished = confirmed(async || store.finish(&message, &end, NOON).await).await;
                assert!(finished.unwrap().first);
            }
        }
    }
    let sponsored = confirmed(async || store.sponsored(NOON, None).await).await;
    assert_eq!((sponsored.reserved, sponsored.spent), (0, FEE));
}

/// Makes a call until the database confirms it.
pub async fn confirmed<T>(mut call: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    loop {
        match call().await {
            Ok(done) => return done,
            Err(StoreError::Unavailable(_) | StoreError::Unknown) => sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// From its claim to its end, each call made until it is confirmed.
async fn settle(store: &dyn SettlementStore, message: u8) {
    let entry = journal(claim(message, &format!("attempt {message}")), u64::from(message));
    let claimed = confirmed(async || store.claim(&entry.claim).await).await;
    assert_eq!(claimed, Claimed::Fresh, "the same attempt again is as the first");
    assert_eq!(confirmed(async || store.journal(&entry).await).await, Journalled::Done);
    let ending = if message.is_multiple_of(3) { Ending::Expired } else { Ending::Settled { slot: 7 } };
    let finished = confirmed(async || store.finish(&entry.claim.message, &ending, NOON).await).await.unwrap();
    assert_eq!(finished.record.state, SettlementState::Ended(ending));
}

/// Killed and restarted under load: every call is made until it is confirmed, and all of it is there once.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_keeps_the_books_and_the_fees_together() {
    const WRITERS: u8 = 8;
    const EACH: u8 = 24;
    let (mut server, books) = start().await;
    let store = books.settlements.as_ref();
    let writing = join_all((0..WRITERS).map(async |writer| {
        for message in (0..EACH).map(|number| writer * EACH + number) {
            settle(store, message).await;
        }
    }));
    let killing = async {
        let count = "SELECT count(*) FROM settlements WHERE finished_at_ms IS NOT NULL";
        let mut watcher = server.connect().await;
        while sqlx::query_scalar::<_, i64>(count).fetch_one(&mut watcher).await.unwrap() < 30 {
            sleep(Duration::from_millis(1)).await;
        }
        server.kill9();
        server.restart().await;
    };
    tokio::join!(writing, killing);
    let all = u64::from(WRITERS) * u64::from(EACH);
    let sponsored = books.settlements.sponsored(NOON, None).await.unwrap();
    assert_eq!((sponsored.reserved, sponsored.spent), (0, all / 3 * 2 * FEE));
    let mut operator = server.connect().await;
    let counts: (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM settlements), (SELECT count(*) FROM transactions WHERE state <> 'pending'), \
         (SELECT count(*) FROM analytics_events)",
    )
    .fetch_one(&mut operator)
    .await
    .unwrap();
    let all = i64::try_from(all).unwrap();
    assert_eq!(counts, (all, all, all));
}
