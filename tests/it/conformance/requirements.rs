//! Issued requirements, and what a payment makes of them.

use futures_util::future::join_all;
use pay402::{
    clock::UnixMs,
    money::{Amount, Currency},
    payments::{OnRecord, Payment, RecordOutcome::Recorded, Used},
    requirements::{IssuedRequirement, Requirement, RequirementState, Scheme},
    store_error::StoreError,
};
use solana_pubkey::Pubkey;

use super::{Backend, on_both, payment, signature};

on_both!(
    what_is_issued_is_found_as_it_was,
    a_nonce_is_issued_once,
    a_payment_makes_a_requirement_paid,
    many_are_issued_at_once,
);

fn issued(nonce: &str, scheme: Scheme) -> IssuedRequirement {
    IssuedRequirement {
        nonce: nonce.to_owned(),
        owner: "merchant".to_owned(),
        requirement: Requirement {
            amount: Amount::from_atomic(50_000).unwrap(),
            currency: Currency::Usdc,
            recipient: Pubkey::new_from_array([2; 32]),
            scheme,
            resource: None,
            nonce: Some(nonce.to_owned()),
            expires_at: Some(UnixMs(1_700_000_900_000)),
        },
        metadata: None,
        created_at: UnixMs(1_700_000_000_000),
        payment_id: None,
    }
}

async fn what_is_issued_is_found_as_it_was(backend: Backend) {
    let books = backend.books().await;
    let store = books.requirements;
    let most = Amount::from_atomic(Amount::MAX).unwrap();
    let mut full = issued("full", Scheme::Range { max: most });
    full.requirement.amount = most;
    full.requirement.resource = Some("/weather?at=Zürich' OR 1=1 --".to_owned());
    full.requirement.currency = Currency::Sol;
    // Kept to the byte: neither reordered nor respaced.
    full.metadata = Some(r#"{"b": 1,  "a":"\u0000 ' \" ü", "b": 1.10}"#.to_owned());
    let mut least = issued("l'été \u{1f680}", Scheme::Minimum);
    least.requirement.amount = Amount::from_atomic(1).unwrap();
    for requirement in [full, least, issued("exact", Scheme::Exact)] {
        store.issue(&requirement).await.unwrap();
        let on_record = books.payments.on_record(&requirement.nonce, &signature(1), None).await.unwrap();
        assert_eq!(on_record, OnRecord { issued: Some(requirement.clone()), ..OnRecord::default() });
        assert_eq!(store.find(&requirement.nonce).await.unwrap(), Some(requirement));
    }
    for strange in ["", "EXACT", "exact ", "a\0b", "' OR 1=1 --"] {
        assert_eq!(store.find(strange).await.unwrap(), None, "{strange:?}");
    }
    assert_eq!(books.payments.on_record("EXACT", &signature(1), None).await.unwrap(), OnRecord::default());
}

async fn a_nonce_is_issued_once(backend: Backend) {
    let store = backend.books().await.requirements;
    let first = issued("one", Scheme::Exact);
    store.issue(&first).await.unwrap();
    let second = IssuedRequirement { owner: "another".to_owned(), ..issued("one", Scheme::Minimum) };
    let outcome = store.issue(&second).await;
    assert!(matches!(outcome, Err(StoreError::Rejected(_))), "{outcome:?}");
    assert_eq!(store.find("one").await.unwrap(), Some(first));
    let mut turned = issued("turned", Scheme::Range { max: Amount::from_atomic(1).unwrap() });
    turned.requirement.amount = Amount::from_atomic(2).unwrap();
    let outcome = store.issue(&turned).await;
    assert!(matches!(outcome, Err(StoreError::Rejected(_))), "{outcome:?}");
}

async fn a_payment_makes_a_requirement_paid(backend: Backend) {
    let books = backend.books().await;
    for nonce in ["met", "only named", "open"] {
        books.requirements.issue(&issued(nonce, Scheme::Exact)).await.unwrap();
    }
    let meets = Payment { nonce: "met".to_owned(), meets_requirement: true, ..payment(1) };
    // The same nonce, but for the requirement of somebody else.
    let names = Payment { nonce: "only named".to_owned(), ..payment(2) };
    let outcomes = books.payments.record_all(&[meets.clone(), names]).await.unwrap();
    assert_eq!(outcomes, [Recorded, Recorded]);

    let later = UnixMs(1_800_000_000_000);
    let state = async |nonce: &str| {
        let found = books.requirements.find(nonce).await.unwrap().unwrap();
        (found.payment_id.clone(), found.state(later))
    };
    let on_record = books.payments.on_record("met", &signature(9), None).await.unwrap();
    assert_eq!(on_record.used, Some(Used::Nonce));
    assert_eq!(on_record.issued.unwrap().payment_id, Some(meets.id.to_string()));
    assert_eq!(state("met").await, (Some(meets.id.to_string()), RequirementState::Paid));
    assert_eq!(state("only named").await, (None, RequirementState::Expired));
    assert_eq!(state("open").await, (None, RequirementState::Expired));
    assert_eq!(books.payments.find_by_nonce("met").await.unwrap(), Some(meets));
}

async fn many_are_issued_at_once(backend: Backend) {
    let store = backend.books().await.requirements;
    let writers = (0..64).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.issue(&issued(&format!("n{}", number % 32), Scheme::Exact)).await })
    });
    let outcomes = join_all(writers).await;
    let issued = outcomes.into_iter().filter(|outcome| outcome.as_ref().unwrap().is_ok()).count();
    assert_eq!(issued, 32);
}
