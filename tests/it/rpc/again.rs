//! A read that comes to nothing is made once more, where its failure may have passed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode};
use futures_util::future::BoxFuture;
use pay402::{
    chain::{
        Chain, ChainError, Lookup,
        accounts::AccountReader,
        assets::Network,
        settlement::{Search, SettlementChain},
        simulation::Simulator,
        solana::SolanaRpc,
    },
    sandbox::{Disconnect, Faults, TokenProgram, USDC, faults::ALWAYS},
};
use solana_signature::Signature;
use tokio::net::TcpListener;

use super::cluster::Cluster;

/// A read, and the method that it calls.
type Read = (&'static str, for<'a> fn(&'a Cluster) -> BoxFuture<'a, Result<(), ChainError>>);

const READS: [Read; 9] = [
    ("getSlot", |it| Box::pin(async { it.rpc.slot().await.map(drop) })),
    ("getBalance", |it| Box::pin(async { it.rpc.balance(&it.chain.merchant()).await.map(drop) })),
    ("getMultipleAccounts", |it| Box::pin(async { it.rpc.accounts(&[USDC]).await.map(drop) })),
    ("getTransaction", |it| {
        Box::pin(async {
            let found = it.rpc.transaction(&Signature::from([7; 64])).await?;
            assert!(matches!(found, Lookup::NotVisible));
            Ok(())
        })
    }),
    ("simulateTransaction", |it| Box::pin(simulate(it))),
    // Both halves are of one endpoint, and of one moment.
    ("getMultipleAccounts", |it| Box::pin(simulate(it))),
    ("getSignatureStatuses", |it| {
        Box::pin(async { it.statuses(&[Signature::from([7; 64])], Search::Recent).await.map(drop) })
    }),
    ("getLatestBlockhash", |it| Box::pin(async { it.rpc.last_valid_block_height().await.map(drop) })),
    ("getEpochInfo", |it| Box::pin(async { it.rpc.finality().await.map(drop) })),
];

async fn simulate(cluster: &Cluster) -> Result<(), ChainError> {
    let payment = cluster.chain.token_payment(&USDC, TokenProgram::Token, 1);
    // Its blockhash has to be confirmed.
    cluster.chain.sandbox.advance_slots(1);
    let simulation = cluster.rpc.simulate(&payment, &[USDC]).await?;
    assert_eq!((simulation.failure, simulation.accounts.len()), (None, 1));
    Ok(())
}

type Fault = fn(&Faults, &str, u32);

const IN_PASSING: [Fault; 4] = [
    |faults, method, times| faults.error(method, -32603, "internal error", times),
    |faults, method, times| faults.error(method, -32005, "Node is behind by 42 slots", times),
    |faults, method, times| faults.disconnect(method, Disconnect::Before, times),
    |faults, method, times| faults.disconnect(method, Disconnect::After, times),
];

const DEFINITE: [Fault; 2] = [
    |faults, method, times| faults.error(method, -32601, "Method not found", times),
    |faults, method, times| faults.error(method, -32602, "Invalid params", times),
];

/// How the reads of one endpoint end that fails its first calls like this, and how often it is asked.
async fn read_all(faults: &[Fault], times: u32) -> Vec<(&'static str, bool, u64)> {
    let mut told = Vec::new();
    for (method, read) in READS {
        for fault in faults {
            let cluster = Cluster::start(1).await;
            fault(cluster.faults(0), method, times);
            told.push((method, read(&cluster).await.is_ok(), cluster.calls(method)[0]));
        }
    }
    told
}

#[tokio::test]
async fn what_fails_once_is_asked_twice_and_answered() {
    for (method, answered, asked) in read_all(&IN_PASSING, 1).await {
        assert_eq!((answered, asked), (true, 2), "{method}");
    }
}

#[tokio::test]
async fn what_always_fails_is_asked_twice() {
    for (method, answered, asked) in read_all(&IN_PASSING, ALWAYS).await {
        assert_eq!((answered, asked), (false, 2), "{method}");
    }
}

#[tokio::test]
async fn what_is_refused_for_good_is_asked_once() {
    for (method, answered, asked) in read_all(&DEFINITE, ALWAYS).await {
        assert_eq!((answered, asked), (false, 1), "{method}");
    }
}

/// Nobody is asked twice before all others were asked once, and who answered is asked no more.
#[tokio::test]
async fn a_second_round_comes_after_the_first() {
    for (method, read) in READS {
        let cluster = Cluster::start(2).await;
        cluster.faults(0).error(method, -32603, "internal error", ALWAYS);
        cluster.faults(1).error(method, -32603, "internal error", 1);
        read(&cluster).await.unwrap();
        assert_eq!(cluster.calls(method), [2, 2], "{method}");
    }
}

/// One endpoint's word is asked for again, although another one has said that it knows nothing.
#[tokio::test]
async fn who_failed_is_asked_again_before_a_transaction_is_called_not_visible() {
    let cluster = Cluster::start(2).await;
    cluster.chain.sandbox.advance_slots(20);
    let landed = cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap();
    cluster.chain.sandbox.advance_slots(2);
    cluster.faults(0).error("getTransaction", -32603, "internal error", 1);
    cluster.faults(1).lag(10);
    assert!(matches!(cluster.rpc.transaction(&landed).await.unwrap(), Lookup::Confirmed(_)));
    assert_eq!(cluster.calls("getTransaction"), [2, 1]);
}

/// An endpoint that answers every request with this status; how often it was asked.
async fn answering(status: u16) -> (String, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let answer = move || {
        count.fetch_add(1, Ordering::Relaxed);
        let status = StatusCode::from_u16(status).unwrap();
        std::future::ready((status, [("retry-after", "0")], "{}"))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    (url, asked)
}

/// What a proxy in front of an endpoint says may pass where it says so, and one that has enough is not asked even more: the
/// client has done that already, five times more.
#[tokio::test]
async fn which_http_failures_may_pass() {
    for (status, expected) in [(500, 2), (502, 2), (503, 2), (400, 1), (401, 1), (403, 1), (404, 1), (429, 6)]
    {
        let (url, asked) = answering(status).await;
        let rpc = SolanaRpc::new(Network::Sandbox, &[url], &Arc::default());
        assert!(rpc.slot().await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), expected, "{status}");
    }
}

/// However slowly it fails: what is asked of everybody takes twice the time of one at most.
#[tokio::test]
async fn a_second_round_keeps_to_the_time_there_is() {
    const METHOD: &str = "getLatestBlockhash";
    let cluster = Cluster::start(2).await;
    // Put behind, and so asked after the other one has failed.
    cluster.faults(1).error(METHOD, -32603, "internal error", 1);
    cluster.rpc.last_valid_block_height().await.unwrap();
    for node in 0..2 {
        cluster.faults(node).latency(METHOD, Duration::from_millis(2_920));
        cluster.faults(node).error(METHOD, -32603, "internal error", ALWAYS);
    }
    let before = cluster.calls(METHOD);
    assert!(cluster.rpc.last_valid_block_height().await.is_err());
    let asked: Vec<u64> =
        cluster.calls(METHOD).iter().zip(before).map(|(now, before)| now - before).collect();
    assert_eq!(asked, [1, 1], "no time is left for more");
}
