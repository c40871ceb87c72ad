//! Who may call what.

use crate::harness::{KEY, OTHER_KEY, TestApp};

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
