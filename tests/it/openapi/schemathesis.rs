//! Every operation tried by schemathesis, with a key and without: no 5xx, and no answer that the document lacks. The seed is
//! always the same: what another one finds fails no run that is about something else.
//!
//! tests/run.sh installs it into target/schemathesis.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::join_all;
use pay402::{
    clock::{Clock, SystemClock},
    money::{Amount, Currency},
    sandbox::{Sandbox, SandboxConfig, agent::Agent},
};
use serde_json::{Value, json};
use solana_signature::Signature;
use solana_signer::Signer;
use tokio::process::Command;

use super::document::document;
use crate::harness::{
    Answer, KEY,
    process::ServiceProcess,
    rounds, seed, with,
    x402::{Order, paid, settled, settling},
};

/// Real payments that schemathesis has to prove.
const PAYMENTS: u64 = 12;
/// Real x402 payments that it has to settle.
const SETTLEMENTS: usize = 4;

/// Agents to be asked for, and as many to be deleted.
const AGENTS: u8 = 12;

struct Tried {
    service: ServiceProcess,
    chain: Sandbox,
    folder: tempfile::TempDir,
    clock: Arc<dyn Clock>,
}

impl Tried {
    async fn start() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let chain = Sandbox::start(SandboxConfig::new(Arc::clone(&clock))).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let service = ServiceProcess::start(folder.path(), |command| {
            command.env("SOLANA_NETWORK", "sandbox");
            command.envs(settling(&chain));
            command.env("MERCHANT_WALLETS", chain.wallets().merchant.pubkey().to_string());
            command.env("VALID_API_KEYS", KEY);
        })
        .await;
        Self { service, chain, folder, clock }
    }

    fn request(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        reqwest::Client::new().post(format!("{}{path}", self.service.url)).json(body)
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(path, body).header("x-api-key", KEY).send().await.unwrap()).await
    }

    /// What nobody can make up: proofs that are good, one whose transaction nobody knows, one that is forged, and names of
    /// what is there.
    async fn known(&self) -> Value {
        let wallets = self.chain.wallets();
        let agent = Agent::new(wallets.agent.insecure_clone(), self.chain.rpc_url());
        let merchant = wallets.merchant.pubkey();
        let mut proofs = join_all((1..=PAYMENTS).map(async |n| {
            let amount = Amount::from_atomic(n).unwrap();
            let paid = agent.pay(&merchant, amount, Currency::Usdc).await.unwrap();
            agent.prove(&paid, amount, Currency::Usdc, &format!("known-{n}"), self.clock.now())
        }))
        .await;
        let booked = self.post("/verify", &proofs.pop().unwrap()).await;
        booked.assert_valid();
        let payment = &booked.body["payment"];
        let one = Amount::from_atomic(1).unwrap();
        let unknown = Signature::from([7; 64]);
        proofs.insert(1, agent.prove(&unknown, one, Currency::Usdc, "unknown", self.clock.now()));
        proofs.insert(2, with(proofs[0].clone(), "nonce", "forged"));
        let terms = json!({
            "amount": "1", "maxAmount": "2", "scheme": "range", "currency": "SOL", "resource": "/a", "metadata": {"a": 1},
        });
        let issued = self.post("/requirements", &terms).await;
        assert_eq!(issued.status, 201, "{issued:?}");
        let agents = join_all((0..2 * AGENTS).map(async |n| {
            let body = json!({"name": "known", "publicKey": solana_pubkey::Pubkey::new_from_array([n; 32]).to_string()});
            let made = self.post("/agents", &body).await;
            assert_eq!(made.status, 201, "{made:?}");
            made.body["id"].clone()
        }))
        .await;
        let (agents, deleted) = agents.split_at(AGENTS.into());
        let make = async |path: &str, body: &Value, many: usize| {
            let mut ids = Vec::new();
            for _ in 0..many {
                let made = self.post(path, body).await;
                assert_eq!(made.status, 201, "{made:?}");
                ids.push(made.body["id"].clone());
            }
            ids
        };
        let plan = json!({"name": "known", "pricePerMonth": 1, "currency": "USDC"});
        let (plans, removed) = (make("/plans", &plan, 2).await, make("/plans", &plan, 4).await);
        let subscription = json!({"planId": plans[0], "agentId": agents[0]});
        let subscriptions = make("/subscriptions", &subscription, 2).await;
        let cancelled = make("/subscriptions", &subscription, 4).await;
        let key = json!({"name": "known"});
        let (revoked, rotated) = (make("/api-keys", &key, 2).await, make("/api-keys", &key, 2).await);
        let order = Order::of(&self.chain);
        let anonymous = self.request("/settle", &paid(&self.chain, &order)).send().await.unwrap();
        let anonymous = settled(&Answer::of(anonymous).await, &order);
        let x402: Vec<Value> = (0..SETTLEMENTS).map(|_| paid(&self.chain, &Order::of(&self.chain))).collect();
        json!({
            "agents": agents, "deleted": deleted, "plans": plans, "removed": removed, "subscriptions": subscriptions,
            "cancelled": cancelled, "revoked": revoked, "rotated": rotated,
            "x402": x402, "proofs": proofs, "nonces": [issued.body["nonce"]],
            "payments": [payment["id"], payment["transactionId"], anonymous.to_string()],
        })
    }

    /// Runs schemathesis to its end; how often each operation gave each status.
    async fn try_out(&self, known: &Value, key: Option<&str>) -> BTreeMap<String, u64> {
        let home = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (known_file, seen_file) =
            (self.folder.path().join("known.json"), self.folder.path().join("seen.json"));
        fs::write(&known_file, known.to_string()).unwrap();
        // From a file: an operation that is the document's own address would be left out.
        let document_file = self.folder.path().join("openapi.json");
        let served = reqwest::get(format!("{}/openapi.json", self.service.url)).await.unwrap();
        fs::write(&document_file, served.bytes().await.unwrap()).unwrap();
        let mut command = Command::new(program());
        command
            .arg(format!("--config-file={}", home.join("tests/schemathesis/schemathesis.toml").display()))
            .args(["--no-color", "run"])
            .arg(&document_file)
            .arg(format!("--url={}", self.service.url))
            // hooks.py has a narrower one in its place.
            .args(["--checks=all", "--exclude-checks=not_a_server_error", &format!("--seed={}", seed())])
            .arg(format!("--max-examples={}", rounds(30)))
            .current_dir(self.folder.path())
            .env("PYTHONPATH", home.join("tests/schemathesis"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PAY402_KNOWN", &known_file)
            .env("PAY402_SEEN", &seen_file);
        if let Some(key) = key {
            command.args(["-H", &format!("X-API-Key: {key}"), "--generation-with-security-parameters=false"]);
        }
        let output = command.output().await.unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
        println!("{told}");
        serde_json::from_str(&fs::read_to_string(seen_file).unwrap()).unwrap()
    }
}

fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis/bin/schemathesis");
    assert!(program.exists(), "{} is not there: sh tests/run.sh installs it", program.display());
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_key_every_operation_answers_as_documented() {
    let tried = Tried::start().await;
    let seen = tried.try_out(&tried.known().await, Some(KEY)).await;
    for (path, methods) in document()["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let label = format!("{} {path} 2", method.to_uppercase());
            assert!(seen.keys().any(|key| key.starts_with(&label)), "{label}xx was never given: {seen:?}");
        }
    }
    for status in ["200", "400"] {
        assert!(seen.contains_key(&format!("POST /settle {status}")), "{status}: {seen:?}");
    }
    for status in ["402", "400", "503"] {
        assert!(seen.contains_key(&format!("POST /verify {status}")), "{status}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_every_operation_answers_as_documented() {
    let tried = Tried::start().await;
    let seen = tried.try_out(&tried.known().await, None).await;
    for (path, methods) in document()["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let label = format!("{} {path}", method.to_uppercase());
            let security = operation["security"].as_array();
            let is_open = security.is_none_or(|ways| ways.is_empty() || ways.contains(&json!({})));
            let succeeded = seen.keys().any(|key| key.starts_with(&format!("{label} 2")));
            assert_eq!(succeeded, is_open, "{label}: {seen:?}");
            assert!(is_open || seen.contains_key(&format!("{label} 401")), "{label}: {seen:?}");
        }
    }
}
