//! The binary, run as a person would run it.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::{
    Answer, away_from_midnight, logs,
    postgres::PostgresServer,
    process::{Running, ServiceProcess, output, pay402},
    redis::RedisServer,
    secrets,
};

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_demo_plays_to_its_end() {
    away_from_midnight();
    let folder = tempfile::tempdir().unwrap();
    let output = output(pay402(folder.path()).arg("demo"));
    let told = text(&output);
    assert!(output.status.success(), "{told}");
    for part in [
        "POST /verify -> 200",
        "REPLAY_ATTACK",
        "INSUFFICIENT_AMOUNT",
        "RECIPIENT_MISMATCH",
        "USDC before: merchant 0",
        "GET /weather -> 402",
        "GET /weather -> 200",
        "is settled in slot",
        "past_due, paid until",
        "active, paid until",
        "USAGE_LIMIT_EXCEEDED",
        "USDC after: merchant 5.14",
        "three payments accepted, three refused",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the demo leaves nothing behind");
}

/// With what the sandbox has printed in the place of the first line.
fn the_lines_of_the_readme_work(printed: &[String]) {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let block = readme.split("### Agents and subscriptions").nth(1).unwrap();
    let block = block.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let (first, rest) = block.split_once('\n').unwrap();
    assert!(first.starts_with("URL="), "{first}");
    let told = |name: &str| {
        let line = printed.iter().find_map(|line| line.trim().strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    let mut command = Command::new("sh");
    command.args(["-ec", rest]).env("URL", told("service ")).env("KEY", told("API key "));
    let output = command.env("WALLET", told("agent ")).output().unwrap();
    let answers: Vec<Value> =
        serde_json::Deserializer::from_slice(&output.stdout).into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.len(), 4, "{}", text(&output));
    assert_eq!(answers[0]["usage"][0]["repeated"], false, "{answers:#?}");
    assert_eq!(answers[1]["today"]["left"], 99, "{answers:#?}");
    assert_eq!(answers[2]["cancelAtPeriodEnd"], true, "{answers:#?}");
    assert_eq!(answers[3]["events"][0]["type"], "subscription.cancel_scheduled", "{answers:#?}");
}

#[test]
fn the_sandbox_prints_lines_that_work() {
    away_from_midnight();
    let folder = tempfile::tempdir().unwrap();
    let mut sandbox = Running(
        pay402(folder.path())
            .args(["sandbox", "--port", "0", "--rpc-port", "0", "--log", "debug"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let stdout = BufReader::new(sandbox.0.stdout.take().unwrap());
    let stderr = BufReader::new(sandbox.0.stderr.take().unwrap());
    let log = thread::spawn(|| stderr.lines().map(Result::unwrap).collect::<Vec<_>>());
    let mut lines = Vec::new();
    for line in stdout.lines() {
        let line = line.unwrap();
        secrets::register_printed(&line);
        let last = line.contains("requestAirdrop");
        lines.push(line);
        if last {
            break;
        }
    }
    let commands: Vec<&String> = lines.iter().filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(commands.len(), 10, "{lines:#?}");
    let run = |line: &str| {
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        assert!(output.status.success(), "{line}: {} (is curl installed?)", text(&output));
        let body = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str::<Value>(&body).unwrap_or(Value::String(body))
    };
    let answers: Vec<Value> = commands.iter().map(|line| run(line)).collect();
    assert_eq!(answers[0]["valid"], true, "{answers:#?}");
    assert_eq!(answers[1]["total"], 1, "{answers:#?}");
    assert_eq!(answers[2]["state"], "pending", "{answers:#?}");
    let kind = &answers[3]["kinds"][0];
    assert_eq!(kind["network"], "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "{answers:#?}");
    assert!(kind["extra"]["feePayer"].is_string(), "{answers:#?}");
    assert_eq!(answers[4]["success"], true, "{answers:#?}");
    assert_eq!(answers[5]["state"], "settled", "{answers:#?}");
    assert_eq!(answers[5]["transactionId"], answers[4]["transaction"], "{answers:#?}");
    let plans = answers[6]["plans"].as_array().unwrap();
    assert_eq!(plans.iter().map(|plan| &plan["name"]).collect::<Vec<_>>().len(), 2, "{answers:#?}");
    assert!(plans.iter().any(|plan| plan["name"] == "basic"), "{answers:#?}");
    assert!(plans.iter().any(|plan| plan["name"] == "pro"), "{answers:#?}");
    assert_eq!(answers[7]["status"], "ready", "{answers:#?}");
    assert!(answers[8].as_str().unwrap().contains("payment_verification_total"), "{answers:#?}");
    assert!(answers[9]["result"].is_string(), "{answers:#?}");
    assert_eq!(run(commands[0])["code"], "REPLAY_ATTACK");
    the_lines_of_the_readme_work(&lines);

    sandbox.signal("INT");
    assert!(sandbox.0.wait().unwrap().success());
    let log = log.join().unwrap();
    assert!(log.iter().any(|line| line.contains("answered")), "{log:#?}");
    log.iter().map(String::as_str).for_each(logs::scan);
}

#[test]
fn every_mistake_in_the_configuration_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "sk_live_tooshort";
    let output = pay402(folder.path())
        .arg("serve")
        .env("PORT", "70000")
        .env("APP_ENV", "staging")
        .env("DATABASE_URL", "mysql://x")
        .env("REDIS_URL", "http://x")
        .env("SOLANA_RPC_URL", "ftp://x")
        .env("SOLANA_WS_URL", "https://x")
        .env("FEE_PAYER_KEYPAIR", secret)
        .env("FEE_PAYER_MIN_LAMPORTS", "0.01")
        .env("MERCHANT_WALLETS", "nobody")
        .env("VALID_API_KEYS", secret)
        .env("RATE_LIMIT_PUBLIC", "many")
        .env("IDLE_TIMEOUT_SECONDS", "0")
        .env("REQUEST_TIMEOUT_SECONDS", "61")
        .env("TRUSTED_PROXIES", "localhost")
        .env("ALLOWED_ORIGINS", "https://shop.example/path")
        .env("LOG_FORMAT", "xml")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output);
    for name in [
        "PORT",
        "APP_ENV",
        "DATABASE_URL",
        "REDIS_URL",
        "SOLANA_RPC_URL",
        "SOLANA_WS_URL",
        "FEE_PAYER_KEYPAIR",
        "FEE_PAYER_MIN_LAMPORTS",
        "MERCHANT_WALLETS",
        "VALID_API_KEYS",
        "RATE_LIMIT_PUBLIC",
        "IDLE_TIMEOUT_SECONDS",
        "REQUEST_TIMEOUT_SECONDS",
        "TRUSTED_PROXIES",
        "ALLOWED_ORIGINS",
        "LOG_FORMAT",
    ] {
        assert!(told.contains(&format!("- {name} must be")), "{name}: {told}");
    }
    assert!(!told.contains(secret), "{told}");
}

#[test]
fn migrations_are_listed_and_applied() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = pay402(folder.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    assert!(run(&["migrate", "status"]).contains("missing"));
    assert!(run(&["migrate"]).contains("applied"));
    let status = run(&["migrate", "status"]);
    assert!(status.contains("applied") && !status.contains("missing"), "{status}");
    assert!(folder.path().join("data/pay402.db").exists());
}

/// A process that serves logs where it listens, in JSON where asked to, and ends on SIGTERM.
#[tokio::test]
async fn serve_logs_json_and_ends_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = ServiceProcess::start(folder.path(), |command| {
        command.env("SOLANA_RPC_URL", "http://127.0.0.1:1");
    })
    .await;
    let url = format!("{}/health", service.url);
    let health = Command::new("curl").args(["-s", "-H", "x-request-id: told", &url]).output().unwrap();
    assert!(text(&health).contains("402pay-facilitator"));
    service.process.signal("TERM");
    assert!(service.process.0.wait().unwrap().success());
    let log = whole_log(&service).await;
    let logged: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answered = logged.iter().find(|event| event["message"] == "answered").unwrap();
    assert_eq!((&answered["status"], &answered["span"]["id"]), (&200.into(), &"told".into()), "{log}");
}

/// The log of a service that has ended in order.
async fn whole_log(service: &ServiceProcess) -> String {
    loop {
        let log = service.log.lock().unwrap().join("\n");
        if log.contains("\"message\":\"stopped\"") {
            return log;
        }
        tokio::task::yield_now().await;
    }
}

/// Providers put access tokens into RPC URLs.
#[tokio::test]
async fn the_token_of_an_rpc_url_is_not_logged() {
    let folder = tempfile::tempdir().unwrap();
    let service = ServiceProcess::start(folder.path(), |command| {
        command.env("LOG_LEVEL", "trace");
        command.env("SOLANA_RPC_URL", "http://127.0.0.1:1/v2/secret-in-path?api-key=secret-in-query");
    })
    .await;
    let ready = Command::new("curl").args(["-s", &format!("{}/ready", service.url)]).output().unwrap();
    assert!(text(&ready).contains("not_ready"), "{}", text(&ready));
    service.process.signal("TERM");
    let log = whole_log(&service).await;
    assert!(log.contains("RPC request failed"), "{log}");
    assert!(!log.contains("secret-in"), "{log}");
    assert!(!text(&ready).contains("secret-in"));
}

/// However much is logged, and whatever they are needed for: the tag of keys, the look-ups that are shared.
#[tokio::test]
async fn the_secrets_that_the_service_makes_are_not_logged() {
    let folder = tempfile::tempdir().unwrap();
    let create = ["keys", "create", "--user", "shop", "--name", "n"];
    let made = output(pay402(folder.path()).env("LOG_LEVEL", "trace").args(create));
    let key = String::from_utf8(made.stdout).unwrap().trim_end().to_owned();
    let redis = RedisServer::start();
    let service = ServiceProcess::start(folder.path(), |command| {
        command
            .env("LOG_LEVEL", "trace")
            .env("SOLANA_RPC_URL", "http://127.0.0.1:1")
            .env("REDIS_URL", redis.url());
    })
    .await;
    let http = reqwest::Client::new();
    let keys = format!("{}/api-keys", service.url);
    for (key, status) in [(key.as_str(), 200), (&key[..key.len() - 1], 401)] {
        assert_eq!(http.get(&keys).header("x-api-key", key).send().await.unwrap().status(), status);
    }
    let rotate = http.post(format!("{keys}/{}/rotate", &key[..16])).header("x-api-key", &key);
    let rotated = Answer::of(rotate.json(&json!({})).send().await.unwrap()).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    service.process.signal("TERM");
    let log = whole_log(&service).await;
    assert_eq!(secrets::register_server_secrets(&folder.path().join("data/pay402.db")).await, 2);
    let told = String::from_utf8(made.stderr).unwrap();
    assert!(told.contains("API key created") && log.contains("API key rotated"), "{told}\n{log}");
    told.lines().chain(log.lines()).for_each(logs::scan);
}

/// sqlx asks the log about many a line that it does not write, those that PostgreSQL notices among them.
#[tokio::test]
async fn no_line_is_lost_to_what_is_not_logged() {
    let (server, folder) = (PostgresServer::start().await, tempfile::tempdir().unwrap());
    for directives in ["warn,pay402::cli=info", "info,pay402=debug"] {
        let service = ServiceProcess::start(folder.path(), |command| {
            command.env("DATABASE_URL", server.url()).env("LOG_LEVEL", directives);
        });
        let service = timeout(Duration::from_mins(1), service).await;
        service.unwrap_or_else(|_| panic!("{directives}: it does not say that it listens"));
    }
}

#[test]
fn help_and_version() {
    let folder = tempfile::tempdir().unwrap();
    let help = text(&pay402(folder.path()).arg("--help").output().unwrap());
    for command in ["serve", "sandbox", "demo", "openapi", "migrate"] {
        assert!(help.contains(command), "{help}");
    }
    let version = text(&pay402(folder.path()).arg("--version").output().unwrap());
    assert_eq!(version.trim(), format!("pay402 {}", env!("CARGO_PKG_VERSION")));
}
