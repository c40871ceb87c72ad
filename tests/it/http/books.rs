//! `GET /payments` and `POST /requirements`.

use pay402::money::Currency;
use serde_json::{Value, json};

use crate::harness::{KEY, TestApp};

#[tokio::test]
async fn payments_come_in_pages_newest_first() {
    let app = TestApp::start().await;
    let mut ids: Vec<Value> = Vec::new();
    for units in 1..=5 {
        app.chain.clock.advance(std::time::Duration::from_millis(5));
        let paid = app.pay(&app.merchant(), units, Currency::Usdc);
        let answer = app.verify(&app.proof(&paid, &format!("n{units}"))).await;
        answer.assert_valid();
        ids.insert(0, answer.body["payment"]["id"].clone());
    }
    let page = async |query: &str| {
        let body = app.get(&format!("/payments{query}"), Some(KEY)).await.body;
        let found: Vec<Value> =
            body["payments"].as_array().unwrap().iter().map(|payment| payment["id"].clone()).collect();
        (found, body["total"].clone(), body["limit"].clone(), body["offset"].clone())
    };
    assert_eq!(page("").await, (ids.clone(), json!(5), json!(50), json!(0)));
    assert_eq!(page("?limit=2&offset=1").await, (ids[1..3].to_vec(), json!(5), json!(2), json!(1)));
    assert_eq!(page("?limit=2&offset=4").await, (ids[4..].to_vec(), json!(5), json!(2), json!(4)));
    assert_eq!(page("?offset=5&future=1").await, (vec![], json!(5), json!(50), json!(5)));
}

#[tokio::test]
async fn pages_out_of_range_name_the_field() {
    let app = TestApp::start().await;
    for (query, field) in [("limit=0", "limit"), ("limit=201", "limit"), ("offset=1000001", "offset")] {
        let answer = app.get(&format!("/payments?{query}"), Some(KEY)).await;
        assert_eq!((answer.status, answer.fields()), (400, vec![field]), "{query}: {answer:?}");
    }
    for query in ["limit=-1", "limit=x", "offset=1.5", "limit=1&limit=2"] {
        let answer = app.get(&format!("/payments?{query}"), Some(KEY)).await;
        assert_eq!((answer.status, answer.code()), (400, "VALIDATION_FAILED"), "{query}: {answer:?}");
    }
}

#[tokio::test]
async fn requirements_that_cannot_be_issued() {
    let app = TestApp::start().await;
    let now = app.now().0;
    let good = json!({"amount": "1", "currency": "USDC"});
    let cases = [
        ("amount", json!("0")),
        ("currency", json!("EUR")),
        ("recipient", json!("nobody")),
        ("scheme", json!("upto")),
        ("maxAmount", json!("2")),
        ("resource", json!("")),
        ("nonce", json!("mine")),
        ("expiresAt", json!(now)),
        ("expiresAt", json!(now + 31 * 24 * 3_600_000)),
        ("metadata", json!("text")),
        ("metadata", json!({"big": "x".repeat(5000)})),
    ];
    for (field, value) in cases {
        let mut body = good.clone();
        body[field] = value;
        let answer = app.post("/requirements", Some(KEY), &body).await;
        assert_eq!((answer.status, answer.fields()), (400, vec![field]), "{answer:?}");
    }
    let nothing = app.post("/requirements", Some(KEY), &json!({})).await;
    assert_eq!((nothing.status, nothing.fields()), (400, vec!["currency", "amount"]));
}

#[tokio::test]
async fn a_requirement_with_everything() {
    let app = TestApp::start().await;
    let expires_at = app.now().0 + 3_600_000;
    let recipient = app.agent_address();
    let issued = app
        .issue(
            KEY,
            &json!({
                "amount": 1e-3, "maxAmount": "0.5", "scheme": "range", "currency": "SOL", "recipient": recipient,
                "resource": "/a", "expiresAt": expires_at, "metadata": {"big": 18_446_744_073_709_551_615_u64},
            }),
        )
        .await;
    assert_eq!(issued["amount"], json!(0.001));
    assert_eq!(issued["maxAmount"], json!(0.5));
    assert_eq!(issued["recipient"], json!(recipient));
    assert_eq!(issued["expiresAt"], json!(expires_at));
    assert_eq!(issued["metadata"]["big"], json!(18_446_744_073_709_551_615_u64));
    let another = app.issue(KEY, &json!({"amount": 1, "currency": "SOL"})).await;
    assert_ne!(issued["nonce"], another["nonce"]);
}
