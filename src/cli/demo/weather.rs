//! The demo's x402 scene: a shop that asks the service, and an agent that pays it.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    shop::{Offer, Shop, decoded, encoded},
    stage::{Stage, short},
};
use crate::{
    ids::{OsEntropy, random_nonce},
    sandbox::USDC,
};

/// What the weather costs, in atomic units of USDC.
pub(super) const PRICE: u64 = 50_000;

/// 402, pay, verify, settle, and what the books say.
pub(super) async fn pay_by_x402(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.scene("An agent wants the weather from a shop that speaks x402");
    let supported = stage.get("/supported").await?;
    let kind = &supported["kinds"][0];
    let requirements = json!({
        "scheme": kind["scheme"], "network": kind["network"], "amount": PRICE.to_string(),
        "asset": USDC.to_string(), "payTo": stage.merchant.to_string(), "maxTimeoutSeconds": 60,
        "extra": {"feePayer": kind["extra"]["feePayer"]},
    });
    let (facilitator, api_key) = stage.service();
    let shop = Shop::open(Offer { requirements, facilitator, api_key }).await?;
    let http = reqwest::Client::new();
    let unpaid = http.get(&shop.url).send().await.context("the shop does not answer")?;
    ensure!(unpaid.status() == 402, "the shop should ask for money: {}", unpaid.status());
    let asked = unpaid.headers().get("payment-required").and_then(|header| decoded(header.as_bytes()));
    let asked = asked.context("the shop should say what it asks for")?;
    let offer = &asked["accepts"][0];
    Stage::note(&format!(
        "GET /weather -> 402: {} units of USDC, the fee is on the facilitator",
        offer["amount"]
    ));

    stage.scene("It signs, and the shop has that verified and settled");
    let started = Instant::now();
    let payload = stage.agent.pay_x402(offer, &shop.url, &random_nonce(&OsEntropy)).await?;
    let paying = http.get(&shop.url).header("payment-signature", encoded(&payload));
    let paid = paying.send().await.context("the shop does not answer")?;
    let (status, header) = (paid.status(), paid.headers().get("payment-response").cloned());
    let text = paid.text().await?;
    ensure!(status == 200, "the shop should sell the weather: {status} {text}");
    Stage::note(&format!("GET /weather -> 200 in {} ms: {text}", started.elapsed().as_millis()));
    let receipt =
        header.and_then(|header| decoded(header.as_bytes())).context("there should be a receipt")?;
    let transaction = receipt["transaction"].as_str().context("the receipt should name its transaction")?;
    let booked = stage.get(&format!("/payments/{transaction}")).await?;
    ensure!(booked["state"] == json!("settled"), "the payment should be in the books: {booked}");
    Stage::note(&format!(
        "transaction {} is {} in slot {}",
        short(transaction),
        text_of(&booked, "state"),
        booked["slot"]
    ));
    Ok(())
}

fn text_of<'a>(json: &'a Value, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_default()
}
