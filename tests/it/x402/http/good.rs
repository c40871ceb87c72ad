//! Payments that are good.

use pay402::{
    payments::x402::Version,
    sandbox::{PYUSD, TokenProgram},
};
use serde_json::{Value, json};
use solana_signer::Signer;

use crate::harness::{
    KEY, TestApp,
    x402::{Order, settled, signed},
};

#[tokio::test]
async fn what_is_supported_names_the_fee_payer_of_the_sandbox() {
    let app = TestApp::settling().await;
    let answer = app.get("/supported", None).await;
    let fee_payer = app.order().fee_payer.to_string();
    let kind = |version: u8, network: &str| {
        let extra = json!({"feePayer": fee_payer, "transactionVersions": ["legacy", 0]});
        json!({"x402Version": version, "scheme": "exact", "network": network, "extra": extra})
    };
    let expected = json!({
        "kinds": [kind(2, "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"), kind(1, "solana-devnet")],
        "extensions": [],
        "signers": {"solana:*": [fee_payer]},
    });
    assert_eq!((answer.status, answer.body), (200, expected));
    let without = TestApp::start().await.get("/supported", None).await;
    assert_eq!((without.status, &without.body["kinds"]), (200, &json!([])));
}

/// Verified, settled, on the chain, in the books, and the merchant has exactly as much more.
async fn is_good(app: &TestApp, order: &Order, request: &Value) {
    let before = app.received();
    let verified = app.verify_x402(request).await;
    let expected = json!({"isValid": true, "payer": order.payer.pubkey().to_string()});
    assert_eq!((verified.status, verified.body), (200, expected));
    assert_eq!(app.received(), before);
    let answer = app.settle(Some(KEY), request).await;
    let transaction = settled(&answer, order);
    assert_eq!(app.received() - before, order.units);
    let status = app.chain.status(&transaction).await.unwrap();
    assert_eq!(status.err, None);
    let booked = app.get(&format!("/payments/{transaction}"), Some(KEY)).await;
    assert_eq!((booked.status, &booked.body["state"]), (200, &json!("settled")), "{booked:?}");
    assert_eq!(booked.body["slot"], status.slot);
    assert_eq!(booked.body["resource"], order.resource.as_str());
    assert_eq!((&booked.body["amount"], &booked.body["currency"]), (&json!(0.05), &json!("USDC")));
    // Sent again, it is the same payment.
    assert_eq!(app.settle(Some(KEY), request).await.body, answer.body);
    assert_eq!(app.received() - before, order.units);
}

#[tokio::test]
async fn both_versions_and_the_older_form_are_settled() {
    let app = TestApp::settling().await;
    for version in Version::ALL {
        let order = Order { version, ..app.order() };
        is_good(&app, &order, &app.paid(&order)).await;
        let order = Order { version, ..app.order() };
        let transaction = signed(&app.chain.sandbox, &order);
        is_good(&app, &order, &order.header_request(&transaction)).await;
    }
}

#[tokio::test]
async fn a_token_2022_mint_is_settled() {
    let app = TestApp::settling().await;
    let order = Order { mint: PYUSD, program: TokenProgram::Token2022, ..app.order() };
    let before = app.chain.sandbox.token_balance(&PYUSD, &app.merchant());
    settled(&app.settle(None, &app.paid(&order)).await, &order);
    assert_eq!(app.chain.sandbox.token_balance(&PYUSD, &app.merchant()) - before, order.units);
}
