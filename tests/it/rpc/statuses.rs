//! What became of transactions: nobody's failure, lag or lie makes one unknown that landed.

use std::time::Duration;

use pay402::{
    chain::settlement::{Commitment, Search, SettlementChain, SignatureStatus},
    sandbox::{
        Disconnect, FINALITY_SLOTS, Faults,
        faults::{ALWAYS, ANY},
    },
};
use serde_json::{Value, json};
use solana_signature::Signature;

use super::cluster::Cluster;

const METHOD: &str = "getSignatureStatuses";

fn unknown() -> Signature {
    Signature::from([7; 64])
}

#[tokio::test]
async fn statuses_come_in_their_order_with_their_commitment() {
    let cluster = Cluster::start(1).await;
    let landed = cluster.chain.payment(1);
    let slot = cluster.chain.sandbox.slot();
    cluster.chain.sandbox.send(&landed).unwrap();
    let signatures = [unknown(), landed.signatures[0]];
    for (advance, commitment) in
        [(0, Commitment::Processed), (1, Commitment::Confirmed), (FINALITY_SLOTS, Commitment::Finalized)]
    {
        cluster.chain.sandbox.advance_slots(advance);
        for search in [Search::Recent, Search::History { seen: slot }] {
            let statuses = cluster.rpc.statuses(&signatures, search).await.unwrap();
            let [None, Some(status)] = &statuses[..] else { panic!("{statuses:?}") };
            assert_eq!((status.slot, status.commitment, &status.failure), (slot, commitment, &None));
        }
    }
    assert_eq!(cluster.rpc.statuses(&[], Search::Recent).await.unwrap(), []);
}

#[tokio::test]
async fn a_transaction_that_failed_says_why() {
    let cluster = Cluster::start(1).await;
    let too_much = cluster.chain.payment(u64::MAX / 2);
    let signature = cluster.chain.sandbox.send(&too_much).unwrap();
    let statuses = cluster.rpc.statuses(&[signature], Search::Recent).await.unwrap();
    let failure = statuses[0].as_ref().unwrap().failure.as_ref().unwrap();
    assert!(failure.contains("custom program error"), "{failure}");
}

#[tokio::test]
async fn what_is_long_past_is_found_in_the_history() {
    let cluster = Cluster::start(2).await;
    let signature = cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap();
    cluster.chain.sandbox.advance_slots(400);
    let seen = cluster.rpc.finality().await.unwrap().slot;
    let found = cluster.rpc.statuses(&[signature], Search::Recent).await.unwrap();
    assert_eq!(found, [None], "the recent past forgets");
    let found = cluster.rpc.statuses(&[signature], Search::History { seen }).await.unwrap();
    assert_eq!(found[0].as_ref().unwrap().commitment, Commitment::Finalized);
    assert_eq!(cluster.calls(METHOD), [2, 1], "the history is asked for everywhere");
}

#[tokio::test]
async fn as_many_statuses_as_the_role_promises() {
    let cluster = Cluster::start(1).await;
    let many: Vec<Signature> = (0..=255).map(|n| Signature::from([n; 64])).collect();
    assert_eq!(cluster.rpc.statuses(&many, Search::Recent).await.unwrap().len(), 256);
}

/// Something that can be wrong with an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    Error,
    NoHistory,
    Cut,
    Lags,
    /// Its answer has no sense.
    Null,
    Short,
    NoContext,
    /// It says that it knows nothing, as of now. Nobody can tell this from the truth.
    Omits,
}

const TROUBLES: [Trouble; 9] = [
    Trouble::None,
    Trouble::Error,
    Trouble::NoHistory,
    Trouble::Cut,
    Trouble::Lags,
    Trouble::Null,
    Trouble::Short,
    Trouble::NoContext,
    Trouble::Omits,
];

impl Trouble {
    fn befall(self, faults: &Faults) {
        match self {
            Self::None => {}
            Self::Error => faults.error(METHOD, -32603, "internal error", ALWAYS),
            Self::NoHistory => faults.error(METHOD, -32011, "history is not available", ALWAYS),
            Self::Cut => faults.disconnect(METHOD, Disconnect::After, ALWAYS),
            Self::Lags => faults.lag(200),
            Self::Null => faults.lie(METHOD, Box::new(|_| Value::Null)),
            Self::Short => faults.lie(METHOD, Box::new(|answer| with_value(answer, json!([])))),
            Self::NoContext => faults.lie(METHOD, Box::new(|answer| answer["value"].clone())),
            Self::Omits => {
                faults.lie(METHOD, Box::new(|answer| with_value(answer, json!([null, null]))));
            }
        }
    }
}

fn with_value(mut answer: Value, value: Value) -> Value {
    answer["value"] = value;
    answer
}

/// Every combination of troubles on three endpoints: a transaction that landed is called unknown only when every
/// endpoint that counts omits it, and one that never landed only when one that counts says so.
#[tokio::test]
async fn no_combination_of_faults_loses_a_landed_transaction() {
    let cluster = Cluster::start(3).await;
    let landed = cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap();
    cluster.chain.sandbox.advance_slots(100);
    let seen = cluster.rpc.finality().await.unwrap().slot;
    for combination in 0..TROUBLES.len().pow(3) {
        let troubles =
            [0, 1, 2].map(|node| TROUBLES[combination / TROUBLES.len().pow(node) % TROUBLES.len()]);
        for (node, trouble) in troubles.iter().enumerate() {
            cluster.faults(node).clear();
            trouble.befall(cluster.faults(node));
        }
        let search = Search::History { seen };
        let found = cluster.rpc.statuses(&[landed, unknown()], search).await;
        let has = |trouble| troubles.contains(&trouble);
        match found {
            Err(_) => assert!(!has(Trouble::None) && !has(Trouble::Omits), "{troubles:?}: it could be told"),
            Ok(statuses) => {
                assert!(has(Trouble::None) || has(Trouble::Omits), "{troubles:?}: nobody counts");
                assert_eq!(statuses[0].is_some(), has(Trouble::None), "{troubles:?}");
                assert_eq!(statuses[1], None);
            }
        }
    }
}

/// Endpoints that hang are given up, and do not count.
#[tokio::test]
async fn endpoints_that_hang_do_not_count() {
    let cluster = Cluster::start(2).await;
    let landed = cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap();
    let search = Search::History { seen: cluster.chain.sandbox.slot() };
    cluster.faults(0).latency(ANY, Duration::from_mins(5));
    let found = cluster.rpc.statuses(&[landed], search).await.unwrap();
    assert!(found[0].is_some());
    cluster.faults(1).lag(1);
    cluster.rpc.statuses(&[landed], search).await.unwrap_err();
}

/// Of two that differ, the one that is surer is believed, wherever it stands.
#[tokio::test]
async fn the_surer_status_wins() {
    let cluster = Cluster::start(2).await;
    let signature = cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap();
    cluster.chain.sandbox.advance_slots(40);
    for lagging in [0, 1] {
        cluster.faults(lagging).lag(30);
        let found = cluster.rpc.statuses(&[signature], Search::History { seen: 0 }).await.unwrap();
        assert_eq!(found[0].as_ref().unwrap().commitment, Commitment::Finalized);
        cluster.faults(lagging).clear();
    }
}

/// What the first endpoint says became of a confirmed payment, over two of which the other one is honest.
async fn recent(says: impl Fn(Value) -> Value + Send + Sync + 'static) -> Vec<Option<SignatureStatus>> {
    let cluster = Cluster::start(2).await;
    let signature = cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap();
    cluster.chain.sandbox.advance_slots(2);
    cluster.faults(0).lie(METHOD, Box::new(says));
    let mut found = Vec::new();
    // As often as it takes to hear the others.
    for _ in 0..4 {
        found.extend(cluster.rpc.statuses(&[signature], Search::Recent).await.unwrap());
    }
    found
}

#[tokio::test]
async fn an_endpoint_that_knows_nothing_is_not_the_only_one_asked() {
    let found = recent(|answer| with_value(answer, json!([null]))).await;
    let told: Vec<_> = found.iter().flatten().collect();
    assert!(!told.is_empty() && told.iter().all(|status| status.commitment == Commitment::Confirmed));
    assert!(told.len() < found.len(), "the others are asked now and then");
}

#[tokio::test]
async fn an_endpoint_alone_is_not_believed_that_a_payment_failed() {
    let found = recent(|mut answer| {
        answer["value"][0]["err"] = json!("AccountInUse");
        answer["value"][0]["status"] = json!({"Err": "AccountInUse"});
        answer
    });
    for status in found.await {
        assert_eq!(status.unwrap().commitment, Commitment::Processed, "neither is");
    }
}

#[tokio::test]
async fn a_failure_that_nobody_contradicts_stands() {
    let cluster = Cluster::start(2).await;
    let signature = cluster.chain.sandbox.send(&cluster.chain.payment(u64::MAX / 2)).unwrap();
    cluster.chain.sandbox.advance_slots(2);
    for trouble in [Trouble::None, Trouble::Error, Trouble::Omits] {
        cluster.faults(1).clear();
        trouble.befall(cluster.faults(1));
        let found = cluster.rpc.statuses(&[signature, unknown()], Search::Recent).await.unwrap();
        let [Some(status), None] = &found[..] else { panic!("{found:?}") };
        assert_eq!((status.commitment, status.failure.is_some()), (Commitment::Confirmed, true));
    }
}
