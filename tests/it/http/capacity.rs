//! How many connections there may be, in all and from one client.

use std::{process::Command, time::Duration};

use futures_util::future::join_all;
use reqwest::Client;
use tokio::time::timeout;

use crate::harness::{
    TestApp,
    process::{ServiceProcess, pay402},
    wire::{PATIENCE, Wire, status},
};

const HEALTH: &str = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n";

async fn with(variables: &[(&str, &str)]) -> TestApp {
    TestApp::with(|environment, _| {
        variables.iter().fold(environment, |environment, (name, value)| environment.with(name, *value))
    })
    .await
}

/// A connection that has been served.
async fn served(url: &str) -> Wire {
    let mut wire = Wire::to(url).await;
    wire.send(HEALTH).await;
    assert_eq!(status(&wire.read_until("}").await), 200);
    wire
}

#[tokio::test]
async fn one_client_cannot_hold_every_connection() {
    let app = with(&[("MAX_CONNECTIONS_PER_ADDRESS", "3")]).await;
    let mut held = join_all((0..3).map(|_| served(&app.url))).await;
    for _ in 0..2 {
        let mut more = Wire::to(&app.url).await;
        more.try_send(HEALTH).await;
        assert_eq!(more.read_to_end().await, "");
    }
    held[0].send("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    held[0].read_until("connections_refused_total 2\n").await;
    held.pop();
    // That one has ended shows a little later.
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let mut again = Wire::to(&app.url).await;
        if again.try_send(HEALTH).await && again.read_some().await.contains("402pay-facilitator") {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "the place is not given back");
    }
}

#[tokio::test]
async fn a_trusted_proxy_brings_many_clients() {
    let app = with(&[("MAX_CONNECTIONS_PER_ADDRESS", "1"), ("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let _held = join_all((0..5).map(|_| served(&app.url))).await;
}

#[tokio::test]
async fn connections_beyond_the_total_wait() {
    let app = with(&[("MAX_CONNECTIONS", "2")]).await;
    let mut held = join_all((0..2).map(|_| served(&app.url))).await;
    let mut waiting = Wire::to(&app.url).await;
    waiting.send(HEALTH).await;
    let served = timeout(Duration::from_secs(1), waiting.0.readable()).await;
    assert!(served.is_err(), "it does not wait");
    held.pop();
    assert_eq!(status(&waiting.read_until("}").await), 200);
}

/// A service whose limits of open files were set by a shell.
async fn limited(folder: &std::path::Path, ulimit: &str) -> ServiceProcess {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{ulimit} && exec \"$0\" serve")]).arg(pay402(folder).get_program());
    command.current_dir(folder).env_clear();
    command.envs([("PORT", "0"), ("LOG_FORMAT", "json"), ("RATE_LIMIT_PUBLIC", "0")]);
    command.envs([("MAX_CONNECTIONS_PER_ADDRESS", "0"), ("SOLANA_RPC_URL", "http://127.0.0.1:1")]);
    ServiceProcess::of(command).await
}

/// However many come, files are left for the databases.
#[tokio::test(flavor = "multi_thread")]
async fn connections_do_not_take_the_last_file() {
    let folder = tempfile::tempdir().unwrap();
    let service = limited(folder.path(), "ulimit -n 128").await;
    let client = Client::new();
    // Read to its end, so that the connection is used again.
    client.get(format!("{}/health", service.url)).send().await.unwrap().text().await.unwrap();
    let _held = join_all((0..200).map(|_| Wire::to(&service.url))).await;
    let metrics = client.get(format!("{}/metrics", service.url)).send().await.unwrap().text().await.unwrap();
    let sample = |name: &str| -> f64 {
        metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
    };
    assert!(metrics.contains("process_max_fds 128\n"), "{metrics}");
    assert!(sample("process_open_fds ") < 110.0, "{}", sample("process_open_fds "));
    let ready = client.get(format!("{}/ready", service.url)).send().await.unwrap().text().await.unwrap();
    assert!(ready.contains(r#""database":{"status":"up""#), "{ready}");
}

/// Shells and service managers give few files by default, and allow more.
#[tokio::test(flavor = "multi_thread")]
async fn the_soft_limit_of_open_files_is_raised() {
    let folder = tempfile::tempdir().unwrap();
    let service = limited(folder.path(), "ulimit -Sn 64").await;
    let mut held = join_all((0..100).map(|_| served(&service.url))).await;
    held[0].send("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    held[0].read_until("active_connections 100\n").await;
}
