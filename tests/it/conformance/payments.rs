//! Every operation on payments, by one caller at a time.

use pay402::{
    clock::UnixMs,
    money::{Amount, Currency},
    payments::{
        Entry, Payment,
        RecordOutcome::{AlreadyUsed, Recorded},
        Used,
    },
    store::Books,
    store_error::StoreError,
};

use super::{Backend, OWNER, on_both, payment, signature};

on_both!(
    what_is_recorded_is_found_as_it_was,
    amounts_and_texts_at_their_bounds_come_back_unchanged,
    a_nonce_and_a_transaction_are_used_once,
    owners_see_their_own_newest_first,
    a_payment_for_a_requirement_that_is_not_there_is_rejected,
    forgetting_old_nonces_does_not_free_them,
);

async fn record(books: &Books, payment: &Payment) -> pay402::payments::RecordOutcome {
    let outcomes = books.payments.record_all(std::slice::from_ref(payment)).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes[0]
}

async fn what_is_recorded_is_found_as_it_was(backend: Backend) {
    let books = backend.books().await;
    let store = &books.payments;
    let full = Payment {
        resource: Some("/reports/7".to_owned()),
        request_tag: Some("tag".to_owned()),
        currency: Currency::Pyusd,
        ..payment(1)
    };
    let anonymous = Payment { owner: None, ..payment(2) };
    assert_eq!(store.on_record(&full.nonce, &full.transaction, None).await.unwrap().used, None);
    assert_eq!(record(&books, &full).await, Recorded);
    assert_eq!(record(&books, &anonymous).await, Recorded);

    let found = [full.id.to_string(), full.transaction.to_string()];
    for name in &found {
        assert_eq!(store.find(OWNER, name).await.unwrap(), Some(full.clone().into()));
        assert_eq!(store.find("another", name).await.unwrap(), None);
    }
    assert_eq!(store.find(OWNER, anonymous.id.as_str()).await.unwrap(), None);
    assert_eq!(store.find_by_nonce(&full.nonce).await.unwrap(), Some(full.clone()));
    assert_eq!(store.find_by_nonce(&anonymous.nonce).await.unwrap(), Some(anonymous));
    for strange in ["", "pay_", "%", "' OR 1=1 --", "a\0b", "\u{1f600}"] {
        assert_eq!(store.find(OWNER, strange).await.unwrap(), None, "{strange:?}");
        assert_eq!(store.find_by_nonce(strange).await.unwrap(), None, "{strange:?}");
    }
    assert_eq!(store.on_record("new", &full.transaction, None).await.unwrap().used, Some(Used::Transaction));
    assert_eq!(store.on_record(&full.nonce, &signature(9), None).await.unwrap().used, Some(Used::Nonce));
    assert_eq!(store.on_record(&full.nonce, &full.transaction, None).await.unwrap().used, Some(Used::Nonce));
    assert_eq!(store.on_record("new", &signature(9), None).await.unwrap().used, None);

    // Another instance, and one that comes later, see the same.
    let later = backend.books().await;
    assert_eq!(later.payments.find_by_nonce(&full.nonce).await.unwrap(), Some(full));
}

async fn amounts_and_texts_at_their_bounds_come_back_unchanged(backend: Backend) {
    let books = backend.books().await;
    let texts = [
        "'",
        "\"; DROP TABLE transactions; --",
        "$1",
        "?",
        "{a,\"b\",NULL}",
        "NULL",
        "\\",
        "ünïcödé \u{1f680} ﷽",
        "e\u{301}",
    ];
    for (number, text) in (10..).zip(texts) {
        let payment = Payment {
            nonce: format!("nonce {text}"),
            resource: Some(text.to_owned()),
            owner: Some(text.to_owned()),
            request_tag: Some(text.to_owned()),
            ..payment(number)
        };
        assert_eq!(record(&books, &payment).await, Recorded, "{text}");
        assert_eq!(
            books.payments.find(text, payment.id.as_str()).await.unwrap(),
            Some(payment.clone().into())
        );
        assert_eq!(books.payments.find_by_nonce(&payment.nonce).await.unwrap(), Some(payment));
        assert_eq!(books.payments.list(text, 10, 0).await.unwrap().total, 1);
    }
    // Not the same text, whatever a collation may think of it.
    assert_eq!(books.payments.find_by_nonce("nonce \u{e9}").await.unwrap(), None);
    assert_eq!(books.payments.find_by_nonce("NONCE '").await.unwrap(), None);
    for (number, units) in [(30, 1), (31, Amount::MAX - 1), (32, Amount::MAX)] {
        let most = Payment {
            amount: Amount::from_atomic(units).unwrap(),
            slot: i64::MAX.unsigned_abs(),
            block_time: UnixMs(i64::MIN),
            verified_at: UnixMs(i64::MAX),
            nonce: "é".repeat(126) + &number.to_string(),
            resource: Some("x".repeat(2048)),
            ..payment(number)
        };
        assert_eq!(record(&books, &most).await, Recorded);
        assert_eq!(books.payments.find_by_nonce(&most.nonce).await.unwrap(), Some(most));
    }
    for nonce in [String::new(), "x".repeat(129)] {
        let wrong = Payment { nonce, ..payment(40) };
        let outcome = books.payments.record_all(&[wrong]).await;
        assert!(matches!(outcome, Err(StoreError::Rejected(_))), "{outcome:?}");
    }
}

/// In every order and combination.
async fn a_nonce_and_a_transaction_are_used_once(backend: Backend) {
    let books = backend.books().await;
    let (first, second) = (payment(1), payment(2));
    assert_eq!(record(&books, &first).await, Recorded);
    assert_eq!(record(&books, &second).await, Recorded);
    let rival = |number, nonce: &str, transaction| Payment {
        nonce: nonce.to_owned(),
        transaction,
        ..payment(number)
    };
    let cases = [
        (first.clone(), Used::Nonce),
        (rival(3, &first.nonce, first.transaction), Used::Nonce),
        (rival(4, &first.nonce, signature(4)), Used::Nonce),
        (rival(5, "new", first.transaction), Used::Transaction),
        (rival(6, &first.nonce, second.transaction), Used::Nonce),
        (rival(7, &second.nonce, first.transaction), Used::Nonce),
    ];
    for (payment, used) in cases {
        assert_eq!(record(&books, &payment).await, AlreadyUsed(used), "{payment:?}");
    }
    // What lost has left nothing behind: neither its nonce nor its transaction is used up by that.
    assert_eq!(record(&books, &rival(8, "new", signature(8))).await, Recorded);
    assert_eq!(record(&books, &rival(9, "newer", signature(4))).await, Recorded);
    assert_eq!(books.payments.list(OWNER, 10, 0).await.unwrap().total, 4);
    assert_eq!(books.payments.find_by_nonce(&first.nonce).await.unwrap(), Some(first));
}

async fn owners_see_their_own_newest_first(backend: Backend) {
    let books = backend.books().await;
    for number in 1..=25 {
        let owner = if number % 5 == 0 { "other" } else { OWNER };
        record(&books, &Payment { owner: Some(owner.to_owned()), ..payment(number) }).await;
    }
    record(&books, &Payment { owner: None, ..payment(26) }).await;
    let numbers: Vec<u64> = (1..=25).rev().filter(|number| number % 5 != 0).collect();
    for (limit, offset) in [(200, 0), (1, 0), (7, 0), (7, 7), (7, 14), (7, 20), (7, 1000), (1, u32::MAX)] {
        let page = books.payments.list(OWNER, limit, offset).await.unwrap();
        assert_eq!(page.total, 20);
        let expected: Vec<Entry> = numbers
            .iter()
            .skip(offset as usize)
            .take(limit as usize)
            .map(|number| payment(*number).into())
            .collect();
        assert_eq!(page.payments, expected, "{limit} {offset}");
    }
    assert_eq!(books.payments.list("other", 50, 0).await.unwrap().payments.len(), 5);
    let nobody = books.payments.list("nobody", 50, 0).await.unwrap();
    assert_eq!((nobody.total, nobody.payments), (0, vec![]));
}

async fn a_payment_for_a_requirement_that_is_not_there_is_rejected(backend: Backend) {
    let books = backend.books().await;
    let wrong = Payment { meets_requirement: true, ..payment(2) };
    let outcome = books.payments.record_all(&[payment(1), wrong.clone()]).await;
    assert!(matches!(outcome, Err(StoreError::Rejected(_))), "{outcome:?}");
    // A rejected batch has written nothing; what was right in it can be written alone.
    assert_eq!(books.payments.list(OWNER, 10, 0).await.unwrap().total, 0);
    assert_eq!(record(&books, &payment(1)).await, Recorded);
    assert_eq!(books.payments.on_record(&wrong.nonce, &wrong.transaction, None).await.unwrap().used, None);
}

async fn forgetting_old_nonces_does_not_free_them(backend: Backend) {
    let books = backend.books().await;
    for number in 1..=5 {
        let verified_at = UnixMs(i64::try_from(number).unwrap() * 1000);
        record(&books, &Payment { verified_at, ..payment(number) }).await;
    }
    assert_eq!(books.payments.purge_nonces(UnixMs(4000), 2).await.unwrap(), 2);
    assert_eq!(books.payments.purge_nonces(UnixMs(4000), 2).await.unwrap(), 1);
    assert_eq!(books.payments.purge_nonces(UnixMs(4000), 2).await.unwrap(), 0);
    assert_eq!(
        books.payments.on_record("nonce 1", &signature(99), None).await.unwrap().used,
        Some(Used::Nonce)
    );
    let again = Payment { nonce: "nonce 1".to_owned(), ..payment(6) };
    assert_eq!(record(&books, &again).await, AlreadyUsed(Used::Nonce));
}
