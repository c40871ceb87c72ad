//! Heights: up to when a transaction may land, and how far the chain is beyond doubt.

use pay402::{
    chain::settlement::SettlementChain,
    sandbox::{FINALITY_SLOTS, MAX_BLOCKHASH_AGE, faults::ALWAYS},
};
use serde_json::{Value, json};
use solana_commitment_config::CommitmentConfig;

use super::cluster::Cluster;

/// No block above the height contains a transaction with the blockhash, and the block at it still may.
#[tokio::test]
async fn the_last_valid_height_is_that_of_the_newest_blockhash() {
    let cluster = Cluster::start(1).await;
    let payments = [cluster.chain.payment(1), cluster.chain.payment(2)];
    cluster.chain.sandbox.advance_slots(1);
    let last = cluster.rpc.last_valid_block_height().await.unwrap();
    cluster.chain.sandbox.advance_slots(MAX_BLOCKHASH_AGE - 1);
    let processed = CommitmentConfig::processed();
    assert_eq!(cluster.chain.rpc.get_block_height_with_commitment(processed).await.unwrap(), last);
    cluster.chain.sandbox.send(&payments[0]).unwrap();
    cluster.chain.sandbox.advance_slots(1);
    cluster.chain.sandbox.send(&payments[1]).unwrap_err();
}

/// The blockhash may be known from a node that is further ahead than the one that is asked.
#[tokio::test]
async fn a_lagging_endpoint_does_not_shorten_a_blockhashs_life() {
    let cluster = Cluster::start(2).await;
    let honest = cluster.rpc.last_valid_block_height().await.unwrap();
    cluster.faults(1).error("getLatestBlockhash", -32603, "internal error", ALWAYS);
    cluster.faults(0).lag(40);
    assert_eq!(cluster.rpc.last_valid_block_height().await.unwrap(), honest);
}

/// One endpoint of two that makes up a low height for blockhashes, or a high one for the final block, gives nothing up.
#[tokio::test]
async fn one_liar_of_two_does_not_bring_a_payments_end_nearer() {
    for liar in [0, 1] {
        let cluster = Cluster::start(2).await;
        let last = cluster.rpc.last_valid_block_height().await.unwrap();
        let finality = cluster.rpc.finality().await.unwrap();
        let faults = cluster.faults(liar);
        let low = |mut answer: Value| {
            answer["value"]["lastValidBlockHeight"] = json!(1);
            answer
        };
        faults.lie("getLatestBlockhash", Box::new(low));
        assert_eq!(cluster.rpc.last_valid_block_height().await.unwrap(), last);
        let high = json!({"absoluteSlot": u64::MAX / 2, "blockHeight": u64::MAX / 2});
        faults.lie("getEpochInfo", Box::new(move |_| high.clone()));
        // Again and again, although the honest one now seems to lag.
        for _ in 0..3 {
            assert_eq!(cluster.rpc.finality().await.unwrap(), finality);
        }
        assert!(
            cluster.rpc.last_valid_block_height().await.unwrap() <= last + 50,
            "what is added is bounded"
        );
    }
}

/// Endpoints that give no answer do not keep the others waiting twice, and are heard when there are no others.
#[tokio::test]
async fn endpoints_that_fail_are_not_waited_for() {
    let cluster = Cluster::start(2).await;
    cluster.faults(0).error("getEpochInfo", -32603, "internal error", 2);
    for _ in 0..3 {
        cluster.rpc.finality().await.unwrap();
    }
    assert_eq!(cluster.calls("getEpochInfo"), [1, 3]);
    cluster.faults(1).error("getEpochInfo", -32603, "internal error", ALWAYS);
    cluster.rpc.finality().await.unwrap();
    assert_eq!(cluster.calls("getEpochInfo"), [3, 5], "both are asked once more");
}

#[tokio::test]
async fn slot_and_height_are_of_the_last_final_block() {
    let cluster = Cluster::start(1).await;
    let finality = cluster.rpc.finality().await.unwrap();
    assert_eq!(finality.slot, cluster.chain.sandbox.slot() - FINALITY_SLOTS);
    assert!(finality.block_height <= finality.slot);
    cluster.chain.sandbox.advance_slots(7);
    let later = cluster.rpc.finality().await.unwrap();
    assert_eq!((later.slot, later.block_height), (finality.slot + 7, finality.block_height + 7));
    assert_eq!(cluster.calls("getEpochInfo"), [2], "both come with one answer");
}

#[tokio::test]
async fn heights_that_make_no_sense_are_not_believed() {
    let cluster = Cluster::start(1).await;
    cluster.faults(0).lie("getEpochInfo", Box::new(|_| json!({"absoluteSlot": 10, "blockHeight": 11})));
    assert!(cluster.rpc.finality().await.is_err());
    cluster.faults(0).lie("getEpochInfo", Box::new(|_| json!({"absoluteSlot": 10})));
    assert!(cluster.rpc.finality().await.is_err());
    cluster.faults(0).lie("getLatestBlockhash", Box::new(|_| json!(null)));
    assert!(cluster.rpc.last_valid_block_height().await.is_err());
}
