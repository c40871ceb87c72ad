//! Amounts on the wire: exact or refused, never rounded.

use pay402::money::Currency;
use serde_json::json;

use crate::harness::{KEY, TestApp};

/// Sends the proof with `amount` spelled just so, since a JSON library might respell it.
async fn verify_spelled(app: &TestApp, units: u64, nonce: &str, amount: &str) -> crate::harness::Answer {
    let paid = app.pay(&app.merchant(), units, Currency::Usdc);
    let mut proof = app.proof(&paid, nonce);
    proof["amount"] = json!("AMOUNT");
    let body = proof.to_string().replace("\"AMOUNT\"", amount);
    let request = app.http.post(app.path("/verify")).header("content-type", "application/json").body(body);
    app.send(request, Some(KEY)).await
}

#[tokio::test]
async fn spellings_of_one_amount() {
    let app = TestApp::start().await;
    let spellings = [
        "0.05",
        "\"0.05\"",
        "5e-2",
        "5E-2",
        "0.5e-1",
        "0.050000",
        "0.050000000000000000",
        "\"5e-2\"",
        "50000e-6",
        "0.00005e+3",
    ];
    for (index, spelling) in spellings.into_iter().enumerate() {
        let answer = verify_spelled(&app, 50_000, &format!("n{index}"), spelling).await;
        answer.assert_valid();
        assert_eq!(answer.body["payment"]["amount"].to_string(), "0.05", "{spelling}");
    }
}

#[tokio::test]
async fn amounts_that_cannot_be() {
    let app = TestApp::start().await;
    let spellings = [
        "0.30000000000000004",
        "0.0000001",
        "1e-7",
        "0.123456789012345678",
        "-0.05",
        "0",
        "0.0",
        "-0",
        "\"\"",
        "\"NaN\"",
        "\"Infinity\"",
        "18446744073709551616",
        "1e400",
        "1e999999999999999999999",
        "\"0x10\"",
        "null",
        "true",
        "[1]",
        "{}",
        "\" 0.05\"",
        "\"0,05\"",
        "\".5\"",
        "\"05\"",
        "99999999999999999999999999999999999999999999999999999999999999999999",
    ];
    for spelling in spellings {
        let answer = verify_spelled(&app, 50_000, "n", spelling).await;
        assert_eq!((answer.status, answer.fields()), (400, vec!["amount"]), "{spelling}: {answer:?}");
        assert_eq!(answer.code(), "VALIDATION_FAILED");
    }
    // No JSON at all: what is named is where the reader stood.
    for (spelling, field) in [
        ("NaN", "amount"),
        ("-Infinity", "amount"),
        (".5", "amount"),
        ("1e", "amount"),
        ("05", "amount"),
        ("0x10", "body"),
    ] {
        let answer = verify_spelled(&app, 50_000, "n", spelling).await;
        assert_eq!((answer.status, answer.fields()), (400, vec![field]), "{spelling}: {answer:?}");
    }
    assert_eq!(app.booked().await, 0);
}

/// What is added up in floats elsewhere arrives exact here, or not at all.
#[tokio::test]
async fn the_smallest_and_the_largest() {
    let app = TestApp::start().await;
    verify_spelled(&app, 1, "smallest", "0.000001").await.assert_valid();
    verify_spelled(&app, 300_000, "sum", "0.3").await.assert_valid();
    let largest = verify_spelled(&app, 1, "largest", "9223372036854.775807").await;
    largest.assert_refused("INSUFFICIENT_AMOUNT");
    let beyond = verify_spelled(&app, 1, "beyond", "9223372036854.775808").await;
    assert_eq!((beyond.status, beyond.fields()), (400, vec!["amount"]));
}
