//! Transactions as real client libraries built them against a sandbox (seed 402), for 0.05 of USDC or PYUSD.
//!
//! `tests/fixtures/x402` has one file for each, named after the library, its version, and the version of x402.

use pay402::{
    chain::solana::rules::{CheckedPayment, Reason, Version},
    sandbox::PYUSD,
};
use solana_signer::Signer;

use super::kit::{Case, assert_reason};
use crate::sandbox::setup::{Fixture, start};

/// What the libraries were asked for.
fn case(chain: &Fixture, version: Version) -> Case {
    let wallets = chain.sandbox.wallets();
    Case {
        version,
        fee_payer: wallets.fee_payer.insecure_clone(),
        payer: wallets.agent.insecure_clone(),
        pay_to: wallets.merchant.pubkey(),
        ..Case::new()
    }
}

#[track_caller]
fn accepted(case: &Case, text: &str) -> CheckedPayment {
    let payment = case.check_text(text.trim_end()).unwrap();
    assert_eq!((payment.payer, payment.amount), (case.payer.pubkey(), 50_000));
    assert_eq!((payment.source, payment.destination), (case.source(), case.destination()));
    assert_eq!((payment.mint, payment.decimals, payment.compute_unit_price), (case.mint, 6, 1));
    payment
}

#[tokio::test]
async fn the_npm_client_of_version_2() {
    let mut case = case(&start().await, Version::V2);
    let plain = include_str!("../../fixtures/x402/npm-svm-2.27.0-v2.txt");
    assert_eq!(accepted(&case, plain).compute_unit_limit, 20_000);
    case.memo = Some("order 7".to_owned());
    accepted(&case, include_str!("../../fixtures/x402/npm-svm-2.27.0-v2-memo.txt"));
    // The memo of the first is random.
    assert_reason(case.check_text(plain.trim_end()), Reason::MemoMismatch);
}

#[tokio::test]
async fn the_npm_client_paying_a_token_2022_mint() {
    let mut case = case(&start().await, Version::V2);
    (case.mint, case.program) = (PYUSD, spl_token_2022_interface::ID);
    accepted(&case, include_str!("../../fixtures/x402/npm-svm-2.27.0-v2-pyusd.txt"));
}

#[tokio::test]
async fn the_npm_clients_of_version_1() {
    let case = case(&start().await, Version::V1);
    accepted(&case, include_str!("../../fixtures/x402/npm-svm-2.27.0-v1.txt"));
    // Three instructions, and a limit that was measured.
    let old = accepted(&case, include_str!("../../fixtures/x402/npm-x402-1.2.0-v1.txt"));
    assert_eq!(old.transaction.message.instructions().len(), 3);
    assert_ne!(old.compute_unit_limit, 20_000);
}

#[tokio::test]
async fn the_python_client_of_both_versions() {
    let chain = start().await;
    accepted(&case(&chain, Version::V2), include_str!("../../fixtures/x402/pypi-x402-2.25.0-v2.txt"));
    accepted(&case(&chain, Version::V1), include_str!("../../fixtures/x402/pypi-x402-2.25.0-v1.txt"));
}
