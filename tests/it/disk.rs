//! A disk that fills up under the running service, and a database file that may not be written.

use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pay402::{
    clock::{Clock, SystemClock},
    money::{Amount, Currency},
    sandbox::{Sandbox, SandboxConfig, agent::Agent},
};
use serde_json::json;
use solana_signer::Signer;
use tokio::time::Instant;

use crate::harness::{Answer, KEY, process::ServiceProcess, wire::PATIENCE};

/// Files of the process may grow to so many bytes; writing further fails, as on a full disk.
pub fn limit_file_size(process: u32, bytes: &str) {
    let limit = format!("--fsize={bytes}:unlimited");
    let status = Command::new("prlimit").args(["--pid", &process.to_string(), &limit]).status().unwrap();
    assert!(status.success(), "prlimit belongs to util-linux");
}

/// What runs the command when its files may not grow: SIGXFSZ would end the process; a full disk does not.
pub fn outliving_a_full_disk(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell
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

/// Runs as somebody whom file permissions hold for: root is told no by none.
fn unprivileged(folder: &Path) -> Command {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        let mut command = Command::new("env");
        command.arg("--");
        return command;
    }
    std::os::unix::fs::chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]);
    command
}

const NOBODY: u32 = 65_534;

/// Sets the permissions of the database's files.
fn permit(folder: &Path, mode: u32) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("books.db") {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

/// A database that may only be read: payments are answered 503, `/ready` says which part it is, what is read is answered,
/// and once it may be written, all is well without a restart, even if it is read all the time: connections of one process
/// share what they know of a file, those that were made when it could only be read with those made later.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_stops_acceptance_until_it_is_writable() {
    let folder = tempfile::tempdir().unwrap();
    // The binary where anybody may run it.
    let binary = folder.path().join("pay402");
    std::fs::copy(env!("CARGO_BIN_EXE_pay402"), &binary).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let database = format!("sqlite://{}", folder.path().join("books.db").display());
    let command = |action: &str| {
        let mut command = unprivileged(folder.path());
        command
            .arg(&binary)
            .arg(action)
            .current_dir(folder.path())
            .env("DATABASE_URL", &database)
            .env("AUTO_MIGRATE", "false")
            .env("VALID_API_KEYS", KEY)
            .env("RATE_LIMIT_AUTHENTICATED", "1000000")
            .env("PORT", "0")
            .env("LOG_FORMAT", "json")
            .stderr(Stdio::piped());
        command
    };
    assert!(command("migrate").output().unwrap().status.success());
    // One that is killed leaves the files that belong to the write-ahead log.
    drop(ServiceProcess::of(command("serve")).await);
    assert!(folder.path().join("books.db-shm").exists());
    permit(folder.path(), 0o444);
    let service = ServiceProcess::of(command("serve")).await;
    let http = reqwest::Client::new();
    let issue = async || {
        let body = json!({"amount": 1, "currency": "USDC", "recipient": solana_pubkey::Pubkey::default().to_string()});
        let request = http.post(format!("{}/requirements", service.url)).header("x-api-key", KEY).json(&body);
        Answer::of(request.send().await.unwrap()).await
    };
    let refused = issue().await;
    assert_eq!((refused.status, refused.code()), (503, "DATABASE_UNAVAILABLE"), "{refused:?}");
    let ready = Answer::of(http.get(format!("{}/ready", service.url)).send().await.unwrap()).await;
    assert_eq!(ready.body["components"]["database"]["status"], "down", "{ready:?}");

    let reading = AtomicBool::new(true);
    let read = async || {
        while reading.load(Ordering::Relaxed) {
            let agents = http.get(format!("{}/agents", service.url)).header("x-api-key", KEY);
            let asked = Instant::now();
            let agents = Answer::of(agents.send().await.unwrap()).await;
            // Where the machine stands still, connections are waited for in vain.
            let in_vain = agents.status == 503 && asked.elapsed() > Duration::from_secs(2);
            assert!(agents.status == 200 || in_vain, "{agents:?}");
        }
    };
    let write = async || {
        // So that what is read is in full flow.
        tokio::time::sleep(Duration::from_millis(200)).await;
        permit(folder.path(), 0o644);
        let deadline = Instant::now() + PATIENCE;
        while let issued = issue().await
            && issued.status != 201
        {
            assert!(issued.status == 503 && Instant::now() < deadline, "{issued:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        reading.store(false, Ordering::Relaxed);
    };
    tokio::join!(write(), read(), read(), read(), read(), read(), read());
}
