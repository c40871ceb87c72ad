//! Who must have been paid, and what: requirements in the body, issued ones, and wallets.

use std::time::Duration;

use pay402::money::Currency;
use serde_json::{Value, json};
use solana_keypair::Keypair;
use solana_signer::Signer;

use crate::harness::{KEY, OTHER_KEY, TestApp, with};

#[tokio::test]
async fn the_requirement_in_the_body() {
    let app = TestApp::start().await;
    let recipient = Keypair::new().pubkey();
    let paid = app.pay(&recipient, 50_000, Currency::Usdc);
    let requirement = with(app.requirement(), "recipient", recipient.to_string());
    let ask = |requirement: Value| with(app.proof(&paid, "n"), "requirement", requirement);

    let ask_with = |member: &str, value: Value| ask(with(requirement.clone(), member, value));
    app.verify(&ask_with("recipient", json!(app.merchant().to_string())))
        .await
        .assert_refused("RECIPIENT_MISMATCH");
    app.verify(&ask_with("currency", json!("USDT"))).await.assert_refused("CURRENCY_MISMATCH");
    app.verify(&ask_with("nonce", json!("another"))).await.assert_refused("NONCE_MISMATCH");
    app.verify(&ask_with("amount", json!("0.050001"))).await.assert_refused("INSUFFICIENT_AMOUNT");
    app.verify(&ask_with("amount", json!(0.049_999))).await.assert_refused("AMOUNT_MISMATCH");
    app.verify(&ask_with("expiresAt", json!(app.now().0 - 60_000))).await.assert_refused("PAYMENT_EXPIRED");
    app.verify(&ask_with("nonce", json!("n"))).await.assert_valid();
}

/// A payment made in time is good, though the proof came later.
#[tokio::test]
async fn a_requirement_that_expired_after_the_payment() {
    let app = TestApp::start().await;
    let paid = app.pay_merchant();
    let requirement = with(app.requirement(), "expiresAt", app.now().0 + 30_000);
    app.chain.clock.advance(Duration::from_mins(2));
    app.verify(&with(app.proof(&paid, "n"), "requirement", requirement)).await.assert_valid();
}

#[tokio::test]
async fn schemes() {
    let app = TestApp::start().await;
    let requirement = |scheme: &str, max: Option<&str>| {
        let mut requirement = with(app.requirement(), "scheme", scheme);
        if let Some(max) = max {
            requirement["maxAmount"] = json!(max);
        }
        requirement
    };
    let cases = [
        (49_999, requirement("minimum", None), "INSUFFICIENT_AMOUNT"),
        (50_000, requirement("minimum", None), ""),
        (90_000, requirement("minimum", None), ""),
        (49_999, requirement("range", Some("0.07")), "INSUFFICIENT_AMOUNT"),
        (50_000, requirement("range", Some("0.07")), ""),
        (70_000, requirement("range", Some("0.07")), ""),
        (70_001, requirement("range", Some("0.07")), "AMOUNT_MISMATCH"),
        (50_001, requirement("exact", None), "AMOUNT_MISMATCH"),
    ];
    for (index, (units, requirement, code)) in cases.into_iter().enumerate() {
        let paid = app.pay(&app.merchant(), units, Currency::Usdc);
        let proof = with(app.proof(&paid, &format!("n{index}")), "requirement", requirement);
        let answer = app.verify(&proof).await;
        if code.is_empty() { answer.assert_valid() } else { answer.assert_refused(code) }
    }
}

/// Whatever the scheme allows, the proof has to state what was paid.
#[tokio::test]
async fn a_minimum_does_not_excuse_a_wrong_statement() {
    let app = TestApp::start().await;
    let mut paid = app.pay(&app.merchant(), 90_000, Currency::Usdc);
    paid.units = 60_000;
    let requirement = with(app.requirement(), "scheme", "minimum");
    let proof = with(app.proof(&paid, "n"), "requirement", requirement);
    app.verify(&proof).await.assert_refused("AMOUNT_MISMATCH");
}

#[tokio::test]
async fn an_issued_requirement_is_paid_once() {
    let app = TestApp::start().await;
    let body = json!({
        "amount": 0.05, "currency": "USDC", "resource": "https://api.example.com/a", "metadata": {"order": 17},
    });
    let issued = app.issue(KEY, &body).await;
    let nonce = issued["nonce"].as_str().unwrap();
    assert_eq!(issued["amount"], json!(0.05));
    assert_eq!(issued["recipient"], app.merchant().to_string());
    assert_eq!(issued["scheme"], "exact");
    assert_eq!(issued["state"], "pending");
    assert_eq!(issued["metadata"], json!({"order": 17}));
    assert_eq!(issued["expiresAt"], json!(app.now().0 + 15 * 60_000));
    let path = format!("/requirements/{nonce}");
    assert_eq!(app.get(&path, Some(KEY)).await.body, issued);

    let answer = app.verify(&app.proof(&app.pay_merchant(), nonce)).await;
    answer.assert_valid();
    assert_eq!(answer.body["payment"]["resource"], "https://api.example.com/a");
    let paid = app.get(&path, Some(KEY)).await.body;
    assert_eq!((&paid["state"], &paid["paymentId"]), (&json!("paid"), &answer.body["payment"]["id"]));

    app.verify(&app.proof(&app.pay_merchant(), nonce)).await.assert_refused("REPLAY_ATTACK");
}

#[tokio::test]
async fn an_issued_requirement_decides_the_amount() {
    let app = TestApp::start().await;
    let issued = app.issue(KEY, &json!({"amount": "1", "currency": "USDC"})).await;
    let proof = app.proof(&app.pay_merchant(), issued["nonce"].as_str().unwrap());
    app.verify(&proof).await.assert_refused("INSUFFICIENT_AMOUNT");
}

#[tokio::test]
async fn an_issued_requirement_expires() {
    let app = TestApp::start().await;
    let body = json!({"amount": "0.05", "currency": "USDC", "expiresAt": app.now().0 + 5_000});
    let issued = app.issue(KEY, &body).await;
    let nonce = issued["nonce"].as_str().unwrap();
    app.chain.clock.advance(Duration::from_secs(7));
    app.chain.sandbox.advance_slots(1);
    app.verify(&app.proof(&app.pay_merchant(), nonce)).await.assert_refused("PAYMENT_EXPIRED");
    let state = app.get(&format!("/requirements/{nonce}"), Some(KEY)).await.body;
    assert_eq!(state["state"], "expired");
}

/// Sent along as it was issued, a requirement is the issued one.
#[tokio::test]
async fn an_issued_requirement_sent_along() {
    let app = TestApp::start().await;
    let issued = app.issue(KEY, &json!({"amount": "0.05", "currency": "USDC"})).await;
    let nonce = issued["nonce"].as_str().unwrap();
    let proof = app.proof(&app.pay_merchant(), nonce);
    app.verify(&with(proof, "requirement", issued.clone())).await.assert_valid();
    let state = app.get(&format!("/requirements/{nonce}"), Some(KEY)).await.body;
    assert_eq!(state["state"], "paid");
}

/// An agent who knows a merchant's nonce has a payment to somebody else verified under it, so that the merchant's
/// requirement looks paid.
#[tokio::test]
async fn an_issued_requirement_cannot_be_paid_on_other_terms() {
    let app = TestApp::start().await;
    let issued = app.issue(KEY, &json!({"amount": "0.05", "currency": "USDC"})).await;
    let nonce = issued["nonce"].as_str().unwrap();
    let accomplice = Keypair::new().pubkey();
    let paid = app.pay(&accomplice, 1, Currency::Usdc);
    let requirement = json!({"amount": "0.000001", "currency": "USDC", "recipient": accomplice.to_string()});
    let proof = with(app.proof(&paid, nonce), "requirement", requirement);
    for key in [None, Some(KEY), Some(OTHER_KEY)] {
        app.post("/verify", key, &proof).await.assert_refused("NONCE_MISMATCH");
    }
    let state = app.get(&format!("/requirements/{nonce}"), Some(KEY)).await.body;
    assert_eq!(state["state"], "pending");
}

/// An agent with a key of its own has a requirement issued that pays itself, and shows the proof to a merchant.
#[tokio::test]
async fn a_requirement_issued_to_another_does_not_decide() {
    let app = TestApp::start().await;
    let accomplice = Keypair::new().pubkey();
    let body = json!({"amount": "0.05", "currency": "USDC", "recipient": accomplice.to_string()});
    let issued = app.issue(OTHER_KEY, &body).await;
    let proof = app.proof(&app.pay(&accomplice, 50_000, Currency::Usdc), issued["nonce"].as_str().unwrap());
    app.post("/verify", None, &proof).await.assert_refused("RECIPIENT_MISMATCH");
    app.post("/verify", Some(KEY), &proof).await.assert_refused("NONCE_MISMATCH");
    app.post("/verify", Some(OTHER_KEY), &proof).await.assert_valid();
}

#[tokio::test]
async fn without_anything_to_check_against() {
    let app = TestApp::with(|environment, _| environment.with("MERCHANT_WALLETS", "")).await;
    let proof = app.proof(&app.pay_merchant(), "n");
    let answer = app.verify(&proof).await;
    answer.assert_refused("RECIPIENT_MISMATCH");
    assert!(answer.body["error"].as_str().unwrap().contains("MERCHANT_WALLETS"), "{answer:?}");
    let issue = app.post("/requirements", Some(KEY), &json!({"amount": 1, "currency": "USDC"})).await;
    assert_eq!((issue.status, issue.fields()), (400, vec!["recipient"]));
    app.verify(&with(proof, "requirement", app.requirement())).await.assert_valid();
}

#[tokio::test]
async fn any_of_several_wallets() {
    let second = Keypair::new().pubkey();
    let app = TestApp::with(|environment, chain| {
        environment.with("MERCHANT_WALLETS", format!("{}, {second}", chain.merchant()))
    })
    .await;
    for (recipient, nonce) in [(app.merchant(), "first"), (second, "second")] {
        let answer = app.verify(&app.proof(&app.pay(&recipient, 50_000, Currency::Usdc), nonce)).await;
        answer.assert_valid();
        assert_eq!(answer.body["payment"]["recipient"], recipient.to_string());
    }
    let stranger = app.pay(&Keypair::new().pubkey(), 50_000, Currency::Usdc);
    app.verify(&app.proof(&stranger, "third")).await.assert_refused("RECIPIENT_MISMATCH");
}

#[tokio::test]
async fn an_anonymous_caller() {
    let app = TestApp::start().await;
    app.post("/verify", None, &app.proof(&app.pay_merchant(), "n")).await.assert_valid();
    assert_eq!(app.booked().await, 0, "nobody's payment is in nobody's books");

    // One that meets a requirement is its owner's.
    let issued = app.issue(KEY, &json!({"amount": "0.06", "currency": "USDC"})).await;
    let paid = app.pay(&app.merchant(), 60_000, Currency::Usdc);
    app.post("/verify", None, &app.proof(&paid, issued["nonce"].as_str().unwrap())).await.assert_valid();
    assert_eq!(app.booked().await, 1);
}

/// Where no wallets are configured, merchants are known by their keys, and an anonymous caller is nobody's.
#[tokio::test]
async fn an_anonymous_caller_where_no_wallets_are_configured() {
    let app = TestApp::with(|environment, _| environment.with("MERCHANT_WALLETS", "")).await;
    let body = json!({"amount": "0.05", "currency": "USDC", "recipient": app.merchant().to_string()});
    let issued = app.issue(KEY, &body).await;
    let proof = app.proof(&app.pay_merchant(), issued["nonce"].as_str().unwrap());
    app.post("/verify", None, &proof).await.assert_refused("RECIPIENT_MISMATCH");
    app.post("/verify", Some(KEY), &proof).await.assert_valid();
}

/// A requirement sent along holds in full, also where one was issued under the nonce.
#[tokio::test]
async fn what_is_sent_along_holds_beside_what_was_issued() {
    let app = TestApp::start().await;
    let issued = app.issue(KEY, &json!({"amount": "0.05", "currency": "USDC", "resource": "/a"})).await;
    let proof = app.proof(&app.pay_merchant(), issued["nonce"].as_str().unwrap());
    let sent = |member: &str, value: Value| {
        with(proof.clone(), "requirement", with(app.requirement(), member, value))
    };
    app.verify(&sent("nonce", json!("of-another-order"))).await.assert_refused("NONCE_MISMATCH");
    app.verify(&sent("resource", json!("/b"))).await.assert_refused("NONCE_MISMATCH");
    app.verify(&sent("expiresAt", json!(app.now().0 - 60_000))).await.assert_refused("PAYMENT_EXPIRED");
    app.verify(&sent("resource", json!("/a"))).await.assert_valid();
}

/// An agent who has paid for something else asks for a requirement afterwards and shows the old payment.
#[tokio::test]
async fn a_payment_from_before_the_requirement() {
    let app = TestApp::start().await;
    let paid = app.pay_merchant();
    app.chain.clock.advance(Duration::from_mins(2));
    let issued = app.issue(KEY, &json!({"amount": "0.05", "currency": "USDC"})).await;
    let proof = app.proof(&paid, issued["nonce"].as_str().unwrap());
    app.verify(&proof).await.assert_refused("INVALID_PAYMENT");
}
