//! A disk that fills up under the running service.

use std::{
    process::{Command, Stdio},
    sync::Arc,
};

use pay402::{
    clock::{Clock, SystemClock},
    money::{Amount, Currency},
    sandbox::{Sandbox, SandboxConfig, agent::Agent},
};
use serde_json::json;
use solana_signer::Signer;

use crate::harness::{Answer, KEY, process::ServiceProcess};

/// Files of the process may grow to so many bytes; writing further fails, as on a full disk.
fn limit_file_size(process: u32, bytes: &str) {
    let limit = format!("--fsize={bytes}:unlimited");
    let status = Command::new("prlimit").args(["--pid", &process.to_string(), &limit]).status().unwrap();
    assert!(status.success(), "prlimit belongs to util-linux");
}

/// While there is no room every payment is answered 503 and nothing is lost; when there is room again the same proof is
/// accepted, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_acceptance_until_there_is_room() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let chain = Sandbox::start(SandboxConfig::new(Arc::clone(&clock))).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    // SIGXFSZ would end the process; a full disk does not.
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$0\" serve", env!("CARGO_BIN_EXE_pay402")])
        .current_dir(folder.path())
        .env("PORT", "0")
        .env("LOG_FORMAT", "json")
        .env("SOLANA_NETWORK", "sandbox")
        .env("SOLANA_RPC_URL", chain.rpc_url())
        .env("MERCHANT_WALLETS", chain.wallets().merchant.pubkey().to_string())
        .env("VALID_API_KEYS", KEY)
        .stderr(Stdio::piped());
    let service = ServiceProcess::of(command).await;
    let url = &service.url;

    let agent = Agent::new(chain.wallets().agent.insecure_clone(), chain.rpc_url());
    let amount = Amount::from_atomic(50_000).unwrap();
    let paid = agent.pay(&chain.wallets().merchant.pubkey(), amount, Currency::Usdc).await.unwrap();
    let proof = agent.prove(&paid, amount, Currency::Usdc, "n", clock.now());

    let http = reqwest::Client::new();
    let post = async |path: &str, body: &serde_json::Value| {
        let request = http.post(format!("{url}{path}")).header("x-api-key", KEY).json(body);
        Answer::of(request.send().await.unwrap()).await
    };
    limit_file_size(service.process.0.id(), "8192");
    for _ in 0..3 {
        let answer = post("/verify", &proof).await;
        assert_eq!((answer.status, answer.code()), (503, "DATABASE_UNAVAILABLE"), "{answer:?}");
    }
    let requirement = post("/requirements", &json!({"amount": 1, "currency": "USDC"})).await;
    assert_eq!((requirement.status, requirement.code()), (503, "DATABASE_UNAVAILABLE"), "{requirement:?}");

    limit_file_size(service.process.0.id(), "unlimited");
    post("/verify", &proof).await.assert_valid();
    post("/verify", &proof).await.assert_refused("REPLAY_ATTACK");
    chain.shutdown().await;
}
