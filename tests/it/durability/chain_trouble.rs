//! An RPC that drops what it is sent, answers late or not at all, or says what is not so.

use std::time::Duration;

use pay402::sandbox::{Disconnect, Hold, faults::ALWAYS};
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
    with_the_only_endpoint_ignorant_nothing_is_known_and_nothing_given_up,
    an_endpoint_that_calls_a_success_a_failure_is_not_believed,
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

/// A service at two nodes, of which the first one says this about what became of payments.
async fn beside_a_liar(stage: &Stage, lie: fn(Value) -> Value) -> (TestApp, pay402::sandbox::SandboxNode) {
    let liar = stage.chain.add_node().await.unwrap();
    liar.faults().lie(STATUSES, Box::new(lie));
    let urls = format!("{},{}", liar.rpc_url(), stage.chain.rpc_url());
    (stage.app(&[("SOLANA_RPC_URL", &urls)]).await, liar)
}

async fn an_endpoint_that_knows_nothing_of_what_landed_delays_it_at_most(backend: Backend) {
    let stage = Stage::by_hand(backend).await;
    let (app, _liar) = beside_a_liar(&stage, unknown).await;
    let payment = stage.payment().await;
    let told = stage.while_slots_pass(settle(&app.url, &payment)).await;
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

/// A failure would have the buyer pay again.
async fn an_endpoint_that_calls_a_success_a_failure_is_not_believed(backend: Backend) {
    let stage = Stage::by_hand(backend).await;
    let (app, liar) = beside_a_liar(&stage, failed).await;
    let payment = stage.payment().await;
    let lying = async {
        stage.confirmed(&payment).await;
        let before = liar.faults().calls(STATUSES);
        eventually("it is not asked for", async || liar.faults().calls(STATUSES) >= before + 6).await;
        assert_eq!(stage.state(&payment).await.as_deref(), Some("pending"));
        liar.faults().clear();
    };
    let (told, ()) = stage.while_slots_pass(async { tokio::join!(settle(&app.url, &payment), lying) }).await;
    assert_eq!(told, Told::Settled);
    finish(&stage, &app, payment, told).await;
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
            clock.advance(Duration::from_mins(1));
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
