//! A chain and a service on this machine, for `pay402 sandbox` and `pay402 demo`.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use serde_json::{Value, json};
use solana_signer::Signer;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

use crate::{
    app::App,
    clock::{Clock, SystemClock},
    config::{Config, Environment},
    ids::{Entropy, OsEntropy},
    sandbox::{Sandbox, SandboxConfig, agent::Agent},
    shutdown::Shutdown,
    telemetry,
};

/// Where the parts listen, and what they are called.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalOptions<'a> {
    /// 0 for any.
    pub port: u16,
    /// 0 for any.
    pub rpc_port: u16,
    pub seed: u64,
    pub log_level: &'a str,
}

/// The running parts.
pub(super) struct Local {
    pub chain: Sandbox,
    /// How long the chain took to start, in milliseconds.
    pub chain_ms: u128,
    /// How long the service took to start, in milliseconds.
    pub service_ms: u128,
    pub url: String,
    pub api_key: String,
    pub clock: Arc<dyn Clock>,
    pub shutdown: Shutdown,
    serving: JoinHandle<()>,
    /// Holds the database; removed with the last user.
    _folder: TempDir,
}

impl Local {
    pub async fn start(options: LocalOptions<'_>) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let started = Instant::now();
        let chain = Sandbox::start(SandboxConfig {
            seed: options.seed,
            rpc_addr: SocketAddr::from(([127, 0, 0, 1], options.rpc_port)),
            ..SandboxConfig::new(Arc::clone(&clock))
        })
        .await
        .context("the chain cannot start")?;
        let chain_ms = started.elapsed().as_millis();

        let started = Instant::now();
        let folder = tempfile::tempdir().context("there is no folder for the database")?;
        let api_key = test_key();
        let config = Config::read(
            Environment::default()
                .with("PORT", options.port.to_string())
                .with("DATABASE_URL", format!("sqlite://{}", folder.path().join("pay402.db").display()))
                .with("SOLANA_NETWORK", "sandbox")
                .with("SOLANA_RPC_URL", chain.rpc_url())
                .with("SOLANA_WS_URL", chain.ws_url())
                .with("FEE_PAYER_KEYPAIR", chain.wallets().fee_payer.to_base58_string())
                .with("MERCHANT_WALLETS", chain.wallets().merchant.pubkey().to_string())
                .with("VALID_API_KEYS", &api_key)
                .with("LOG_LEVEL", options.log_level),
        )?;
        telemetry::init(&config.log);
        let app = App::new(&config).await?;
        let shutdown = app.shutdown();
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}: choose another with --port", config.listen))?;
        let url = format!("http://{}", listener.local_addr()?);
        let serving = tokio::spawn(app.serve(listener));
        let service_ms = started.elapsed().as_millis();

        Ok(Self { chain, chain_ms, service_ms, url, api_key, clock, shutdown, serving, _folder: folder })
    }

    /// The wallet named agent, with a connection to the chain.
    pub fn agent(&self) -> Agent {
        Agent::new(self.chain.wallets().agent.insecure_clone(), self.chain.rpc_url())
    }

    /// Puts the demo plans on offer, `basic` and `pro`: their ids.
    pub async fn offer_plans(&self) -> anyhow::Result<[String; 2]> {
        let http = reqwest::Client::new();
        let offer = async |plan: Value| {
            let request =
                http.post(format!("{}/plans", self.url)).header("x-api-key", &self.api_key).json(&plan);
            let answer: Value = request.send().await?.error_for_status()?.json().await?;
            let id = answer["id"].as_str().context("a plan without an id")?;
            anyhow::Ok(id.to_owned())
        };
        let basic = offer(json!({
            "name": "basic", "description": "To try it", "pricePerMonth": 5, "currency": "USDC",
            "features": ["weather"], "limits": {"requestsPerMonth": 1000, "requestsPerDay": 100},
        }));
        let basic = basic.await.context("the plan basic cannot be made")?;
        let pro = offer(json!({
            "name": "pro", "description": "For agents that work all day", "pricePerMonth": 25, "currency": "USDC",
            "features": ["weather", "forecasts"], "limits": {"requestsPerMonth": 100_000},
        }));
        Ok([basic, pro.await.context("the plan pro cannot be made")?])
    }

    /// Waits until the service has ended, then ends the chain.
    pub async fn finished(self) -> anyhow::Result<()> {
        self.serving.await.context("the service failed")?;
        self.chain.shutdown().await;
        Ok(())
    }
}

/// An API key for this run only.
fn test_key() -> String {
    let mut bytes = [0; 32];
    OsEntropy.fill(&mut bytes);
    format!("sk_test_{}", bs58::encode(bytes).into_string())
}
