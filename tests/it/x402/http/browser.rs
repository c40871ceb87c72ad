//! Pages that pay, and methods that are none.

use reqwest::Method;
use serde_json::json;

use crate::harness::{TestApp, x402::settled};

const SHOP: &str = "https://shop.example";

#[tokio::test]
async fn a_page_of_an_allowed_origin_verifies_and_settles() {
    let app = TestApp::settling_with(&[("ALLOWED_ORIGINS", SHOP)]).await;
    let order = app.order();
    let request = app.paid(&order);
    for path in ["/verify", "/settle", "/supported"] {
        let preflight = app.http.request(Method::OPTIONS, app.path(path)).header("origin", SHOP);
        let preflight = preflight
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,x-payment,payment-signature");
        let allowed = app.send(preflight, None).await;
        assert_eq!(
            (allowed.status, &allowed.headers["access-control-allow-origin"]),
            (200, &SHOP.parse().unwrap())
        );
    }
    let post = |path: &str| app.http.post(app.path(path)).header("origin", SHOP).json(&request);
    let verified = app.send(post("/verify"), None).await;
    assert_eq!(verified.body["isValid"], json!(true));
    let answer = app.send(post("/settle"), None);
    let answer = crate::harness::x402::while_slots_pass(&app.chain.sandbox, answer).await;
    settled(&answer, &order);
    for answer in [&verified, &answer] {
        assert_eq!(answer.headers["access-control-allow-origin"], SHOP);
    }
    // What is not decided can be read too.
    let malformed =
        app.send(app.http.post(app.path("/settle")).header("origin", SHOP).json(&json!({})), None).await;
    assert_eq!(
        (malformed.status, &malformed.headers["access-control-allow-origin"]),
        (400, &SHOP.parse().unwrap())
    );
}

#[tokio::test]
async fn other_methods_settle_nothing() {
    let app = TestApp::settling().await;
    let request = app.paid(&app.order());
    for (path, allow) in [("/settle", "POST"), ("/supported", "GET,HEAD")] {
        for method in [Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            let answer =
                app.send(app.http.request(method.clone(), app.path(path)).json(&request), None).await;
            assert_eq!((answer.status, answer.code()), (405, "METHOD_NOT_ALLOWED"), "{method} {path}");
            assert_eq!(answer.headers["allow"], allow);
        }
    }
    let head = app.http.head(app.path("/supported")).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.bytes().await.unwrap().len()), (200, 0));
    assert_eq!(app.http.head(app.path("/settle")).send().await.unwrap().status().as_u16(), 405);
    assert_eq!(app.chain.sandbox.faults().calls("sendTransaction"), 0);
}
