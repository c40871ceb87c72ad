//! The sandbox under `@solana/kit`, as npm publishes it: the script is in `tests/kit`.
//!
//! Needs node and npm, and npm's registry or cache. Their absence fails the test: a client nobody ran is a client that
//! may not work.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use pay402::{
    clock::SystemClock,
    sandbox::{Sandbox, SandboxConfig, USDC},
};
use serde_json::Value;
use solana_pubkey::Pubkey;

/// The oldest node that `@solana/kit` runs on.
const MIN_NODE: (u32, u32) = (20, 18);

fn run(command: &mut Command) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program} ({error}): install node >= 20.18 with npm"));
    assert!(
        output.status.success(),
        "{program} failed:\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

fn require_node() {
    let output = run(Command::new("node").arg("--version"));
    let version = String::from_utf8(output.stdout).unwrap();
    let mut numbers = version.trim().trim_start_matches('v').split('.').map(str::parse::<u32>);
    let found = (numbers.next().unwrap().unwrap(), numbers.next().unwrap().unwrap());
    assert!(found >= MIN_NODE, "node is {version}: install node >= 20.18");
}

/// A copy of the script with its packages, outside the repository's tracked files.
fn install() -> PathBuf {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kit");
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kit");
    std::fs::create_dir_all(&installed).unwrap();
    for file in ["package.json", "package-lock.json", "pay.mjs"] {
        std::fs::copy(scripts.join(file), installed.join(file)).unwrap();
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]);
    run(npm.current_dir(&installed));
    installed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kit_pays_and_reads_back() {
    let config = SandboxConfig {
        slot_time: Some(Duration::from_millis(200)),
        ..SandboxConfig::new(Arc::new(SystemClock))
    };
    let sandbox = Sandbox::start(config).await.unwrap();
    let arguments = [sandbox.rpc_url(), sandbox.ws_url(), USDC.to_string()];
    let output = tokio::task::spawn_blocking(move || {
        require_node();
        run(Command::new("node").arg("pay.mjs").args(arguments).current_dir(install()))
    });
    let report: Value = serde_json::from_slice(&output.await.unwrap().stdout).unwrap();
    let merchant: Pubkey = report["merchant"].as_str().unwrap().parse().unwrap();
    assert_eq!((&report["tokens"], &report["fee"]), (&Value::from("250000"), &Value::from("5000")));
    assert_eq!(sandbox.token_balance(&USDC, &merchant), 250_000);
    assert_eq!(sandbox.balance(&merchant), 5_000_000);
}
