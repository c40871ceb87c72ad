//! Commitment levels follow one another, and a lagging node is behind in all of them.

use pay402::sandbox::{FINALITY_SLOTS, TokenProgram, USDC};
use solana_commitment_config::CommitmentConfig;
use solana_rpc_client_api::config::RpcTransactionConfig;
use solana_transaction_status::{TransactionConfirmationStatus, UiTransactionEncoding};

use super::setup::{Fixture, start, token_account};

const LEVELS: [CommitmentConfig; 3] =
    [CommitmentConfig::processed(), CommitmentConfig::confirmed(), CommitmentConfig::finalized()];

/// The merchant's lamports at each level.
async fn balances(fixture: &Fixture) -> Vec<u64> {
    let mut seen = Vec::new();
    for level in LEVELS {
        let balance = fixture.rpc.get_balance_with_commitment(&fixture.merchant(), level).await.unwrap();
        seen.push(balance.value);
    }
    seen
}

#[tokio::test]
async fn a_payment_is_processed_then_confirmed_then_finalized() {
    let fixture = start().await;
    let old = fixture.sandbox.balance(&fixture.merchant());
    let new = old + 5;
    let signature = fixture.sandbox.send(&fixture.payment(5)).unwrap();
    let status = || async {
        let status = fixture.status(&signature).await.unwrap();
        (status.confirmation_status.unwrap(), status.confirmations)
    };
    assert_eq!(status().await, (TransactionConfirmationStatus::Processed, Some(0)));
    assert_eq!(balances(&fixture).await, [new, old, old]);
    fixture.sandbox.advance_slots(1);
    assert_eq!(status().await, (TransactionConfirmationStatus::Confirmed, Some(1)));
    assert_eq!(balances(&fixture).await, [new, new, old]);
    fixture.sandbox.advance_slots(FINALITY_SLOTS - 2);
    assert_eq!(status().await, (TransactionConfirmationStatus::Confirmed, Some(31)));
    assert_eq!(balances(&fixture).await, [new, new, old]);
    fixture.sandbox.advance_slots(1);
    assert_eq!(status().await, (TransactionConfirmationStatus::Finalized, None));
    assert_eq!(balances(&fixture).await, [new, new, new]);
}

#[tokio::test]
async fn get_transaction_obeys_the_commitment() {
    let fixture = start().await;
    let signature = fixture.sandbox.send(&fixture.payment(5)).unwrap();
    let read = |commitment| {
        let config = RpcTransactionConfig {
            encoding: Some(UiTransactionEncoding::Base64),
            commitment: Some(commitment),
            max_supported_transaction_version: None,
        };
        fixture.rpc.get_transaction_with_config(&signature, config)
    };
    let [processed, confirmed, finalized] = LEVELS;
    let refused = read(processed).await.unwrap_err();
    assert!(refused.to_string().contains("-32602"), "{refused}");
    assert!(read(confirmed).await.is_err());
    fixture.sandbox.advance_slots(1);
    assert!(read(confirmed).await.is_ok());
    assert!(read(finalized).await.is_err());
    fixture.sandbox.advance_slots(FINALITY_SLOTS - 1);
    assert!(read(finalized).await.is_ok());
}

#[tokio::test]
async fn token_accounts_read_as_they_were() {
    let fixture = start().await;
    let account = token_account(&USDC, &fixture.merchant(), TokenProgram::Token);
    fixture.sandbox.send(&fixture.token_payment(&USDC, TokenProgram::Token, 9)).unwrap();
    for (level, expected) in LEVELS.into_iter().zip(["9", "0", "0"]) {
        let read = fixture.rpc.get_token_account_balance_with_commitment(&account, level).await.unwrap();
        assert_eq!(read.value.amount, expected);
    }
}

#[tokio::test]
async fn a_lagging_node_shows_the_past() {
    let fixture = start().await;
    let old = fixture.sandbox.balance(&fixture.merchant());
    let signature = fixture.pay(&fixture.payment(5)).await;
    fixture.sandbox.advance_slots(FINALITY_SLOTS);
    assert_eq!(balances(&fixture).await, [old + 5; 3]);
    fixture.sandbox.faults().lag(40);
    assert_eq!(balances(&fixture).await, [old; 3]);
    assert!(fixture.status(&signature).await.is_none());
    fixture.rpc.get_health().await.unwrap();
    fixture.sandbox.faults().lag(200);
    let sick = fixture.rpc.get_health().await.unwrap_err();
    assert!(sick.to_string().contains("behind by 200 slots"), "{sick}");
    fixture.sandbox.faults().clear();
    assert!(fixture.status(&signature).await.is_some());
}

#[tokio::test]
async fn an_old_status_is_found_in_the_history_only() {
    let fixture = start().await;
    let signature = fixture.sandbox.send(&fixture.payment(5)).unwrap();
    fixture.sandbox.advance_slots(300);
    assert!(fixture.status(&signature).await.is_some());
    fixture.sandbox.advance_slots(1);
    assert!(fixture.status(&signature).await.is_none());
    let found = fixture.rpc.get_signature_statuses_with_history(&[signature]).await.unwrap().value.remove(0);
    assert!(found.is_some());
}
