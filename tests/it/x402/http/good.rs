//! Payments that are good.

use std::{sync::Arc, time::Duration};

use pay402::{
    payments::x402::Version,
    sandbox::{PYUSD, TokenProgram},
};
use serde_json::{Value, json};
use solana_keypair::Keypair;
use solana_pubkey::Pubkey;
use solana_signer::Signer;

use crate::{
    harness::{
        KEY, TestApp,
        x402::{Order, PATIENCE, settled, signed},
    },
    sandbox::setup::start,
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

/// Buyers are told of the first fee payer that can pay, and of the first of all again once it can.
#[tokio::test]
async fn a_fee_payer_that_is_dry_is_not_told_to_buyers_while_another_can_pay() {
    let (dry, chain) = (Keypair::new(), start().await);
    let wet = chain.sandbox.wallets().fee_payer.insecure_clone();
    let keys = format!("{},{}", dry.to_base58_string(), wet.to_base58_string());
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let app = TestApp::settling_on(chain, folder, &[("FEE_PAYER_KEYPAIR", keys.as_str())]).await;
    until_told(&app, &wet.pubkey()).await;
    let order = Order { fee_payer: wet.pubkey(), ..app.order() };
    let signers = app.get("/supported", None).await.body["signers"]["solana:*"].clone();
    assert_eq!(signers, json!([dry.pubkey().to_string(), wet.pubkey().to_string()]));
    app.chain.sandbox.airdrop(&dry.pubkey(), 1_000_000_000).unwrap();
    // A payment has the balances read.
    settled(&app.settle(None, &app.paid(&order)).await, &order);
    until_told(&app, &dry.pubkey()).await;
}

async fn until_told(app: &TestApp, fee_payer: &Pubkey) {
    let told = async {
        let of = async |kind: usize| app.get("/supported", None).await.body["kinds"][kind].clone();
        while of(0).await["extra"]["feePayer"] != fee_payer.to_string() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(of(1).await["extra"]["feePayer"], fee_payer.to_string());
    };
    tokio::time::timeout(PATIENCE, told).await.expect("the balances are read");
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
    assert!(booked.body["lastValidBlockHeight"].is_u64(), "{booked:?}");
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
