//! `pay402 sandbox`.

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use solana_signer::Signer;

use super::local::{Local, LocalOptions};
use crate::{
    ids::{OsEntropy, random_nonce},
    money::{Amount, Currency},
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
    let proof = pay(&local).await?;
    local.offer_plans().await?;
    print_guide(&local, &proof);
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

fn print_guide(local: &Local, proof: &Value) {
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

The plans basic and pro, to subscribe agents to (the README says how):

curl -s {url}/plans

How the service is, and what it has counted:

curl -s {url}/ready
curl -s {url}/metrics

More SOL for the agent:

curl -s {rpc} {json} -d '{airdrop}'
",
        ws = local.chain.ws_url(),
        fee_payer = wallets.fee_payer.pubkey(),
    );
}
