//! Sending goes to every endpoint, and one that takes it is enough.

use std::time::Duration;

use pay402::{
    chain::settlement::SettlementChain,
    sandbox::{Disconnect, faults::ALWAYS},
};
use serde_json::json;
use solana_transaction::versioned::VersionedTransaction;

use super::cluster::{Cluster, DEAD};

fn bytes(transaction: &VersionedTransaction) -> Vec<u8> {
    bincode::serialize(transaction).unwrap()
}

/// Waits until every node has been told.
async fn told(cluster: &Cluster, expected: &[u64]) {
    while cluster.calls("sendTransaction") != expected {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_endpoint_is_told() {
    let cluster = Cluster::start(3).await;
    let payment = cluster.chain.payment(1);
    cluster.rpc.send(&bytes(&payment)).await.unwrap();
    told(&cluster, &[1, 1, 1]).await;
    assert!(cluster.chain.status(&payment.signatures[0]).await.is_some());
    // The same again is no failure: it has landed.
    cluster.rpc.send(&bytes(&payment)).await.unwrap();
}

#[tokio::test]
async fn one_endpoint_that_takes_it_is_enough_and_nobody_waits_for_the_others() {
    let cluster = Cluster::beside(&[DEAD], 3).await;
    cluster.faults(0).latency("sendTransaction", Duration::from_mins(5));
    cluster.faults(1).error("sendTransaction", -32005, "Node is unhealthy", ALWAYS);
    let payment = cluster.chain.payment(1);
    tokio::time::timeout(Duration::from_secs(4), cluster.rpc.send(&bytes(&payment))).await.unwrap().unwrap();
    told(&cluster, &[1, 1, 1]).await;
    assert!(cluster.chain.status(&payment.signatures[0]).await.is_some());
}

/// Nobody says yes, and it lands all the same.
#[tokio::test]
async fn a_connection_lost_after_the_effect_is_an_error_that_says_nothing() {
    let cluster = Cluster::start(2).await;
    for node in 0..2 {
        cluster.faults(node).disconnect("sendTransaction", Disconnect::After, 1);
    }
    let payment = cluster.chain.payment(1);
    cluster.rpc.send(&bytes(&payment)).await.unwrap_err();
    assert!(cluster.chain.status(&payment.signatures[0]).await.is_some());
}

/// As nodes say it that simulate first, asked to or not.
#[tokio::test]
async fn an_endpoint_that_says_already_processed_has_it() {
    let cluster = Cluster::start(1).await;
    let payment = bytes(&cluster.chain.payment(1));
    for (error, taken) in [("AlreadyProcessed", true), ("BlockhashNotFound", false)] {
        let data = json!({"err": error, "logs": []});
        cluster.faults(0).error_with("sendTransaction", -32002, "simulation failed", data, 1);
        assert_eq!(cluster.rpc.send(&payment).await.is_ok(), taken, "{error}");
    }
}

/// An endpoint that answers with another signature has taken something else, or nothing.
#[tokio::test]
async fn another_signature_is_no_yes() {
    let cluster = Cluster::start(1).await;
    let other = cluster.chain.payment(2).signatures[0].to_string();
    cluster.faults(0).lie("sendTransaction", Box::new(move |_| json!(other)));
    cluster.rpc.send(&bytes(&cluster.chain.payment(1))).await.unwrap_err();
}

#[tokio::test]
async fn bytes_that_are_no_transaction_are_not_sent() {
    let cluster = Cluster::start(1).await;
    cluster.rpc.send(b"nothing").await.unwrap_err();
    assert_eq!(cluster.calls("sendTransaction"), [0]);
}
