//! Sixty-four at once, through two instances: whatever they have in common, exactly one has it.

use std::sync::Arc;

use futures_util::future::join_all;
use pay402::payments::{Payment, PaymentStore, RecordOutcome, RecordOutcome::Recorded};

use super::{Backend, OWNER, on_both, payment};

on_both!(
    distinct_payments_are_all_recorded,
    of_payments_with_one_nonce_one_is_recorded,
    of_payments_with_one_transaction_one_is_recorded,
    of_the_same_payment_on_two_instances_one_is_recorded,
    batches_that_cross_over_lose_nothing_and_count_nothing_twice,
);

const WRITERS: u64 = 64;

/// All of them at once, by turns through two instances; one outcome each.
async fn race(backend: &Backend, payments: Vec<Payment>) -> Vec<RecordOutcome> {
    let instances = [backend.books().await.payments, backend.books().await.payments];
    let writers = payments.into_iter().enumerate().map(|(index, payment)| {
        let store: Arc<dyn PaymentStore> = Arc::clone(&instances[index % 2]);
        tokio::spawn(async move { store.record_all(&[payment]).await.unwrap()[0] })
    });
    join_all(writers).await.into_iter().map(Result::unwrap).collect()
}

fn winners(outcomes: &[RecordOutcome]) -> usize {
    outcomes.iter().filter(|outcome| **outcome == Recorded).count()
}

async fn total(backend: &Backend) -> u64 {
    backend.books().await.payments.list(OWNER, 1, 0).await.unwrap().total
}

async fn distinct_payments_are_all_recorded(backend: Backend) {
    let outcomes = race(&backend, (0..WRITERS).map(payment).collect()).await;
    assert_eq!((winners(&outcomes), total(&backend).await), (64, 64));
}

async fn of_payments_with_one_nonce_one_is_recorded(backend: Backend) {
    let rivals = (0..WRITERS).map(|number| Payment { nonce: "one".to_owned(), ..payment(number) });
    let outcomes = race(&backend, rivals.collect()).await;
    assert_eq!((winners(&outcomes), total(&backend).await), (1, 1));
}

async fn of_payments_with_one_transaction_one_is_recorded(backend: Backend) {
    let transaction = payment(1).transaction;
    let outcomes =
        race(&backend, (0..WRITERS).map(|number| Payment { transaction, ..payment(number) }).collect()).await;
    assert_eq!((winners(&outcomes), total(&backend).await), (1, 1));
}

async fn of_the_same_payment_on_two_instances_one_is_recorded(backend: Backend) {
    // Each request makes an id of its own.
    let rivals = (0..WRITERS).map(|number| Payment { id: payment(number).id, ..payment(1) });
    let outcomes = race(&backend, rivals.collect()).await;
    assert_eq!((winners(&outcomes), total(&backend).await), (1, 1));
}

/// Batches of both instances share transactions in one order and nonces in the other, so that they wait for each other
/// in a circle where a database locks row by row.
async fn batches_that_cross_over_lose_nothing_and_count_nothing_twice(backend: Backend) {
    const SIZE: u64 = 100;
    for round in 0..5 {
        let instances = [backend.books().await.payments, backend.books().await.payments];
        let base = round * 10_000;
        // The first has nonce n with transaction 2n, the second nonce n with transaction 2 (SIZE - n) + 1.
        let batch = |instance: u64| -> Vec<Payment> {
            (0..SIZE)
                .map(|number| {
                    let place = if instance == 0 { 2 * number } else { 2 * (SIZE - number) + 1 };
                    let own = payment(base + 1000 + place);
                    Payment {
                        id: payment(base + instance * 5000 + number).id,
                        nonce: format!("{round} {number}"),
                        ..own
                    }
                })
                .collect()
        };
        let writers = (0..2).map(|instance| {
            let store = Arc::clone(&instances[usize::from(instance == 1)]);
            let batch = batch(instance);
            tokio::spawn(async move { store.record_all(&batch).await.unwrap() })
        });
        let outcomes: Vec<Vec<RecordOutcome>> =
            join_all(writers).await.into_iter().map(Result::unwrap).collect();
        for (number, (one, other)) in outcomes[0].iter().zip(&outcomes[1]).enumerate() {
            assert_eq!(winners(&[*one, *other]), 1, "{round} {number}");
        }
        assert_eq!(total(&backend).await, (round + 1) * SIZE);
    }
}
