//! `pay402 demo`: the whole story on a chain of its own, told as it happens. Any step that does not go as told ends it
//! with an error.

mod shop;
mod stage;
mod subscription;
mod weather;

use anyhow::ensure;
use serde_json::{Value, json};
use solana_keypair::Keypair;
use solana_signer::Signer;
use tokio::time::Instant;

use super::local::{Local, LocalOptions};
use crate::money::Currency;
use stage::{Stage, short, usdc};

const RESOURCE: &str = "https://api.example.com/weather";

pub(super) async fn run() -> anyhow::Result<()> {
    let started = Instant::now();
    let local = Local::start(LocalOptions { port: 0, rpc_port: 0, seed: 402, log_level: "error" }).await?;
    println!(
        "402pay demo: real payments on a real SVM, verified and settled by the real service, all on this machine.

  chain    {}  (up in {} ms)
  service  {}  (up in {} ms)
",
        local.chain.rpc_url(),
        local.chain_ms,
        local.url,
        local.service_ms
    );
    let stage = Stage::new(&local);
    let before = stage.balances();
    Stage::print_balances("before", before);

    let accepted = a_good_payment(&stage).await?;
    the_same_proof_again(&stage, &accepted).await?;
    too_little(&stage).await?;
    somebody_else(&stage).await?;
    the_books(&stage).await?;
    weather::pay_by_x402(&stage).await?;
    subscription::play(&stage, &local.offer_plans().await?).await?;

    let after = stage.balances();
    Stage::print_balances("after", after);
    ensure!(
        after.merchant == before.merchant + 50_000 + 40_000 + weather::PRICE + 5_000_000,
        "the merchant should have got 0.05, 0.04, 0.05 and 5 USDC"
    );
    local.shutdown.begin();
    local.finished().await?;
    println!("Done in {:.1} s: three payments accepted, three refused.", started.elapsed().as_secs_f64());
    Ok(())
}

async fn a_good_payment(stage: &Stage<'_>) -> anyhow::Result<Value> {
    stage.scene("The merchant asks for 0.05 USDC");
    let requirement = stage.require("0.05", RESOURCE).await?;
    let nonce = requirement["nonce"].as_str().unwrap_or_default();
    Stage::note(&format!("requirement {} pays {}", short(nonce), short(&stage.merchant.to_string())));

    stage.scene("The agent pays on chain");
    let transaction = stage.pay(&stage.merchant, usdc(50_000)?).await?;

    stage.scene("The merchant has the proof verified");
    let proof = stage.agent.prove(&transaction, usdc(50_000)?, Currency::Usdc, nonce, stage.now());
    let verdict = stage.verify(&proof, 200).await?;
    ensure!(verdict["valid"] == json!(true), "the payment should be good: {verdict}");
    Stage::note(&format!("valid, booked as {}", verdict["payment"]["id"].as_str().unwrap_or_default()));
    let paid = stage.get(&format!("/requirements/{nonce}")).await?;
    ensure!(paid["state"] == "paid", "the requirement should be paid: {paid}");
    Ok(proof)
}

async fn the_same_proof_again(stage: &Stage<'_>, proof: &Value) -> anyhow::Result<()> {
    stage.scene("The same proof once more");
    stage.refused(proof, "REPLAY_ATTACK").await
}

async fn too_little(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.scene("0.04 USDC, where 0.05 were asked for");
    let requirement = stage.require("0.05", RESOURCE).await?;
    let nonce = requirement["nonce"].as_str().unwrap_or_default();
    let transaction = stage.pay(&stage.merchant, usdc(40_000)?).await?;
    let proof = stage.agent.prove(&transaction, usdc(50_000)?, Currency::Usdc, nonce, stage.now());
    stage.refused(&proof, "INSUFFICIENT_AMOUNT").await
}

async fn somebody_else(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.scene("0.05 USDC, but to somebody else");
    let requirement = stage.require("0.05", RESOURCE).await?;
    let nonce = requirement["nonce"].as_str().unwrap_or_default();
    let transaction = stage.pay(&Keypair::new().pubkey(), usdc(50_000)?).await?;
    let proof = stage.agent.prove(&transaction, usdc(50_000)?, Currency::Usdc, nonce, stage.now());
    stage.refused(&proof, "RECIPIENT_MISMATCH").await
}

async fn the_books(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.scene("The books");
    let books = stage.get("/payments").await?;
    ensure!(books["total"] == json!(1), "one payment should be in the books: {books}");
    let payment = &books["payments"][0];
    Stage::note(&format!(
        "1 payment: {} {} from {} in slot {}",
        payment["amount"],
        payment["currency"].as_str().unwrap_or_default(),
        short(payment["payer"].as_str().unwrap_or_default()),
        payment["slot"],
    ));
    Ok(())
}
