//! What is kept of agents for a while only is removed.

use std::{sync::Arc, time::Duration};

use pay402::{
    agents::{Created, Failure, Held, Hold, SpendingUnit},
    clock::{ManualClock, UnixMs},
    housekeeping::Housekeeping,
    money::Amount,
    store::Books,
};
use tokio::time::{Instant, sleep};

use crate::{
    conformance::{
        Backend,
        agents::{event, registered},
        on_both,
    },
    harness::x402::PATIENCE,
};

on_both!(holds_and_failures_are_removed_when_they_have_run_out, a_service_begins_with_removing);

const NOON: UnixMs = UnixMs(1_790_078_400_000);
const HELD_FOR: Duration = Duration::from_secs(90);

/// An agent for which an amount is held from then on.
async fn hold(books: &Books, at: UnixMs) {
    let agent = registered(1);
    assert_eq!(books.agents.create(&agent, &event(1)).await.unwrap(), Created::Kept);
    let hold = Hold {
        message: [1; 32],
        agent: agent.id,
        unit: Some(SpendingUnit::Stable),
        amount: Amount::from_atomic(5).unwrap(),
        resource: None,
        at,
    };
    assert_eq!(books.agents.hold(&hold, at + HELD_FOR).await.unwrap(), Held::Held);
}

async fn holds_and_failures_are_removed_when_they_have_run_out(backend: Backend) {
    let books = backend.books().await;
    let clock = Arc::new(ManualClock::new(NOON));
    let housekeeping = Housekeeping {
        payments: Arc::clone(&books.payments),
        idempotency: Arc::clone(&books.idempotency),
        agents: Arc::clone(&books.agents),
        api_keys: Arc::clone(&books.api_keys),
        clock: Arc::<ManualClock>::clone(&clock),
    };
    hold(&books, NOON).await;
    let note = async |number| {
        let failure =
            Failure { agent: registered(1).id, attempt: "a".to_owned(), at: NOON, event: event(number) };
        books.agents.note_failure(&failure).await.unwrap()
    };
    assert!(note(2).await);
    let (moment, days) = (Duration::from_millis(1), Duration::from_hours(30 * 24));
    let mut last = Duration::ZERO;
    for (after, removed) in [
        (HELD_FOR.saturating_sub(moment), 0),
        (HELD_FOR, 1),
        (Duration::from_hours(25), 0),
        (days, 0),
        (days + moment, 1),
    ] {
        assert!(!note(3).await, "{after:?}");
        clock.advance(after.saturating_sub(last));
        last = after;
        assert_eq!(housekeeping.round().await.unwrap(), removed, "{after:?}");
    }
    assert!(note(4).await, "it is not known any more");
    assert!(backend.select("SELECT agent_id, amount FROM agent_holds").await.is_empty());
}

async fn a_service_begins_with_removing(backend: Backend) {
    let books = backend.books().await;
    hold(&books, NOON - Duration::from_hours(30 * 24)).await;
    let _app = backend.app().await;
    let deadline = Instant::now() + PATIENCE;
    while !backend.select("SELECT agent_id, amount FROM agent_holds").await.is_empty() {
        assert!(Instant::now() < deadline, "what has run out is still there");
        sleep(Duration::from_millis(20)).await;
    }
}
