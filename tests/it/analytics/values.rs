//! What is counted, and what is not.

use std::{sync::Arc, time::Duration};

use pay402::{
    analytics::{Log, Ranking, Rolled, SETTLED_AFTER, Window},
    calendar::DAY_MS,
    clock::{Clock, UnixMs},
    ids::EventId,
    money::{Amount, Currency},
    payments::{PaymentState, Source},
    store::Books,
};
use sqlx::Connection;

use super::model::{self, Model};
use crate::conformance::{Backend, on_both};

on_both!(
    sums_are_exact_past_what_a_number_holds,
    what_is_in_no_known_currency_is_counted_without_an_amount,
    what_is_nobodys_is_in_nobodys_books,
    a_payment_counts_when_it_ends,
    an_end_that_the_version_before_has_written_is_found,
    a_line_is_left_alone_until_no_commit_can_come_before_it,
    nothing_is_added_twice_by_many_at_once,
    what_a_wrong_clock_passed_by_is_found_again,
);

const NOON: UnixMs = UnixMs(1_790_078_400_000);
const SHOP: Option<&str> = Some("shop");

/// Sums up what is from before `until`.
async fn roll(books: &Books, until: UnixMs) {
    for log in Log::ALL {
        while books.analytics.roll(log, until, 2).await.unwrap() == Rolled::Some {}
    }
}

async fn sums_are_exact_past_what_a_number_holds(backend: Backend) {
    let (books, mut model) = (backend.books().await, Model::default());
    for _ in 0..7 {
        model.prove(&books, SHOP, (Currency::Usdc, Amount::MAX), NOON).await;
        model.prove(&books, SHOP, (Currency::Sol, Amount::MAX), NOON).await;
    }
    for rolled in [false, true] {
        let found = books.analytics.payments("shop", Window::ALL).await.unwrap();
        assert_eq!(found.len(), 2, "{found:?}");
        for sum in &found {
            assert_eq!(model::plain(sum.tally), (7, 7 * u128::from(Amount::MAX)), "{rolled}: {found:?}");
        }
        let days = books.analytics.revenue("shop", DAY_MS, Window::ALL).await.unwrap();
        assert!(days.iter().all(|day| day.tally == found[0].tally) && days.len() == 2, "{rolled}: {days:?}");
        roll(&books, NOON + Duration::from_secs(1)).await;
    }
}

async fn what_is_in_no_known_currency_is_counted_without_an_amount(backend: Backend) {
    let (books, mut model) = (backend.books().await, Model::default());
    let place = model.begin(&books, SHOP, (None, 5), NOON).await;
    let one = async |state| {
        let found = books.analytics.payments("shop", Window::ALL).await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].state, found[0].source), (state, Source::X402));
        assert_eq!((found[0].currency, model::plain(found[0].tally)), (None, (1, 0)));
    };
    one(PaymentState::Pending).await;
    model.end(&books, place, PaymentState::Settled, NOON).await;
    one(PaymentState::Settled).await;
    roll(&books, NOON + Duration::from_secs(1)).await;
    one(PaymentState::Settled).await;
}

async fn what_is_nobodys_is_in_nobodys_books(backend: Backend) {
    let (books, mut model) = (backend.books().await, Model::default());
    model.prove(&books, None, (Currency::Usdc, 5), NOON).await;
    let place = model.begin(&books, None, (Some(Currency::Usdc), 5), NOON).await;
    model.end(&books, place, PaymentState::Settled, NOON).await;
    roll(&books, NOON + Duration::from_secs(1)).await;
    for owner in ["", "shop", "null", "NULL"] {
        assert_eq!(books.analytics.payments(owner, Window::ALL).await.unwrap(), [], "{owner}");
        let events = books.analytics.events(owner, None, Window::ALL, None, 5, 0).await.unwrap();
        assert!(events.types.is_empty() && events.events.is_empty(), "{owner}: {events:?}");
    }
}

/// It begins on one day and ends on the next, when the first is long summed up.
async fn a_payment_counts_when_it_ends(backend: Backend) {
    let (books, mut model) = (backend.books().await, Model::default());
    let day = |number| {
        let from = NOON.0 - NOON.0 % DAY_MS + number * DAY_MS;
        Window { from: UnixMs(from), to: UnixMs(from + DAY_MS) }
    };
    let states = async |window| -> Vec<PaymentState> {
        let found = books.analytics.payments("shop", window).await.unwrap();
        found.iter().map(|sum| sum.state).collect()
    };
    let place = model.begin(&books, SHOP, (Some(Currency::Usdc), 5), NOON).await;
    roll(&books, NOON + Duration::from_hours(20)).await;
    assert_eq!((states(day(0)).await, states(day(1)).await), (vec![PaymentState::Pending], vec![]));
    model.end(&books, place, PaymentState::Settled, NOON + Duration::from_hours(24)).await;
    let ended = (vec![], vec![PaymentState::Settled]);
    assert_eq!((states(day(0)).await, states(day(1)).await), ended);
    roll(&books, NOON + Duration::from_hours(25)).await;
    assert_eq!((states(day(0)).await, states(day(1)).await), ended);
    // And so does its event, whose id is of that time.
    let events = books.analytics.events("shop", None, day(1), None, 5, 0).await.unwrap();
    let bounds = [day(1).from, day(1).to].map(EventId::lowest_at);
    assert!(bounds[0] <= events.events[0].id && events.events[0].id < bounds[1], "{events:?}");
}

/// Does to the database what no store does.
async fn run(backend: &Backend, statement: &'static str) {
    match backend {
        Backend::Sqlite(folder) => {
            let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("books.db"));
            let mut connection = sqlx::SqliteConnection::connect_with(&file).await.unwrap();
            sqlx::query(statement).execute(&mut connection).await.unwrap();
        }
        Backend::Postgres(server) => {
            sqlx::query(statement).execute(&mut server.connect().await).await.unwrap();
        }
    }
}

async fn an_end_that_the_version_before_has_written_is_found(backend: Backend) {
    let (books, mut model) = (backend.books().await, Model::default());
    for state in [PaymentState::Settled, PaymentState::Failed, PaymentState::Expired] {
        let place = model.begin(&books, SHOP, (Some(Currency::Usdc), 5), NOON).await;
        model.end(&books, place, state, NOON + Duration::from_secs(40)).await;
    }
    model.begin(&books, SHOP, (Some(Currency::Usdc), 5), NOON).await;
    model.prove(&books, SHOP, (Currency::Usdc, 5), NOON).await;
    // That version has no such column.
    run(&backend, "UPDATE transactions SET ended_at_ms = NULL").await;
    assert_eq!(books.analytics.note_ends(2).await.unwrap(), 2);
    assert_eq!(books.analytics.note_ends(2).await.unwrap(), 1);
    assert_eq!(books.analytics.note_ends(2).await.unwrap(), 0);
    let minute = NOON + Duration::from_mins(1);
    for _ in 0..2 {
        let found = books.analytics.payments("shop", Window::ALL).await.unwrap();
        assert_eq!(model::sums(&found), model.payments("shop", Window::ALL));
        roll(&books, minute).await;
    }
}

async fn a_line_is_left_alone_until_no_commit_can_come_before_it(backend: Backend) {
    let (books, mut model) = (backend.books().await, Model::default());
    let clock = Arc::new(pay402::clock::ManualClock::new(NOON));
    let rollup = pay402::analytics::Rollup::new(
        Arc::clone(&books.analytics),
        Arc::<pay402::clock::ManualClock>::clone(&clock),
    );
    model.prove(&books, SHOP, (Currency::Usdc, 5), NOON).await;
    clock.advance(SETTLED_AFTER);
    assert!(rollup.round().await.unwrap());
    // Its commit was as late as it can be.
    model.prove(&books, SHOP, (Currency::Usdc, 7), NOON).await;
    clock.advance(Duration::from_millis(1));
    assert!(rollup.round().await.unwrap());
    let found = books.analytics.payments("shop", Window::ALL).await.unwrap();
    assert_eq!(model::sums(&found), model.payments("shop", Window::ALL));
}

async fn nothing_is_added_twice_by_many_at_once(backend: Backend) {
    let mut model = Model::default();
    let instances = [backend.books().await, backend.books().await];
    for number in 0..60 {
        let at = NOON + Duration::from_mins(number);
        model.prove(&instances[0], SHOP, (Currency::Usdc, 1 + number), at).await;
    }
    let rolling = (0..16).map(|number| {
        let store = Arc::clone(&instances[number % 2].analytics);
        tokio::spawn(async move {
            while store.roll(Log::Payments, NOON + Duration::from_mins(50), 3).await.unwrap() == Rolled::Some
            {
            }
        })
    });
    for rolled in futures_util::future::join_all(rolling).await {
        rolled.unwrap();
    }
    let found = instances[1].analytics.payments("shop", Window::ALL).await.unwrap();
    assert_eq!(model::sums(&found), model.payments("shop", Window::ALL));
}

/// Each time, what is booked next has ids from before what is summed up.
async fn what_a_wrong_clock_passed_by_is_found_again(backend: Backend) {
    let mut model = Model::default();
    let instances = [backend.books().await, backend.books().await];
    model.agent = Some(model.register(&instances[0], "shop", 1).await.id);
    let clock = |at| Arc::new(pay402::clock::ManualClock::new(at));
    let (right, ahead) = (clock(NOON), clock(NOON + Duration::from_hours(26)));
    let [right_rollup, ahead_rollup] = [(0, &right), (1, &ahead)].map(|(number, clock)| {
        pay402::analytics::Rollup::new(
            Arc::clone(&instances[number].analytics),
            Arc::<pay402::clock::ManualClock>::clone(clock),
        )
    });
    let compare = async |model: &Model| {
        for window in [Window::ALL, Window { from: NOON, to: UnixMs(NOON.0 + DAY_MS) }] {
            let found = instances[0].analytics.payments("shop", window).await.unwrap();
            assert_eq!(model::sums(&found), model.payments("shop", window));
            let found = instances[0].analytics.agents("shop", window, Ranking::Usdc, 9, 0).await.unwrap();
            assert_eq!(model::ranked(&found), model.agents("shop", window, Ranking::Usdc));
            let found = instances[0].analytics.events("shop", None, window, None, 99, 0).await.unwrap();
            assert_eq!(model::events(&found), model.events("shop", window));
            assert_eq!(found.types.iter().map(|count| count.events).sum::<u64>(), found.events.len() as u64);
        }
    };
    for _ in 0..4 {
        let books = &instances[0];
        model.prove(books, SHOP, (Currency::Usdc, 5), right.now()).await;
        model.prove(books, SHOP, (Currency::Usdc, 6), ahead.now()).await;
        right.advance(Duration::from_mins(20));
        ahead.advance(Duration::from_mins(20));
        assert!(ahead_rollup.round().await.unwrap());
        // Passed by, as far as the sums go.
        model.prove(books, SHOP, (Currency::Usdc, 7), right.now()).await;
        assert!(right_rollup.round().await.unwrap());
        compare(&model).await;
        // A little ahead is nothing.
        assert!(right_rollup.round().await.unwrap());
        compare(&model).await;
    }
}

/// The sums of payments cannot be taken back: the others are all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_fails_keeps_no_other_one_waiting() {
    let backend = Backend::sqlite();
    let (books, mut model) = (backend.books().await, Model::default());
    model.agent = Some(model.register(&books, "shop", 1).await.id);
    model.prove(&books, SHOP, (Currency::Usdc, 5), NOON).await;
    let ahead = NOON + Duration::from_hours(26);
    roll(&books, ahead).await;
    let stop = "CREATE TRIGGER stop BEFORE DELETE ON payment_sums BEGIN SELECT RAISE(ABORT, 'no'); END";
    backend.execute(stop).await;
    let now = NOON + SETTLED_AFTER + Duration::from_secs(1);
    let rollup = pay402::analytics::Rollup::new(
        Arc::clone(&books.analytics),
        Arc::new(pay402::clock::ManualClock::new(now)),
    );
    assert!(rollup.round().await.is_err());
    let mut reach = backend.select("SELECT name, rolled_until_ms FROM rollups ORDER BY name").await;
    reach.retain(|(_, until)| *until != ahead.0);
    let names: Vec<&str> = reach.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["agents", "events"], "{reach:?}");
    backend.execute("DROP TRIGGER stop").await;
    assert!(rollup.round().await.unwrap());
    let found = books.analytics.payments("shop", Window::ALL).await.unwrap();
    assert_eq!(model::sums(&found), model.payments("shop", Window::ALL));
}
