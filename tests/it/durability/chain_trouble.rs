//! An RPC that drops what it is sent, answers late or not at all, or says what is not so.

use std::time::Duration;

use pay402::sandbox::{Disconnect, Faults, Hold, SandboxNode, faults::ALWAYS};
use serde_json::{Value, json};

use super::{
    books::assert_shown,
    stage::{LIFETIME_SLOTS, Payment, Stage, Told, eventually, outcome, settle},
};
use crate::{
    conformance::{Backend, on_both},
    harness::TestApp,
};

on_both!(
    a_send_that_is_dropped_is_made_again,
    a_send_whose_answer_is_lost_or_late_has_been_made,
    answers_that_come_too_late_decide_nothing,
    an_endpoint_that_knows_nothing_of_what_landed_delays_it_at_most,
    with_one_of_two_endpoints_ignorant_a_success_waits_until_it_is_not,
    with_the_only_endpoint_ignorant_nothing_is_known_and_nothing_given_up,
    a_history_that_begins_too_late_gives_nothing_up,
    an_endpoint_that_calls_a_success_a_failure_is_not_believed,
    an_endpoint_that_makes_a_success_up_is_not_believed,
    a_blockhash_that_dies_in_the_middle_ends_as_expired_or_was_never_sent,
);

const STATUSES: &str = "getSignatureStatuses";

/// Nothing has happened but what was told: chain and books agree.
async fn finish(stage: &Stage, app: &TestApp, payment: Payment, told: Told) {
    assert_eq!(settle(&app.url, &payment).await, told, "asked again");
    let told = [(payment, told)];
    stage.assert_true(&told).await;
    assert_shown(&app.url, &told).await;
}

async fn a_send_that_is_dropped_is_made_again(backend: Backend) {
    let stage = Stage::by_hand(backend).await;
    let app = stage.app(&[]).await;
    stage.chain.faults().drop_sends(2);
    let payment = stage.payment().await;
    let told = stage.while_slots_pass(settle(&app.url, &payment)).await;
    assert_eq!(told, Told::Settled);
    assert!(stage.chain.faults().calls("sendTransaction") >= 3);
    finish(&stage, &app, payment, told).await;
}

async fn a_send_whose_answer_is_lost_or_late_has_been_made(backend: Backend) {
    let stage = Stage::by_hand(backend).await;
    let app = stage.app(&[]).await;
    let mut told = Vec::new();
    for lost in [true, false] {
        let payment = stage.payment().await;
        let faults = stage.chain.faults();
        let held = if lost {
            faults.disconnect("sendTransaction", Disconnect::After, ALWAYS);
            None
        } else {
            Some(faults.hold("sendTransaction", Hold::After, ALWAYS))
        };
        let answer = stage.while_slots_pass(settle(&app.url, &payment)).await;
        assert_eq!(answer, Told::Settled, "lost: {lost}");
        told.push((payment, answer));
        drop(held);
        faults.clear();
    }
    stage.assert_true(&told).await;
}

/// Too late for a decision: nothing is sent. Too late for a status: it is settled all the same, once it is heard.
async fn answers_that_come_too_late_decide_nothing(backend: Backend) {
    let stage = Stage::by_hand(backend).await;
    let app = stage.app(&[]).await;
    let faults = stage.chain.faults();
    let payment = stage.payment().await;
    for method in ["simulateTransaction", "getLatestBlockhash"] {
        let held = faults.hold(method, Hold::Before, ALWAYS);
        assert_eq!(settle(&app.url, &payment).await, Told::Unavailable, "{method}");
        held.release();
    }
    assert_eq!(stage.state(&payment).await, None);
    assert_eq!(stage.landed(std::slice::from_ref(&payment)).await, [None]);
    // Longer than a read may take.
    let held = faults.hold(STATUSES, Hold::After, 1);
    let told = stage.while_slots_pass(settle(&app.url, &payment)).await;
    assert_eq!(told, Told::Settled);
    held.release();
    finish(&stage, &app, payment, told).await;
}

fn unknown(mut answer: Value) -> Value {
    let count = answer["value"].as_array().map_or(0, Vec::len);
    answer["value"] = vec![Value::Null; count].into();
    answer
}

fn failed(mut answer: Value) -> Value {
    for status in answer["value"].as_array_mut().into_iter().flatten().filter(|status| !status.is_null()) {
        status["err"] = json!("AccountInUse");
        status["status"] = json!({"Err": "AccountInUse"});
    }
    answer
}

/// Says that everything has succeeded for good.
fn succeeded(mut answer: Value) -> Value {
    let slot = answer["context"]["slot"].clone();
    for status in answer["value"].as_array_mut().into_iter().flatten() {
        *status = json!({
            "slot": slot, "confirmations": null, "err": null, "status": {"Ok": null},
            "confirmationStatus": "finalized",
        });
    }
    answer
}

/// A service at so many nodes, of which the first one says this about what became of payments. They last for as long as
/// what is returned.
async fn beside_a_liar(stage: &Stage, nodes: usize, lie: fn(Value) -> Value) -> (TestApp, Vec<SandboxNode>) {
    let mut others = Vec::new();
    for _ in 1..nodes {
        others.push(stage.chain.add_node().await.unwrap());
    }
    others[0].faults().lie(STATUSES, Box::new(lie));
    let urls: Vec<String> = others.iter().map(SandboxNode::rpc_url).chain([stage.chain.rpc_url()]).collect();
    (stage.app(&[("SOLANA_RPC_URL", &urls.join(","))]).await, others)
}

/// Waits until that node has been asked so often, and fails unless the payment is pending still.
async fn pending_after(stage: &Stage, node: &SandboxNode, asked: u64, payment: &Payment) {
    let before = node.faults().calls(STATUSES);
    eventually("it is not asked for", async || node.faults().calls(STATUSES) >= before + asked).await;
    assert_eq!(stage.state(payment).await.as_deref(), Some("pending"));
}

async fn an_endpoint_that_knows_nothing_of_what_landed_delays_it_at_most(backend: Backend) {
    let stage = Stage::by_hand(backend).await;
    let (app, _nodes) = beside_a_liar(&stage, 3, unknown).await;
    let payment = stage.payment().await;
    let told = stage.while_slots_pass(settle(&app.url, &payment)).await;
    assert_eq!(told, Told::Settled);
    finish(&stage, &app, payment, told).await;
}

/// One says so and one says no: nobody knows.
async fn with_one_of_two_endpoints_ignorant_a_success_waits_until_it_is_not(backend: Backend) {
    let stage = Stage::by_hand(backend).await;
    let (app, nodes) = beside_a_liar(&stage, 2, unknown).await;
    let payment = stage.payment().await;
    let lying = async {
        stage.confirmed(&payment).await;
        pending_after(&stage, &nodes[0], 8, &payment).await;
        nodes[0].faults().clear();
    };
    let (told, ()) = stage.while_slots_pass(async { tokio::join!(settle(&app.url, &payment), lying) }).await;
    assert_eq!(told, Told::Settled);
    finish(&stage, &app, payment, told).await;
}

async fn with_the_only_endpoint_ignorant_nothing_is_known_and_nothing_given_up(backend: Backend) {
    let stage = Stage::by_hand(backend).await;
    let app = stage.app(&[]).await;
    let faults = stage.chain.faults();
    faults.lie(STATUSES, Box::new(unknown));
    let payment = stage.payment().await;
    let lying = async {
        stage.confirmed(&payment).await;
        // The blockhash dies, but not within the time in which it never does.
        stage.chain.advance_slots(LIFETIME_SLOTS);
        let before = faults.calls(STATUSES);
        eventually("it is not asked for", async || faults.calls(STATUSES) >= before + 4).await;
        assert_eq!(stage.state(&payment).await.as_deref(), Some("pending"));
        faults.clear();
    };
    let (told, ()) = stage.while_slots_pass(async { tokio::join!(settle(&app.url, &payment), lying) }).await;
    assert_eq!(told, Told::Settled);
    finish(&stage, &app, payment, told).await;
}

/// The service was away for longer than its only endpoint keeps history: that one knows nothing of what landed before.
async fn a_history_that_begins_too_late_gives_nothing_up(backend: Backend) {
    let stage = Stage::by_hand(backend).await;
    let app = stage.app(&[]).await;
    let (chain, clock) = (&stage.chain, stage.clock.as_ref().unwrap());
    chain.faults().lie(STATUSES, Box::new(unknown));
    let payment = stage.payment().await;
    let forgetting = async {
        stage.confirmed(&payment).await;
        clock.advance(Duration::from_hours(72));
        chain.advance_slots(LIFETIME_SLOTS);
        let first = chain.slot();
        chain.faults().lie("getFirstAvailableBlock", Box::new(move |_| json!(first)));
        chain.advance_slots(LIFETIME_SLOTS);
        // Asked for its beginning at the start, and once it was asked with its history: the third time, that had come to nothing.
        eventually("it is not asked for", async || chain.faults().calls("getFirstAvailableBlock") >= 3).await;
        assert_eq!(stage.state(&payment).await.as_deref(), Some("pending"));
        chain.faults().clear();
    };
    let told = stage.while_slots_pass(async {
        let (told, ()) = tokio::join!(settle(&app.url, &payment), forgetting);
        // It may take longer than a request is waited for.
        if told.is_open() { outcome(&app.url, &payment).await } else { told }
    });
    let told = told.await;
    assert_eq!(told, Told::Settled);
    finish(&stage, &app, payment, told).await;
}

/// A failure would have the buyer pay again.
async fn an_endpoint_that_calls_a_success_a_failure_is_not_believed(backend: Backend) {
    let stage = Stage::by_hand(backend).await;
    let (app, nodes) = beside_a_liar(&stage, 2, failed).await;
    let payment = stage.payment().await;
    let lying = async {
        stage.confirmed(&payment).await;
        pending_after(&stage, &nodes[0], 6, &payment).await;
        nodes[0].faults().clear();
    };
    let (told, ()) = stage.while_slots_pass(async { tokio::join!(settle(&app.url, &payment), lying) }).await;
    assert_eq!(told, Told::Settled);
    finish(&stage, &app, payment, told).await;
}

/// A success would have the merchant deliver for nothing.
async fn an_endpoint_that_makes_a_success_up_is_not_believed(backend: Backend) {
    for nodes in [2, 3] {
        let stage = Stage::by_hand(backend.another().await).await;
        let (app, nodes) = beside_a_liar(&stage, nodes, succeeded).await;
        let all = || nodes.iter().map(SandboxNode::faults).chain([stage.chain.faults()]);
        all().for_each(|faults| faults.drop_sends(ALWAYS));
        let payment = stage.payment().await;
        let lying = async {
            stage.journalled(&payment).await;
            pending_after(&stage, &nodes[0], 6, &payment).await;
            all().for_each(Faults::clear);
        };
        let asked = async { tokio::join!(settle(&app.url, &payment), lying) };
        let (told, ()) = stage.while_slots_pass(asked).await;
        assert_eq!(told, Told::Settled, "once it is so");
        finish(&stage, &app, payment, told).await;
    }
}

async fn a_blockhash_that_dies_in_the_middle_ends_as_expired_or_was_never_sent(backend: Backend) {
    let stage = Stage::by_hand(backend).await;
    let app = stage.app(&[]).await;
    let faults = stage.chain.faults();
    let clock = stage.clock.as_ref().unwrap();
    let mut told = Vec::new();
    // Before it is known to be good, after that, and on the way to the chain.
    for method in ["simulateTransaction", "getLatestBlockhash", "sendTransaction"] {
        let payment = stage.payment().await;
        let held = faults.hold(method, Hold::Before, ALWAYS);
        let dying = async {
            held.arrived(1).await;
            stage.chain.advance_slots(LIFETIME_SLOTS);
            held.release();
            if method == "simulateTransaction" {
                return;
            }
            stage.journalled(&payment).await;
            clock.advance(Duration::from_mins(2));
            stage.chain.advance_slots(2 * LIFETIME_SLOTS);
        };
        let (answer, ()) = tokio::join!(settle(&app.url, &payment), dying);
        let told_now = if answer.is_open() { outcome(&app.url, &payment).await } else { answer };
        let expected = match method {
            "simulateTransaction" => {
                Told::Refused("invalid_exact_svm_transaction_simulation_failed".to_owned())
            }
            _ => Told::Expired,
        };
        assert_eq!(told_now, expected, "{method}");
        told.push((payment, told_now));
    }
    stage.assert_true(&told).await;
    assert_shown(&app.url, &told).await;
    // And it was safe to say so: what is paid anew is settled.
    let payment = stage.payment().await;
    told.push((payment.clone(), stage.while_slots_pass(settle(&app.url, &payment)).await));
    stage.assert_true(&told).await;
}
