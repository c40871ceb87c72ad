//! x402 over HTTP: the real service on a sandbox chain.

mod access;
mod attacks;
mod browser;
mod envelopes;
mod good;
mod malformed;
mod outcomes;
mod owners;
mod processes;
mod purse;
mod refused;
mod trouble;

use pay402::payments::x402::Version;
use serde_json::{Value, json};
use solana_signer::Signer;

use crate::harness::{Answer, x402::Order};

/// The published reason in a version's words.
fn in_words(version: Version, reason: &str) -> String {
    match version {
        Version::V1 => reason.strip_prefix("invalid_exact_svm_").unwrap_or(reason).to_owned(),
        Version::V2 => reason.to_owned(),
    }
}

/// A verify that decided against the payment, for this reason, with this in its message.
#[track_caller]
fn assert_invalid(answer: &Answer, reason: &str, message: &str) {
    let body = &answer.body;
    assert_eq!(
        (answer.status, &body["isValid"], &body["invalidReason"]),
        (200, &json!(false), &json!(reason))
    );
    let said = body["invalidMessage"].as_str().unwrap();
    assert!(said.contains(message), "{said}");
}

/// A settle that came to nothing, for this reason; its transaction.
#[track_caller]
fn assert_unsettled<'a>(answer: &'a Answer, order: &Order, reason: &str, message: &str) -> &'a str {
    let body = &answer.body;
    assert_eq!((answer.status, &body["success"], &body["errorReason"]), (200, &json!(false), &json!(reason)));
    assert_eq!(body["network"], order.requirements()["network"], "{body}");
    assert_eq!(body["payer"], order.payer.pubkey().to_string(), "{body}");
    let said = body["errorMessage"].as_str().unwrap();
    assert!(said.contains(message), "{said}");
    body["transaction"].as_str().unwrap()
}

/// x402's members of a verify that decided nothing, beside the envelope's.
#[track_caller]
fn assert_verify_trouble(answer: &Answer, (status, code, reason): (u16, &str, &str)) {
    let body = &answer.body;
    assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
    assert_eq!((&body["isValid"], &body["invalidReason"]), (&json!(false), &json!(reason)), "{body}");
    assert_told(body, &body["invalidMessage"]);
}

/// The same of a settle.
#[track_caller]
fn assert_settle_trouble(answer: &Answer, network: &str, (status, code, reason): (u16, &str, &str)) {
    let body = &answer.body;
    assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
    assert_eq!((&body["success"], &body["errorReason"]), (&json!(false), &json!(reason)), "{body}");
    assert_eq!((&body["transaction"], &body["network"]), (&json!(""), &json!(network)), "{body}");
    assert_told(body, &body["errorMessage"]);
}

#[track_caller]
fn assert_told(body: &Value, message: &Value) {
    assert!(message.as_str().is_some_and(|message| message.len() > 10), "{body}");
    assert!(body["error"].as_str().is_some_and(|error| error.len() > 10), "{body}");
    assert!(body["requestId"].as_str().is_some_and(|id| !id.is_empty()), "{body}");
}
