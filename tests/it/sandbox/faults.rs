//! Every fault that can be injected, seen by a client.

use std::time::{Duration, Instant};

use pay402::sandbox::{
    Disconnect, Hold,
    faults::{ALWAYS, ANY},
};
use serde_json::json;
use solana_rpc_client::nonblocking::rpc_client::RpcClient;
use solana_rpc_client_api::{
    client_error::{Error, ErrorKind},
    config::RpcSendTransactionConfig,
};
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;
use tokio::task::JoinHandle;

use super::setup::{Fixture, start};

#[tokio::test]
async fn an_error_strikes_so_many_calls() {
    let fixture = start().await;
    fixture.sandbox.faults().error("getSlot", -32005, "Node is unhealthy", 2);
    for _ in 0..2 {
        let error = fixture.rpc.get_slot().await.unwrap_err();
        assert!(error.to_string().contains("-32005"), "{error}");
    }
    fixture.rpc.get_slot().await.unwrap();
    assert_eq!(fixture.sandbox.faults().calls("getSlot"), 3);
    fixture.sandbox.faults().error(ANY, -32603, "Internal error", ALWAYS);
    for _ in 0..3 {
        fixture.rpc.get_version().await.unwrap_err();
    }
    fixture.sandbox.faults().clear();
    fixture.rpc.get_version().await.unwrap();
}

#[tokio::test]
async fn a_connection_breaks_before_or_after_the_effect() {
    let fixture = start().await;
    for (when, landed) in [(Disconnect::Before, false), (Disconnect::After, true)] {
        let payment = fixture.payment(if landed { 2 } else { 1 });
        fixture.sandbox.advance_slots(1);
        fixture.sandbox.faults().disconnect("sendTransaction", when, 1);
        let error = fixture.rpc.send_transaction(&payment).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Reqwest(_)), "{error:?}");
        assert_eq!(fixture.status(&payment.signatures[0]).await.is_some(), landed);
    }
}

#[tokio::test]
async fn a_dropped_send_is_answered_and_never_lands() {
    let fixture = start().await;
    fixture.sandbox.faults().drop_sends(1);
    let payment = fixture.payment(1);
    let signature = fixture.pay(&payment).await;
    assert!(fixture.status(&signature).await.is_none());
    // The same transaction is no duplicate, since it never landed.
    fixture.rpc.send_transaction(&payment).await.unwrap();
    assert!(fixture.status(&signature).await.is_some());
}

#[tokio::test]
async fn latency_delays_an_answer() {
    let fixture = start().await;
    fixture.sandbox.faults().latency("getSlot", Duration::from_millis(50));
    let asked = Instant::now();
    fixture.rpc.get_slot().await.unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn a_node_lies() {
    let fixture = start().await;
    fixture.sandbox.faults().lie(
        "getBalance",
        Box::new(|mut result| {
            result["value"] = json!(402);
            result
        }),
    );
    assert_eq!(fixture.rpc.get_balance(&fixture.merchant()).await.unwrap(), 402);
    fixture.sandbox.faults().clear();
    assert_ne!(fixture.rpc.get_balance(&fixture.merchant()).await.unwrap(), 402);
}

/// Nodes of one chain see the same ledger, and fail each on its own.
#[tokio::test]
async fn another_node_has_the_ledger_and_faults_of_its_own() {
    let fixture = start().await;
    let node = fixture.sandbox.add_node().await.unwrap();
    let rpc = RpcClient::new(node.rpc_url());
    fixture.sandbox.faults().error(ANY, -32603, "Internal error", ALWAYS);
    let payment = fixture.payment(1);
    fixture.sandbox.send(&payment).unwrap();
    let statuses = rpc.get_signature_statuses(&payment.signatures).await.unwrap().value;
    assert!(statuses[0].is_some());
    node.faults().lag(5);
    let statuses = rpc.get_signature_statuses(&payment.signatures).await.unwrap().value;
    assert!(statuses[0].is_none());
    fixture.sandbox.faults().clear();
    assert!(fixture.status(&payment.signatures[0]).await.is_some());
    node.shutdown().await;
    rpc.get_slot().await.unwrap_err();
}

/// Data goes with an error, as a failed preflight has it.
#[tokio::test]
async fn an_error_has_data() {
    let fixture = start().await;
    let data = json!({"err": "AlreadyProcessed", "logs": []});
    fixture.sandbox.faults().error_with("sendTransaction", -32002, "simulation failed", data, 1);
    let error = fixture.rpc.send_transaction(&fixture.payment(1)).await.unwrap_err();
    assert_eq!(
        error.get_transaction_error(),
        Some(solana_transaction_error::TransactionError::AlreadyProcessed)
    );
}

/// What is sent, and what became of it as soon as somebody knows.
fn send(fixture: &Fixture, payment: &VersionedTransaction) -> JoinHandle<Result<Signature, Error>> {
    let (url, payment) = (fixture.sandbox.rpc_url(), payment.clone());
    let config = RpcSendTransactionConfig { skip_preflight: true, ..RpcSendTransactionConfig::default() };
    tokio::spawn(async move { RpcClient::new(url).send_transaction_with_config(&payment, config).await })
}

#[tokio::test]
async fn a_call_is_held_before_its_effect_or_after_it_until_it_is_let_go() {
    let fixture = start().await;
    for (number, when) in [(1, Hold::Before), (2, Hold::After)] {
        let payment = fixture.payment(number);
        let held = fixture.sandbox.faults().hold("sendTransaction", when, 1);
        let sent = send(&fixture, &payment);
        held.arrived(1).await;
        assert_eq!(fixture.status(&payment.signatures[0]).await.is_some(), when == Hold::After);
        assert!(!sent.is_finished());
        held.release();
        assert_eq!(sent.await.unwrap().unwrap(), payment.signatures[0]);
        assert!(fixture.status(&payment.signatures[0]).await.is_some());
    }
}

#[tokio::test]
async fn a_held_call_can_be_lost() {
    let fixture = start().await;
    let payment = fixture.payment(1);
    let held = fixture.sandbox.faults().hold(ANY, Hold::Before, ALWAYS);
    let sent = send(&fixture, &payment);
    held.arrived(1).await;
    held.lose();
    sent.await.unwrap().unwrap_err();
    assert!(fixture.status(&payment.signatures[0]).await.is_none());
    // Those that come later are not held any more.
    send(&fixture, &payment).await.unwrap().unwrap();
}

#[tokio::test]
async fn held_calls_go_on_when_the_hold_is_dropped_or_all_faults_end() {
    let fixture = start().await;
    for number in [1, 2] {
        let held = fixture.sandbox.faults().hold("sendTransaction", Hold::Before, ALWAYS);
        let sent = send(&fixture, &fixture.payment(number));
        held.arrived(1).await;
        if number == 1 {
            drop(held);
        } else {
            fixture.sandbox.faults().clear();
        }
        sent.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_unreliable_node_fails_about_as_often_as_it_is_told_to() {
    const CALLS: usize = 400;
    let fixture = start().await;
    let mut counts = Vec::new();
    for _ in 0..2 {
        fixture.sandbox.faults().unreliable(7, 0, 25);
        let mut failed = Vec::new();
        for number in 0..CALLS {
            if fixture.rpc.get_slot().await.is_err() {
                failed.push(number);
            }
        }
        counts.push(failed);
    }
    assert_eq!(counts[0], counts[1], "the same seed, the same calls");
    assert!((CALLS / 8..CALLS / 2).contains(&counts[0].len()), "{counts:?}");
    fixture.sandbox.faults().unreliable(7, 100, 0);
    let payment = fixture.payment(1);
    send(&fixture, &payment).await.unwrap().unwrap();
    assert!(fixture.status(&payment.signatures[0]).await.is_none());
}
