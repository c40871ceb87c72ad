//! `pay402 sandbox`.

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use solana_signer::Signer;

use super::local::{Local, LocalOptions};
use crate::{
    ids::{OsEntropy, random_nonce},
    money::{Amount, Currency},
    sandbox::USDC,
};

/// What the payment made at the start pays, in atomic units of USDC.
const PAID: u64 = 50_000;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Port of the service; 0 for any
    #[arg(long, default_value_t = 3001)]
    port: u16,
    /// Port of the chain's JSON-RPC, with WebSockets one above; 0 for any
    #[arg(long, default_value_t = 8899)]
    rpc_port: u16,
    /// Determines the wallets
    #[arg(long, default_value_t = 402)]
    seed: u64,
    /// What is logged: error, warn, info, debug, trace, or tracing directives
    #[arg(long, default_value = "warn")]
    log: String,
}

pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    let local = Local::start(LocalOptions {
        port: options.port,
        rpc_port: options.rpc_port,
        seed: options.seed,
        log_level: &options.log,
    })
    .await?;
    let (proof, settled) = tokio::try_join!(pay(&local), settle(&local))?;
    local.offer_plans().await?;
    print_guide(&local, &proof, &settled);
    local.shutdown.on_signals().context("signals cannot be listened to")?;
    local.finished().await
}

/// Makes a real payment, so that there is something to verify.
async fn pay(local: &Local) -> anyhow::Result<Value> {
    let merchant = local.chain.wallets().merchant.pubkey();
    let amount = Amount::from_atomic(PAID)?;
    let agent = local.agent();
    let transaction = agent.pay(&merchant, amount, Currency::Usdc).await.context("the agent cannot pay")?;
    let nonce = random_nonce(&OsEntropy);
    Ok(agent.prove(&transaction, amount, Currency::Usdc, &nonce, local.clock.now()))
}

/// A payment by x402 that the service has settled, and the request that it was settled by.
struct Settled {
    request: Value,
    transaction: String,
}

/// The agent pays by x402, without an API key.
async fn settle(local: &Local) -> anyhow::Result<Settled> {
    let http = reqwest::Client::new();
    let supported: Value = http.get(format!("{}/supported", local.url)).send().await?.json().await?;
    let kind = &supported["kinds"][0];
    let requirements = json!({
        "scheme": kind["scheme"], "network": kind["network"], "amount": PAID.to_string(), "asset": USDC.to_string(),
        "payTo": local.chain.wallets().merchant.pubkey().to_string(), "maxTimeoutSeconds": 60,
        "extra": {"feePayer": kind["extra"]["feePayer"]},
    });
    let resource = "https://api.example.com/weather";
    let payload = local.agent().pay_x402(&requirements, resource, &random_nonce(&OsEntropy)).await?;
    let request = json!({"paymentPayload": payload, "paymentRequirements": requirements});
    let asked = http.post(format!("{}/settle", local.url)).json(&request).send().await?;
    let told: Value = asked.json().await.context("the service did not answer in JSON")?;
    let transaction = told["transaction"].as_str().filter(|_| told["success"] == json!(true));
    let transaction =
        transaction.with_context(|| format!("the service has not settled the payment: {told}"))?;
    Ok(Settled { transaction: transaction.to_owned(), request })
}

fn print_guide(local: &Local, proof: &Value, settled: &Settled) {
    let wallets = local.chain.wallets();
    let (url, key, rpc) = (&local.url, &local.api_key, local.chain.rpc_url());
    let (merchant, agent) = (wallets.merchant.pubkey(), wallets.agent.pubkey());
    let json = "-H 'content-type: application/json'";
    let requirement = json!({
        "amount": "0.05", "currency": "USDC", "recipient": merchant.to_string(),
        "resource": "https://api.example.com/weather",
    });
    let airdrop = json!({
        "jsonrpc": "2.0", "id": 1, "method": "requestAirdrop", "params": [agent.to_string(), 1_000_000_000],
    });
    println!(
        "402pay sandbox: a Solana chain and the service, on this machine only. Ctrl-C ends both.

  service    {url}
  chain      {rpc}  WebSocket {ws}
  API key    {key}

  merchant   {merchant}
  agent      {agent}  (1000 USDC, USDT and PYUSD, 100 SOL)
  fee payer  {fee_payer}

The agent has just paid the merchant 0.05 USDC on chain. Verify the payment; its proof is good for 15 minutes, once:

curl -s {url}/verify {json} -H 'x-api-key: {key}' -d '{proof}'

Run that line again, and it is refused as a replay. The books have it once:

curl -s {url}/payments -H 'x-api-key: {key}'

Ask to be paid, and see where the requirement stands under its nonce (GET /requirements/<nonce>):

curl -s {url}/requirements {json} -H 'x-api-key: {key}' -d '{requirement}'

x402: point any server of version 1 or 2 at {url} as its facilitator, and any client at {rpc} with a funded wallet. This is
what is supported, under devnet's name; the service's fee payer has SOL:

curl -s {url}/supported

The agent has also paid 0.05 USDC by x402. Settle that once more: it is not paid twice, the books tell what became of it, as they
do of its transaction:

curl -s {url}/settle {json} -d '{settle}'
curl -s {url}/payments/{transaction}

The plans basic and pro, to subscribe agents to (the README says how):

curl -s {url}/plans

How the service is, and what it has counted:

curl -s {url}/ready
curl -s {url}/metrics

More SOL for the agent:

curl -s {rpc} {json} -d '{airdrop}'
",
        ws = local.chain.ws_url(),
        settle = settled.request,
        transaction = settled.transaction,
        fee_payer = wallets.fee_payer.pubkey(),
    );
}
