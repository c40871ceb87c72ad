//! What is written long after its time is counted all the same.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use pay402::{
    analytics::{Log, Ranking, Rolled, Rollup, SETTLED_AFTER, Window},
    calendar::HOUR_MS,
    clock::{Clock, ManualClock, UnixMs},
    ids::{PlanId, SubscriptionId},
    money::{Amount, Currency},
    payments::PaymentState,
    plans::{Limits, Plan},
    store::Books,
    subscriptions::{Begun, GRACE, NewSubscription, worker::Worker},
};
use solana_pubkey::Pubkey;

use super::model::{self, Model};
use crate::conformance::{Backend, on_both};

on_both!(
    what_time_made_of_subscriptions_is_counted_whoever_looks_first,
    events_wait_for_no_subscription_that_has_ended,
    events_wait_for_no_subscription_that_makes_no_sense,
    what_finds_its_owner_late_is_counted,
    finding_owners_and_summing_up_at_once_counts_everything_once,
);

const NOON: UnixMs = UnixMs(1_790_078_400_000);
const SHOP: &str = "shop";

/// Subscriptions, the worker that looks after them, and the one that sums up.
struct Stage {
    books: Books,
    clock: Arc<ManualClock>,
    worker: Worker,
    rollup: Rollup,
}

impl Stage {
    async fn with(backend: &Backend, subscriptions: u64) -> Self {
        let (books, clock) = (backend.books().await, Arc::new(ManualClock::new(NOON)));
        let agent = Model::default().register(&books, SHOP, 1).await;
        let plan = Plan {
            id: PlanId::from_stored("plan_1".to_owned()),
            owner: SHOP.to_owned(),
            name: "pro".to_owned(),
            description: None,
            price_per_month: Amount::from_atomic(10_000_000).unwrap(),
            currency: Currency::Usdc,
            features: vec![],
            limits: Limits::default(),
            metadata: None,
            created_at: NOON,
            updated_at: NOON,
            retired_at: None,
        };
        books.plans.create_plan(&plan).await.unwrap();
        for number in 0..subscriptions {
            let new = NewSubscription {
                id: SubscriptionId::from_stored(format!("sub_{number}")),
                owner: SHOP.to_owned(),
                plan: plan.id.clone(),
                agent: agent.id.clone(),
                wallet: Pubkey::new_from_array([1; 32]),
                require_payment: false,
                metadata: None,
            };
            // One an hour.
            let at = NOON + Duration::from_hours(number);
            let begun = books.subscriptions.begin_subscription(&new, at).await.unwrap();
            assert!(matches!(begun, Begun::Kept(_)), "{begun:?}");
        }
        let steady: Arc<dyn Clock> = clock.clone();
        let worker = Worker { store: Arc::clone(&books.subscriptions), clock: Arc::clone(&steady) };
        let rollup = Rollup::new(Arc::clone(&books.analytics), steady);
        Self { books, clock, worker, rollup }
    }

    /// What is counted is what is listed.
    async fn check(&self, events: usize) {
        let found = self.books.analytics.events(SHOP, None, Window::ALL, None, 200, 0).await.unwrap();
        let mut listed = BTreeMap::<&str, u64>::new();
        for event in &found.events {
            *listed.entry(&event.kind).or_default() += 1;
        }
        let counted = found.types.iter().map(|count| (count.kind.as_str(), count.events));
        assert!(counted.eq(listed), "{found:?}");
        assert_eq!(found.events.len(), events, "{found:?}");
    }

    async fn sum_up(&self) {
        assert!(self.rollup.round().await.unwrap());
    }
}

async fn what_time_made_of_subscriptions_is_counted_whoever_looks_first(backend: Backend) {
    let stage = Stage::with(&backend, 3).await;
    // The agent and its subscriptions.
    stage.check(4).await;
    // To where some periods have ended, and then all; past the grace, after which they end.
    for (hours, events) in [(30 * 24 + 1, 6), (24, 7), (7 * 24, 10), (24, 10)] {
        stage.clock.advance(Duration::from_hours(hours) + SETTLED_AFTER);
        stage.sum_up().await;
        stage.worker.round().await.unwrap();
        stage.check(events).await;
        stage.sum_up().await;
        stage.check(events).await;
    }
}

async fn events_wait_for_no_subscription_that_has_ended(backend: Backend) {
    let stage = Stage::with(&backend, 1).await;
    stage.clock.advance(Duration::from_hours(31 * 24) + GRACE + SETTLED_AFTER);
    assert_eq!(stage.books.analytics.roll(Log::Events, stage.clock.now(), 1).await.unwrap(), Rolled::Some);
    stage.sum_up().await;
    stage.worker.round().await.unwrap();
    // Nothing is due any more.
    stage.sum_up().await;
    let rolled = backend.select("SELECT name, rolled_until_ms FROM rollups WHERE name = 'events'").await;
    assert_eq!(rolled, [("events".to_owned(), (stage.clock.now() - SETTLED_AFTER).0)]);
    stage.check(4).await;
}

async fn events_wait_for_no_subscription_that_makes_no_sense(backend: Backend) {
    let stage = Stage::with(&backend, 3).await;
    // No key is written with zeros.
    let spoil =
        "UPDATE subscriptions SET wallet_address = '00000000000000000000000000000000' WHERE id <> 'sub_2'";
    backend.execute(spoil).await;
    let rolled = async || {
        stage.sum_up().await;
        backend.select("SELECT name, rolled_until_ms FROM rollups WHERE name = 'events'").await[0].1
    };
    stage.clock.advance(Duration::from_hours(40 * 24) + SETTLED_AFTER);
    let due = NOON + Duration::from_hours(2 + 30 * 24);
    assert_eq!(rolled().await, due.0, "it waits for the third, which will tell something yet");
    stage.worker.round().await.unwrap();
    assert_eq!(rolled().await, (stage.clock.now() - SETTLED_AFTER).0);
    stage.check(6).await;
}

/// Compares all that is known of the owner, of all time and of the hour.
async fn compare(books: &Books, model: &Model, owner: &str) {
    let hour = Window { from: UnixMs(NOON.0 - HOUR_MS), to: UnixMs(NOON.0 + HOUR_MS) };
    for window in [Window::ALL, hour] {
        let payments = books.analytics.payments(owner, window).await.unwrap();
        assert_eq!(model::sums(&payments), model.payments(owner, window), "{window:?}");
        let revenue = books.analytics.revenue(owner, HOUR_MS, window).await.unwrap();
        assert_eq!(model::revenue(&revenue), model.revenue(owner, HOUR_MS, window), "{window:?}");
        let agents = books.analytics.agents(owner, window, Ranking::Sol, 200, 0).await.unwrap();
        assert_eq!(model::ranked(&agents), model.agents(owner, window, Ranking::Sol), "{window:?}");
        let events = books.analytics.events(owner, None, window, None, 200, 0).await.unwrap();
        assert_eq!(model::events(&events), model.events(owner, window), "{window:?}");
        let counted: u64 = events.types.iter().map(|count| count.events).sum();
        assert_eq!(counted, events.events.len() as u64, "{window:?}");
    }
}

async fn what_finds_its_owner_late_is_counted(backend: Backend) {
    let (books, mut model) = (backend.books().await, Model::default());
    model.register(&books, SHOP, 1).await;
    let states = [Some(PaymentState::Settled), Some(PaymentState::Failed), Some(PaymentState::Expired), None];
    for (number, state) in (1..).zip(states.into_iter().chain(states)) {
        let place = model.begin(&books, None, (Some(Currency::Sol), number), NOON).await;
        if let Some(state) = state {
            model.end(&books, place, state, NOON).await;
        }
    }
    let at = |hours| NOON + Duration::from_hours(hours);
    let roll = async |until: UnixMs| {
        for log in Log::ALL {
            while books.analytics.roll(log, until, 2).await.unwrap() == Rolled::Some {}
        }
    };
    // The first four before they are summed up, the others when that was long ago, some by one who has no such agent.
    for place in 0..4 {
        model.adopt(&books, place, SHOP).await;
    }
    compare(&books, &model, SHOP).await;
    roll(at(1)).await;
    for place in 4..8 {
        compare(&books, &model, SHOP).await;
        model.adopt(&books, place, if place == 5 { "other" } else { SHOP }).await;
    }
    compare(&books, &model, SHOP).await;
    for place in model.pending() {
        model.end(&books, place, PaymentState::Settled, at(2)).await;
    }
    for hours in [2, 3] {
        roll(at(hours)).await;
        compare(&books, &model, SHOP).await;
        compare(&books, &model, "other").await;
    }
}

async fn finding_owners_and_summing_up_at_once_counts_everything_once(backend: Backend) {
    let mut model = Model::default();
    let instances = [backend.books().await, backend.books().await];
    model.register(&instances[0], SHOP, 1).await;
    for number in 0..40 {
        let at = NOON + Duration::from_mins(number);
        let place = model.begin(&instances[0], None, (Some(Currency::Usdc), 1 + number), at).await;
        model.end(&instances[0], place, PaymentState::Settled, at).await;
    }
    let rolling = (0..6).map(|number: usize| {
        let store = Arc::clone(&instances[number % 2].analytics);
        tokio::spawn(async move {
            let log = Log::ALL[number % 3];
            while store.roll(log, NOON + Duration::from_mins(30), 3).await.unwrap() == Rolled::Some {}
        })
    });
    let rolling: Vec<_> = rolling.collect();
    let books = instances[1].clone();
    let adopting = tokio::spawn(async move {
        for place in model.unowned() {
            model.adopt(&books, place, SHOP).await;
        }
        model
    });
    for rolled in join_all(rolling).await {
        rolled.unwrap();
    }
    let model = adopting.await.unwrap();
    compare(&instances[0], &model, SHOP).await;
    for log in Log::ALL {
        let until = NOON + Duration::from_hours(1);
        while instances[0].analytics.roll(log, until, 3).await.unwrap() == Rolled::Some {}
    }
    compare(&instances[0], &model, SHOP).await;
}
