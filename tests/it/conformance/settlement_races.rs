//! Sixty-four at once, through two instances: one claims, one journals, one ends it, and no cap is passed.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use pay402::payments::settlement::{
    Caps, Claimed, Ending, InFlight, Journal, Journalled, MessageHash, SettlementState, SettlementStore,
};

use super::{
    Backend, on_both,
    settlements::{NOON, claim, journal, put_in_flight},
};

on_both!(
    one_of_many_claims_is_fresh,
    one_of_many_attempts_journals,
    the_same_entry_many_times_is_written_once,
    one_of_many_endings_is_the_first,
    no_cap_is_passed,
    what_was_left_behind_is_taken_over_once,
);

const MANY: u64 = 64;

/// All of them at once, by turns through two instances.
async fn at_once<T, F>(backend: &Backend, work: impl Fn(u64, Arc<dyn SettlementStore>) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let instances = [backend.books().await.settlements, backend.books().await.settlements];
    let all = (0..MANY).map(|number| {
        let store = Arc::clone(&instances[usize::from(number % 2 == 1)]);
        tokio::spawn(work(number, store))
    });
    join_all(all).await.into_iter().map(Result::unwrap).collect()
}

async fn one_of_many_claims_is_fresh(backend: Backend) {
    let claimed = at_once(&backend, |number, store| async move {
        store.claim(&claim(1, &format!("attempt {number}"))).await.unwrap()
    });
    let claimed = claimed.await;
    assert_eq!(claimed.iter().filter(|claimed| **claimed == Claimed::Fresh).count(), 1);
    assert!(claimed.iter().all(|claimed| matches!(claimed, Claimed::Fresh | Claimed::Verifying)));
    // And again when the lease has run out.
    let later = NOON + Duration::from_secs(16);
    let claimed = at_once(&backend, |number, store| async move {
        let mut claim = claim(1, &format!("later attempt {number}"));
        (claim.at, claim.lease_until) = (later, later + Duration::from_secs(15));
        store.claim(&claim).await.unwrap()
    });
    assert_eq!(claimed.await.iter().filter(|claimed| **claimed == Claimed::Fresh).count(), 1);
}

/// Every one of them believes the claim to be its own.
async fn one_of_many_attempts_journals(backend: Backend) {
    let store = backend.books().await.settlements;
    store.claim(&claim(1, "attempt 7")).await.unwrap();
    let journalled = at_once(&backend, |number, store| async move {
        let entry = journal(claim(1, &format!("attempt {number}")), number);
        (number, store.journal(&entry).await.unwrap())
    });
    for (number, journalled) in journalled.await {
        let expected = if number == 7 { Journalled::Done } else { Journalled::ClaimLost };
        assert_eq!(journalled, expected, "{number}");
    }
    assert_eq!(store.sponsored(NOON, None).await.unwrap().reserved, 5_000);
}

async fn the_same_entry_many_times_is_written_once(backend: Backend) {
    let store = backend.books().await.settlements;
    store.claim(&claim(1, "attempt")).await.unwrap();
    let journalled = at_once(&backend, |_, store| async move {
        store.journal(&journal(claim(1, "attempt"), 1)).await.unwrap()
    });
    assert_eq!(journalled.await, vec![Journalled::Done; 64]);
    assert_eq!(store.sponsored(NOON, Some("key_1")).await.unwrap().reserved, 5_000);
}

async fn one_of_many_endings_is_the_first(backend: Backend) {
    let store = backend.books().await.settlements;
    let entry = put_in_flight(store.as_ref(), 1).await;
    let finished = at_once(&backend, |number, store| async move {
        // They do not even agree.
        let ending = if number % 3 == 0 { Ending::Expired } else { Ending::Settled { slot: number } };
        store.finish(&MessageHash([1; 32]), &ending, NOON).await.unwrap().unwrap()
    });
    let finished = finished.await;
    assert_eq!(finished.iter().filter(|finished| finished.first).count(), 1);
    let stored = store.find(&entry.settlement.signature).await.unwrap().unwrap();
    assert!(finished.iter().all(|finished| finished.record == stored));
    let sponsored = store.sponsored(NOON, None).await.unwrap();
    let spent = if stored.state == SettlementState::Ended(Ending::Expired) { 0 } else { 5_000 };
    assert_eq!((sponsored.reserved, sponsored.spent), (0, spent));
}

/// Two keys, each with a cap of ten, and one of fifteen for both; half of what got in is released again meanwhile.
async fn no_cap_is_passed(backend: Backend) {
    let caps = Caps { per_key_lamports: Some(50_000), total_lamports: Some(75_000) };
    let store = backend.books().await.settlements;
    let journalled = at_once(&backend, |number, store| async move {
        let message = u8::try_from(number).unwrap();
        let claim = claim(message, &format!("attempt {number}"));
        store.claim(&claim).await.unwrap();
        let mut entry = Journal { caps, ..journal(claim, number) };
        entry.settlement.key_id = Some(format!("key {}", number / 2 % 2));
        let outcome = store.journal(&entry).await.unwrap();
        let total = store.sponsored(NOON, None).await.unwrap();
        assert!(total.reserved + total.spent <= 75_000);
        (entry, outcome)
    });
    let journalled = journalled.await;
    let done: Vec<&Journal> = journalled
        .iter()
        .filter(|(_, outcome)| *outcome == Journalled::Done)
        .map(|(entry, _)| entry)
        .collect();
    assert_eq!(done.len(), 15);
    for key in ["key 0", "key 1"] {
        let count = done.iter().filter(|entry| entry.settlement.key_id.as_deref() == Some(key)).count();
        assert!(count <= 10, "{key}");
        let reserved = store.sponsored(NOON, Some(key)).await.unwrap().reserved;
        assert_eq!(reserved, 5_000 * count as u64);
    }
    // What is spent counts as much as what is reserved; what expired does not.
    let retry = async |entry: &Journal| {
        let claim = claim(200, "retry");
        store.claim(&claim).await.unwrap();
        let mut again = Journal { caps, ..journal(claim, 1000) };
        again.settlement.key_id.clone_from(&entry.settlement.key_id);
        store.journal(&again).await.unwrap()
    };
    store.finish(&done[0].claim.message, &Ending::Settled { slot: 1 }, NOON).await.unwrap();
    assert!(matches!(retry(done[0]).await, Journalled::CapReached(_)));
    store.finish(&done[1].claim.message, &Ending::Expired, NOON).await.unwrap();
    assert_eq!(retry(done[1]).await, Journalled::Done);
}

async fn what_was_left_behind_is_taken_over_once(backend: Backend) {
    let store = backend.books().await.settlements;
    let mut left = Vec::new();
    for message in 1..=40 {
        left.push(put_in_flight(store.as_ref(), message).await);
    }
    store.claim(&claim(100, "claimed only")).await.unwrap();
    let now = NOON + Duration::from_secs(30);
    assert_eq!(store.take_over("early", now, now, 64).await.unwrap(), []);
    let now = now + Duration::from_millis(1);
    let until = now + Duration::from_secs(30);
    let taken = at_once(&backend, move |number, store| async move {
        store.take_over(&format!("heir {number}"), now, until, 3).await.unwrap()
    });
    let mut taken: Vec<InFlight> = taken.await.into_iter().flatten().collect();
    // Those that came while others had their hands on the rest got nothing; the rest is for the next round.
    taken.extend(store.take_over("last heir", now, until, 64).await.unwrap());
    taken.sort_by_key(|in_flight| in_flight.message);
    let messages: Vec<_> = taken.iter().map(|in_flight| in_flight.message).collect();
    assert_eq!(messages, left.iter().map(|entry| entry.claim.message).collect::<Vec<_>>());
    for (in_flight, entry) in taken.iter().zip(&left) {
        assert_eq!(*in_flight.transaction, *entry.settlement.transaction);
        assert_eq!(in_flight.signature, entry.settlement.signature);
    }
    assert_eq!(store.renew("instance", &messages, until).await.unwrap(), []);
    assert_eq!(store.forget_claims(now, 64).await.unwrap(), 1);
}
