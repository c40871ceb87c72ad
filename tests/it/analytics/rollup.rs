//! The worker: bounded steps, catching up, and an end.

use std::{sync::Arc, time::Duration};

use pay402::{
    analytics::{Log, Rolled, Rollup, Window},
    clock::{ManualClock, UnixMs},
    money::Currency,
    payments::{Payment, RecordOutcome},
    shutdown::Shutdown,
};
use tokio::time::{Instant, sleep, timeout};

use super::model::{self, Model};
use crate::{
    conformance::{Backend, on_both, payment},
    sandbox::setup::START,
};

on_both!(
    a_step_is_bounded_and_the_numbers_hold_at_every_one,
    a_worker_ends_with_the_service,
    a_worker_does_not_rest_before_it_has_caught_up,
    a_service_sums_up_what_it_finds,
);

const NOON: UnixMs = UnixMs(1_790_078_400_000);

/// What was never summed up is, a few lines at a time; many of them are of the same moment.
async fn a_step_is_bounded_and_the_numbers_hold_at_every_one(backend: Backend) {
    let (books, mut model) = (backend.books().await, Model::default());
    for number in 0..24_u64 {
        let at = NOON + Duration::from_secs(3600 * (number / 6));
        model.prove(&books, Some("shop"), (Currency::Usdt, 1 + number), at).await;
    }
    let until = NOON + Duration::from_hours(10);
    let mut steps = 0;
    while books.analytics.roll(Log::Payments, until, 4).await.unwrap() == Rolled::Some {
        steps += 1;
        let found = books.analytics.payments("shop", Window::ALL).await.unwrap();
        assert_eq!(model::sums(&found), model.payments("shop", Window::ALL), "after {steps} steps");
        assert!(steps < 50, "it comes to an end");
    }
    assert!(steps >= 4, "four hours of six lines, four at a time, take {steps} steps");
    // Whatever is asked for again is done already.
    for earlier in [UnixMs(0), NOON, until] {
        assert_eq!(books.analytics.roll(Log::Payments, earlier, 4).await.unwrap(), Rolled::All);
    }
}

async fn a_worker_ends_with_the_service(backend: Backend) {
    let books = backend.books().await;
    let shutdown = Shutdown::default();
    shutdown.keep_going(Rollup::new(books.analytics, Arc::new(ManualClock::new(NOON))), Rollup::run);
    assert_eq!(shutdown.tasks.len(), 1);
    shutdown.begin();
    timeout(Duration::from_secs(20), shutdown.drained()).await.expect("it ends when it is told to");
}

/// As after a downtime: a backlog of several rounds, between any two of which it would rest for a minute.
async fn a_worker_does_not_rest_before_it_has_caught_up(backend: Backend) {
    const LINES: u64 = 800;
    let (books, shutdown) = (backend.books().await, Shutdown::default());
    let payments: Vec<Payment> = (0..LINES)
        .map(|number| {
            let at = NOON + Duration::from_secs(number);
            Payment { id: model::id(at, number), verified_at: at, ..payment(number) }
        })
        .collect();
    for some in payments.chunks(100) {
        let recorded = books.payments.record_all(some).await.unwrap();
        assert!(recorded.iter().all(|outcome| *outcome == RecordOutcome::Recorded));
    }
    let end = NOON + Duration::from_hours(2);
    let rollup =
        Rollup { store: Arc::clone(&books.analytics), clock: Arc::new(ManualClock::new(end)), batch: 3 };
    shutdown.keep_going(rollup, Rollup::run);
    let summed = "SELECT name, rolled_until_ms FROM rollups WHERE rolled_until_ms > 1790079199000";
    let deadline = Instant::now() + Duration::from_mins(3);
    while backend.select(summed).await.len() < Log::ALL.len() {
        assert!(Instant::now() < deadline, "it rests");
        sleep(Duration::from_millis(100)).await;
    }
    shutdown.begin();
    let sums = "SELECT 'payments', CAST(sum(payments) AS BIGINT) FROM payment_sums WHERE span_ms = 3600000";
    assert_eq!(backend.select(sums).await, [("payments".to_owned(), i64::try_from(LINES).unwrap())]);
}

async fn a_service_sums_up_what_it_finds(backend: Backend) {
    let (books, mut model) = (backend.books().await, Model::default());
    model.prove(&books, Some("shop"), (Currency::Usdt, 1), START - Duration::from_hours(1)).await;
    let _app = backend.app().await;
    let deadline = Instant::now() + Duration::from_secs(20);
    let rolled = "SELECT name, rolled_until_ms FROM rollups WHERE rolled_until_ms > 0 ORDER BY name";
    while backend.select(rolled).await.len() < Log::ALL.len() {
        assert!(Instant::now() < deadline, "nothing is summed up");
        sleep(Duration::from_millis(10)).await;
    }
    let found = books.analytics.payments("shop", Window::ALL).await.unwrap();
    assert_eq!(model::sums(&found), model.payments("shop", Window::ALL));
}
