//! Bad payments, each with its code. A refusal uses nothing up.

use std::time::Duration;

use pay402::{
    money::Currency,
    sandbox::{MintSpec, TokenProgram, TransferFee, USDC, USDT},
};
use serde_json::json;
use solana_instruction::{AccountMeta, Instruction};
use solana_keypair::Keypair;
use solana_signer::Signer;
use spl_token_2022_interface::{
    extension::transfer_fee::instruction::transfer_checked_with_fee,
    instruction::{set_authority, transfer_checked},
};

use crate::{
    harness::{Paid, TestApp, with},
    sandbox::setup::token_account,
};

#[tokio::test]
async fn a_nonce_used_before() {
    let app = TestApp::start().await;
    app.verify(&app.proof(&app.pay_merchant(), "n")).await.assert_valid();
    let again = app.pay(&app.merchant(), 60_000, Currency::Usdc);
    app.verify(&app.proof(&again, "n")).await.assert_refused("REPLAY_ATTACK");
    app.verify(&app.proof(&again, "fresh")).await.assert_valid();
    assert_eq!(app.booked().await, 2);
}

#[tokio::test]
async fn a_transaction_used_before_under_a_fresh_nonce() {
    let app = TestApp::start().await;
    let paid = app.pay_merchant();
    app.verify(&app.proof(&paid, "first")).await.assert_valid();
    app.verify(&app.proof(&paid, "second")).await.assert_refused("REPLAY_ATTACK");
    assert_eq!(app.booked().await, 1);
}

/// The books remember what the fast state has forgotten: after its lifetimes, and after a restart.
#[tokio::test]
async fn a_replay_after_a_restart() {
    let app = TestApp::start().await;
    let paid = app.pay_merchant();
    app.verify(&app.proof(&paid, "n")).await.assert_valid();
    let calls = app.chain.sandbox.faults().calls("getTransaction");
    let (chain, folder) = app.stop().await;
    let app = TestApp::on(chain, folder, |environment, _| environment).await;
    app.verify(&app.proof(&paid, "n")).await.assert_refused("REPLAY_ATTACK");
    app.verify(&app.proof(&paid, "other")).await.assert_refused("REPLAY_ATTACK");
    let other = app.pay(&app.merchant(), 60_000, Currency::Usdc);
    app.verify(&app.proof(&other, "n")).await.assert_refused("REPLAY_ATTACK");
    assert_eq!(app.chain.sandbox.faults().calls("getTransaction"), calls, "no replay costs an RPC call");
    assert_eq!(app.booked().await, 1);
}

#[tokio::test]
async fn a_proof_too_old_or_from_the_future() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    let now = app.now().0;
    for timestamp in [now - 15 * 60_000 - 1, now + 60_001, 0, -1, i64::MIN, i64::MAX] {
        app.verify(&with(proof.clone(), "timestamp", timestamp)).await.assert_refused("PAYMENT_EXPIRED");
    }
    assert_eq!(app.chain.sandbox.faults().calls("getTransaction"), 0, "the free checks come first");
    app.verify(&with(proof, "timestamp", now - 15 * 60_000)).await.assert_valid();
}

#[tokio::test]
async fn a_timestamp_just_ahead_is_fine() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    app.verify(&with(proof, "timestamp", app.now().0 + 60_000)).await.assert_valid();
}

#[tokio::test]
async fn a_forged_signature() {
    let app = TestApp::start().await;
    let paid = app.pay_merchant();
    let proof = app.proof(&paid, "n");
    let over_another_nonce = app.proof(&paid, "m")["signature"].clone();
    let of_another_payer = app.proof_by(&Keypair::new(), &paid, "n")["signature"].clone();
    let zeros = json!("1".repeat(64));
    let of_the_transaction = proof["transactionId"].clone();
    for signature in [over_another_nonce, of_another_payer, zeros, of_the_transaction] {
        app.verify(&with(proof.clone(), "signature", signature)).await.assert_refused("INVALID_SIGNATURE");
    }
    assert_eq!(app.chain.sandbox.faults().calls("getTransaction"), 0, "the free checks come first");
    app.verify(&proof).await.assert_valid();
}

/// Somebody who saw a payment on chain claims it as theirs, properly signed by their own key.
#[tokio::test]
async fn a_payment_made_by_somebody_else() {
    let app = TestApp::start().await;
    let paid = app.pay_merchant();
    app.verify(&app.proof_by(&Keypair::new(), &paid, "n")).await.assert_refused("INVALID_PAYMENT");
    app.verify(&app.proof(&paid, "n")).await.assert_valid();
}

/// The sponsor of the fee signs the transaction too, but it is not the one who paid.
#[tokio::test]
async fn a_payment_claimed_by_its_fee_payer() {
    let app = TestApp::start().await;
    let fee_payer = app.chain.sandbox.wallets().fee_payer.insecure_clone();
    for (currency, units) in [(Currency::Usdc, 50_000), (Currency::Sol, 10_000_000)] {
        let transfer = app.transfer(&app.merchant(), units, currency);
        let transaction = app.land_instructions(&transfer, &[&fee_payer, app.agent()]);
        let paid = Paid { transaction, currency, units };
        let nonce = currency.as_str();
        app.verify(&app.proof_by(&fee_payer, &paid, nonce)).await.assert_refused("INVALID_PAYMENT");
        app.verify(&app.proof(&paid, nonce)).await.assert_valid();
    }
}

#[tokio::test]
async fn a_payment_to_somebody_else() {
    let app = TestApp::start().await;
    for currency in Currency::ALL {
        let paid = app.pay(&Keypair::new().pubkey(), 5_000_000, currency);
        let proof = app.proof(&paid, currency.as_str());
        app.verify(&proof).await.assert_refused("RECIPIENT_MISMATCH");
    }
    assert_eq!(app.booked().await, 0);
}

#[tokio::test]
async fn the_right_amount_in_another_currency() {
    let app = TestApp::start().await;
    let paid = app.pay(&app.merchant(), 50_000, Currency::Usdt);
    let stated = Paid { currency: Currency::Usdc, ..paid.clone() };
    app.verify(&app.proof(&stated, "n")).await.assert_refused("CURRENCY_MISMATCH");
    app.verify(&app.proof(&paid, "n")).await.assert_valid();
}

/// A mint of the attacker's own making, in the payer's hands in any amount.
#[tokio::test]
async fn the_right_amount_of_a_worthless_token() {
    let app = TestApp::start().await;
    let spec =
        MintSpec { decimals: 6, program: TokenProgram::Token, transfer_fee: None, transfer_hook: None };
    let mint = app.chain.sandbox.create_mint(spec).unwrap();
    app.chain.sandbox.mint_tokens(&mint, &app.agent().pubkey(), 1_000_000).unwrap();
    app.chain.sandbox.mint_tokens(&mint, &app.merchant(), 0).unwrap();
    let transaction = app.land(&app.chain.token_payment(&mint, TokenProgram::Token, 50_000));
    let paid = Paid { transaction, currency: Currency::Usdc, units: 50_000 };
    let answer = app.verify(&app.proof(&paid, "n")).await;
    answer.assert_refused("INSUFFICIENT_AMOUNT");
}

#[tokio::test]
async fn one_unit_too_little_or_too_much() {
    let app = TestApp::start().await;
    for currency in Currency::ALL {
        for (moved, code) in [(1_999_999, "INSUFFICIENT_AMOUNT"), (2_000_001, "AMOUNT_MISMATCH")] {
            let paid = app.pay(&app.merchant(), moved, currency);
            let stated = Paid { units: 2_000_000, ..paid };
            let nonce = format!("{currency}-{moved}");
            app.verify(&app.proof(&stated, &nonce)).await.assert_refused(code);
        }
    }
}

#[tokio::test]
async fn a_transaction_that_failed() {
    let app = TestApp::start().await;
    let too_much = app.transfer(&app.merchant(), 2_000_000_000, Currency::Usdc);
    let transaction = app.land_instructions(&too_much, &[app.agent()]);
    let paid = Paid { transaction, currency: Currency::Usdc, units: 2_000_000_000 };
    app.verify(&app.proof(&paid, "n")).await.assert_refused("TRANSACTION_FAILED");
}

#[tokio::test]
async fn money_that_goes_there_and_back() {
    let app = TestApp::start().await;
    let merchant = app.chain.sandbox.wallets().merchant.insecure_clone();
    app.pay(&app.merchant(), 500_000, Currency::Usdc);
    let (agents, merchants) = (
        token_account(&USDC, &app.agent().pubkey(), TokenProgram::Token),
        token_account(&USDC, &app.merchant(), TokenProgram::Token),
    );
    let back = transfer_checked(
        &TokenProgram::Token.id(),
        &merchants,
        &USDC,
        &agents,
        &merchant.pubkey(),
        &[],
        50_000,
        6,
    )
    .unwrap();
    let there = app.transfer(&app.merchant(), 50_000, Currency::Usdc);
    let transaction = app.land_instructions(&[there, vec![back]].concat(), &[app.agent(), &merchant]);
    let paid = Paid { transaction, currency: Currency::Usdc, units: 50_000 };
    app.verify(&app.proof(&paid, "tokens")).await.assert_refused("INSUFFICIENT_AMOUNT");

    let there = app.transfer(&app.merchant(), 50_000, Currency::Sol);
    let back =
        solana_system_interface::instruction::transfer(&merchant.pubkey(), &app.agent().pubkey(), 50_000);
    let transaction = app.land_instructions(&[there, vec![back]].concat(), &[app.agent(), &merchant]);
    let paid = Paid { transaction, currency: Currency::Sol, units: 50_000 };
    app.verify(&app.proof(&paid, "lamports")).await.assert_refused("INSUFFICIENT_AMOUNT");
}

/// The whole amount is sent, and less arrives: what the mint withholds is not received.
#[tokio::test]
async fn a_mint_with_a_transfer_fee() {
    let chain = crate::sandbox::setup::start().await;
    let mint = chain
        .sandbox
        .create_mint(MintSpec {
            decimals: 6,
            program: TokenProgram::Token2022,
            transfer_fee: Some(TransferFee { basis_points: 100, maximum: 1_000_000 }),
            transfer_hook: None,
        })
        .unwrap();
    chain.sandbox.mint_tokens(&mint, &chain.agent().pubkey(), 10_000_000).unwrap();
    chain.sandbox.mint_tokens(&mint, &chain.merchant(), 0).unwrap();
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let app =
        TestApp::on(chain, folder, |environment, _| environment.with("SOLANA_PYUSD_MINT", mint.to_string()))
            .await;
    let transaction = app.land(&app.chain.token_payment(&mint, TokenProgram::Token2022, 1_000_000));
    let sent = Paid { transaction, currency: Currency::Pyusd, units: 1_000_000 };
    let answer = app.verify(&app.proof(&sent, "sent")).await;
    answer.assert_refused("INSUFFICIENT_AMOUNT");
    assert!(answer.body["error"].as_str().unwrap().contains("0.99 PYUSD"), "{answer:?}");

    // Who sends so much that the amount arrives has paid it.
    let account = |owner| token_account(&mint, owner, TokenProgram::Token2022);
    let program = TokenProgram::Token2022.id();
    let grossed_up = transfer_checked_with_fee(
        &program,
        &account(&app.agent().pubkey()),
        &mint,
        &account(&app.merchant()),
        &app.agent().pubkey(),
        &[],
        1_010_101,
        6,
        10_102,
    )
    .unwrap();
    let transaction = app.land_instructions(&[grossed_up], &[app.agent()]);
    let received = Paid { transaction, currency: Currency::Pyusd, units: 999_999 };
    app.verify(&app.proof(&received, "received")).await.assert_valid();
}

#[tokio::test]
async fn a_mint_that_counts_in_other_steps() {
    let chain = crate::sandbox::setup::start().await;
    let spec =
        MintSpec { decimals: 9, program: TokenProgram::Token, transfer_fee: None, transfer_hook: None };
    let mint = chain.sandbox.create_mint(spec).unwrap();
    chain.sandbox.mint_tokens(&mint, &chain.agent().pubkey(), 10_000_000).unwrap();
    chain.sandbox.mint_tokens(&mint, &chain.merchant(), 0).unwrap();
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let app =
        TestApp::on(chain, folder, |environment, _| environment.with("SOLANA_USDT_MINT", mint.to_string()))
            .await;
    let account = |owner| token_account(&mint, owner, TokenProgram::Token);
    let agent = app.agent();
    let transfer = transfer_checked(
        &TokenProgram::Token.id(),
        &account(&agent.pubkey()),
        &mint,
        &account(&app.merchant()),
        &agent.pubkey(),
        &[],
        50_000,
        9,
    )
    .unwrap();
    let paid = Paid {
        transaction: app.land_instructions(&[transfer], &[agent]),
        currency: Currency::Usdt,
        units: 50_000,
    };
    app.verify(&app.proof(&paid, "n")).await.assert_refused("CURRENCY_MISMATCH");
}

/// Money that came out of a third wallet, in a transaction that the payer merely signed along.
#[tokio::test]
async fn a_payment_out_of_another_pocket() {
    let app = TestApp::start().await;
    let bystander = Keypair::new();
    app.chain.sandbox.airdrop(&bystander.pubkey(), 1_000_000_000).unwrap();
    app.chain.sandbox.mint_tokens(&USDC, &bystander.pubkey(), 1_000_000).unwrap();
    for (currency, units) in [(Currency::Usdc, 50_000), (Currency::Sol, 50_000_000)] {
        let signed_along = Instruction {
            program_id: spl_memo_interface::v3::ID,
            accounts: vec![AccountMeta::new_readonly(bystander.pubkey(), true)],
            data: b"I was here".to_vec(),
        };
        let transfer = [app.transfer(&app.merchant(), units, currency), vec![signed_along]].concat();
        let transaction = app.land_instructions(&transfer, &[app.agent(), &bystander]);
        let paid = Paid { transaction, currency, units };
        let proof = app.proof_by(&bystander, &paid, currency.as_str());
        app.verify(&proof).await.assert_refused("INVALID_PAYMENT");
    }
}

/// Half from the payer, half from another: nobody can say that the payer paid it.
#[tokio::test]
async fn a_payment_shared_by_two() {
    let app = TestApp::start().await;
    let friend = Keypair::new();
    app.chain.sandbox.mint_tokens(&USDC, &friend.pubkey(), 1_000_000).unwrap();
    let half = |owner: &Keypair| {
        transfer_checked(
            &TokenProgram::Token.id(),
            &token_account(&USDC, &owner.pubkey(), TokenProgram::Token),
            &USDC,
            &token_account(&USDC, &app.merchant(), TokenProgram::Token),
            &owner.pubkey(),
            &[],
            25_000,
            6,
        )
        .unwrap()
    };
    let transaction = app.land_instructions(&[half(app.agent()), half(&friend)], &[app.agent(), &friend]);
    let whole = Paid { transaction, currency: Currency::Usdc, units: 50_000 };
    app.verify(&app.proof(&whole, "n")).await.assert_refused("INVALID_PAYMENT");
}

/// A payer who pays themselves has paid nobody.
#[tokio::test]
async fn a_payment_to_oneself() {
    let app = TestApp::start().await;
    let merchant = app.chain.sandbox.wallets().merchant.insecure_clone();
    let transfer =
        solana_system_interface::instruction::transfer(&merchant.pubkey(), &merchant.pubkey(), 50_000);
    let transaction = app.land_instructions(&[transfer], &[&merchant]);
    let paid = Paid { transaction, currency: Currency::Sol, units: 50_000 };
    app.verify(&app.proof_by(&merchant, &paid, "n")).await.assert_refused("INSUFFICIENT_AMOUNT");
}

/// Handing over the account handed over the money: that is a payment. Handing over an empty one is none.
#[tokio::test]
async fn an_account_that_changes_hands() {
    let app = TestApp::start().await;
    let merchant = app.merchant();
    let owner = Keypair::new();
    app.chain.sandbox.airdrop(&owner.pubkey(), 1_000_000_000).unwrap();
    let account = app.chain.sandbox.mint_tokens(&USDT, &owner.pubkey(), 0).unwrap();
    let hand_over = set_authority(
        &TokenProgram::Token.id(),
        &account,
        Some(&merchant),
        spl_token_2022_interface::instruction::AuthorityType::AccountOwner,
        &owner.pubkey(),
        &[],
    )
    .unwrap();
    let transaction = app.land_instructions(&[hand_over], &[&owner]);
    let paid = Paid { transaction, currency: Currency::Usdt, units: 50_000 };
    app.verify(&app.proof_by(&owner, &paid, "n")).await.assert_refused("INSUFFICIENT_AMOUNT");
}

#[tokio::test]
async fn a_transaction_older_than_the_window() {
    let app = TestApp::start().await;
    let paid = app.pay_merchant();
    app.chain.clock.advance(Duration::from_secs(15 * 60 + 2));
    app.verify(&app.proof(&paid, "n")).await.assert_refused("PAYMENT_EXPIRED");
}

#[tokio::test]
async fn an_agent_or_a_subscription_nobody_knows() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    app.verify(&with(proof.clone(), "agentId", "agent_1")).await.assert_refused("AGENT_NOT_FOUND");
    app.verify(&with(proof.clone(), "subscriptionId", "sub_1"))
        .await
        .assert_refused("SUBSCRIPTION_NOT_FOUND");
    app.verify(&proof).await.assert_valid();
}
