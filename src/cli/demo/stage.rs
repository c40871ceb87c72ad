//! Where the demo plays: what its scenes do, printed with how long it took.

use std::cell::Cell;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_signer::Signer;
use tokio::time::Instant;

use super::Local;
use crate::{
    clock::UnixMs,
    money::{Amount, Currency, decimal_text},
    sandbox::{USDC, agent::Agent},
};

/// What merchant and agent hold, in atomic units of USDC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Balances {
    pub merchant: u64,
    pub agent: u64,
}

pub(super) struct Stage<'a> {
    local: &'a Local,
    http: reqwest::Client,
    scenes: Cell<u32>,
    pub agent: Agent,
    pub merchant: Pubkey,
}

impl<'a> Stage<'a> {
    pub(super) fn new(local: &'a Local) -> Self {
        Self {
            local,
            http: reqwest::Client::new(),
            scenes: Cell::new(0),
            agent: local.agent(),
            merchant: local.chain.wallets().merchant.pubkey(),
        }
    }

    pub(super) fn scene(&self, title: &str) {
        self.scenes.set(self.scenes.get() + 1);
        println!("{}. {title}", self.scenes.get());
    }

    pub(super) fn note(text: &str) {
        println!("     {text}");
    }

    pub(super) fn now(&self) -> UnixMs {
        self.local.clock.now()
    }

    /// Has a requirement issued that pays the merchant.
    pub(super) async fn require(&self, amount: &str, resource: &str) -> anyhow::Result<Value> {
        let body = json!({"amount": amount, "currency": "USDC", "resource": resource});
        self.call(self.http.post(self.url("/requirements")).json(&body), "POST /requirements", 201).await
    }

    /// Pays on chain and waits for the confirmation.
    pub(super) async fn pay(&self, recipient: &Pubkey, amount: Amount) -> anyhow::Result<Signature> {
        let started = Instant::now();
        let transaction =
            self.agent.pay(recipient, amount, Currency::Usdc).await.context("the agent cannot pay")?;
        let text = decimal_text(amount.atomic(), Currency::Usdc.decimals());
        let transaction_text = short(&transaction.to_string());
        Self::note(&format!(
            "{text} USDC in transaction {transaction_text}, confirmed in {} ms",
            started.elapsed().as_millis()
        ));
        Ok(transaction)
    }

    pub(super) async fn post(&self, path: &str, body: &Value, status: u16) -> anyhow::Result<Value> {
        self.call(self.http.post(self.url(path)).json(body), &format!("POST {path}"), status).await
    }

    pub(super) async fn verify(&self, proof: &Value, status: u16) -> anyhow::Result<Value> {
        self.call(self.http.post(self.url("/verify")).json(proof), "POST /verify", status).await
    }

    /// Verifies a proof that must be refused with this code.
    pub(super) async fn refused(&self, proof: &Value, code: &str) -> anyhow::Result<()> {
        let verdict = self.verify(proof, 402).await?;
        ensure!(verdict["code"] == code, "the payment should be refused with {code}: {verdict}");
        Self::note(&format!("{code}: {}", verdict["error"].as_str().unwrap_or_default()));
        Ok(())
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(self.http.get(self.url(path)), &format!("GET {path}"), 200).await
    }

    /// The service's base URL, and a key.
    pub(super) fn service(&self) -> (String, String) {
        (self.local.url.clone(), self.local.api_key.clone())
    }

    pub(super) fn balances(&self) -> Balances {
        let balance = |owner| self.local.chain.token_balance(&USDC, owner);
        Balances { merchant: balance(&self.merchant), agent: balance(&self.agent.address()) }
    }

    pub(super) fn print_balances(when: &str, balances: Balances) {
        let text = |units| decimal_text(units, Currency::Usdc.decimals());
        println!("\n  USDC {when}: merchant {}, agent {}\n", text(balances.merchant), text(balances.agent));
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.local.url)
    }

    async fn call(&self, request: reqwest::RequestBuilder, name: &str, status: u16) -> anyhow::Result<Value> {
        let started = Instant::now();
        let response = request
            .header("x-api-key", &self.local.api_key)
            .send()
            .await
            .with_context(|| format!("{name} got no answer"))?;
        let answered = response.status().as_u16();
        let body: Value = response.json().await.with_context(|| format!("{name} did not answer in JSON"))?;
        Self::note(&format!("{name} -> {answered} in {:.1} ms", started.elapsed().as_secs_f64() * 1000.0));
        ensure!(answered == status, "{name} should have answered {status}: {body}");
        Ok(body)
    }
}

pub(super) fn usdc(units: u64) -> anyhow::Result<Amount> {
    Ok(Amount::from_atomic(units)?)
}

/// Enough of a long name to tell it from others.
pub(super) fn short(name: &str) -> String {
    if name.len() <= 12 { name.to_owned() } else { format!("{}..{}", &name[..6], &name[name.len() - 4..]) }
}
