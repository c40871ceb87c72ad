//! Payments recorded together: what befalls one of them is nothing to the others.

use pay402::payments::{
    Payment,
    RecordOutcome::{AlreadyUsed, Recorded},
    Used,
};

use super::{Backend, OWNER, on_both, payment};

on_both!(
    a_batch_has_an_outcome_for_each_in_order,
    a_member_that_loses_does_not_take_its_rivals_down,
    rivals_in_one_batch_have_one_winner,
    large_and_empty_batches,
);

async fn a_batch_has_an_outcome_for_each_in_order(backend: Backend) {
    let books = backend.books().await;
    assert_eq!(books.payments.record_all(&[payment(3), payment(6)]).await.unwrap(), [Recorded, Recorded]);
    let batch = [
        payment(9),
        Payment { nonce: payment(3).nonce, ..payment(8) },
        payment(7),
        Payment { transaction: payment(6).transaction, ..payment(5) },
        payment(1),
    ];
    assert_eq!(
        books.payments.record_all(&batch).await.unwrap(),
        [Recorded, AlreadyUsed(Used::Nonce), Recorded, AlreadyUsed(Used::Transaction), Recorded]
    );
    let page = books.payments.list(OWNER, 50, 0).await.unwrap();
    assert_eq!(page.payments, [9, 7, 6, 3, 1].map(|number| payment(number).into()));
    // All of it again, as after an answer that was lost.
    let again = books.payments.record_all(&batch).await.unwrap();
    assert_eq!(
        again,
        [
            AlreadyUsed(Used::Nonce),
            AlreadyUsed(Used::Nonce),
            AlreadyUsed(Used::Nonce),
            AlreadyUsed(Used::Transaction),
            AlreadyUsed(Used::Nonce)
        ]
    );
    assert_eq!(books.payments.list(OWNER, 50, 0).await.unwrap().total, 5);
}

/// Of two with one nonce, the first has a transaction that is in the books: the second is then free to have the nonce.
async fn a_member_that_loses_does_not_take_its_rivals_down(backend: Backend) {
    let books = backend.books().await;
    books.payments.record_all(&[payment(1)]).await.unwrap();
    let batch = [
        Payment { transaction: payment(1).transaction, ..payment(2) },
        Payment { nonce: payment(2).nonce, ..payment(3) },
        Payment { nonce: payment(1).nonce, ..payment(4) },
        Payment { transaction: payment(4).transaction, ..payment(5) },
    ];
    let outcomes = books.payments.record_all(&batch).await.unwrap();
    // The nonce of the first is used by then: by the second.
    assert!(matches!(outcomes[0], AlreadyUsed(_)), "{outcomes:?}");
    assert_eq!(outcomes[1..], [Recorded, AlreadyUsed(Used::Nonce), Recorded]);
}

async fn rivals_in_one_batch_have_one_winner(backend: Backend) {
    let books = backend.books().await;
    let one_nonce = (10..20).map(|number| Payment { nonce: "one".to_owned(), ..payment(number) });
    let one_transaction =
        (20..30).map(|number| Payment { transaction: payment(20).transaction, ..payment(number) });
    let batch: Vec<Payment> = one_nonce.chain(one_transaction).chain((30..40).map(payment)).collect();
    let outcomes = books.payments.record_all(&batch).await.unwrap();
    let (nonce, transaction, alone) = (&outcomes[..10], &outcomes[10..20], &outcomes[20..]);
    let winners = |outcomes: &[_]| outcomes.iter().filter(|outcome| **outcome == Recorded).count();
    assert_eq!((winners(nonce), winners(transaction), winners(alone)), (1, 1, 10), "{outcomes:?}");
    assert!(nonce.iter().all(|outcome| matches!(outcome, Recorded | AlreadyUsed(Used::Nonce))));
    assert!(transaction.iter().all(|outcome| matches!(outcome, Recorded | AlreadyUsed(Used::Transaction))));
    // The one that is told to have won is the one in the books.
    let winner = nonce.iter().position(|outcome| *outcome == Recorded).unwrap();
    assert_eq!(books.payments.find_by_nonce("one").await.unwrap().as_ref(), Some(&batch[winner]));
    assert_eq!(books.payments.list(OWNER, 50, 0).await.unwrap().total, 12);
}

async fn large_and_empty_batches(backend: Backend) {
    let books = backend.books().await;
    assert_eq!(books.payments.record_all(&[]).await.unwrap(), []);
    let batch: Vec<Payment> = (0..2000).map(payment).collect();
    let outcomes = books.payments.record_all(&batch).await.unwrap();
    assert_eq!(outcomes, vec![Recorded; 2000]);
    let page = books.payments.list(OWNER, 200, 1900).await.unwrap();
    assert_eq!((page.total, page.payments.len()), (2000, 100));
    assert_eq!(page.payments.last(), Some(&payment(0).into()));
}
