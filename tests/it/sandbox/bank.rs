//! What a bank refuses, and how a node says so.

use pay402::sandbox::{FINALITY_SLOTS, MAX_BLOCKHASH_AGE, SandboxError, TokenProgram, USDC};
use solana_commitment_config::CommitmentLevel;
use solana_rpc_client_api::{
    client_error::{Error, ErrorKind},
    config::RpcSendTransactionConfig,
    request::{RpcError, RpcResponseErrorData},
    response::{RpcSimulateTransactionResult, UiTransactionError},
};
use solana_signature::Signature;
use solana_transaction_error::TransactionError;
use solana_transaction_status::UiTransactionEncoding;

use super::setup::start;

/// The code and the simulation of a failed preflight.
fn preflight(error: &Error) -> (i64, &RpcSimulateTransactionResult) {
    let ErrorKind::RpcError(RpcError::RpcResponseError { code, data, .. }) = error.kind() else {
        panic!("not an answer: {error}")
    };
    let RpcResponseErrorData::SendTransactionPreflightFailure(simulated) = data else {
        panic!("not a preflight: {error}")
    };
    (*code, simulated)
}

#[tokio::test]
async fn a_failing_transaction_is_stopped_by_preflight() {
    let fixture = start().await;
    let payment = fixture.token_payment(&USDC, TokenProgram::Token, 1_000_000_000_001);
    fixture.sandbox.advance_slots(1);
    let error = fixture.rpc.send_transaction(&payment).await.unwrap_err();
    let (code, simulated) = preflight(&error);
    assert_eq!(code, -32002);
    let err: TransactionError = simulated.err.clone().unwrap().into();
    assert!(matches!(err, TransactionError::InstructionError(0, _)), "{err}");
    assert!(
        simulated
            .logs
            .as_ref()
            .is_some_and(|logs| logs.iter().any(|log| log.ends_with("custom program error: 0x1")))
    );
    fixture.sandbox.advance_slots(1);
    assert!(fixture.status(&payment.signatures[0]).await.is_none());
}

#[tokio::test]
async fn without_preflight_it_lands_and_pays_its_fee() {
    let fixture = start().await;
    let payment = fixture.token_payment(&USDC, TokenProgram::Token, 1_000_000_000_001);
    let payer = payment.message.static_account_keys()[0];
    let before = fixture.sandbox.balance(&payer);
    let config = RpcSendTransactionConfig { skip_preflight: true, ..RpcSendTransactionConfig::default() };
    let signature = fixture.rpc.send_transaction_with_config(&payment, config).await.unwrap();
    fixture.sandbox.advance_slots(1);
    let status = fixture.status(&signature).await.unwrap();
    assert!(status.err.is_some());
    assert_eq!(fixture.sandbox.balance(&payer), before - 5_000);
    let read = fixture.read(&signature, UiTransactionEncoding::Base64, None).await.unwrap();
    let meta = read.transaction.meta.unwrap();
    assert_eq!(meta.err, status.err.map(UiTransactionError::from));
    assert_eq!(meta.pre_balances[0] - meta.post_balances[0], 5_000);
    assert_eq!(meta.pre_token_balances, meta.post_token_balances);
}

#[tokio::test]
async fn a_blockhash_expires() {
    let fixture = start().await;
    let payment = fixture.payment(1);
    let hash = *payment.message.recent_blockhash();
    fixture.sandbox.advance_slots(MAX_BLOCKHASH_AGE);
    let processed = solana_commitment_config::CommitmentConfig::processed();
    assert!(fixture.rpc.is_blockhash_valid(&hash, processed).await.unwrap());
    fixture.sandbox.advance_slots(1);
    assert!(!fixture.rpc.is_blockhash_valid(&hash, processed).await.unwrap());
    let refused = fixture.sandbox.send(&payment).unwrap_err();
    assert!(matches!(refused, SandboxError::Refused(TransactionError::BlockhashNotFound)));
    // The bank that preflights at `confirmed` is one slot behind.
    fixture.sandbox.advance_slots(1);
    let error = fixture.rpc.send_transaction(&payment).await.unwrap_err();
    assert!(error.to_string().contains("Blockhash not found"), "{error}");
}

#[tokio::test]
async fn the_last_valid_block_height_is_the_last() {
    let fixture = start().await;
    let processed = solana_commitment_config::CommitmentConfig::processed();
    let (hash, last) = fixture.rpc.get_latest_blockhash_with_commitment(processed).await.unwrap();
    let height = || async { fixture.rpc.get_block_height_with_commitment(processed).await.unwrap() };
    fixture.sandbox.advance_slots(last - height().await);
    assert!(fixture.rpc.is_blockhash_valid(&hash, processed).await.unwrap());
    fixture.sandbox.advance_slots(1);
    assert!(!fixture.rpc.is_blockhash_valid(&hash, processed).await.unwrap());
}

#[tokio::test]
async fn preflight_at_finalized_does_not_know_a_fresh_blockhash() {
    let fixture = start().await;
    let payment = fixture.payment(1);
    fixture.sandbox.advance_slots(1);
    // `finalized` is what a node assumes.
    let error = fixture
        .rpc
        .send_transaction_with_config(&payment, RpcSendTransactionConfig::default())
        .await
        .unwrap_err();
    let (code, simulated) = preflight(&error);
    assert_eq!(code, -32002);
    assert_eq!(simulated.err.clone().map(TransactionError::from), Some(TransactionError::BlockhashNotFound));
    fixture.sandbox.advance_slots(FINALITY_SLOTS);
    let config = RpcSendTransactionConfig {
        preflight_commitment: Some(CommitmentLevel::Finalized),
        ..RpcSendTransactionConfig::default()
    };
    fixture.rpc.send_transaction_with_config(&payment, config).await.unwrap();
}

#[tokio::test]
async fn a_duplicate_is_refused() {
    let fixture = start().await;
    let payment = fixture.payment(1);
    let signature = fixture.pay(&payment).await;
    let refused = fixture.sandbox.send(&payment).unwrap_err();
    assert!(matches!(refused, SandboxError::Refused(TransactionError::AlreadyProcessed)));
    let error = fixture.rpc.send_transaction(&payment).await.unwrap_err();
    let (_, simulated) = preflight(&error);
    assert_eq!(simulated.err.clone().map(TransactionError::from), Some(TransactionError::AlreadyProcessed));
    // Without preflight the node takes it, and nothing happens.
    let balance = fixture.sandbox.balance(&fixture.merchant());
    let config = RpcSendTransactionConfig { skip_preflight: true, ..RpcSendTransactionConfig::default() };
    assert_eq!(fixture.rpc.send_transaction_with_config(&payment, config).await.unwrap(), signature);
    assert_eq!(fixture.sandbox.balance(&fixture.merchant()), balance);
}

#[tokio::test]
async fn a_bad_signature_is_answered_and_dropped() {
    let fixture = start().await;
    let mut payment = fixture.payment(1);
    payment.signatures[0] = Signature::from([7; 64]);
    fixture.sandbox.advance_slots(1);
    let error = fixture.rpc.send_transaction(&payment).await.unwrap_err();
    assert!(error.to_string().contains("-32003"), "{error}");
    let config = RpcSendTransactionConfig { skip_preflight: true, ..RpcSendTransactionConfig::default() };
    let signature = fixture.rpc.send_transaction_with_config(&payment, config).await.unwrap();
    assert_eq!(signature, payment.signatures[0]);
    fixture.sandbox.advance_slots(1);
    assert!(fixture.status(&signature).await.is_none());
}

#[tokio::test]
async fn nobody_lands_without_paying_the_fee() {
    let fixture = start().await;
    let stranger = solana_keypair::Keypair::new();
    let address = solana_signer::Signer::pubkey(&stranger);
    let transfer = solana_system_interface::instruction::transfer(&address, &fixture.merchant(), 1);
    let payment = fixture.legacy(&[transfer], &[&stranger]);
    let refused = fixture.sandbox.send(&payment).unwrap_err();
    assert!(matches!(refused, SandboxError::Refused(TransactionError::AccountNotFound)));
}

#[tokio::test]
async fn a_transaction_whose_program_is_missing_lands_for_its_fee() {
    let fixture = start().await;
    let agent = fixture.agent();
    let address = solana_signer::Signer::pubkey(agent);
    let before = fixture.sandbox.balance(&address);
    let call = solana_instruction::Instruction {
        program_id: solana_pubkey::Pubkey::new_from_array([9; 32]),
        accounts: Vec::new(),
        data: Vec::new(),
    };
    let signature = fixture.sandbox.send(&fixture.legacy(&[call], &[agent])).unwrap();
    fixture.sandbox.advance_slots(1);
    assert!(fixture.status(&signature).await.unwrap().err.is_some());
    assert_eq!(fixture.sandbox.balance(&address), before - 5_000);
}
