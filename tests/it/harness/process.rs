//! The service as a process of its own, which can be killed.

use std::{
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::{sleep, timeout},
};

use super::{HIGH_LIMITS, logs, secrets};

const BINARY: &str = env!("CARGO_BIN_EXE_pay402");

/// The binary in a folder of its own, with no environment but what is given.
pub fn pay402(folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.current_dir(folder).env_clear();
    command
}

/// Runs a command of the binary's to its end. The keys it prints are secret from then on, and what it says beside its
/// result is scanned as a log is.
pub fn output(command: &mut Command) -> Output {
    secrets::register_environment(command);
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    printed.lines().for_each(secrets::register_printed);
    String::from_utf8_lossy(&output.stderr).lines().for_each(logs::scan);
    output
}

/// A process that ends with the test, come what may.
#[derive(Debug)]
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Waits until it has ended by itself; how.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let ended = async {
            loop {
                if let Some(status) = self.0.try_wait().unwrap() {
                    return status;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(within, ended).await.expect("it ends in time")
    }

    pub fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").arg(format!("-{name}")).arg(self.0.id().to_string()).status().unwrap();
        assert!(sent.success());
    }
}

/// `pay402 serve`, listening.
#[derive(Debug)]
pub struct ServiceProcess {
    pub process: Running,
    pub url: String,
    /// What it has logged so far, a JSON object a line.
    pub log: Arc<Mutex<Vec<String>>>,
}

impl ServiceProcess {
    /// `adapt` sets the environment, or wraps the command.
    pub async fn start(folder: &Path, adapt: impl FnOnce(&mut Command)) -> Self {
        let mut command = pay402(folder);
        command.arg("serve").env("PORT", "0").env("LOG_FORMAT", "json");
        command.envs(HIGH_LIMITS);
        adapt(&mut command);
        Self::of(command).await
    }

    /// A command that ends up as `pay402 serve` with a JSON log.
    pub async fn of(mut command: Command) -> Self {
        secrets::register_environment(&command);
        let mut process = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let stdout = tokio::process::ChildStdout::from_std(process.0.stdout.take().unwrap()).unwrap();
        let mut told = BufReader::new(stdout).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = told.next_line().await {
                logs::scan(&line);
            }
        });
        let stderr = process.0.stderr.take().unwrap();
        let mut lines = BufReader::new(tokio::process::ChildStderr::from_std(stderr).unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let url = loop {
            let so_far = log.lock().unwrap().join("\n");
            let line = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended:\n{so_far}"));
            logs::scan(&line);
            log.lock().unwrap().push(line.clone());
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["message"] == "listening" {
                break format!("http://{}", event["address"].as_str().unwrap());
            }
        };
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                logs::scan(&line);
                kept.lock().unwrap().push(line);
            }
        });
        Self { process, url, log }
    }

    /// Ends it at once, wherever it is.
    pub fn kill9(mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }
}
