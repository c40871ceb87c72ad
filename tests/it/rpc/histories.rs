//! How far back endpoints know, and who is believed of what is older.

use std::{sync::Arc, time::Duration};

use pay402::{
    chain::settlement::{Commitment, Search, SettlementChain},
    clock::{Clock, UnixMs},
    sandbox::{FINALITY_SLOTS, faults::ALWAYS},
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    cluster::{Cluster, history},
    statuses::{LOOKS, METHOD, knows_nothing, succeeds, unknown},
};
use crate::{
    harness::{TestApp, wire::PATIENCE},
    sandbox::setup::start,
};

/// In slots.
const A_DAY: u64 = 216_000;

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
