//! The JSON-RPC envelope, as bytes.

use base64::{Engine, prelude::BASE64_STANDARD};
use proptest::{
    collection::vec,
    prelude::any,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use super::setup::{Fixture, start};

async fn post(fixture: &Fixture, body: impl Into<String>) -> Value {
    let sent = Client::new()
        .post(fixture.sandbox.rpc_url())
        .header("content-type", "application/json")
        .body(body.into())
        .send();
    let answer = sent.await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

#[tokio::test]
async fn mistakes_have_their_codes() {
    let fixture = start().await;
    let call = |method: &str, params: Value| {
        json!({ "jsonrpc": "2.0", "id": "a", "method": method, "params": params }).to_string()
    };
    for (body, code) in [
        ("{".to_owned(), -32700),
        ("[]".to_owned(), -32600),
        (json!({ "jsonrpc": "2.0", "id": 1 }).to_string(), -32600),
        (json!({ "id": 1, "method": "getSlot" }).to_string(), -32600),
        (call("getBlocks", json!([])), -32601),
        (call("getBalance", json!(["not a key"])), -32602),
        (call("getBalance", json!([])), -32602),
        (call("getBalance", json!({ "key": 1 })), -32602),
        (call("getSlot", json!([{}, {}])), -32602),
        (call("getSlot", json!([{ "minContextSlot": 1_000_000 }])), -32016),
        (call("sendTransaction", json!(["AA==", { "encoding": "base64" }])), -32602),
        (call("sendTransaction", json!(["!", { "encoding": "base64" }])), -32602),
        (call("getBlockTime", json!([1_000_000])), -32004),
        (call("getBlockTime", json!([0])), -32001),
    ] {
        let answer = post(&fixture, body.clone()).await;
        assert_eq!(answer["error"]["code"], code, "{body} → {answer}");
    }
}

#[tokio::test]
async fn a_batch_is_answered_in_order_without_its_notifications() {
    let fixture = start().await;
    let batch = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "getHealth" },
        { "jsonrpc": "2.0", "method": "getHealth" },
        { "jsonrpc": "2.0", "id": "two", "method": "getNothing" },
    ]);
    let answer = post(&fixture, batch.to_string()).await;
    assert_eq!(answer.as_array().unwrap().len(), 2);
    assert_eq!(answer[0], json!({ "jsonrpc": "2.0", "id": 1, "result": "ok" }));
    assert_eq!((&answer[1]["id"], &answer[1]["error"]["code"]), (&json!("two"), &json!(-32601)));
}

#[tokio::test]
async fn a_request_is_bounded_and_must_be_json() {
    let fixture = start().await;
    let client = Client::new();
    let sent = client.post(fixture.sandbox.rpc_url()).body("{}").send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let long = "x".repeat(60 * 1024);
    let request =
        client.post(fixture.sandbox.rpc_url()).header("content-type", "application/json").body(long);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    let healthy = client.get(format!("{}/health", fixture.sandbox.rpc_url())).send().await.unwrap();
    assert_eq!(healthy.text().await.unwrap(), "ok");
}

#[tokio::test]
async fn tokens_come_from_the_faucet_over_the_wire() {
    let fixture = start().await;
    let mint = pay402::sandbox::USDC;
    let wanted = json!({ "mint": mint.to_string(), "owner": fixture.merchant().to_string(), "amount": 5 });
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "sandbox_mintTo", "params": [wanted] });
    let answer = post(&fixture, call.to_string()).await;
    assert!(answer["result"].is_string(), "{answer}");
    assert_eq!(fixture.sandbox.token_balance(&mint, &fixture.merchant()), 5);
}

/// What a hostile client may send: a payment with bytes changed, cut off or added.
fn mangled() -> impl Strategy<Value = (Vec<(usize, u8)>, usize, Vec<u8>)> {
    let edits = vec((0..300usize, any::<u8>()), 0..4);
    (edits, 0..400usize, vec(any::<u8>(), 0..3))
}

#[tokio::test]
async fn mangled_transactions_are_answered() {
    let fixture = start().await;
    let whole = bincode::serialize(&fixture.payment(1)).unwrap();
    fixture.sandbox.advance_slots(1);
    let mut runner = TestRunner::deterministic();
    for case in 0..256 {
        let (edits, keep, more) = mangled().new_tree(&mut runner).unwrap().current();
        let mut bytes = whole.clone();
        for (at, byte) in edits {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(keep);
        bytes.extend(more);
        let encoded = BASE64_STANDARD.encode(bytes);
        let (method, config) = if case % 2 == 0 {
            ("sendTransaction", json!({ "encoding": "base64", "skipPreflight": true }))
        } else {
            ("simulateTransaction", json!({ "encoding": "base64", "commitment": "confirmed" }))
        };
        let call = json!({ "jsonrpc": "2.0", "id": case, "method": method, "params": [encoded, config] });
        let answer = post(&fixture, call.to_string()).await;
        assert!(answer.get("result").is_some() || answer["error"]["code"] == -32602, "{answer}");
    }
    fixture.pay(&fixture.payment(2)).await;
}
