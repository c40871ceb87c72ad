//! Reads go to the endpoint that does best.

use std::time::Duration;

use pay402::{
    chain::{Chain, ChainError, accounts::AccountReader, settlement::Search},
    sandbox::{
        Disconnect,
        faults::{ALWAYS, ANY},
    },
};
use serde_json::json;

use super::cluster::{Cluster, DEAD, history};

#[tokio::test]
async fn the_first_endpoint_is_asked_while_it_does_well() {
    let cluster = Cluster::start(3).await;
    for _ in 0..5 {
        cluster.rpc.slot().await.unwrap();
    }
    assert_eq!(cluster.calls("getSlot"), [5, 0, 0]);
    assert_eq!(cluster.sample(r#"rpc_endpoint_requests_total{endpoint="0",status="success"}"#), Some(5.0));
    assert_eq!(cluster.sample(r#"rpc_endpoint_up{endpoint="0"}"#), Some(1.0));
}

#[tokio::test]
async fn an_endpoint_that_errs_is_put_behind() {
    let cluster = Cluster::start(2).await;
    cluster.faults(0).error("getSlot", -32603, "internal error", 1);
    for _ in 0..5 {
        cluster.rpc.slot().await.unwrap();
    }
    assert_eq!(cluster.calls("getSlot"), [1, 5]);
    assert_eq!(cluster.sample(r#"rpc_endpoint_requests_total{endpoint="0",status="error"}"#), Some(1.0));
    assert_eq!(cluster.sample(r#"rpc_endpoint_up{endpoint="0"}"#), Some(0.0));
}

/// An endpoint that was put behind is asked when the others fail, and a good answer brings it back to the front.
#[tokio::test]
async fn an_endpoint_put_behind_helps_out_and_comes_back() {
    let cluster = Cluster::start(2).await;
    cluster.faults(0).error("getSlot", -32603, "internal error", 1);
    cluster.rpc.slot().await.unwrap();
    cluster.faults(1).disconnect("getSlot", Disconnect::Before, 1);
    cluster.rpc.slot().await.unwrap();
    assert_eq!(cluster.sample(r#"rpc_endpoint_up{endpoint="0"}"#), Some(1.0));
    assert_eq!(cluster.sample(r#"rpc_endpoint_up{endpoint="1"}"#), Some(0.0));
    cluster.rpc.slot().await.unwrap();
    assert_eq!(cluster.calls("getSlot"), [3, 2]);
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_waited_for_once() {
    let cluster = Cluster::start(2).await;
    cluster.faults(0).latency(ANY, Duration::from_mins(5));
    for _ in 0..5 {
        cluster.rpc.slot().await.unwrap();
    }
    assert_eq!(cluster.calls("getSlot"), [1, 5]);
}

#[tokio::test]
async fn an_endpoint_that_lags_far_behind_is_put_behind() {
    let cluster = Cluster::start(2).await;
    cluster.chain.sandbox.advance_slots(100);
    // The other one has answered, so that there is something to lag behind.
    cluster.faults(0).error("getSlot", -32603, "internal error", 1);
    let tip = cluster.rpc.slot().await.unwrap();
    cluster.faults(1).error("getSlot", -32603, "internal error", 1);
    cluster.faults(0).lag(60);
    assert_eq!(cluster.rpc.slot().await.unwrap(), tip - 60, "better than none");
    assert_eq!(cluster.sample(r#"rpc_endpoint_lag_slots{endpoint="0"}"#), Some(60.0));
    assert_eq!(cluster.sample(r#"rpc_endpoint_up{endpoint="0"}"#), Some(0.0));
}

#[tokio::test]
async fn a_little_lag_is_none() {
    let cluster = Cluster::start(2).await;
    cluster.faults(0).error("getSlot", -32603, "internal error", 1);
    cluster.rpc.slot().await.unwrap();
    cluster.faults(1).error("getSlot", -32603, "internal error", 1);
    cluster.faults(0).lag(20);
    cluster.rpc.slot().await.unwrap();
    assert_eq!(cluster.sample(r#"rpc_endpoint_up{endpoint="0"}"#), Some(1.0));
}

/// Providers leave out what only tells how far back they know, or whether they are well: that says nothing about whoever is
/// in front, and does not excuse one that lags.
#[tokio::test]
async fn what_an_endpoint_need_not_answer_is_neither_for_nor_against_it() {
    for (lag, up) in [(0, 1.0), (60, 0.0)] {
        let cluster = Cluster::start(2).await;
        cluster.chain.sandbox.advance_slots(2_000);
        let landed = [cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap()];
        cluster.chain.sandbox.advance_slots(2);
        let faults = cluster.faults(0);
        for method in ["getFirstAvailableBlock", "getBlocksWithLimit", "getBlockTime", "getHealth"] {
            for code in [None, Some(-32601), Some(-32602)] {
                let looks = async |search| cluster.statuses(&landed, search).await.unwrap();
                // The other one has answered, so that there is something to lag behind.
                looks(history(0)).await;
                faults.lag(lag);
                // It has to be asked all there is: it does not know what the other one does.
                faults.lie(
                    "getSignatureStatuses",
                    Box::new(|mut answer| {
                        answer["value"] = json!([null]);
                        answer
                    }),
                );
                faults.lie("getBlocksWithLimit", Box::new(|_| json!([1_500])));
                if let Some(code) = code {
                    faults.error(method, code, "no such thing here", ALWAYS);
                }
                let asked = faults.calls(method);
                looks(history(0)).await;
                let mut left = 16;
                while method == "getHealth" && faults.calls(method) == asked && left > 0 {
                    looks(Search::Recent).await;
                    left -= 1;
                }
                assert!(faults.calls(method) > asked, "{method}");
                let sample = cluster.sample(r#"rpc_endpoint_up{endpoint="0"}"#);
                assert_eq!(sample, Some(up), "{method} {code:?}");
                faults.clear();
            }
        }
    }
}

/// What an endpoint says that makes no sense is its failure, and the next one is asked.
#[tokio::test]
async fn nonsense_is_a_failure() {
    let cluster = Cluster::start(2).await;
    cluster.faults(0).lie(ANY, Box::new(|_| json!({"made": "up"})));
    cluster.rpc.slot().await.unwrap();
    assert!(cluster.rpc.balance(&cluster.chain.merchant()).await.unwrap() > 0);
    assert_eq!(cluster.sample(r#"rpc_endpoint_up{endpoint="0"}"#), Some(0.0));
    assert_eq!(cluster.sample(r#"rpc_endpoint_up{endpoint="1"}"#), Some(1.0));
}

#[tokio::test]
async fn without_any_endpoint_there_is_an_error_and_an_end() {
    let cluster = Cluster::beside(&[DEAD, DEAD], 1).await;
    cluster.faults(0).error(ANY, -32005, "Node is unhealthy", ALWAYS);
    assert!(matches!(cluster.rpc.slot().await, Err(ChainError::Unreachable(_))));
    assert_eq!(cluster.calls("getSlot"), [2], "each endpoint is asked twice at most");
    cluster.faults(0).clear();
    cluster.rpc.slot().await.unwrap();
}

/// Providers put access tokens into paths, queries, user names and host names.
#[tokio::test]
async fn no_part_of_a_url_shows() {
    let url = "http://secret-user:secret-word@127.0.0.1:1/secret-path?key=secret-query";
    let cluster = Cluster::beside(&[url, "http://secret-host.invalid/"], 1).await;
    cluster.faults(0).error(ANY, -32005, "Node is unhealthy", ALWAYS);
    let error = cluster.rpc.slot().await.unwrap_err();
    let mut told = format!("{error} {error:?} {:?} {}", cluster.rpc, cluster.metrics.render().unwrap());
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        told.extend([error.to_string(), format!("{error:?}")]);
        cause = error.source();
    }
    assert!(!told.contains("secret-user") && !told.contains("secret-word"), "{told}");
    assert!(!told.contains("secret-path") && !told.contains("secret-query"), "{told}");
}
