//! The service as a process, on a chain whose slots pass by themselves.

use pay402::sandbox::USDC;
use serde_json::json;
use solana_signer::Signer;

use crate::harness::x402::{Order, paid, post, running_chain, settled, settling_process};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_has_settled_what_it_said_it_had() {
    let chain = running_chain().await;
    let folder = tempfile::tempdir().unwrap();
    let first = settling_process(&chain, folder.path(), |_| {}).await;
    let merchant = chain.wallets().merchant.pubkey();
    let before = chain.token_balance(&USDC, &merchant);
    let order = Order::of(&chain);
    let request = paid(&chain, &order);
    let answer = post(&first.url, "/settle", &request).await;
    settled(&answer, &order);
    first.kill9();
    let second = settling_process(&chain, folder.path(), |_| {}).await;
    assert_eq!(post(&second.url, "/settle", &request).await.body, answer.body);
    assert_eq!(post(&second.url, "/verify", &request).await.body["isValid"], json!(false));
    assert_eq!(chain.token_balance(&USDC, &merchant) - before, order.units);
}
