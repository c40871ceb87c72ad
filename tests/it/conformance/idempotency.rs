//! Answers that are kept, and who may give them.

use std::time::Duration;

use futures_util::future::join_all;
use pay402::{
    clock::UnixMs,
    idempotency::{Attempt, Begun, LEASE, LIFETIME, StoredAnswer},
};

use super::{Backend, on_both};

on_both!(
    an_answer_is_given_again_to_the_same_request_of_the_same_caller,
    of_twins_one_begins,
    a_key_is_free_again_when_it_is_given_back_or_has_run_out,
    old_answers_are_removed_in_batches,
);

const START: UnixMs = UnixMs(1_700_000_000_000);

fn attempt(holder: &str, at: UnixMs) -> Attempt {
    let request = ("POST", "/verify", b"{}".as_slice());
    Attempt::new("merchant".to_owned(), "key".to_owned(), request, holder.to_owned(), at)
}

fn answer(status: u16) -> StoredAnswer {
    StoredAnswer { status, body: vec![b'{', 0, 255, b'}'] }
}

async fn an_answer_is_given_again_to_the_same_request_of_the_same_caller(backend: Backend) {
    let store = backend.books().await.idempotency;
    let first = attempt("one", START);
    assert_eq!(store.begin(&first).await.unwrap(), Begun::Fresh);
    assert_eq!(store.begin(&attempt("two", START)).await.unwrap(), Begun::Running);
    store.finish(&first, &answer(402)).await.unwrap();
    let later = START + LIFETIME;
    assert_eq!(store.begin(&attempt("three", later)).await.unwrap(), Begun::Answered(answer(402)));
    let other = Attempt { fingerprint: [9; 32], ..attempt("four", START) };
    assert_eq!(store.begin(&other).await.unwrap(), Begun::Conflict);
    for fresh in [
        Attempt { caller: "another".to_owned(), ..attempt("five", START) },
        Attempt { key: "KEY".to_owned(), ..attempt("six", START) },
        Attempt { key: "ü".repeat(255), ..attempt("seven", START) },
    ] {
        assert_eq!(store.begin(&fresh).await.unwrap(), Begun::Fresh, "{fresh:?}");
    }
    // An answer that came too late changes nothing.
    store.finish(&first, &answer(200)).await.unwrap();
    store.abandon(&first).await.unwrap();
    assert_eq!(store.begin(&attempt("eight", START)).await.unwrap(), Begun::Answered(answer(402)));
}

async fn of_twins_one_begins(backend: Backend) {
    let instances = [backend.books().await.idempotency, backend.books().await.idempotency];
    let twins = (0..64_usize).map(|number| {
        let store = instances[number % 2].clone();
        tokio::spawn(async move { store.begin(&attempt(&number.to_string(), START)).await.unwrap() })
    });
    let begun: Vec<Begun> = join_all(twins).await.into_iter().map(Result::unwrap).collect();
    let fresh = begun.iter().filter(|begun| **begun == Begun::Fresh).count();
    let running = begun.iter().filter(|begun| **begun == Begun::Running).count();
    assert_eq!((fresh, running), (1, 63));
}

async fn a_key_is_free_again_when_it_is_given_back_or_has_run_out(backend: Backend) {
    let store = backend.books().await.idempotency;
    let tick = Duration::from_millis(1);
    let first = attempt("one", START);
    assert_eq!(store.begin(&first).await.unwrap(), Begun::Fresh);
    store.abandon(&attempt("two", START)).await.unwrap();
    assert_eq!(store.begin(&attempt("two", START)).await.unwrap(), Begun::Running, "only its holder can");
    store.abandon(&first).await.unwrap();

    let second = attempt("two", START);
    assert_eq!(store.begin(&second).await.unwrap(), Begun::Fresh);
    assert_eq!(store.begin(&attempt("three", START + LEASE)).await.unwrap(), Begun::Running);
    let third = attempt("three", START + LEASE + tick);
    assert_eq!(store.begin(&third).await.unwrap(), Begun::Fresh, "the lease has run out");
    store.finish(&second, &answer(200)).await.unwrap();
    store.abandon(&second).await.unwrap();
    assert_eq!(
        store.begin(&attempt("four", third.at)).await.unwrap(),
        Begun::Running,
        "the lease was taken over"
    );
    store.finish(&third, &answer(201)).await.unwrap();

    let late = third.at + LIFETIME;
    assert_eq!(store.begin(&attempt("five", late)).await.unwrap(), Begun::Answered(answer(201)));
    let other = Attempt { fingerprint: [9; 32], ..attempt("six", late + tick) };
    assert_eq!(store.begin(&other).await.unwrap(), Begun::Fresh, "the answer has run out");
}

async fn old_answers_are_removed_in_batches(backend: Backend) {
    let store = backend.books().await.idempotency;
    for number in 0..5 {
        let at = UnixMs(START.0 + number);
        let fresh = Attempt { key: number.to_string(), ..attempt("one", at) };
        assert_eq!(store.begin(&fresh).await.unwrap(), Begun::Fresh);
        store.finish(&fresh, &answer(200)).await.unwrap();
    }
    let before = UnixMs(START.0 + 3);
    let purges = [store.purge(before, 2).await, store.purge(before, 2).await, store.purge(before, 2).await];
    assert_eq!(purges.map(Result::unwrap), [2, 1, 0]);
    let kept = Attempt { key: "3".to_owned(), ..attempt("two", START) };
    assert_eq!(store.begin(&kept).await.unwrap(), Begun::Answered(answer(200)));
}
