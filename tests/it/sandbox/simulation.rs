//! `simulateTransaction` in its variants.

use base64::{Engine, prelude::BASE64_STANDARD};
use pay402::sandbox::{MAX_BLOCKHASH_AGE, TokenProgram, USDC};
use solana_account_decoder::UiAccountEncoding;
use solana_commitment_config::CommitmentConfig;
use solana_rpc_client_api::config::{RpcSimulateTransactionAccountsConfig, RpcSimulateTransactionConfig};
use solana_signature::Signature;
use solana_transaction_error::TransactionError;

use super::setup::{start, token_account};

fn confirmed() -> RpcSimulateTransactionConfig {
    RpcSimulateTransactionConfig {
        commitment: Some(CommitmentConfig::confirmed()),
        ..RpcSimulateTransactionConfig::default()
    }
}

#[tokio::test]
async fn a_simulation_shows_accounts_and_changes_nothing() {
    let fixture = start().await;
    let payment = fixture.token_payment(&USDC, TokenProgram::Token, 77);
    fixture.sandbox.advance_slots(1);
    let merchant = token_account(&USDC, &fixture.merchant(), TokenProgram::Token);
    let config = RpcSimulateTransactionConfig {
        sig_verify: true,
        inner_instructions: true,
        accounts: Some(RpcSimulateTransactionAccountsConfig {
            encoding: Some(UiAccountEncoding::JsonParsed),
            addresses: vec![merchant.to_string()],
        }),
        ..confirmed()
    };
    let simulated = fixture.rpc.simulate_transaction_with_config(&payment, config).await.unwrap().value;
    assert_eq!(simulated.err, None);
    assert!(simulated.units_consumed.unwrap() > 0);
    let accounts = serde_json::to_value(simulated.accounts.unwrap()).unwrap();
    assert_eq!(accounts[0]["data"]["parsed"]["info"]["tokenAmount"]["amount"], "77");
    assert_eq!(simulated.inner_instructions, Some(vec![]));
    assert_eq!(fixture.sandbox.token_balance(&USDC, &fixture.merchant()), 0);
}

#[tokio::test]
async fn an_unsigned_transaction_simulates_unless_signatures_are_asked_for() {
    let fixture = start().await;
    let mut payment = fixture.payment(1);
    payment.signatures[0] = Signature::default();
    fixture.sandbox.advance_slots(1);
    let simulated = fixture.rpc.simulate_transaction_with_config(&payment, confirmed()).await.unwrap();
    assert_eq!(simulated.value.err, None);
    let config = RpcSimulateTransactionConfig { sig_verify: true, ..confirmed() };
    let refused = fixture.rpc.simulate_transaction_with_config(&payment, config.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("-32003"), "{refused}");
    let config = RpcSimulateTransactionConfig { replace_recent_blockhash: true, ..config };
    let refused = fixture.rpc.simulate_transaction_with_config(&payment, config).await.unwrap_err();
    assert!(refused.to_string().contains("-32602"), "{refused}");
}

#[tokio::test]
async fn an_expired_blockhash_may_be_replaced() {
    let fixture = start().await;
    let payment = fixture.payment(1);
    fixture.sandbox.advance_slots(MAX_BLOCKHASH_AGE + 2);
    let simulated = fixture.rpc.simulate_transaction_with_config(&payment, confirmed()).await.unwrap();
    let err = simulated.value.err.map(TransactionError::from);
    assert_eq!(err, Some(TransactionError::BlockhashNotFound));
    let config = RpcSimulateTransactionConfig { replace_recent_blockhash: true, ..confirmed() };
    let simulated = fixture.rpc.simulate_transaction_with_config(&payment, config).await.unwrap().value;
    assert_eq!(simulated.err, None);
    let replaced = simulated.replacement_blockhash.unwrap();
    let latest = fixture.rpc.get_latest_blockhash().await.unwrap();
    assert_eq!(replaced.blockhash, latest.to_string());
}

#[tokio::test]
async fn a_simulation_sees_the_state_of_its_commitment() {
    let fixture = start().await;
    // The agent spends all USDC in a slot that is not confirmed yet.
    let rest = fixture.token_payment(&USDC, TokenProgram::Token, 1);
    let all = fixture.token_payment(&USDC, TokenProgram::Token, 1_000_000_000);
    fixture.sandbox.advance_slots(1);
    fixture.sandbox.send(&all).unwrap();
    let simulated = fixture.rpc.simulate_transaction_with_config(&rest, confirmed()).await.unwrap();
    assert_eq!(simulated.value.err, None);
    let config =
        RpcSimulateTransactionConfig { commitment: Some(CommitmentConfig::processed()), ..confirmed() };
    let simulated = fixture.rpc.simulate_transaction_with_config(&rest, config).await.unwrap();
    assert!(simulated.value.err.is_some());
    // And looking back has not brought it back.
    assert_eq!(fixture.sandbox.token_balance(&USDC, &fixture.merchant()), 1_000_000_000);
}

#[tokio::test]
async fn base64_and_base58_are_both_read() {
    let fixture = start().await;
    let payment = fixture.payment(1);
    fixture.sandbox.advance_slots(1);
    let bytes = bincode::serialize(&payment).unwrap();
    let encoded =
        [("base64", BASE64_STANDARD.encode(&bytes)), ("base58", bs58::encode(&bytes).into_string())];
    for (encoding, text) in encoded {
        let config = serde_json::json!({ "encoding": encoding, "commitment": "confirmed" });
        let answer: serde_json::Value = fixture
            .rpc
            .send(
                solana_rpc_client_api::request::RpcRequest::SimulateTransaction,
                serde_json::json!([text, config]),
            )
            .await
            .unwrap();
        assert!(answer["value"]["err"].is_null(), "{answer}");
    }
}
