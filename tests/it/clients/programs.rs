//! The third parties, each a process: merchants that sell a resource for 0.05 USDC, and buyers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::ChildStdout,
    time::timeout,
};

use crate::harness::process::Running;

/// How long a merchant may take to listen, and a buyer to buy, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A merchant's library, and the version of x402 it speaks.
#[derive(Clone, Copy, Debug)]
pub enum Merchant {
    /// npm `@x402/express`, version 2.
    Express,
    /// npm `x402-express`, version 1.
    OldExpress,
    /// `x402-axum`, the version given.
    Axum(u8),
    /// `x402` of `PyPI` with `FastAPI`, version 2.
    FastApi,
}

/// A buyer's library. All but the old one speak both versions of x402.
#[derive(Clone, Copy, Debug)]
pub enum Buyer {
    /// npm `@x402/fetch`.
    Fetch,
    /// npm `x402-fetch`, version 1.
    OldFetch,
    /// `x402-reqwest`.
    Reqwest,
    /// `x402` of `PyPI` with httpx.
    Httpx,
}

impl Merchant {
    pub const fn version(self) -> u8 {
        match self {
            Self::Express | Self::FastApi => 2,
            Self::OldExpress => 1,
            Self::Axum(version) => version,
        }
    }

    fn command(self) -> Command {
        match self {
            Self::Express => node("express.mjs"),
            Self::OldExpress => node("x402-express.mjs"),
            Self::Axum(_) => rust("merchant"),
            Self::FastApi => python("merchant.py"),
        }
    }

    /// Opens the shop; it closes when what is returned is dropped.
    pub async fn open(self, mut settings: Value) -> Shop {
        settings["version"] = self.version().into();
        let mut command = self.command();
        command.arg(settings.to_string()).stdout(Stdio::piped());
        let mut process = Running(command.spawn().unwrap());
        let stdout = ChildStdout::from_std(process.0.stdout.take().unwrap()).unwrap();
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.expect("the merchant does not open").unwrap();
        let told: Value = serde_json::from_str(&line.expect("the merchant ended")).unwrap();
        let url = told["url"].as_str().unwrap().to_owned();
        // What else it says must not stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Shop { url, _process: process }
    }
}

/// A merchant's running server.
pub struct Shop {
    /// Of the paid resource.
    pub url: String,
    _process: Running,
}

/// What a buyer got.
#[derive(Debug, Deserialize)]
pub struct Bought {
    pub status: u16,
    pub body: String,
    /// The merchant's receipt, which has the facilitator's answer to settle in it.
    pub receipt: Option<Value>,
    /// Why the merchant did not sell.
    pub error: Option<String>,
}

impl Buyer {
    fn command(self) -> Command {
        match self {
            Self::Fetch => node("fetch.mjs"),
            Self::OldFetch => node("x402-fetch.mjs"),
            Self::Reqwest => rust("buyer"),
            Self::Httpx => python("buyer.py"),
        }
    }

    pub async fn buy(self, settings: &Value) -> Bought {
        let mut command = tokio::process::Command::from(self.command());
        command.arg(settings.to_string()).kill_on_drop(true);
        let output = timeout(PATIENCE, command.output()).await.expect("the buyer does not end").unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?} failed:\n{told}\n{error}");
        serde_json::from_str(told.lines().last().unwrap()).unwrap()
    }
}

/// A folder of `target/clients`.
fn installed(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients").join(name);
    assert!(folder.exists(), "{} is not there: sh tests/run.sh installs it", folder.display());
    folder
}

fn scripts(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// A program that talks to this machine alone, whatever proxy there may be to other ones.
fn program(path: impl AsRef<Path>) -> Command {
    let mut command = Command::new(path.as_ref());
    command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    command
}

/// A script of `tests/clients/node`. Node looks for packages beside the script, so that it is copied to where they are;
/// by renaming, because other tests do the same at the same time.
pub fn node(script: &str) -> Command {
    let folder = installed("node");
    for entry in fs::read_dir(scripts("node")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "mjs") {
            let copy = tempfile::NamedTempFile::new_in(&folder).unwrap();
            fs::copy(&path, copy.path()).unwrap();
            copy.persist(folder.join(path.file_name().unwrap())).unwrap();
        }
    }
    let mut command = program("node");
    command.arg(folder.join(script));
    command
}

fn python(script: &str) -> Command {
    let mut command = program(installed("python").join("bin/python"));
    command.arg(scripts("python").join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn rust(role: &str) -> Command {
    let mut command = program(installed("rust").join("debug/x402-clients"));
    command.arg(role);
    command
}
