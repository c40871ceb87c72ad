//! Who may call what.

use serde_json::json;

use crate::harness::{KEY, OTHER_KEY, TestApp};

const CLOSED: [(&str, &str); 4] =
    [("POST", "/requirements"), ("GET", "/requirements/x"), ("GET", "/payments"), ("GET", "/payments/x")];

#[tokio::test]
async fn closed_routes_need_a_good_key() {
    let app = TestApp::start().await;
    for (method, path) in CLOSED {
        let request = || app.http.request(method.parse().unwrap(), app.path(path)).json(&json!({}));
        let nearly = format!("{KEY}x");
        let wrong = [None, Some("nonsense"), Some(nearly.as_str()), Some(&KEY[..KEY.len() - 1]), Some("")];
        for key in wrong {
            let answer = app.send(request(), key).await;
            assert_eq!(
                (answer.status, answer.code()),
                (401, "INVALID_API_KEY"),
                "{method} {path} {answer:?}"
            );
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
        for good in [request().header("x-api-key", KEY), request().bearer_auth(KEY)] {
            let answer = app.send(good, None).await;
            assert_ne!(answer.status, 401, "{method} {path} {answer:?}");
        }
    }
}

/// A bad key is an error even where none is needed: whoever sends one means to be known.
#[tokio::test]
async fn a_bad_key_is_refused_on_open_routes_too() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    assert_eq!(app.post("/verify", Some("sk_test_unknown_0123456789abcdef"), &proof).await.status, 401);
    app.post("/verify", None, &proof).await.assert_valid();
}

#[tokio::test]
async fn two_headers_must_agree() {
    let app = TestApp::start().await;
    let request = || app.http.get(app.path("/payments")).bearer_auth(KEY);
    assert_eq!(app.send(request(), Some(KEY)).await.status, 200);
    assert_eq!(app.send(request(), Some(OTHER_KEY)).await.status, 401);
    let basic = app.http.get(app.path("/payments")).basic_auth(KEY, Some(""));
    assert_eq!(app.send(basic, None).await.status, 401);
}

#[tokio::test]
async fn another_users_things_do_not_exist() {
    let app = TestApp::start().await;
    let issued = app.issue(KEY, &json!({"amount": "0.05", "currency": "USDC"})).await;
    let nonce = issued["nonce"].as_str().unwrap();
    let answer = app.verify(&app.proof(&app.pay_merchant(), nonce)).await;
    answer.assert_valid();
    let id = answer.body["payment"]["id"].as_str().unwrap();
    for path in [format!("/requirements/{nonce}"), format!("/payments/{id}")] {
        assert_eq!(app.get(&path, Some(KEY)).await.status, 200);
        let other = app.get(&path, Some(OTHER_KEY)).await;
        assert_eq!((other.status, other.code()), (404, "NOT_FOUND"));
    }
    assert_eq!(app.get("/payments", Some(OTHER_KEY)).await.body["total"], 0);
}
