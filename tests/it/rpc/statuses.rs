//! What became of transactions: nobody's failure, lag or lie makes one unknown that landed.

use std::{sync::Arc, time::Duration};

use pay402::{
    chain::settlement::{Commitment, Search, SettlementChain, SignatureStatus},
    clock::{Clock, UnixMs},
    sandbox::{
        Disconnect, FINALITY_SLOTS, Faults,
        faults::{ALWAYS, ANY},
    },
};
use serde_json::{Value, json};
use solana_signature::Signature;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, history};
use crate::{
    harness::{TestApp, logs, wire::PATIENCE},
    sandbox::setup::start,
};

const METHOD: &str = "getSignatureStatuses";
/// After so long, one that says nothing is not waited for.
const SILENCE: Duration = Duration::from_millis(5_100);

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
const LOOKS: usize = 16;

fn knows_nothing(answer: Value) -> Value {
    with_value(answer, json!([null]))
}

fn fails(mut answer: Value) -> Value {
    answer["value"][0]["err"] = json!("AccountInUse");
    answer["value"][0]["status"] = json!({"Err": "AccountInUse"});
    answer
}

/// What is found of a confirmed payment, over so many endpoints of which the first one says this.
async fn recent(
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

#[tokio::test]
async fn an_endpoint_alone_is_not_believed_that_a_payment_failed() {
    for status in recent(2, fails).await {
        assert_eq!(status.unwrap().commitment, Commitment::Processed, "neither is");
    }
}

/// Not even when it is surer than the one that is honest: nobody else says that it is final.
#[tokio::test]
async fn an_endpoint_alone_is_not_believed_that_a_payment_failed_for_good() {
    let says = |answer| {
        let mut answer = fails(answer);
        answer["value"][0]["confirmationStatus"] = json!("finalized");
        answer["value"][0]["confirmations"] = Value::Null;
        answer
    };
    for status in recent(2, says).await {
        assert_eq!(status.unwrap().commitment, Commitment::Processed);
    }
}

/// And not while others do not know of it either: it may land there yet, and succeed.
#[tokio::test]
async fn a_failure_that_nobody_contradicts_stands() {
    for (trouble, at_first, expected) in [
        (Trouble::None, Commitment::Confirmed, Commitment::Confirmed),
        (Trouble::Error, Commitment::Processed, Commitment::Confirmed),
        (Trouble::Omits, Commitment::Processed, Commitment::Processed),
    ] {
        let cluster = Cluster::start(2).await;
        let signature = cluster.chain.sandbox.send(&cluster.chain.payment(u64::MAX / 2)).unwrap();
        cluster.chain.sandbox.advance_slots(2);
        trouble.befall(cluster.faults(1));
        for (wait, expected) in [(Duration::ZERO, at_first), (SILENCE, expected)] {
            sleep(wait).await;
            let found = cluster.statuses(&[signature, unknown()], Search::Recent).await.unwrap();
            let [Some(status), None] = &found[..] else { panic!("{found:?}") };
            assert_eq!((status.commitment, status.failure.is_some()), (expected, true), "{trouble:?}");
        }
    }
}

/// One that says nothing may only have failed in passing, once or twice: that does not leave a liar alone.
#[tokio::test]
async fn who_fails_in_passing_is_waited_for() {
    type Fails = fn(&Cluster);
    let fails_in_passing: [Fails; 4] = [
        |cluster| cluster.faults(1).error(METHOD, -32603, "internal error", 1),
        |cluster| cluster.faults(1).error(METHOD, -32603, "internal error", 2),
        |cluster| cluster.faults(1).disconnect(METHOD, Disconnect::After, 3),
        |cluster| (0..2).for_each(|node| cluster.faults(node).error(METHOD, -32603, "internal error", 1)),
    ];
    for (number, trouble) in fails_in_passing.into_iter().enumerate() {
        let cluster = Cluster::start(2).await;
        let signature = cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap();
        cluster.chain.sandbox.advance_slots(FINALITY_SLOTS + 100);
        cluster.faults(0).lie(METHOD, Box::new(fails));
        trouble(&cluster);
        for _ in 0..4 {
            let found = cluster.statuses(&[signature], Search::Recent).await.unwrap();
            assert_eq!(found[0].as_ref().unwrap().commitment, Commitment::Processed, "{number}");
        }
        let search = history(cluster.rpc.finality().await.unwrap().slot);
        for (lie, is_known) in [(fails as fn(Value) -> Value, true), (knows_nothing, false)] {
            cluster.faults(0).lie(METHOD, Box::new(lie));
            trouble(&cluster);
            let found = cluster.rpc.statuses(&[signature], search).await.unwrap();
            match &found.statuses[0] {
                Some(status) => assert_eq!(status.commitment, Commitment::Processed, "{number}"),
                None => {
                    assert!(!is_known && found.since.is_none(), "{number}: nobody may say that it is none");
                }
            }
        }
    }
}

/// One that answers what happened just now does not have its history waited for: it may be slow, or fail, for good.
#[tokio::test]
async fn a_history_that_is_never_told_is_not_waited_for_for_ever() {
    let cluster = Cluster::start(2).await;
    cluster.chain.sandbox.advance_slots(FINALITY_SLOTS + 100);
    let search = history(cluster.rpc.finality().await.unwrap().slot);
    let deadline = Instant::now() + PATIENCE;
    let mut looks = 0;
    loop {
        cluster.faults(1).error(METHOD, -32603, "internal error", ALWAYS);
        let found = cluster.rpc.statuses(&[unknown()], search).await.unwrap();
        cluster.faults(1).clear();
        assert_eq!(found.statuses, [None]);
        looks += 1;
        if found.since.is_some() {
            break;
        }
        assert!(Instant::now() < deadline, "it is waited for");
        for _ in 0..LOOKS {
            cluster.statuses(&[unknown()], Search::Recent).await.unwrap();
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert!(looks > 1, "it is waited for at first");
}

/// What an endpoint does not take, or answers to others, says nothing of whether it will tell what became of a payment.
#[tokio::test]
async fn who_takes_no_payment_is_asked_what_became_of_it() {
    let cluster = Cluster::start(2).await;
    let payment = cluster.chain.payment(1);
    cluster.faults(1).error("sendTransaction", -32603, "internal error", ALWAYS);
    cluster.rpc.send(&bincode::serialize(&payment).unwrap()).await.unwrap();
    while cluster.calls("sendTransaction") != [1, 1] {
        tokio::task::yield_now().await;
    }
    cluster.chain.sandbox.advance_slots(2);
    cluster.faults(0).lie(METHOD, Box::new(fails));
    let found = cluster.statuses(&[payment.signatures[0]], Search::Recent).await.unwrap();
    assert_eq!(found[0].as_ref().unwrap().commitment, Commitment::Processed);
}

/// However often one of three says that it is not sure yet, two others are.
#[tokio::test]
async fn one_that_is_never_sure_holds_nothing_up() {
    let says = |mut answer: Value| {
        answer["value"][0]["confirmationStatus"] = json!("processed");
        answer
    };
    let found = recent(3, says).await;
    let is_sure = |status: &SignatureStatus| status.commitment == Commitment::Confirmed;
    assert!(found.iter().flatten().any(is_sure), "{found:?}");
}

/// Says that everything has succeeded, here and for good.
fn succeeds(mut answer: Value) -> Value {
    let slot = answer["context"]["slot"].clone();
    for status in answer["value"].as_array_mut().unwrap() {
        *status = json!({
            "slot": slot, "confirmations": null, "err": null, "status": {"Ok": null},
            "confirmationStatus": "finalized",
        });
    }
    answer
}

/// One that makes a success up is not believed while anybody answers who would know, wherever it stands; and neither with
/// a slot that the others have not reached.
#[tokio::test]
async fn an_endpoint_alone_is_not_believed_that_a_payment_succeeded() {
    type Lie = fn(Value) -> Value;
    let lies: [Lie; 2] = [succeeds, |mut answer| {
        answer["context"]["slot"] = json!(1_000_000);
        succeeds(answer)
    }];
    for nodes in [2, 3] {
        for (liar, lie) in (0..nodes).flat_map(|liar| lies.map(|lie| (liar, lie))) {
            let cluster = Cluster::start(nodes).await;
            cluster.chain.sandbox.advance_slots(2);
            cluster.faults(liar).lie(METHOD, Box::new(lie));
            for _ in 0..LOOKS {
                let found = cluster.statuses(&[unknown()], Search::Recent).await.unwrap();
                let commitment = found[0].as_ref().map(|status| status.commitment);
                assert!(commitment.is_none_or(|it| it == Commitment::Processed), "{liar} of {nodes}");
            }
            let search = history(cluster.rpc.finality().await.unwrap().slot);
            let found = cluster.statuses(&[unknown()], search).await.unwrap();
            assert_eq!(found[0].as_ref().unwrap().commitment, Commitment::Processed, "{liar} of {nodes}");
        }
    }
}

/// Nor is one that tells the final block's slot far ahead, so that nobody else has seen it, and has the payment land there:
/// its height is so near to what the others say that it is the one taken.
#[tokio::test]
async fn an_endpoint_alone_does_not_tell_what_the_others_must_have_seen() {
    const FAR: u64 = 1 << 39;
    for nodes in [2, 3] {
        let cluster = Cluster::start(nodes).await;
        cluster.chain.sandbox.advance_slots(40);
        let honest = cluster.rpc.finality().await.unwrap();
        if nodes > 2 {
            cluster.faults(2).lag(2);
        }
        let (slot, block_height) = (FAR, honest.block_height - 1);
        let liar = cluster.faults(0);
        liar.lie(
            "getEpochInfo",
            Box::new(move |_| json!({"absoluteSlot": slot, "blockHeight": block_height})),
        );
        liar.lie(
            METHOD,
            Box::new(|mut answer| {
                answer["context"]["slot"] = json!(FAR);
                succeeds(answer)
            }),
        );
        let finality = cluster.rpc.finality().await.unwrap();
        let (seen, age) = (finality.slot, Duration::from_mins(3));
        let found = cluster.statuses(&[unknown()], Search::History { seen, age }).await.unwrap();
        let commitment = found[0].as_ref().map(|status| status.commitment);
        assert_eq!(commitment, Some(Commitment::Processed), "one of {nodes}, as of {finality:?}");
        assert!(finality.slot <= honest.slot && finality.block_height <= honest.block_height);
    }
}

/// A success waits for a second endpoint that answers, and for none that does not.
#[tokio::test]
async fn a_success_stands_where_a_second_one_knows_it_or_no_other_answers() {
    let (sure, unsure) = (Commitment::Confirmed, Commitment::Processed);
    for (second, third, at_first, expected) in [
        (Trouble::None, Trouble::None, sure, sure),
        (Trouble::Omits, Trouble::None, sure, sure),
        (Trouble::Cut, Trouble::None, sure, sure),
        (Trouble::Lags, Trouble::None, sure, sure),
        (Trouble::Cut, Trouble::Error, unsure, sure),
        (Trouble::Short, Trouble::Null, unsure, sure),
        (Trouble::Omits, Trouble::Cut, unsure, unsure),
        (Trouble::Omits, Trouble::Omits, unsure, unsure),
        // It says itself that it is behind.
        (Trouble::Lags, Trouble::Cut, unsure, sure),
    ] {
        let cluster = Cluster::start(3).await;
        let signature = cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap();
        cluster.chain.sandbox.advance_slots(2);
        second.befall(cluster.faults(1));
        third.befall(cluster.faults(2));
        for (wait, expected) in [(Duration::ZERO, at_first), (SILENCE, expected)] {
            sleep(wait).await;
            let found = cluster.statuses(&[signature, unknown()], Search::Recent).await.unwrap();
            assert_eq!(found[0].as_ref().unwrap().commitment, expected, "{second:?} {third:?}");
            assert_eq!(found[1], None);
        }
    }
}

/// A node that was started again knows of nothing new for as long as it has not caught up, and says so.
#[tokio::test]
async fn who_is_catching_up_speaks_against_nothing() {
    for is_behind in [true, false] {
        let cluster = Cluster::start(2).await;
        let signature = cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap();
        cluster.chain.sandbox.advance_slots(2);
        if is_behind {
            cluster.faults(1).lag(3);
        } else {
            Trouble::Omits.befall(cluster.faults(1));
        }
        let commitment = async || {
            let found = cluster.statuses(&[signature], Search::Recent).await.unwrap();
            found[0].as_ref().unwrap().commitment
        };
        assert_eq!(commitment().await, Commitment::Processed, "it will have heard of it soon");
        cluster.faults(1).error("getHealth", -32005, "Node is behind by 200 slots", ALWAYS);
        // Its slot is behind the transaction's: whoever claims to be beyond it has to know it.
        let expected = if is_behind { Commitment::Confirmed } else { Commitment::Processed };
        assert_eq!(commitment().await, expected);
    }
}

#[tokio::test]
async fn where_two_agree_nobody_waits_for_a_third() {
    let cluster = Cluster::start(3).await;
    let signature = cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap();
    cluster.chain.sandbox.advance_slots(2);
    cluster.faults(2).latency(METHOD, Duration::from_mins(5));
    let found = cluster.statuses(&[signature], Search::Recent).await.unwrap();
    assert_eq!(found[0].as_ref().unwrap().commitment, Commitment::Confirmed);
    let failed = r#"rpc_endpoint_requests_total{endpoint="2",status="error"}"#;
    assert!(
        cluster.sample(failed).is_none_or(|failed| failed < 1.0),
        "it was waited for until it was given up"
    );
}

/// One that knows no history before this slot, and so nothing of what is older: it answers as if there had been nothing.
fn forgets(cluster: &Cluster, node: usize, first: u64) {
    let faults = cluster.faults(node);
    faults.lie("getFirstAvailableBlock", Box::new(move |_| json!(first)));
    faults.lie(METHOD, Box::new(knows_nothing));
}

#[tokio::test]
async fn a_history_is_known_to_reach_back_only_so_far() {
    let cluster = Cluster::start(2).await;
    let landed = cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap();
    let landed_at = cluster.chain.clock.now();
    cluster.chain.clock.advance(Duration::from_hours(72));
    cluster.chain.sandbox.advance_slots(400);
    let search = history(cluster.rpc.finality().await.unwrap().slot);

    let whole = cluster.rpc.statuses(&[unknown()], search).await.unwrap();
    assert_eq!((&whole.statuses[..], whole.since), (&[None][..], Some(UnixMs(0))), "since genesis");
    let first = cluster.chain.sandbox.slot() - 10;
    forgets(&cluster, 0, first);
    let found = cluster.rpc.statuses(&[landed], search).await.unwrap();
    assert_eq!(
        found.statuses[0].as_ref().unwrap().commitment,
        Commitment::Finalized,
        "the other one knows it"
    );

    forgets(&cluster, 1, first);
    let found = cluster.rpc.statuses(&[landed], search).await.unwrap();
    assert_eq!(found.statuses, [None]);
    assert!(found.since.unwrap() > landed_at, "nobody would know it: {found:?}");
    // With no say in when its history begins, an endpoint does as well as before, and says nothing of it.
    for node in 0..2 {
        let faults = cluster.faults(node);
        faults.error("getFirstAvailableBlock", -32601, "Method not found", ALWAYS);
    }
    let found = cluster.rpc.statuses(&[landed], search).await.unwrap();
    assert_eq!((&found.statuses[..], found.since), (&[None][..], None));
    assert_eq!(cluster.sample(r#"rpc_endpoint_up{endpoint="0"}"#), Some(1.0));
}

/// In slots.
const A_DAY: u64 = 216_000;

/// One that has pruned what landed long ago, and does not tell so, stands against nothing of then.
#[tokio::test]
async fn who_does_not_tell_how_far_back_it_knows_holds_up_nothing_of_long_ago() {
    for untold in ["getBlockTime", "getFirstAvailableBlock"] {
        let cluster = Cluster::start(2).await;
        let landed = cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap();
        cluster.chain.sandbox.advance_slots(FINALITY_SLOTS + 100);
        forgets(&cluster, 1, cluster.chain.sandbox.slot() - 10);
        cluster.faults(1).error(untold, -32601, "Method not found", ALWAYS);
        let found = async || {
            let found = cluster.statuses(&[landed], history(0)).await.unwrap();
            found[0].as_ref().unwrap().commitment
        };
        let is_told = untold == "getBlockTime";
        let expected = if is_told { Commitment::Finalized } else { Commitment::Processed };
        assert_eq!(found().await, expected, "{untold}: it is held to know of today");
        cluster.faults(1).lie(
            METHOD,
            Box::new(|mut answer| {
                answer["context"]["slot"] = json!(answer["context"]["slot"].as_u64().unwrap() + A_DAY);
                knows_nothing(answer)
            }),
        );
        assert_eq!(found().await, Commitment::Finalized, "{untold}");
    }
}

/// A node that was started from a snapshot says 0 as well, for as long as there are not two blocks that it could name.
#[tokio::test]
async fn who_has_no_blocks_yet_is_not_believed_to_know_them_all() {
    let cluster = Cluster::start(1).await;
    let (sandbox, faults) = (&cluster.chain.sandbox, cluster.faults(0));
    sandbox.advance_slots(2_000);
    let search = history(cluster.rpc.finality().await.unwrap().slot);
    let since = async || cluster.rpc.statuses(&[unknown()], search).await.unwrap().since;
    assert_eq!(since().await, Some(UnixMs(0)));
    let snapshot = sandbox.slot() - 10;
    faults.lie("getBlocksWithLimit", Box::new(move |_| json!([snapshot])));
    assert!(
        since().await.is_some_and(|since| since > cluster.chain.clock.now()),
        "by the clocks' difference"
    );
    faults.lie("getBlocksWithLimit", Box::new(|_| json!([])));
    assert_eq!(since().await, None);
    faults.error("getBlocksWithLimit", -32601, "Method not found", ALWAYS);
    assert_eq!(since().await, None);
}

/// Of a payment of just now, no slot of long ago is a reason to believe one alone.
#[tokio::test]
async fn a_liar_does_not_get_around_the_others_by_a_slot_that_they_have_pruned() {
    let cluster = Cluster::start(2).await;
    cluster.chain.sandbox.advance_slots(6_000);
    cluster.faults(0).lie(
        METHOD,
        Box::new(|answer| {
            let mut answer = succeeds(answer);
            answer["value"][0]["slot"] = json!(70);
            answer
        }),
    );
    forgets(&cluster, 1, 500);
    let seen = cluster.rpc.finality().await.unwrap().slot;
    for (age, expected) in
        [(Duration::from_mins(3), Commitment::Processed), (Duration::from_hours(72), Commitment::Finalized)]
    {
        let found = cluster.statuses(&[unknown()], Search::History { seen, age }).await.unwrap();
        assert_eq!(found[0].as_ref().unwrap().commitment, expected, "{age:?}");
    }
}

/// What one alone says is counted, and what is contradicted.
#[tokio::test]
async fn outcomes_that_are_held_back_are_counted() {
    type Lie = fn(Value) -> Value;
    let lies: [(Lie, &str); 2] = [(knows_nothing, "alone"), (fails, "contradicted")];
    for (lie, reason) in lies {
        let cluster = Cluster::start(2).await;
        let series = format!(r#"rpc_outcomes_in_doubt_total{{reason="{reason}"}}"#);
        let signature = cluster.chain.sandbox.send(&cluster.chain.payment(1)).unwrap();
        cluster.chain.sandbox.advance_slots(2);
        cluster.statuses(&[signature], Search::Recent).await.unwrap();
        assert_eq!(cluster.sample(&series), None);
        cluster.faults(1).lie(METHOD, Box::new(lie));
        for (search, count) in [(Search::Recent, 1.0), (history(0), 2.0)] {
            cluster.statuses(&[signature], search).await.unwrap();
            assert_eq!(cluster.sample(&series), Some(count));
        }
    }
}

/// They are looked at twice a second, by each instance: the log would hold nothing else.
#[tokio::test]
async fn a_contradiction_that_goes_on_is_warned_of_now_and_then() {
    let cluster = Cluster::start(2).await;
    let landed: Vec<Signature> =
        (1..=2).map(|units| cluster.chain.sandbox.send(&cluster.chain.payment(units)).unwrap()).collect();
    cluster.chain.sandbox.advance_slots(2);
    cluster.faults(1).lie(METHOD, Box::new(fails));
    logs::listen();
    for _ in 0..20 {
        for signature in &landed {
            cluster.statuses(&[*signature], Search::Recent).await.unwrap();
        }
    }
    let heard = logs::heard();
    let told: Vec<&str> = heard.lines().filter(|line| line.contains("contradict each other")).collect();
    let warnings = told.iter().filter(|line| line.contains(r#""level":"WARN""#)).count();
    // A busy machine may take minutes for it.
    assert!((1..told.len() / 4).contains(&warnings) && told.len() == 40, "{told:#?}");
    assert!(told[0].contains(&landed[0].to_string()), "{told:#?}");
}

/// What is said once is not said for ever.
#[tokio::test]
async fn whoever_keeps_history_again_is_noticed() {
    let cluster = Cluster::start(1).await;
    for (method, lack) in [(METHOD, "keeps"), ("getFirstAvailableBlock", "tells")] {
        cluster.faults(0).error(method, -32011, "history is not available", ALWAYS);
        cluster.rpc.look_for_history().await;
        let told = cluster.rpc.lack_of_history().unwrap();
        assert!(told.contains(lack), "{told}");
        cluster.faults(0).clear();
        cluster.rpc.look_for_history().await;
        assert_eq!(cluster.rpc.lack_of_history(), None);
    }
}

/// Nothing is known of the history of one that does not answer, and that is not enough.
#[tokio::test]
async fn whoever_does_not_answer_keeps_no_history_for_others() {
    let cluster = Cluster::start(2).await;
    cluster.faults(1).error("getFirstAvailableBlock", -32601, "Method not found", ALWAYS);
    cluster.rpc.look_for_history().await;
    assert_eq!(cluster.rpc.lack_of_history(), None);
    cluster.faults(0).error(METHOD, -32603, "Internal error", ALWAYS);
    cluster.rpc.look_for_history().await;
    assert!(cluster.rpc.lack_of_history().unwrap().contains("tells"));
}

/// Where nobody can say that a payment never landed, the operator hears of it at the start.
#[tokio::test(flavor = "multi_thread")]
async fn without_any_history_the_service_says_so() {
    for (nodes, method, expected) in [
        (1, METHOD, "degraded"),
        (2, METHOD, "up"),
        (1, "getFirstAvailableBlock", "degraded"),
        (2, "getFirstAvailableBlock", "up"),
    ] {
        let chain = start().await;
        let other = chain.sandbox.add_node().await.unwrap();
        chain.sandbox.faults().error(method, -32011, "history is not available", ALWAYS);
        let urls = [chain.sandbox.rpc_url(), other.rpc_url()][..nodes].join(",");
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let app = TestApp::settling_on(chain, folder, &[("SOLANA_RPC_URL", &urls)]).await;
        while nodes > 1 && other.faults().calls("getFirstAvailableBlock") == 0 {
            tokio::task::yield_now().await;
        }
        loop {
            let ready = app.get("/ready", None).await;
            assert_eq!(ready.status, 200);
            if ready.body["components"]["solana"]["status"] == expected {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}
