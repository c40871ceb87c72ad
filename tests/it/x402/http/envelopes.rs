//! Requests that say one thing twice, or in two ways: what is judged is what is settled.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE},
};
use pay402::payments::x402::Version;
use serde_json::{Value, json};

use super::{assert_settle_trouble, assert_verify_trouble};
use crate::harness::{
    Answer, TestApp,
    x402::{Order, settled, signed},
};

const MALFORMED: (u16, &str, &str) = (400, "VALIDATION_FAILED", "invalid_payload");

async fn raw(app: &TestApp, path: &str, body: String) -> Answer {
    app.send(app.http.post(app.path(path)).header("content-type", "application/json").body(body), None).await
}

/// Neither the first nor the last of two members is taken.
#[tokio::test]
async fn a_member_that_is_there_twice_is_refused_also_inside_of_a_header() {
    let app = TestApp::settling().await;
    let order = app.order();
    let transaction = signed(&app.chain.sandbox, &order);
    let twice = |text: String, member: &str, again: &str| {
        let doubled = text.replacen(member, &format!("{again},{member}"), 1);
        assert_ne!(doubled, text, "{member} is there");
        doubled
    };
    let request = order.request(&transaction).to_string();
    for (member, again) in [
        (r#""payTo""#, r#""payTo":"11111111111111111111111111111111""#),
        (r#""amount""#, r#""amount":"1""#),
        (r#""url""#, r#""url":"https://shop.example/dogs""#),
        (r#""transaction""#, r#""transaction":"AA==""#),
    ] {
        let body = twice(request.clone(), member, again);
        assert_verify_trouble(&raw(&app, "/verify", body.clone()).await, MALFORMED);
        let answer = raw(&app, "/settle", body).await;
        assert_eq!((answer.status, &answer.body["errorReason"]), (400, &json!("invalid_payload")));
    }
    let payload =
        twice(order.payload(&transaction).to_string(), r#""transaction""#, r#""transaction":"AA==""#);
    let mut header = order.header_request(&transaction);
    header["paymentHeader"] = json!(BASE64_STANDARD.encode(payload));
    assert_verify_trouble(&app.verify_x402(&header).await, MALFORMED);
    assert_eq!(app.chain.sandbox.faults().calls("simulateTransaction"), 0);
}

#[tokio::test]
async fn the_older_form_takes_standard_base64_padded_or_not() {
    let app = TestApp::settling().await;
    for version in Version::ALL {
        // Of a length at which padding shows.
        let order = (0..3).map(|more| Order {
            version,
            resource: format!("https://shop.example/{}?\u{fffd}", "x".repeat(more)),
            ..app.order()
        });
        for order in order {
            let transaction = signed(&app.chain.sandbox, &order);
            let payload = order.payload(&transaction).to_string();
            let with = |text: String| {
                let mut request = order.header_request(&transaction);
                request["paymentHeader"] = json!(text);
                request
            };
            let unpadded = with(BASE64_STANDARD_NO_PAD.encode(&payload));
            assert_eq!(app.verify_x402(&unpadded).await.body["isValid"], json!(true));
            let text = BASE64_STANDARD.encode(&payload);
            for wrong in
                [format!(" {text}"), format!("{text}\n"), format!("{text}AA"), BASE64_STANDARD.encode(&text)]
            {
                assert_verify_trouble(&app.verify_x402(&with(wrong)).await, MALFORMED);
            }
            let url_safe = BASE64_URL_SAFE.encode(&payload);
            if url_safe != text {
                assert_verify_trouble(&app.verify_x402(&with(url_safe)).await, MALFORMED);
            }
            // The header and the payload are one payment.
            let first = app.settle(None, &with(text)).await;
            settled(&first, &order);
            assert_eq!(app.settle(None, &order.request(&transaction)).await.body, first.body);
        }
    }
}

/// The payload's version decides, whatever stands beside it.
#[tokio::test]
async fn a_version_beside_the_payload_changes_nothing() {
    let app = TestApp::settling().await;
    for version in Version::ALL {
        for beside in [json!(1), json!(2), json!(7), Value::Null] {
            let order = Order { version, ..app.order() };
            let mut request = app.paid(&order);
            request["x402Version"] = beside;
            settled(&app.settle(None, &request).await, &order);
        }
        let order = Order { version, ..app.order() };
        let mut mixed = app.paid(&order);
        let other = if version == Version::V1 { Version::V2 } else { Version::V1 };
        mixed["paymentRequirements"] = Order { version: other, ..app.order() }.requirements();
        let network = order.requirements()["network"].as_str().unwrap().to_owned();
        assert_settle_trouble(&app.settle(None, &mixed).await, &network, MALFORMED);
    }
}
