//! The real service on a sandbox chain, both on one clock that moves only when a test says so.

pub mod logs;
pub mod port;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod secrets;
pub mod wire;
pub mod x402;

use std::{sync::Arc, thread, time::Duration};

use pay402::{
    app::{App, open_books},
    clock::{Clock, SystemClock, UnixMs},
    config::{Config, Environment},
    money::{Currency, decimal_text},
    sandbox::agent::transfer,
    shutdown::Shutdown,
};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use solana_instruction::Instruction;
use solana_keypair::Keypair;
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::sandbox::setup::{Fixture, start};

/// Tests send all they have from one address, so unless they are about limits they have high ones.
const HIGH_LIMITS: [(&str, &str); 4] = [
    ("MAX_CONNECTIONS_PER_ADDRESS", "0"),
    ("RATE_LIMIT_PUBLIC", "1000000"),
    ("RATE_LIMIT_AUTHENTICATED", "1000000"),
    ("RATE_LIMIT_VERIFICATION", "1000000"),
];

pub const KEY: &str = "sk_test_merchant_0123456789abcdef";
pub const OTHER_KEY: &str = "sk_test_other_one_0123456789abcdef";

pub struct TestApp {
    pub chain: Fixture,
    pub url: String,
    pub http: reqwest::Client,
    pub folder: Arc<TempDir>,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Self {
        Self::whole(response).await.unwrap()
    }

    /// `None` where the connection broke before the end.
    pub async fn whole(response: reqwest::Response) -> Option<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let metrics = response.url().path() == "/metrics";
        let text = response.text().await.ok()?;
        Self::check(status, metrics, &text);
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if let Some(key) = body["key"].as_str() {
            secrets::register_key(key);
        }
        Some(Self { status, headers, body })
    }

    /// Fails where an error, or a metric, tells a secret.
    pub fn check(status: u16, metrics: bool, text: &str) {
        if status >= 400 || metrics {
            let secret = secrets::answered(text);
            assert!(
                secret.is_none(),
                "a secret that begins with {secret:?} was answered with status {status}"
            );
        }
    }

    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The names of the fields a 400 complains about.
    pub fn fields(&self) -> Vec<&str> {
        let details = self.body["details"].as_array().map_or(&[][..], Vec::as_slice);
        details.iter().filter_map(|detail| detail["field"].as_str()).collect()
    }

    #[track_caller]
    pub fn assert_valid(&self) {
        assert_eq!((self.status, &self.body["valid"]), (200, &json!(true)), "{self:?}");
    }

    #[track_caller]
    pub fn assert_refused(&self, code: &str) {
        assert_eq!((self.status, self.code(), &self.body["valid"]), (402, code, &json!(false)), "{self:?}");
        assert!(self.body["requestId"].as_str().is_some_and(|id| !id.is_empty()), "{self:?}");
        assert!(self.body["error"].as_str().is_some_and(|error| error.len() > 10), "{self:?}");
    }
}

/// What a payment was made of, to be proved.
#[derive(Clone, Debug)]
pub struct Paid {
    pub transaction: Signature,
    pub currency: Currency,
    pub units: u64,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::with(|environment, _| environment).await
    }

    /// With another environment than the usual one.
    pub async fn with(adapt: impl FnOnce(Environment, &Fixture) -> Environment) -> Self {
        Self::on(start().await, Arc::new(tempfile::tempdir().unwrap()), adapt).await
    }

    /// On a chain and a database folder that are there already.
    pub async fn on(
        chain: Fixture,
        folder: Arc<TempDir>,
        adapt: impl FnOnce(Environment, &Fixture) -> Environment,
    ) -> Self {
        let clock: Arc<dyn Clock> = chain.clock.clone();
        Self::on_clock(clock, chain, folder, adapt).await
    }

    /// With a clock of its own for the service.
    pub async fn on_clock(
        clock: Arc<dyn Clock>,
        chain: Fixture,
        folder: Arc<TempDir>,
        adapt: impl FnOnce(Environment, &Fixture) -> Environment,
    ) -> Self {
        logs::watch();
        [KEY, OTHER_KEY].into_iter().for_each(secrets::register);
        let wallets = chain.sandbox.wallets();
        let wallets = [&wallets.agent, &wallets.merchant, &wallets.fee_payer];
        wallets.into_iter().for_each(secrets::register_wallet);
        let database = folder.path().join("pay402.db");
        let environment = Environment::default()
            .with("PORT", "0")
            .with("DATABASE_URL", format!("sqlite://{}", database.display()))
            .with("SOLANA_NETWORK", "sandbox")
            .with("SOLANA_RPC_URL", chain.sandbox.rpc_url())
            .with("MERCHANT_WALLETS", chain.merchant().to_string())
            .with("VALID_API_KEYS", format!("{KEY},{OTHER_KEY}"));
        let set = |environment: Environment, (name, value)| environment.with(name, value);
        let environment = HIGH_LIMITS.into_iter().fold(environment, set);
        let config = Config::read(adapt(environment, &chain)).unwrap();
        let app = App::with_clock(&config, clock).await.unwrap();
        if config.database.auto_migrate {
            let books = open_books(&config.database.url, &Arc::default()).await.unwrap();
            secrets::make_server_secrets(&books).await;
            books.database.close().await;
        }
        let shutdown = app.shutdown();
        let listener = TcpListener::bind(config.listen).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(app.serve(listener));
        Self { chain, url, http: reqwest::Client::new(), folder, shutdown, serving }
    }

    /// Ends the service in order, and gives back what it ran on.
    pub async fn stop(self) -> (Fixture, Arc<TempDir>) {
        drop(self.http);
        self.shutdown.begin();
        self.serving.await.unwrap();
        (self.chain, self.folder)
    }

    pub fn now(&self) -> UnixMs {
        self.chain.clock.now()
    }

    pub fn agent(&self) -> &Keypair {
        self.chain.agent()
    }

    pub fn agent_address(&self) -> String {
        self.agent().pubkey().to_string()
    }

    pub fn merchant(&self) -> Pubkey {
        self.chain.merchant()
    }

    /// Puts a transaction on chain and lets it be confirmed.
    pub fn land(&self, transaction: &VersionedTransaction) -> Signature {
        let signature = self.chain.sandbox.send(transaction).unwrap();
        self.chain.sandbox.advance_slots(2);
        signature
    }

    pub fn land_instructions(&self, instructions: &[Instruction], signers: &[&Keypair]) -> Signature {
        self.land(&self.chain.legacy(instructions, signers))
    }

    pub fn transfer(&self, recipient: &Pubkey, units: u64, currency: Currency) -> Vec<Instruction> {
        let amount = pay402::money::Amount::from_atomic(units).unwrap();
        transfer(&self.agent().pubkey(), recipient, amount, currency).unwrap()
    }

    /// The agent pays.
    pub fn pay(&self, recipient: &Pubkey, units: u64, currency: Currency) -> Paid {
        let instructions = self.transfer(recipient, units, currency);
        Paid { transaction: self.land_instructions(&instructions, &[self.agent()]), currency, units }
    }

    /// The agent pays the merchant 0.05 USDC.
    pub fn pay_merchant(&self) -> Paid {
        self.pay(&self.merchant(), 50_000, Currency::Usdc)
    }

    /// The agent's proof of a payment.
    pub fn proof(&self, paid: &Paid, nonce: &str) -> Value {
        self.proof_by(self.agent(), paid, nonce)
    }

    pub fn proof_by(&self, payer: &Keypair, paid: &Paid, nonce: &str) -> Value {
        json!({
            "signature": payer.sign_message(nonce.as_bytes()).to_string(),
            "payer": payer.pubkey().to_string(),
            "amount": decimal_text(paid.units, paid.currency.decimals()),
            "currency": paid.currency,
            "nonce": nonce,
            "timestamp": self.now(),
            "transactionId": paid.transaction.to_string(),
        })
    }

    /// A requirement as a merchant sends it along: 0.05 USDC for the merchant.
    pub fn requirement(&self) -> Value {
        json!({"amount": "0.05", "currency": "USDC", "recipient": self.merchant().to_string()})
    }

    pub async fn verify(&self, proof: &Value) -> Answer {
        self.post("/verify", Some(KEY), proof).await
    }

    /// Has a requirement issued; must succeed.
    pub async fn issue(&self, key: &str, body: &Value) -> Value {
        let answer = self.post("/requirements", Some(key), body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body
    }

    pub async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Answer {
        self.send(self.http.post(self.path(path)).json(body), key).await
    }

    pub async fn get(&self, path: &str, key: Option<&str>) -> Answer {
        self.send(self.http.get(self.path(path)), key).await
    }

    pub async fn send(&self, request: reqwest::RequestBuilder, key: Option<&str>) -> Answer {
        let request = match key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        };
        Answer::of(request.send().await.unwrap()).await
    }

    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// A sample of `/metrics`, 0 where there is none.
    pub async fn metric(&self, sample: &str) -> f64 {
        let metrics = self.get("/metrics", None).await;
        let found = metrics
            .body
            .as_str()
            .unwrap()
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.trim().parse().ok());
        found.unwrap_or_default()
    }

    /// The value of a counter of `/metrics`; 0 where it is not there yet.
    pub async fn count(&self, series: &str) -> u64 {
        let metrics = self.get("/metrics", None).await.body;
        let value = metrics.as_str().unwrap().lines().find_map(|line| line.strip_prefix(series));
        value.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// How many payments are in the merchant's books.
    pub async fn booked(&self) -> u64 {
        self.get("/payments", Some(KEY)).await.body["total"].as_u64().unwrap()
    }
}

/// `proof` with one member changed.
pub fn with(mut proof: Value, member: &str, value: impl Into<Value>) -> Value {
    proof[member] = value.into();
    proof
}

/// How often a long test loops: `PAY402_TEST_ROUNDS`, else `default`.
#[expect(clippy::disallowed_methods, reason = "the tests' own knob")]
pub fn rounds(default: usize) -> usize {
    std::env::var("PAY402_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What chance begins with: `PAY402_TEST_SEED`, else always the same, so that a run fails for what has changed. To hunt for
/// more, give it other ones.
#[expect(clippy::disallowed_methods, reason = "the tests' own knob")]
pub fn seed() -> u64 {
    std::env::var("PAY402_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(402)
}

/// Waits for midnight, UTC, where it is near: a service that is a process of its own counts by the system's days, and what
/// it counted must be of the same day at the end of the test.
pub fn away_from_midnight() {
    const NEAR: Duration = Duration::from_mins(2);
    const DAY: Duration = Duration::from_hours(24);
    let passed = u64::try_from(SystemClock.now().0).unwrap() % u64::try_from(DAY.as_millis()).unwrap();
    let left = DAY.saturating_sub(Duration::from_millis(passed));
    if left < NEAR {
        thread::sleep(left);
    }
}
