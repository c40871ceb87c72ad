//! Readers, writers and those who sum up, all at once; and a server that goes away in the middle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use pay402::{
    analytics::{Log, Ranking, Rolled, TopAgent, Window},
    calendar::HOUR_MS,
    clock::UnixMs,
    money::Currency,
    store::Books,
};
use sqlx::Executor;

use super::model::{self, Model};
use crate::conformance::{Backend, on_both, settlement_trouble};

on_both!(who_reads_sees_one_moment);

const NOON: UnixMs = UnixMs(1_790_078_400_000);
const SHOP: &str = "shop";
const PAYMENTS: u64 = 120;

/// How many payments there are, by every way of counting them.
async fn counted(books: &Books) -> [u64; 4] {
    let analytics = &books.analytics;
    let (payments, revenue, agents, events) = tokio::join!(
        analytics.payments(SHOP, Window::ALL),
        analytics.revenue(SHOP, HOUR_MS, Window::ALL),
        analytics.agents(SHOP, Window::ALL, Ranking::Usdc, 1, 0),
        analytics.events(SHOP, Some("payment.verified"), Window::ALL, None, 1, 0),
    );
    let events = events.unwrap().types.into_iter().find(|count| count.kind == "payment.verified");
    [
        payments.unwrap().iter().map(|sum| sum.tally.payments).sum(),
        revenue.unwrap().iter().map(|sum| sum.tally.payments).sum(),
        agents.unwrap().agents.iter().map(TopAgent::payments).sum(),
        events.map_or(0, |count| count.events),
    ]
}

async fn who_reads_sees_one_moment(backend: Backend) {
    let instances = [backend.books().await, backend.books().await];
    let mut model = Model::default();
    model.agent = Some(model.register(&instances[0], SHOP, 1).await.id);
    let (begun, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for (number, log) in Log::ALL.into_iter().chain(Log::ALL).enumerate() {
        let (store, done) = (Arc::clone(&instances[number % 2].analytics), Arc::clone(&done));
        tasks.push(tokio::spawn(async move {
            loop {
                // Of every minute there is one payment.
                let number = done.load(Ordering::SeqCst);
                let rolled = store.roll(log, NOON + Duration::from_mins(number), 1).await.unwrap();
                if number == PAYMENTS && rolled == Rolled::All {
                    return;
                }
            }
        }));
    }
    for books in instances.clone() {
        let (begun, done) = (Arc::clone(&begun), Arc::clone(&done));
        tasks.push(tokio::spawn(async move {
            loop {
                let least = done.load(Ordering::SeqCst);
                let counted = counted(&books).await;
                let most = begun.load(Ordering::SeqCst);
                assert!(
                    counted.iter().all(|count| (least..=most).contains(count)),
                    "{least} {counted:?} {most}"
                );
                if least == PAYMENTS {
                    return;
                }
            }
        }));
    }
    for number in 0..PAYMENTS {
        begun.fetch_add(1, Ordering::SeqCst);
        let at = NOON + Duration::from_mins(number);
        model.prove(&instances[0], Some(SHOP), (Currency::Usdc, 1), at).await;
        done.fetch_add(1, Ordering::SeqCst);
    }
    for task in join_all(tasks).await {
        task.unwrap();
    }
    assert_eq!(counted(&instances[1]).await, [PAYMENTS; 4]);
}

/// Killed between moving on and adding: neither has happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_while_it_sums_up_has_summed_up_nothing() {
    let (mut server, books) = settlement_trouble::start().await;
    let mut model = Model::default();
    model.agent = Some(model.register(&books, SHOP, 1).await.id);
    for number in 0..5 {
        let at = NOON + Duration::from_mins(number);
        model.prove(&books, Some(SHOP), (Currency::Usdc, 1 + number), at).await;
    }
    let until = NOON + Duration::from_hours(1);
    for (log, lock) in [
        (Log::Payments, "LOCK TABLE payment_sums IN SHARE MODE"),
        (Log::Agents, "LOCK TABLE agent_sums IN SHARE MODE"),
        (Log::Events, "LOCK TABLE event_sums IN SHARE MODE"),
    ] {
        let (mut operator, mut watcher) = (server.connect().await, server.connect().await);
        operator.execute("BEGIN").await.unwrap();
        operator.execute(lock).await.unwrap();
        let store = Arc::clone(&books.analytics);
        let call = tokio::spawn(async move { store.roll(log, until, 100).await });
        settlement_trouble::blocked(&mut watcher).await;
        server.kill9();
        assert!(call.await.unwrap().is_err());
        server.restart().await;
        let analytics = &books.analytics;
        for _ in 0..2 {
            let found =
                settlement_trouble::confirmed(async || analytics.payments(SHOP, Window::ALL).await).await;
            assert_eq!(model::sums(&found), model.payments(SHOP, Window::ALL), "{log:?}");
            let found = settlement_trouble::confirmed(async || {
                analytics.agents(SHOP, Window::ALL, Ranking::Usdc, 5, 0).await
            });
            assert_eq!(
                model::ranked(&found.await),
                model.agents(SHOP, Window::ALL, Ranking::Usdc),
                "{log:?}"
            );
            let found = settlement_trouble::confirmed(async || {
                analytics.events(SHOP, None, Window::ALL, None, 9, 0).await
            });
            let found = found.await;
            assert_eq!(found.types.iter().map(|count| count.events).sum::<u64>(), 6, "{log:?}");
            assert_eq!(model::events(&found), model.events(SHOP, Window::ALL), "{log:?}");
            while settlement_trouble::confirmed(async || analytics.roll(log, until, 2).await).await
                == Rolled::Some
            {}
        }
    }
}
