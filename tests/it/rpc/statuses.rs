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

use super::cluster::{Cluster, history};

pub(super) const METHOD: &str = "getSignatureStatuses";

pub(super) fn unknown() -> Signature {
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
        for search in [Search::Recent, history(slot)] {
            let statuses = cluster.statuses(&signatures, search).await.unwrap();
            let [None, Some(status)] = &statuses[..] else { panic!("{statuses:?}") };
            assert_eq!((status.slot, status.commitment, &status.failure), (slot, commitment, &None));
        }
    }
    assert_eq!(cluster.statuses(&[], Search::Recent).await.unwrap(), []);
}

#[tokio::test]
async fn a_transaction_that_failed_says_why() {
    let cluster = Cluster::start(1).await;
    let too_much = cluster.chain.payment(u64::MAX / 2);
    let signature = cluster.chain.sandbox.send(&too_much).unwrap();
    let statuses = cluster.statuses(&[signature], Search::Recent).await.unwrap();
    let failure = statuses[0].as_ref().unwrap().failure.as_ref().unwrap();
    assert!(failure.contains("custom program error"), "{failure}");
}

#[tokio::test]
async fn what_is_long_past_is_found_in_the_history() {
    let cluster = Cluster::start(2).await;
    let signature = cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap();
    cluster.chain.sandbox.advance_slots(400);
    let seen = cluster.rpc.finality().await.unwrap().slot;
    let found = cluster.statuses(&[signature], Search::Recent).await.unwrap();
    assert_eq!(found, [None], "the recent past forgets");
    let found = cluster.statuses(&[signature], history(seen)).await.unwrap();
    assert_eq!(found[0].as_ref().unwrap().commitment, Commitment::Finalized);
    assert_eq!(cluster.calls(METHOD), [2, 1], "the history is asked for everywhere");
}

#[tokio::test]
async fn as_many_statuses_as_the_role_promises() {
    let cluster = Cluster::start(1).await;
    let many: Vec<Signature> = (0..=255).map(|n| Signature::from([n; 64])).collect();
    assert_eq!(cluster.statuses(&many, Search::Recent).await.unwrap().len(), 256);
}

/// Something that can be wrong with an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
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
    pub(super) fn befall(self, faults: &Faults) {
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
                faults.lie(
                    METHOD,
                    Box::new(|answer| {
                        let nothing = vec![Value::Null; answer["value"].as_array().map_or(0, Vec::len)];
                        with_value(answer, nothing.into())
                    }),
                );
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
        let search = history(seen);
        let found = cluster.statuses(&[landed, unknown()], search).await;
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
    let search = history(cluster.chain.sandbox.slot());
    cluster.faults(0).latency(ANY, Duration::from_mins(5));
    let found = cluster.statuses(&[landed], search).await.unwrap();
    assert!(found[0].is_some());
    cluster.faults(1).lag(1);
    cluster.statuses(&[landed], search).await.unwrap_err();
}

/// Of two that differ, the one that is surer is believed as far as the other one is sure; and to the end where that one has not
/// seen as much.
#[tokio::test]
async fn the_surer_status_wins_against_who_would_not_know() {
    let cluster = Cluster::start(2).await;
    let signature = cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap();
    cluster.chain.sandbox.advance_slots(40);
    let seen = cluster.chain.sandbox.slot() - 10;
    for lagging in [0, 1] {
        cluster.faults(lagging).lag(30);
        for (seen, commitment) in [(0, Commitment::Confirmed), (seen, Commitment::Finalized)] {
            let found = cluster.statuses(&[signature], history(seen)).await.unwrap();
            assert_eq!(found[0].as_ref().unwrap().commitment, commitment);
        }
        cluster.faults(lagging).clear();
    }
}

/// How often what is asked until the others have been heard about what the first endpoint does not know.
pub(super) const LOOKS: usize = 16;

pub(super) fn knows_nothing(answer: Value) -> Value {
    with_value(answer, json!([null]))
}

pub(super) fn fails(mut answer: Value) -> Value {
    answer["value"][0]["err"] = json!("AccountInUse");
    answer["value"][0]["status"] = json!({"Err": "AccountInUse"});
    answer
}

/// What is found of a confirmed payment, over so many endpoints of which the first one says this.
pub(super) async fn recent(
    nodes: usize,
    says: impl Fn(Value) -> Value + Send + Sync + 'static,
) -> Vec<Option<SignatureStatus>> {
    let cluster = Cluster::start(nodes).await;
    let signature = cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap();
    cluster.chain.sandbox.advance_slots(2);
    cluster.faults(0).lie(METHOD, Box::new(says));
    let mut found = Vec::new();
    for _ in 0..LOOKS {
        found.extend(cluster.statuses(&[signature], Search::Recent).await.unwrap());
    }
    found
}

#[tokio::test]
async fn an_endpoint_that_knows_nothing_is_not_the_only_one_asked() {
    // One that knows it stands against one that does not; two are believed.
    for (nodes, expected) in [(2, Commitment::Processed), (3, Commitment::Confirmed)] {
        let found = recent(nodes, knows_nothing).await;
        let told: Vec<_> = found.iter().flatten().collect();
        assert!(!told.is_empty() && told.iter().all(|status| status.commitment == expected), "{found:?}");
        assert!(told.len() < found.len(), "the others are asked now and then");
    }
}

/// The batches that are in flight are asked about in turn: each of them is now and then asked about thoroughly.
#[tokio::test]
async fn however_many_batches_there_are_all_are_looked_for_elsewhere() {
    let cluster = Cluster::start(3).await;
    let landed: Vec<Signature> =
        (1..=4).map(|units| cluster.chain.sandbox.send(&cluster.chain.payment(units)).unwrap()).collect();
    cluster.chain.sandbox.advance_slots(2);
    cluster.faults(0).lie(METHOD, Box::new(knows_nothing));
    for batches in 1..=landed.len() {
        let mut found = vec![false; batches];
        for _ in 0..LOOKS {
            for (signature, found) in landed.iter().zip(&mut found) {
                let statuses = cluster.statuses(&[*signature], Search::Recent).await.unwrap();
                *found |= statuses[0].is_some();
            }
        }
        assert_eq!(found, vec![true; batches]);
    }
}

/// Says that everything has succeeded, here and for good.
pub(super) fn succeeds(mut answer: Value) -> Value {
    let slot = answer["context"]["slot"].clone();
    for status in answer["value"].as_array_mut().unwrap() {
        *status = json!({
            "slot": slot, "confirmations": null, "err": null, "status": {"Ok": null},
            "confirmationStatus": "finalized",
        });
    }
    answer
}
