//! JSON that readers disagree about, that no database keeps, or that has no end.

use serde_json::json;

use crate::harness::{Answer, KEY, TestApp};

async fn send(app: &TestApp, path: &str, body: String) -> Answer {
    let request = app.http.post(app.path(path)).header("content-type", "application/json").body(body);
    app.send(request, Some(KEY)).await
}

#[track_caller]
fn assert_names(answer: &Answer, field: &str, message: &str) {
    assert_eq!((answer.status, answer.code()), (400, "VALIDATION_FAILED"), "{answer:?}");
    assert_eq!(answer.fields(), [field], "{answer:?}");
    assert!(answer.body["details"][0]["message"].as_str().unwrap().contains(message), "{answer:?}");
}

/// Of two amounts or two recipients, neither is taken.
#[tokio::test]
async fn duplicate_keys() {
    let app = TestApp::start().await;
    let mut proof = app.proof(&app.pay_merchant(), "n");
    proof["requirement"] = app.requirement();
    let good = proof.to_string();
    for name in proof.as_object().unwrap().keys() {
        let twice = good.replacen('{', &format!("{{{name:?}:{},", proof[name]), 1);
        assert_names(&send(&app, "/verify", twice).await, name, "twice");
        let escaped = format!("\"\\u{:04x}{}\"", u32::from(name.as_bytes()[0]), &name[1..]);
        let twice = good.replacen('{', &format!("{{{escaped}:null,"), 1);
        assert_names(&send(&app, "/verify", twice).await, name, "twice");
    }
    for name in proof["requirement"].as_object().unwrap().keys() {
        let twice = good.replace("\"requirement\":{", &format!("\"requirement\":{{{name:?}:\"0.01\","));
        assert_names(&send(&app, "/verify", twice).await, &format!("requirement.{name}"), "twice");
    }
    let issue = r#"{"amount":"0.05","currency":"USDC","metadata":{"a":{"b":1,"b":2}}}"#;
    assert_names(&send(&app, "/requirements", issue.to_owned()).await, "metadata.a.b", "twice");
    assert_eq!(app.booked().await, 0);
    app.verify(&proof).await.assert_valid();
}

#[tokio::test]
async fn deep_json() {
    let app = TestApp::start().await;
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    for deep in [
        nested(40),
        nested(127),
        nested(128),
        nested(2000),
        nested(500_000),
        objects(40),
        objects(150_000),
        "[".repeat(1_000_000),
    ] {
        for member in ["requirement", "resource", "unknown", "metadata"] {
            for path in ["/verify", "/requirements"] {
                let answer = send(&app, path, format!("{{\"{member}\":{deep}}}")).await;
                assert_eq!((answer.status, answer.code()), (400, "VALIDATION_FAILED"), "{answer:?}");
                assert!(answer.fields()[0].starts_with(member), "{answer:?}");
            }
        }
        let answer = send(&app, "/verify", deep).await;
        assert_eq!((answer.status, answer.code()), (400, "VALIDATION_FAILED"), "{answer:?}");
    }
    // What is stored and echoed is as deep as it may be.
    let body =
        |depth: usize| format!("{{\"amount\":1,\"currency\":\"USDC\",\"metadata\":{}}}", objects(depth));
    assert_eq!(send(&app, "/requirements", body(31)).await.status, 201);
    assert_eq!(send(&app, "/requirements", body(32)).await.status, 400);
}

/// PostgreSQL keeps no NUL, and what is half a character is no text.
#[tokio::test]
async fn nul_in_strings() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n").to_string();
    let terms = r#""amount":"0.05","currency":"USDC""#;
    for bad in [r"\u0000", r"a\u0000b", r"\ud800", r"\udc00x", r"\ud800\ud800"] {
        let problem = if bad.contains("0000") { "NUL" } else { "is not valid" };
        for name in ["resource", "agentId", "subscriptionId", "unknown"] {
            let body = proof.replacen('{', &format!("{{\"{name}\":\"{bad}\","), 1);
            assert_names(&send(&app, "/verify", body).await, name, problem);
        }
        for name in ["signature", "payer", "amount", "currency", "nonce", "transactionId"] {
            let answer = send(&app, "/verify", format!("{{\"{name}\":\"{bad}\"}}")).await;
            assert_names(&answer, name, problem);
        }
        for name in ["amount", "currency", "recipient", "scheme", "resource", "nonce"] {
            let body = proof.replacen('{', &format!("{{\"requirement\":{{\"{name}\":\"{bad}\"}},"), 1);
            assert_names(&send(&app, "/verify", body).await, &format!("requirement.{name}"), problem);
        }
        for (metadata, field) in [
            (format!("{{\"a\":\"{bad}\"}}"), "metadata.a"),
            (format!("{{\"a\":[1,{{\"b\":\"{bad}\"}}]}}"), "metadata.a.1.b"),
        ] {
            let answer = send(&app, "/requirements", format!("{{{terms},\"metadata\":{metadata}}}")).await;
            assert_names(&answer, field, problem);
        }
        let key = send(&app, "/requirements", format!("{{{terms},\"metadata\":{{\"{bad}\":1}}}}")).await;
        assert_eq!((key.status, key.code()), (400, "VALIDATION_FAILED"), "{key:?}");
    }
    // Text of every other kind comes back as it went.
    let kept = json!({"a": "\u{1}\u{7f}\u{fffd}\u{1f600}\u{10ffff}", "": {"\u{e9}\n": [null, 1e300, -0.0]}});
    let issued = app.issue(KEY, &json!({"amount": "0.05", "currency": "USDC", "metadata": kept})).await;
    assert_eq!(issued["metadata"], kept);
}

#[tokio::test]
async fn bytes_that_are_no_text() {
    let app = TestApp::start().await;
    let post = async |body: Vec<u8>| {
        let request =
            app.http.post(app.path("/verify")).header("content-type", "application/json").body(body);
        app.send(request, Some(KEY)).await
    };
    assert_names(&post(b"\xef\xbb\xbf{}".to_vec()).await, "body", "must be a JSON object");
    assert_names(&post(b"{\"nonce\":\"\xff\"}".to_vec()).await, "nonce", "is not valid");
    assert_names(&post(b"{\"nonce\":\"\xed\xa0\x80\"}".to_vec()).await, "nonce", "is not valid");
    assert_names(&post(b"{\"\xc0\x80\":1}".to_vec()).await, "body", "is not valid");
    assert_names(
        &post("{}".encode_utf16().flat_map(u16::to_le_bytes).collect()).await,
        "body",
        "is not valid",
    );
    assert_names(&post(b"{}\0".to_vec()).await, "body", "is not valid");
    for query in ["limit=%00", "limit=1%00", "offset=%ff", "limit=1&limit=2"] {
        assert_eq!(app.get(&format!("/payments?{query}"), Some(KEY)).await.status, 400, "{query}");
    }
}
