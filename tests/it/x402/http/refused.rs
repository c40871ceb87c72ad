//! Payments that are not good, and what is said about them.

use pay402::{payments::x402::Version, sandbox::USDC};
use serde_json::{Value, json};
use solana_hash::Hash;
use solana_keypair::Keypair;
use solana_signer::Signer;
use solana_system_interface::instruction::create_account;
use spl_token_interface::instruction::{approve, initialize_account3};

use super::{assert_invalid, assert_settle_trouble, assert_unsettled, assert_verify_trouble, in_words};
use crate::harness::{
    TestApp,
    x402::{Order, settled},
};

const SIMULATION: &str = "invalid_exact_svm_transaction_simulation_failed";

/// Refused by both routes, in this version's words; nothing is moved, paid or booked.
async fn is_refused(app: &TestApp, order: &Order, request: &Value, reason: &str, message: &str) {
    let fees = app.chain.sandbox.balance(&order.fee_payer);
    let before = app.received();
    let reason = in_words(order.version, reason);
    assert_invalid(&app.verify_x402(request).await, &reason, message);
    let settled = app.settle(None, request).await;
    assert_eq!(assert_unsettled(&settled, order, &reason, message), "");
    assert_eq!((app.received(), app.chain.sandbox.balance(&order.fee_payer)), (before, fees));
}

/// A buyer with so much USDC.
fn buyer(app: &TestApp, units: u64) -> Keypair {
    let buyer = Keypair::new();
    app.chain.sandbox.mint_tokens(&USDC, &buyer.pubkey(), units).unwrap();
    buyer
}

#[tokio::test]
async fn a_payer_with_too_little_hears_how_much_is_missing() {
    let app = TestApp::settling().await;
    for version in Version::ALL {
        let order = Order { version, payer: buyer(&app, 400_000), units: 1_000_000, ..app.order() };
        let request = app.paid(&order);
        is_refused(&app, &order, &request, SIMULATION, "the payer holds 0.40 USDC, 1.00 needed").await;
    }
    let order = Order { payer: Keypair::new(), ..app.order() };
    let request = app.paid(&order);
    is_refused(&app, &order, &request, SIMULATION, "the payer has no USDC token account").await;
}

/// The whole sentences, as buyers and merchants read them, from both routes.
#[tokio::test]
async fn a_broke_payer_and_a_missing_account_are_said_in_these_words() {
    let app = TestApp::settling().await;
    for version in Version::ALL {
        let broke = Order { version, payer: buyer(&app, 400_000), units: 1_000_000, ..app.order() };
        let nowhere = Order { version, pay_to: Keypair::new().pubkey(), ..app.order() };
        let account = crate::sandbox::setup::token_account(&nowhere.mint, &nowhere.pay_to, nowhere.program);
        let create = format!("payTo has no USDC token account: create it first, at {account}");
        for (order, sentence) in
            [(&broke, "the payer holds 0.40 USDC, 1.00 needed"), (&nowhere, create.as_str())]
        {
            let request = app.paid(order);
            let verified = app.verify_x402(&request).await.body;
            let settled = app.settle(None, &request).await.body;
            assert_eq!(
                (&verified["invalidMessage"], &settled["errorMessage"]),
                (&json!(sentence), &json!(sentence))
            );
            let reason = json!(in_words(version, SIMULATION));
            assert_eq!((&verified["invalidReason"], &settled["errorReason"]), (&reason, &reason));
        }
    }
}

#[tokio::test]
async fn a_merchant_without_an_account_hears_which_to_create() {
    let app = TestApp::settling().await;
    let order = Order { pay_to: Keypair::new().pubkey(), ..app.order() };
    let account = crate::sandbox::setup::token_account(&order.mint, &order.pay_to, order.program);
    let message = format!("payTo has no USDC token account: create it first, at {account}");
    let request = app.paid(&order);
    is_refused(&app, &order, &request, SIMULATION, &message).await;
}

/// The agent may spend from another account of the merchant's: the merchant would have no more than before.
#[tokio::test]
async fn pay_tos_own_money_is_no_payment_to_it() {
    let app = TestApp::settling().await;
    let (agent, merchant) = (app.agent(), &app.chain.sandbox.wallets().merchant);
    let (other, token) = (Keypair::new(), spl_token_interface::ID);
    let open = create_account(&agent.pubkey(), &other.pubkey(), 2_039_280, 165, &token);
    let initialize = initialize_account3(&token, &other.pubkey(), &USDC, &merchant.pubkey()).unwrap();
    let mut fund = app.order().transfer();
    fund.accounts[2].pubkey = other.pubkey();
    let allow = approve(&token, &other.pubkey(), &agent.pubkey(), &merchant.pubkey(), &[], 50_000).unwrap();
    app.land_instructions(&[open, initialize, fund, allow], &[agent, &other, merchant]);
    for version in Version::ALL {
        let order = Order { version, ..app.order() };
        let mut instructions = order.stock();
        instructions[2].accounts[0].pubkey = other.pubkey();
        let transaction = order.sign_instructions(&instructions, app.chain.sandbox.latest_blockhash());
        app.chain.sandbox.advance_slots(2);
        let request = order.request(&transaction);
        let (before, reason) = (app.received(), "invalid_exact_svm_payload_recipient_mismatch");
        assert_invalid(&app.verify_x402(&request).await, reason, "payTo's own");
        let answer = app.settle(None, &request).await;
        assert_eq!(assert_unsettled(&answer, &order, reason, "payTo's own"), "");
        assert_eq!(app.received(), before);
    }
}

#[tokio::test]
async fn a_blockhash_that_nobody_knows_is_named() {
    let app = TestApp::settling().await;
    let order = app.order();
    let request = order.request(&order.sign(Hash::new_from_array([7; 32])));
    is_refused(&app, &order, &request, SIMULATION, "blockhash").await;
    let expired = app.paid(&order);
    app.chain.sandbox.advance_slots(200);
    is_refused(&app, &order, &expired, SIMULATION, "build and sign the payment anew").await;
}

#[tokio::test]
async fn what_has_landed_is_good_no_more() {
    let app = TestApp::settling().await;
    let order = app.order();
    let request = app.paid(&order);
    settled(&app.settle(None, &request).await, &order);
    assert_invalid(&app.verify_x402(&request).await, SIMULATION, "has landed before");
}

/// An answer that was good a moment ago is not given again.
#[tokio::test]
async fn a_verify_under_an_idempotency_key_is_judged_each_time() {
    let app = TestApp::settling().await;
    let order = app.order();
    let request = app.paid(&order);
    let verify = async || {
        let post = app.http.post(app.path("/verify")).json(&request);
        app.send(post.header("idempotency-key", "once"), None).await
    };
    assert_eq!(verify().await.body["isValid"], json!(true));
    settled(&app.settle(None, &request).await, &order);
    let again = verify().await;
    assert_invalid(&again, SIMULATION, "has landed before");
    assert!(!again.headers.contains_key("idempotent-replayed"));
}

/// One for each version's way to spell it; the others are in `replies` and in the rules' own tests.
#[tokio::test]
async fn a_broken_rule_is_a_decision_and_costs_no_request_to_the_chain() {
    let app = TestApp::settling().await;
    for version in Version::ALL {
        let order = Order { version, ..app.order() };
        let mut request = app.paid(&order);
        let amount = if version == Version::V1 { "maxAmountRequired" } else { "amount" };
        request["paymentRequirements"][amount] = json!("50001");
        let reason = "invalid_exact_svm_payload_amount_mismatch";
        let reply = app.verify_x402(&request).await;
        assert_invalid(&reply, reason, "exactly 0.050001 USDC");
        assert_eq!(assert_unsettled(&app.settle(None, &request).await, &order, reason, "0.05 USDC"), "");
        let mut request = app.paid(&order);
        request["paymentRequirements"]["scheme"] = json!("upto");
        let reason = in_words(version, "invalid_exact_svm_unsupported_scheme");
        assert_invalid(&app.verify_x402(&request).await, &reason, "only \"exact\" is served");
    }
    let calls = |method| app.chain.sandbox.faults().calls(method);
    assert_eq!((calls("simulateTransaction"), calls("getMultipleAccounts")), (0, 0));
}

#[tokio::test]
async fn amounts_have_one_spelling() {
    let app = TestApp::settling().await;
    for version in Version::ALL {
        let order = Order { version, ..app.order() };
        let request = app.paid(&order);
        let amount = if version == Version::V1 { "maxAmountRequired" } else { "amount" };
        for wrong in [
            "0x10",
            "1e3",
            "050000",
            "+50000",
            "-1",
            " 50000",
            "50000 ",
            "5_0",
            "",
            "1.0",
            "18446744073709551616",
        ] {
            let mut request = request.clone();
            request["paymentRequirements"][amount] = json!(wrong);
            let field = format!("paymentRequirements.{amount}");
            let malformed = (400, "VALIDATION_FAILED", "invalid_payload");
            let verified = app.verify_x402(&request).await;
            assert_verify_trouble(&verified, malformed);
            assert_eq!(verified.fields(), [&field]);
            let settled = app.settle(None, &request).await;
            assert_settle_trouble(&settled, order.requirements()["network"].as_str().unwrap(), malformed);
            assert_eq!(settled.fields(), [&field]);
        }
        // Well spelled, and not to be booked.
        for (units, message) in [(0, "greater than 0"), (1 << 63, "2^63 - 1")] {
            let order = Order { version, units, ..app.order() };
            let request = app.paid(&order);
            is_refused(&app, &order, &request, "invalid_payload", message).await;
        }
    }
}

/// What was found for one thing says nothing about another.
#[tokio::test]
async fn a_verify_spares_nothing_to_a_settle_for_another_resource() {
    let app = TestApp::settling().await;
    let simulations = || app.chain.sandbox.faults().calls("simulateTransaction");
    for version in Version::ALL {
        let order = Order { version, ..app.order() };
        let transaction = crate::harness::x402::signed(&app.chain.sandbox, &order);
        app.verify_x402(&order.request(&transaction)).await;
        let before = simulations();
        let other = Order { resource: "https://shop.example/dogs".to_owned(), ..order };
        settled(&app.settle(None, &other.request(&transaction)).await, &other);
        assert_eq!(simulations(), before + 1);
    }
}

#[tokio::test]
async fn a_verify_spares_the_settle_that_follows_at_once_its_simulation() {
    let app = TestApp::settling().await;
    let simulations = || app.chain.sandbox.faults().calls("simulateTransaction");
    let reads = || app.chain.sandbox.faults().calls("getMultipleAccounts");
    let order = app.order();
    let request = app.paid(&order);
    app.verify_x402(&request).await;
    assert_eq!((simulations(), reads()), (1, 1));
    settled(&app.settle(None, &request).await, &order);
    assert_eq!(simulations(), 1);

    let late = app.order();
    let request = app.paid(&late);
    app.verify_x402(&request).await;
    app.chain.clock.advance(std::time::Duration::from_secs(3));
    settled(&app.settle(None, &request).await, &late);
    assert_eq!(simulations(), 3);

    let unasked = app.order();
    settled(&app.settle(None, &app.paid(&unasked)).await, &unasked);
    assert_eq!(simulations(), 4);
}
