//! Nothing secret and nothing internal gets out: not into logs, not into answers.

use std::{
    panic::catch_unwind,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pay402::{
    clock::{Clock, UnixMs},
    config::{Config, Environment, LogConfig, LogFormat},
    telemetry,
};
use serde_json::{Value, json};
use solana_keypair::Keypair;
use solana_signer::Signer;
use tokio::time::timeout;

use crate::{
    harness::{
        Answer, KEY, TestApp, logs,
        postgres::PostgresServer,
        redis::RedisServer,
        secrets,
        wire::PATIENCE,
        with,
        x402::{Order, paid, post, running_chain, settled, settling_process},
    },
    sandbox::setup::{Fixture, start},
};

const LEAK: &str = "a-secret-that-is-leaked-on-purpose";

#[test]
#[ignore = "ends its own process: the test below runs it"]
fn leaks_a_secret() {
    logs::watch();
    secrets::register(LEAK);
    tracing::debug!(target: "somebody", key = LEAK, "used");
    println!("it went on");
}

#[test]
fn a_secret_in_a_log_ends_the_test() {
    let told = run_ignored("leaks_a_secret");
    assert!(!told.contains("it went on"), "{told}");
    assert!(told.contains("was logged by somebody") && !told.contains(LEAK), "{told}");
}

#[test]
#[ignore = "ends its own process: the test below runs it"]
fn panics_in_the_service() {
    let format = LogFormat::Json;
    telemetry::init(&LogConfig { filter: "info".to_owned(), format });
    let body = "the body of a request".to_owned();
    let _ = catch_unwind(|| panic!("written in the code"));
    let _ = catch_unwind(|| panic!("made of {body}"));
    std::process::exit(0);
}

/// Where, and what the code says, but nothing that was made at run time.
#[test]
fn panics_are_logged_once_and_without_what_callers_sent() {
    let told = run_ignored("panics_in_the_service");
    let logged: Vec<Value> = told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(logged.len(), 2, "{told}");
    for panic in &logged {
        assert_eq!((&panic["level"], &panic["message"]), (&json!("ERROR"), &json!("panicked")), "{told}");
        assert!(panic["at"].as_str().unwrap().contains("leaks.rs:"), "{told}");
    }
    assert_eq!(told.matches("written in the code").count(), 1, "{told}");
    assert!(!told.contains("body of a request"), "{told}");
}

/// What a test of this file that ends its process told.
fn run_ignored(name: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("http::leaks::{name}"), "--ignored", "--nocapture"])
        .output()
        .unwrap();
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat()
}

/// What the configuration is made of, and what it becomes.
#[test]
fn the_configuration_does_not_print_secrets() {
    let fee_payer = Keypair::new().to_base58_string();
    let environment = Environment::default()
        .with("DATABASE_URL", "postgres://user:hunter2-db@db.example/pay")
        .with("REDIS_URL", "redis://:hunter2-redis@redis.example")
        .with("SOLANA_RPC_URL", "https://rpc.example/hunter2-path?key=hunter2-query")
        .with("SOLANA_WS_URL", "wss://rpc.example/hunter2-path?key=hunter2-query")
        .with("FEE_PAYER_KEYPAIR", fee_payer.clone())
        .with("VALID_API_KEYS", "sk_test_hunter2_0123456789abcdef");
    let config = Config::read(environment.clone()).unwrap();
    let told = format!("{environment:?} {config:?} {config:#?}");
    assert!(!told.contains("hunter2") && !told.contains(&fee_payer), "{told}");
}

#[test]
#[should_panic(expected = "a secret that begins with")]
fn a_secret_in_an_error_fails_the_test() {
    secrets::register(LEAK);
    Answer::check(500, false, &format!("{{\"error\":\"{LEAK}\"}}"));
}

/// Bodies, good and bad, to every route that takes one; the harness looks for them in the log.
#[tokio::test]
async fn bodies_and_keys_are_not_logged() {
    let app = TestApp::start().await;
    let marked = |name: &str| {
        let text = format!("marker-in-{name}");
        secrets::register_body(&text);
        text
    };
    let proof = app.proof(&app.pay_merchant(), &marked("nonce"));
    let proof = with(with(proof, "resource", marked("resource")), "unknown", marked("unknown"));
    for name in ["signature", "payer", "amount", "currency", "timestamp", "transactionId"] {
        assert_ne!(app.verify(&with(proof.clone(), name, marked(name))).await.status, 500);
    }
    app.verify(&proof).await.assert_valid();
    app.verify(&proof).await.assert_refused("REPLAY_ATTACK");
    let terms = json!({"amount": "0.05", "currency": "USDC", "resource": marked("resource"), "metadata": {"a": marked("metadata")}});
    app.issue(KEY, &terms).await;
    app.post("/requirements", Some(KEY), &with(terms, "amount", marked("amount"))).await;
    app.post("/verify", Some(KEY), &Value::String(marked("body"))).await;
    for key in ["sk_test_nobody_has_this_key_0123456789", "short-one"] {
        secrets::register(key);
        assert_eq!(app.get("/payments", Some(key)).await.status, 401);
        let basic = app.http.get(app.path("/payments")).header("authorization", format!("Basic {key}"));
        assert_eq!(app.send(basic, None).await.status, 401);
    }
}

/// Everything, and by name the modules of the crates that tell what others sent or where they connect to.
const TALKATIVE: &str = "trace,tungstenite::handshake=trace,tungstenite::handshake::client=trace,\
    tokio_tungstenite::connect=trace,solana_pubsub_client::nonblocking=trace,solana_rpc_client::http_sender=trace,\
    reqwest::connect=trace,hyper::proto=trace,hyper_util::client=trace,h2::codec=trace,h2::hpack=trace";

/// Whatever level an operator asks for: neither the servers' and clients' crates nor ours tell.
#[tokio::test(flavor = "multi_thread")]
async fn the_most_talkative_log_tells_no_secret() {
    let chain = running_chain().await;
    let (postgres, redis) = (PostgresServer::start().await, RedisServer::start());
    let folder = tempfile::tempdir().unwrap();
    let service = settling_process(&chain, folder.path(), |command| {
        command.env("LOG_LEVEL", TALKATIVE);
        command.env("DATABASE_URL", postgres.url_with_password());
        command.env("REDIS_URL", redis.url());
        command.env("SOLANA_RPC_URL", format!("{}/?api-key=token-in-query", chain.rpc_url()));
        command.env("SOLANA_WS_URL", format!("{}/?api-key=token-of-ws", chain.ws_url()));
        command.env("VALID_API_KEYS", KEY);
    })
    .await;
    let http = reqwest::Client::new();
    let manage = async |path: &str, key: &str, body: Value| {
        let request = http.post(format!("{}{path}", service.url)).header("x-api-key", key).json(&body);
        Answer::of(request.send().await.unwrap()).await.body
    };
    let made = manage("/api-keys", KEY, json!({"name": "n"})).await;
    let path = format!("/api-keys/{}/rotate", made["id"].as_str().unwrap());
    let next = manage(&path, made["key"].as_str().unwrap(), json!({})).await;
    let order = Order::of(&chain);
    settled(&post(&service.url, "/settle", &paid(&chain, &order)).await, &order);
    secrets::register_body("marker-in-body");
    let merchant = chain.wallets().merchant.pubkey().to_string();
    let body = json!({"amount": 1, "currency": "USDC", "recipient": merchant, "resource": "marker-in-body"});
    for client in [reqwest::Client::builder(), reqwest::Client::builder().http2_prior_knowledge()] {
        let client = client.build().unwrap();
        let post = |path: &str| client.post(format!("{}{path}", service.url)).json(&body);
        for request in [
            post("/requirements").header("x-api-key", KEY),
            post("/requirements").bearer_auth(KEY),
            post("/requirements").bearer_auth(next["key"].as_str().unwrap()),
            post("/requirements").bearer_auth("sk_test_nobody_has_this_key_0123456789"),
            post("/verify").header("x-api-key", KEY),
            client.get(format!("{}/ready", service.url)),
        ] {
            request.send().await.unwrap();
        }
    }
    service.process.signal("TERM");
    // Every line was looked through as it came in.
    let stopped = async {
        while !service.log.lock().unwrap().iter().any(|line| line.contains("\"message\":\"stopped\"")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, stopped).await.unwrap();
    let log = service.log.lock().unwrap().join("\n");
    assert!(log.contains("\"level\":\"DEBUG\"") && log.contains("\"status\":201"), "{log}");
}

/// What no caller may read: where we keep things, in what, and our own words for trouble.
#[track_caller]
fn assert_silent(answer: &Answer) {
    assert!(answer.status >= 500, "{answer:?}");
    let said = answer.body.to_string().to_lowercase();
    for word in [
        "://",
        "127.0.0.1",
        "localhost",
        "sqlx",
        "sqlstate",
        "postgres:",
        "select ",
        "insert",
        ".rs",
        "panic",
        "clock",
        "reqwest",
        "hyper",
        "connection refused",
        "os error",
        "token-in",
    ] {
        assert!(!said.contains(word), "{word}: {answer:?}");
    }
}

#[tokio::test]
async fn a_database_that_is_gone_is_not_described() {
    let mut server = PostgresServer::start().await;
    let url = server.url_with_password();
    let app = TestApp::with(|environment, _| environment.with("DATABASE_URL", url)).await;
    let proof = app.proof(&app.pay_merchant(), "n");
    server.stop().await;
    for answer in [app.verify(&proof).await, app.get("/payments", Some(KEY)).await] {
        assert_eq!(answer.code(), "DATABASE_UNAVAILABLE");
        assert_silent(&answer);
    }
    assert_silent(&app.get("/ready", None).await);
}

#[tokio::test]
async fn a_node_that_is_gone_is_not_described() {
    ["token-in-path", "token-in-query", "token-in-password"].into_iter().for_each(secrets::register);
    let url = "http://user:token-in-password@127.0.0.1:1/token-in-path?api-key=token-in-query";
    let app = TestApp::with(|environment, _| environment.with("SOLANA_RPC_URL", url)).await;
    let answer = app.verify(&app.proof(&app.pay_merchant(), "n")).await;
    assert_eq!(answer.code(), "BLOCKCHAIN_UNAVAILABLE");
    assert_silent(&answer);
    assert_silent(&app.get("/ready", None).await);
    assert_eq!(app.get("/metrics", None).await.status, 200);
}

/// A clock that breaks when told to.
#[derive(Debug)]
struct BrokenClock {
    clock: Arc<dyn Clock>,
    /// How often it still works.
    left: AtomicUsize,
}

impl BrokenClock {
    /// On a chain's clock; not broken yet.
    fn of(chain: &Fixture) -> Arc<Self> {
        Arc::new(Self { clock: chain.clock.clone(), left: AtomicUsize::new(usize::MAX) })
    }

    fn works(&self, times: usize) {
        self.left.store(times, Ordering::SeqCst);
    }
}

impl Clock for BrokenClock {
    fn now(&self) -> UnixMs {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(left.is_ok(), "the clock is broken");
        self.clock.now()
    }
}

/// A panic in a handler, in a task of its own, and under an idempotency key: 500, counted, and the next request is served.
#[tokio::test]
async fn panics_are_answered_and_counted() {
    let chain = start().await;
    let clock = BrokenClock::of(&chain);
    let folder = Arc::new(tempfile::tempdir().unwrap());
    // Without limits, which take the clock before any handler does.
    let limits = ["RATE_LIMIT_PUBLIC", "RATE_LIMIT_AUTHENTICATED", "RATE_LIMIT_VERIFICATION"];
    let adapt =
        |environment: Environment, _: &_| limits.iter().fold(environment, |all, name| all.with(name, "0"));
    let app = TestApp::on_clock(clock.clone(), chain, folder, adapt).await;
    let proof = app.proof(&app.pay_merchant(), "n");
    // With an id of its own, since making one takes the clock.
    let get = |path: &str| app.http.get(app.path(path)).header("x-request-id", "own");
    let post = |path: &str| app.http.post(app.path(path)).header("x-request-id", "own").json(&proof);
    clock.works(0);
    let answers = [
        app.send(get("/health"), None).await,
        app.send(post("/verify"), Some(KEY)).await,
        app.send(post("/requirements"), Some(KEY)).await,
        app.send(post("/verify").header("idempotency-key", "k"), Some(KEY)).await,
    ];
    for answer in &answers {
        assert_eq!((answer.status, answer.code()), (500, "INTERNAL_ERROR"), "{answer:?}");
        assert_eq!(answer.body["requestId"], "own");
        assert_silent(answer);
    }
    let metrics = app.send(get("/metrics"), None).await.body.as_str().unwrap().to_owned();
    assert!(metrics.contains(&format!("http_panics_total {}", answers.len())), "{metrics}");
    clock.works(usize::MAX);
    app.verify(&proof).await.assert_valid();
}

/// A panic in a handler comes after the limits were asked: its answer tells them like any other.
#[tokio::test]
async fn answers_to_panics_tell_the_rate_limit() {
    let chain = start().await;
    let clock = BrokenClock::of(&chain);
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let app = TestApp::on_clock(clock.clone(), chain, folder, |environment, _| environment).await;
    let mut told = 0;
    for times in 0..5 {
        clock.works(times);
        let request = app.http.get(app.path("/health")).header("x-request-id", "own");
        let answer = app.send(request, None).await;
        if answer.status == 500 && answer.headers.contains_key("ratelimit-limit") {
            told += 1;
        }
    }
    assert!(told > 0, "no answer to a panic tells the limit");
}
