//! Requests that cannot be read: 400 naming the field, never a panic, never a 500.

use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};

use crate::harness::{Answer, KEY, Paid, TestApp, rounds, with};

async fn raw(app: &TestApp, body: impl Into<reqwest::Body>) -> Answer {
    let request = app.http.post(app.path("/verify")).header("content-type", "application/json").body(body);
    app.send(request, Some(KEY)).await
}

#[tokio::test]
async fn every_missing_field_is_named_at_once() {
    let app = TestApp::start().await;
    let answer = app.verify(&json!({})).await;
    assert_eq!((answer.status, answer.code()), (400, "VALIDATION_FAILED"));
    let required = ["signature", "payer", "currency", "amount", "nonce", "timestamp", "transactionId"];
    assert_eq!(answer.fields(), required);
    let proof = app.proof(&app.pay_merchant(), "n");
    for field in required {
        for body in [with(proof.clone(), field, Value::Null), {
            let mut proof = proof.clone();
            proof.as_object_mut().unwrap().remove(field);
            proof
        }] {
            let answer = app.verify(&body).await;
            assert_eq!((answer.status, answer.fields()), (400, vec![field]), "{answer:?}");
        }
    }
    app.verify(&proof).await.assert_valid();
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    let long = "x".repeat(5000);
    let cases: Vec<(&str, Vec<Value>)> = vec![
        (
            "signature",
            vec![json!(1), json!(""), json!("0OIl"), json!("abc"), json!("1".repeat(65)), json!(long)],
        ),
        ("payer", vec![json!(1), json!(""), json!("0OIl"), json!("abc"), json!("1".repeat(33)), json!(long)]),
        ("transactionId", vec![json!([]), json!("abc"), json!("z".repeat(88)), json!(long)]),
        ("currency", vec![json!("usdc"), json!("EUR"), json!(""), json!(1), json!(["USDC"])]),
        (
            "nonce",
            vec![json!(""), json!(1), json!("a\u{0}b"), json!("a\nb"), json!("x".repeat(129)), json!({})],
        ),
        ("timestamp", vec![json!("1"), json!(1.5), json!(1e30), json!(true), json!("2026-01-01")]),
        ("resource", vec![json!(1), json!(""), json!("a\u{0}"), json!(long)]),
        ("agentId", vec![json!(1), json!("x".repeat(65))]),
        ("subscriptionId", vec![json!({}), json!("")]),
        ("requirement", vec![json!(1), json!("x"), json!([])]),
    ];
    for (field, values) in cases {
        for value in values {
            let answer = app.verify(&with(proof.clone(), field, value)).await;
            assert_eq!((answer.status, answer.fields()), (400, vec![field]), "{answer:?}");
            assert!(!answer.body["details"][0]["message"].as_str().unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn fields_of_the_requirement_are_named_with_their_path() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    let answer = app.verify(&with(proof.clone(), "requirement", json!({}))).await;
    assert_eq!(answer.fields(), ["requirement.recipient", "requirement.currency", "requirement.amount"]);
    let cases = [
        ("amount", json!("-1")),
        ("recipient", json!("nobody")),
        ("scheme", json!("upto")),
        ("expiresAt", json!("soon")),
        ("nonce", json!(7)),
        ("maxAmount", json!("1")),
    ];
    for (field, value) in cases {
        let requirement = with(app.requirement(), field, value);
        let answer = app.verify(&with(proof.clone(), "requirement", requirement)).await;
        assert_eq!((answer.status, answer.fields()), (400, vec![format!("requirement.{field}").as_str()]));
    }
    let range = with(app.requirement(), "scheme", "range");
    for requirement in [range.clone(), with(range, "maxAmount", "0.01")] {
        let answer = app.verify(&with(proof.clone(), "requirement", requirement)).await;
        assert_eq!((answer.status, answer.fields()), (400, vec!["requirement.maxAmount"]));
    }
}

#[tokio::test]
async fn bodies_that_are_no_object() {
    let app = TestApp::start().await;
    let deep = "[".repeat(100_000);
    let deep_member = format!("{{\"resource\":{}", "[".repeat(100_000));
    let bodies =
        ["", "{", "null", "1", "\"x\"", "[]", "{\"nonce\":1,\"nonce\":2}", "\u{feff}{}", &deep, &deep_member];
    for body in bodies {
        let answer = raw(&app, body.to_owned()).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(answer.code(), "VALIDATION_FAILED");
    }
    // Members in the order in which the service knows them are still no object.
    let proof = app.proof(&app.pay_merchant(), "n");
    let by_position = json!([
        null,
        proof["signature"],
        proof["payer"],
        proof["amount"],
        proof["currency"],
        proof["nonce"],
        proof["timestamp"],
        proof["transactionId"],
        null,
        null,
        null,
        null,
    ]);
    assert_eq!(app.verify(&by_position).await.fields(), ["body"]);
    let requirement = json!(["0.05", null, "USDC", app.merchant().to_string(), null, null, null, null, null]);
    assert_eq!(app.verify(&with(proof, "requirement", requirement)).await.fields(), ["requirement"]);
    let answer = raw(&app, vec![0xff, 0xfe, b'{', b'}']).await;
    assert_eq!((answer.status, answer.fields()), (400, vec!["body"]));
}

/// Unknown fields are for others.
#[tokio::test]
async fn unknown_fields_are_ignored() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    app.verify(&with(with(proof, "futureField", json!({"deep": [1, 2]})), "agentId", Value::Null))
        .await
        .assert_valid();
}

#[tokio::test]
async fn x402_requests_are_told_apart() {
    let app = TestApp::start().await;
    let answer =
        app.verify(&json!({"x402Version": 1, "paymentPayload": {}, "paymentRequirements": {}})).await;
    assert_eq!((answer.status, &answer.body["isValid"]), (400, &json!(false)));
    assert_eq!(answer.fields(), ["paymentPayload.x402Version"]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,100}".prop_map(Value::from),
        "[1-9A-HJ-NP-Za-km-z]{30,90}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,8}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Good proofs with members replaced by anything at all, sent to the running service.
#[tokio::test(flavor = "multi_thread")]
async fn no_body_makes_the_service_fail() {
    let app = TestApp::start().await;
    // It states more than was paid, so that no mutation of it can be good and use the transaction up.
    let proof = app.proof(&Paid { units: 60_000, ..app.pay_merchant() }, "n");
    let names: Vec<String> =
        proof.as_object().unwrap().keys().cloned().chain(["requirement".into()]).collect();
    let mutation = prop::collection::vec((prop::sample::select(names), any_json()), 1..4);
    let config = ProptestConfig {
        cases: rounds(300).try_into().unwrap(),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        TestRunner::new(config)
            .run(&mutation, |changes| {
                let body =
                    changes.into_iter().fold(proof.clone(), |body, (name, value)| with(body, &name, value));
                let answer = runtime.block_on(app.verify(&body));
                prop_assert!(matches!(answer.status, 400 | 402 | 503), "{:?}", answer);
                prop_assert!(!answer.code().is_empty());
                Ok(())
            })
            .unwrap();
    });
    let metrics = app.get("/metrics", None).await;
    assert!(!metrics.body.as_str().unwrap().contains("INTERNAL_ERROR"));
}
