//! Subscriptions and usage under instances that work at the same time.

use std::sync::Arc;

use futures_util::future::join_all;
use pay402::{
    agents::{Agent, Limits as SpendingLimits, Reputation},
    clock::UnixMs,
    ids::{AgentId, EventId, OsEntropy, PlanId, SubscriptionId, UsageId},
    money::{Amount, Currency},
    payments::{Objection, Payment, RecordOutcome},
    plans::{Changed, Limits, Plan, PlanChange, Removed},
    store::Books,
    store_error::StoreError,
    subscriptions::{Begun, MAX_PERIODS_AHEAD, NewSubscription, Standing, Unpayable, When},
    usage::{NewUsage, Outcome, OverLimit, Refused, Window},
};
use solana_pubkey::Pubkey;
use tokio::sync::Barrier;

use super::{Backend, OWNER, on_both, payment, trouble::blocked};

on_both!(
    sixty_four_at_once_on_two_instances_stay_within_the_limit,
    twins_on_two_instances_count_once,
    batches_that_cross_over_all_get_through,
    a_plan_is_removed_or_subscribed_to,
    one_of_many_cancellations_is_told,
    two_instances_pay_each_period_once,
    a_price_changes_after_all_that_has_begun,
    two_instances_tell_of_a_limit_once,
);

const START: UnixMs = UnixMs(1_790_000_000_000);

fn plan(number: u64, requests_per_day: Option<u64>) -> Plan {
    Plan {
        id: PlanId::from_stored(format!("plan_{number}")),
        owner: OWNER.to_owned(),
        name: "pro".to_owned(),
        description: None,
        price_per_month: Amount::from_atomic(10_000_000).unwrap(),
        currency: Currency::Usdc,
        features: vec![],
        limits: Limits { requests_per_month: None, requests_per_day },
        metadata: None,
        created_at: START,
        updated_at: START,
        retired_at: None,
    }
}

fn new(number: u64, plan: &Plan) -> NewSubscription {
    NewSubscription {
        id: SubscriptionId::from_stored(format!("sub_{number:03}")),
        owner: OWNER.to_owned(),
        plan: plan.id.clone(),
        agent: AgentId::from_stored("agent_1".to_owned()),
        wallet: Pubkey::new_from_array([1; 32]),
        require_payment: false,
        metadata: None,
    }
}

async fn register_agent(books: &Books) {
    let agent = Agent {
        id: AgentId::from_stored("agent_1".to_owned()),
        owner: OWNER.to_owned(),
        name: "agent".to_owned(),
        public_key: Pubkey::new_from_array([1; 32]),
        limits: SpendingLimits::default(),
        allowed_services: None,
        reputation: Reputation::default(),
        metadata: None,
        created_at: START,
        updated_at: START,
    };
    books.agents.create(&agent, &EventId::new(START, &OsEntropy)).await.unwrap();
}

/// Two instances' books, with so many subscriptions to a plan with this limit.
async fn two_instances(backend: &Backend, subscriptions: u64, limit: Option<u64>) -> [Arc<Books>; 2] {
    let books = [Arc::new(backend.books().await), Arc::new(backend.books().await)];
    register_agent(&books[0]).await;
    let plan = plan(1, limit);
    books[0].plans.create_plan(&plan).await.unwrap();
    for number in 1..=subscriptions {
        let begun = books[0].subscriptions.begin_subscription(&new(number, &plan), START).await;
        assert!(matches!(begun, Ok(Begun::Kept(_))), "{begun:?}");
    }
    books
}

fn usage(subscription: u64, quantity: u64, key: Option<String>) -> NewUsage {
    NewUsage {
        id: UsageId::new(START, &OsEntropy),
        subscription: format!("sub_{subscription:03}"),
        quantity,
        resource: None,
        timestamp: None,
        idempotency_key: key,
        metadata: None,
    }
}

/// All batches at once, on one instance and the other in turns.
async fn record(books: &[Arc<Books>; 2], batches: Vec<Vec<NewUsage>>) -> Vec<Outcome> {
    let together = Arc::new(Barrier::new(batches.len()));
    let tasks = batches.into_iter().enumerate().map(|(number, batch)| {
        let (books, together) = (Arc::clone(&books[number % 2]), Arc::clone(&together));
        tokio::spawn(async move {
            together.wait().await;
            books.usage.record_usage(OWNER, &batch, START).await.unwrap()
        })
    });
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

async fn used(books: &Books, subscription: u64) -> (u64, u64) {
    let id = format!("sub_{subscription:03}");
    let found = books.subscriptions.find_subscription(OWNER, &id).await.unwrap().unwrap().subscription;
    let page = books.usage.usage(&found.id, found.period, 200, 0).await.unwrap();
    let summed = page.days.iter().map(|day| day.quantity).sum();
    let listed = page.records.iter().map(|record| record.quantity).sum();
    assert_eq!(page.resources.iter().map(|sum| sum.quantity).sum::<u64>(), summed);
    (summed, listed)
}

async fn sixty_four_at_once_on_two_instances_stay_within_the_limit(backend: Backend) {
    let books = two_instances(&backend, 1, Some(100)).await;
    let outcomes = record(&books, (0..64).map(|n| vec![usage(1, 1 + n % 5, None)]).collect()).await;
    let counted: u64 = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Counted(counted) => counted[0].record.quantity,
            Outcome::Refused { why: Refused::OverLimit(over), .. } => {
                assert!(over.limit == 100 && over.used >= 96, "{over:?}");
                0
            }
            Outcome::Refused { why, .. } => panic!("{why:?}"),
        })
        .sum();
    assert!((96..=100).contains(&counted), "{counted}");
    assert_eq!(used(&books[0], 1).await, (counted, counted));
}

async fn twins_on_two_instances_count_once(backend: Backend) {
    let books = two_instances(&backend, 1, None).await;
    let twins = (0..48).map(|n| vec![usage(1, 2, Some(format!("key {}", n % 6)))]).collect();
    let outcomes = record(&books, twins).await;
    let first = outcomes.iter().filter(
        |outcome| matches!(outcome, Outcome::Counted(counted) if counted.len() == 1 && !counted[0].repeated),
    );
    assert_eq!(first.count(), 6);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Counted(_))), "{outcomes:?}");
    assert_eq!(used(&books[1], 1).await, (12, 12));
}

/// Each names the same subscriptions in an order of its own.
async fn batches_that_cross_over_all_get_through(backend: Backend) {
    let books = two_instances(&backend, 8, Some(1000)).await;
    let batch = |n: u64| (0..8).map(|turn| usage(1 + (n + turn * (1 + n % 3 * 2)) % 8, 1, None)).collect();
    let outcomes = record(&books, (0..24).map(batch).collect()).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Counted(all) if all.len() == 8)));
    let mut all = 0;
    for number in 1..=8 {
        let (summed, listed) = used(&books[0], number).await;
        assert_eq!(summed, listed);
        all += summed;
    }
    assert_eq!(all, 24 * 8);
}

/// Never both: who subscribes to a plan that is being removed either keeps it from being deleted or is refused.
async fn a_plan_is_removed_or_subscribed_to(backend: Backend) {
    let books = two_instances(&backend, 0, None).await;
    for number in 10..30 {
        let plan = plan(number, None);
        books[0].plans.create_plan(&plan).await.unwrap();
        let new = new(number, &plan);
        let (begun, removed) = tokio::join!(
            books[0].subscriptions.begin_subscription(&new, START),
            books[1].plans.remove_plan(OWNER, &plan.id, START),
        );
        match (begun.unwrap(), removed.unwrap()) {
            (Begun::Kept(_), Removed::Retired(_)) | (Begun::NoPlan, Removed::Deleted(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn one_of_many_cancellations_is_told(backend: Backend) {
    let books = two_instances(&backend, 1, None).await;
    let cancel = |n: usize| {
        let books = &books[n % 2];
        books.subscriptions.cancel_subscription(OWNER, "sub_001", When::Now, START)
    };
    for cancelled in join_all((0..16).map(cancel)).await {
        let standing = cancelled.unwrap().unwrap().subscription.standing;
        assert_eq!(standing, Standing::Cancelled { at: START, at_period_end: false });
    }
    let told = backend
        .select("SELECT type, count(*) FROM analytics_events WHERE type LIKE 'subscription.%' GROUP BY type ORDER BY type")
        .await;
    assert_eq!(told, [("subscription.cancelled".to_owned(), 1), ("subscription.created".to_owned(), 1)]);
}

/// Payments in batches that cross over, for two subscriptions; what is not taken is not booked.
async fn two_instances_pay_each_period_once(backend: Backend) {
    let books = two_instances(&backend, 2, None).await;
    let paying = |number: u64| Payment {
        amount: Amount::from_atomic(10_000_000).unwrap(),
        verified_at: START,
        subscription: Some(SubscriptionId::from_stored(format!("sub_{:03}", 1 + number % 2))),
        ..payment(number)
    };
    let batches = (0..10_u64).map(|batch| {
        let mut payments: Vec<Payment> = (batch * 4..batch * 4 + 4).map(paying).collect();
        if batch % 2 == 1 {
            payments.reverse();
        }
        let books = Arc::clone(&books[usize::try_from(batch % 2).unwrap()]);
        tokio::spawn(async move { books.payments.record_with_consequences(&payments).await.unwrap() })
    });
    let outcomes: Vec<RecordOutcome> = join_all(batches).await.into_iter().flat_map(Result::unwrap).collect();
    let recorded = outcomes.iter().filter(|outcome| **outcome == RecordOutcome::Recorded).count();
    // The first period is free of charge; twelve more may be paid, of each.
    let most = MAX_PERIODS_AHEAD as usize;
    assert_eq!(recorded, 2 * most, "{outcomes:?}");
    let ahead = |outcome: &&RecordOutcome| {
        matches!(outcome, RecordOutcome::Refused(Objection::Subscription(Unpayable::PaidAhead { .. })))
    };
    assert_eq!(outcomes.iter().filter(ahead).count(), 40 - 2 * most);
    assert_eq!(books[0].payments.list(OWNER, 50, 0).await.unwrap().total, 2 * most as u64);
    let periods = backend
        .select("SELECT subscription_id, count(DISTINCT start_ms) FROM subscription_periods GROUP BY subscription_id")
        .await;
    assert!(periods.iter().all(|(_, count)| *count == i64::from(MAX_PERIODS_AHEAD)), "{periods:?}");

    // Nobody's, and another's.
    for (number, owner) in [(100, None), (101, Some("other".to_owned()))] {
        let stray = Payment { owner, ..paying(number) };
        let outcome = books[0].payments.record_with_consequences(std::slice::from_ref(&stray)).await.unwrap();
        assert_eq!(outcome, [RecordOutcome::Refused(Objection::SubscriptionGone)]);
        assert_eq!(books[0].payments.find_by_nonce(&stray.nonce).await.unwrap(), None);
    }
}

/// More than share a database transaction, while the other instance writes down what is due.
async fn a_price_changes_after_all_that_has_begun(backend: Backend) {
    let books = two_instances(&backend, 520, None).await;
    let (old, new) = (Amount::from_atomic(10_000_000).unwrap(), Amount::from_atomic(12_500_000).unwrap());
    let found = async |number: u64| {
        let id = format!("sub_{number:03}");
        books[0].subscriptions.find_subscription(OWNER, &id).await.unwrap().unwrap()
    };
    let end = found(1).await.subscription.period.end;
    let change = PlanChange::parse(br#"{"pricePerMonth": "12.5"}"#).unwrap();
    let id = plan(1, None).id;
    let changed = async {
        let mut tries = 0;
        while books[0].plans.change_plan(OWNER, &id, &change, end).await.unwrap() == Changed::NotYet {
            tries += 1;
        }
        tries
    };
    let (tries, due) = tokio::join!(changed, books[1].subscriptions.advance_due(end, 0, 50));
    assert!(tries <= 1, "{tries}");
    assert!(due.unwrap().advanced <= 50);
    for number in 1..=520 {
        let seen = found(number).await;
        assert_eq!((seen.subscription.period.start, seen.subscription.price), (end, old), "{number}");
        assert_eq!(seen.price.amount, new);
    }
    // What begins later costs what it does then.
    let later = new_after(&books[0], end).await;
    assert_eq!(later.price, new);
}

async fn new_after(books: &Books, at: UnixMs) -> pay402::subscriptions::Subscription {
    match books.subscriptions.begin_subscription(&new(999, &plan(1, None)), at).await.unwrap() {
        Begun::Kept(kept) => kept.subscription,
        other => panic!("{other:?}"),
    }
}

async fn two_instances_tell_of_a_limit_once(backend: Backend) {
    let books = two_instances(&backend, 2, Some(1)).await;
    let reached = |window, resets_at| OverLimit { window, limit: 1, used: 1, resets_at: UnixMs(resets_at) };
    let tell = async |books: &Books, owner: &str, subscription: &str, reached| {
        let event = EventId::new(START, &OsEntropy);
        books.usage.tell_of_limit(owner, subscription, reached, START, &event).await.unwrap()
    };
    // Another's and nobody's are not told of.
    assert!(!tell(&books[0], "other", "sub_001", reached(Window::Day, 5)).await);
    assert!(!tell(&books[0], OWNER, "sub_003", reached(Window::Day, 5)).await);
    let mut events = 0;
    for (subscription, reached, expected) in [
        ("sub_001", reached(Window::Day, 5), 1),
        ("sub_001", reached(Window::Day, 4), 0),
        ("sub_001", reached(Window::Period, 5), 1),
        ("sub_001", reached(Window::Day, 6), 1),
        ("sub_002", reached(Window::Day, 6), 1),
    ] {
        let told = join_all((0..24).map(|n| tell(&books[n % 2], OWNER, subscription, reached))).await;
        assert_eq!(told.iter().filter(|told| **told).count(), expected, "{subscription} {reached:?}");
        events += i64::try_from(expected).unwrap();
    }
    let told = backend
        .select("SELECT subscription_id, count(*) FROM analytics_events WHERE type = 'usage.limit_reached' \
             AND owner = 'merchant' AND agent_id = 'agent_1' GROUP BY subscription_id ORDER BY subscription_id")
        .await;
    assert_eq!(told, [("sub_001".to_owned(), events - 1), ("sub_002".to_owned(), 1)]);
}

/// Makes the commit of usage wait for a lock.
const WAIT: &str = "\
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$";
const AT_COMMIT: &str = "\
    CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON usage_records DEFERRABLE INITIALLY DEFERRED \
    FOR EACH ROW EXECUTE FUNCTION wait()";
/// The same of a period that is paid.
const AT_COMMIT_OF_A_PERIOD: &str = "\
    CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON subscription_periods DEFERRABLE INITIALLY DEFERRED \
    FOR EACH ROW EXECUTE FUNCTION wait()";

/// Nobody can say what became of it, so nobody is told that nothing has.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_cut_off_is_unknown_and_counts_once_when_sent_again() {
    let backend = Backend::postgres().await;
    let books = two_instances(&backend, 1, None).await;
    let Backend::Postgres(server) = &backend else { unreachable!() };
    let (mut rival, mut operator) = (server.connect().await, server.connect().await);
    for statement in [WAIT, AT_COMMIT, "SELECT pg_advisory_lock(1)"] {
        sqlx::query(statement).execute(&mut rival).await.unwrap();
    }
    let batch = [usage(1, 2, Some("k".to_owned()))];
    let counting = tokio::spawn({
        let (store, batch) = (Arc::clone(&books[0].usage), batch.clone());
        async move { store.record_usage(OWNER, &batch, START).await }
    });
    let waiting = blocked(&mut operator, &[]).await;
    let terminate = sqlx::query("SELECT pg_terminate_backend($1)").bind(waiting[0]);
    terminate.execute(&mut operator).await.unwrap();
    let outcome = counting.await.unwrap();
    assert!(matches!(outcome, Err(StoreError::Unknown)), "{outcome:?}");
    sqlx::query("SELECT pg_advisory_unlock(1)").execute(&mut rival).await.unwrap();
    for repeated in [false, true] {
        match books[1].usage.record_usage(OWNER, &batch, START).await.unwrap() {
            Outcome::Counted(counted) => assert_eq!(counted[0].repeated, repeated),
            other @ Outcome::Refused { .. } => panic!("{other:?}"),
        }
    }
    assert_eq!(used(&books[0], 1).await, (2, 2));
}

/// Who has waited for a subscription that somebody else was paying a period of, sees that it is paid.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_meanwhile_is_seen_by_who_has_waited() {
    let backend = Backend::postgres().await;
    let books = two_instances(&backend, 1, None).await;
    let Backend::Postgres(server) = &backend else { unreachable!() };
    let (mut rival, mut operator) = (server.connect().await, server.connect().await);
    for statement in [WAIT, AT_COMMIT_OF_A_PERIOD, "SELECT pg_advisory_lock(1)"] {
        sqlx::query(statement).execute(&mut rival).await.unwrap();
    }
    let price = Amount::from_atomic(10_000_000).unwrap();
    let payment = Payment {
        amount: price,
        verified_at: START,
        subscription: Some(SubscriptionId::from_stored("sub_001".to_owned())),
        ..payment(1)
    };
    let paying = tokio::spawn({
        let store = Arc::clone(&books[0].payments);
        async move { store.record_with_consequences(&[payment]).await }
    });
    let payer = blocked(&mut operator, &[]).await;
    let cancelling = tokio::spawn({
        let store = Arc::clone(&books[1].subscriptions);
        async move { store.cancel_subscription(OWNER, "sub_001", When::PeriodEnd, START).await }
    });
    blocked(&mut operator, &payer).await;
    sqlx::query("SELECT pg_advisory_unlock(1)").execute(&mut rival).await.unwrap();
    assert_eq!(paying.await.unwrap().unwrap(), [RecordOutcome::Recorded]);
    let cancelled = cancelling.await.unwrap().unwrap().unwrap().subscription;
    assert_eq!(cancelled.ahead.into_iter().collect::<Vec<_>>(), [(cancelled.period.end, price)]);
}
