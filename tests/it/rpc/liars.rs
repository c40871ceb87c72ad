//! Endpoints that say what is not so, and those that say nothing: whom is believed alone, and whom not.

use std::time::Duration;

use pay402::{
    chain::settlement::{Commitment, Search, SettlementChain, SignatureStatus},
    sandbox::{Disconnect, FINALITY_SLOTS, faults::ALWAYS},
};
use serde_json::{Value, json};
use solana_signature::Signature;
use tokio::time::sleep;

use super::{
    cluster::{Cluster, history},
    statuses::{LOOKS, METHOD, Trouble, fails, knows_nothing, recent, succeeds, unknown},
};
use crate::harness::logs;

/// After so long, one that says nothing is not waited for.
const SILENCE: Duration = Duration::from_millis(5_100);

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
