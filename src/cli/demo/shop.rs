//! A merchant whose one ware costs 0.05 USDC: it answers 402 to who has not paid, and asks the service about who has.

use std::sync::Arc;

use anyhow::Context;
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// Where version 2 of x402 puts what is asked for, what is paid, and what became of it, each JSON in base64.
const PAYMENT_REQUIRED: HeaderName = HeaderName::from_static("payment-required");
const PAYMENT_SIGNATURE: HeaderName = HeaderName::from_static("payment-signature");
const PAYMENT_RESPONSE: HeaderName = HeaderName::from_static("payment-response");

/// What the shop sells, for how much, and whom it asks.
#[derive(Debug)]
pub(super) struct Offer {
    pub requirements: Value,
    /// The service's base URL.
    pub facilitator: String,
    pub api_key: String,
}

/// The shop while it is open.
#[derive(Debug)]
pub(super) struct Shop {
    pub url: String,
    serving: JoinHandle<()>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Counter {
    url: String,
    offer: Offer,
    http: reqwest::Client,
}

impl Shop {
    pub(super) async fn open(offer: Offer) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("the shop cannot open")?;
        let url = format!("http://{}/weather", listener.local_addr()?);
        let counter = Arc::new(Counter { url: url.clone(), offer, http: reqwest::Client::new() });
        let routes = Router::new().route("/weather", get(weather)).with_state(counter);
        let serving = tokio::spawn(async move {
            // It is closed by being dropped.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self { url, serving })
    }
}

async fn weather(State(counter): State<Arc<Counter>>, headers: HeaderMap) -> Response {
    let Some(payment) = headers.get(&PAYMENT_SIGNATURE).and_then(|header| decoded(header.as_bytes())) else {
        return counter.unpaid("pay to see the weather");
    };
    match counter.settle(payment).await {
        Ok(receipt) if receipt["success"] == json!(true) => {
            let weather = Json(json!({"weather": "sunny, 21 degrees"}));
            ([(PAYMENT_RESPONSE, encoded(&receipt))], weather).into_response()
        }
        Ok(refused) => counter.unpaid(&refused.to_string()),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

impl Counter {
    fn unpaid(&self, error: &str) -> Response {
        let required = json!({
            "x402Version": 2, "error": error, "resource": {"url": self.url},
            "accepts": [self.offer.requirements],
        });
        (StatusCode::PAYMENT_REQUIRED, [(PAYMENT_REQUIRED, encoded(&required))]).into_response()
    }

    /// Verifies a payment and has it made final; what the service says.
    async fn settle(&self, payment: Value) -> anyhow::Result<Value> {
        let request = json!({
            "x402Version": 2, "paymentPayload": payment, "paymentRequirements": self.offer.requirements,
        });
        let verified = self.ask("/verify", &request).await?;
        if verified["isValid"] != json!(true) {
            return Ok(verified);
        }
        self.ask("/settle", &request).await
    }

    async fn ask(&self, path: &str, request: &Value) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.offer.facilitator);
        let asked = self.http.post(url).header("x-api-key", &self.offer.api_key).json(request).send().await;
        asked
            .context("the service does not answer")?
            .json()
            .await
            .context("the service did not answer in JSON")
    }
}

/// JSON as it goes into a header of x402's.
pub(super) fn encoded(json: &Value) -> HeaderValue {
    // Base64 is always fit for a header.
    HeaderValue::from_str(&BASE64_STANDARD.encode(json.to_string())).unwrap_or(HeaderValue::from_static(""))
}

/// The JSON in a header of x402's.
pub(super) fn decoded(header: &[u8]) -> Option<Value> {
    serde_json::from_slice(&BASE64_STANDARD.decode(header).ok()?).ok()
}
