//! An agent on a plan: registered, subscribed, paid, used to its limit, cancelled.

use anyhow::ensure;
use serde_json::{Value, json};

use super::stage::{Stage, short, usdc};
use crate::{
    ids::{OsEntropy, random_nonce},
    money::Currency,
};

/// What the plan `basic` costs, in atomic units of USDC.
const PRICE: u64 = 5_000_000;
/// How much may be used of it in a day.
const DAILY: u64 = 100;

pub(super) async fn play(stage: &Stage<'_>, [basic, _pro]: &[String; 2]) -> anyhow::Result<()> {
    stage.scene("The merchant registers the agent, which may spend 10 USDC a day");
    let address = stage.agent.address().to_string();
    let body = json!({"name": "research", "publicKey": address, "spendingLimit": {"daily": 10}});
    let agent = stage.post("/agents", &body, 201).await?;

    stage.scene("... and subscribes it to the plan basic, 5 USDC a month");
    let body = json!({"planId": basic, "agentId": agent["id"], "requirePayment": true});
    let subscription = stage.post("/subscriptions", &body, 201).await?;
    told(&subscription);

    stage.scene("The agent pays its first month on chain");
    let transaction = stage.pay(&stage.merchant, usdc(PRICE)?).await?;
    let nonce = random_nonce(&OsEntropy);
    let mut proof = stage.agent.prove(&transaction, usdc(PRICE)?, Currency::Usdc, &nonce, stage.now());
    proof["subscriptionId"] = subscription["id"].clone();
    let verdict = stage.verify(&proof, 200).await?;
    ensure!(verdict["valid"] == json!(true), "the payment should be good: {verdict}");
    let path = format!("/subscriptions/{}", subscription["id"].as_str().unwrap_or_default());
    let paid = stage.get(&path).await?;
    ensure!(paid["status"] == "active", "the subscription should be active: {paid}");
    told(&paid);

    stage.scene("The agent uses all that the plan allows in a day, and is refused more");
    let mut usage = json!({"subscriptionId": subscription["id"], "quantity": DAILY, "resource": "/weather"});
    stage.post("/usage", &usage, 201).await?;
    usage["quantity"] = json!(1);
    let refused = stage.post("/usage", &usage, 429).await?;
    ensure!(refused["code"] == "USAGE_LIMIT_EXCEEDED", "the limit should hold: {refused}");
    Stage::note(&format!("USAGE_LIMIT_EXCEEDED: {}", refused["error"].as_str().unwrap_or_default()));

    stage.scene("It is cancelled, and runs until the end of the month");
    let cancelled = stage.post(&format!("{path}/cancel"), &json!({}), 200).await?;
    ensure!(cancelled["cancelAtPeriodEnd"] == json!(true), "it should be cancelled: {cancelled}");
    told(&cancelled);
    Ok(())
}

fn told(subscription: &Value) {
    Stage::note(&format!(
        "{} is {}, paid until {}",
        short(subscription["id"].as_str().unwrap_or_default()),
        subscription["status"].as_str().unwrap_or_default(),
        subscription["paidUntil"],
    ));
}
