//! More than fits.

use std::time::Duration;

use futures_util::future::join_all;
use pay402::sandbox::{
    Hold,
    faults::{ALWAYS, ANY},
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::largest_usage;
use crate::harness::{
    Answer, KEY, TestApp,
    process::ServiceProcess,
    wire::{PATIENCE, PREFACE, Wire},
};

const MIB: usize = 1024 * 1024;
/// Six times what is kept at a time, in bodies of 1 MiB.
const SENDERS: usize = 400;
/// How many of them are turned away at least, on a machine so slow that the first give up meanwhile.
const TURNED_AWAY: f64 = 200.0;
/// What the service may grow by: the room for bodies, and as much again for buffers and the allocator.
const GROWTH: f64 = 160.0 * 1024.0 * 1024.0;

async fn metric(url: &str, name: &str) -> f64 {
    let text = reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_default()
}

async fn post(url: &str, bytes: usize) -> Answer {
    let body = format!("\"{}\"", "x".repeat(bytes - 2));
    let request =
        reqwest::Client::new().post(format!("{url}/verify")).header("content-type", "application/json");
    Answer::of(request.body(body).send().await.unwrap()).await
}

/// A client that has sent all but the last byte of a large body: it, where it is still waited for.
async fn unfinished(url: &str, body: &str) -> Option<Wire> {
    let mut wire = Wire::to(url).await;
    wire.send(format!("{HEAD}\r\n")).await;
    wire.try_send(body).await.then_some(wire)
}

const HEAD: &str =
    "POST /verify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1048576\r\n";

/// Bodies that lack only their last byte fill the room for bodies. Further large ones are turned away and memory stops
/// growing; small ones are taken as ever, and large ones again once the senders have gone.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_fill_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let service = ServiceProcess::start(folder.path(), |command| {
        command.env("SOLANA_RPC_URL", "http://127.0.0.1:1");
    })
    .await;
    let url = &service.url;
    let before = metric(url, "process_resident_memory_bytes").await;
    let body = "x".repeat(MIB - 1);
    let mut senders = join_all((0..SENDERS).map(|_| unfinished(url, &body))).await;
    // Not all that was sent has been looked at yet.
    let deadline = Instant::now() + PATIENCE;
    while metric(url, r#"errors_total{code="OVERLOADED",type="server"}"#).await < TURNED_AWAY {
        assert!(Instant::now() < deadline, "too few were turned away");
        sleep(Duration::from_millis(10)).await;
    }
    // Where many grow at once, more may have been turned away than had to be.
    let refused = loop {
        let answer = post(url, MIB).await;
        if answer.status == 503 {
            break answer;
        }
        assert!(Instant::now() < deadline, "still {answer:?}");
        senders.push(unfinished(url, &body).await);
    };
    assert_eq!(refused.code(), "OVERLOADED", "{refused:?}");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(post(url, 1024).await.status, 400);
    let grown = metric(url, "process_resident_memory_bytes").await - before;
    assert!(grown < GROWTH, "{grown} bytes more");
    drop(senders);
    while post(url, MIB).await.status == 503 {
        assert!(Instant::now() < deadline, "the room is not given back");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Lists of 3 MB each, asked for on streams that make no room for them: 360 MB, if they were all kept.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads() {
    const CONNECTIONS: usize = 3;
    const STREAMS: u32 = 40;
    /// `GET /plans?limit=200`
    const GET_PLANS: &[u8] = b"\x82\x86\x04\x10/plans?limit=200";
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    let folder = tempfile::tempdir().unwrap();
    let service = ServiceProcess::start(folder.path(), |command| {
        command.env("SOLANA_RPC_URL", "http://127.0.0.1:1").env("VALID_API_KEYS", KEY);
    })
    .await;
    let (url, client) = (&service.url, reqwest::Client::new());
    let plan = json!({
        "name": "n", "pricePerMonth": 1, "currency": "USDC", "description": "x".repeat(1000),
        "features": vec!["x".repeat(200); 50], "metadata": {"a": "x".repeat(4000)},
    });
    for _ in 0..200 {
        let made = client.post(format!("{url}/plans")).header("x-api-key", KEY).json(&plan);
        assert_eq!(made.send().await.unwrap().status(), 201);
    }
    let list = async |key: &str| {
        let request = client.get(format!("{url}/plans?limit=200")).header("x-api-key", key);
        let request = if key.is_empty() { client.get(format!("{url}/plans?limit=200")) } else { request };
        Answer::of(request.send().await.unwrap()).await
    };
    assert_eq!(list("").await.status, 200);
    let before = metric(url, "process_resident_memory_bytes").await;
    let mut deaf = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut wire = Wire::to(url).await;
        wire.send(&PREFACE[..24]).await;
        // No room for the first byte of any answer.
        wire.send_frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await;
        for stream in 0..STREAMS {
            wire.send_frame(HEADERS, 5, 1 + 2 * stream, GET_PLANS).await;
        }
        deaf.push(wire);
    }
    let answered = async |status: u16| {
        let labels = format!(r#"{{method="GET",route="/plans",status_code="{status}"}}"#);
        metric(url, &format!("http_requests_total{labels}")).await
    };
    let deadline = Instant::now() + PATIENCE;
    let asked = 1.0 + f64::from(STREAMS) * 3.0;
    while answered(200).await + answered(503).await < asked {
        assert!(Instant::now() < deadline, "they are not answered");
        sleep(Duration::from_millis(10)).await;
    }
    let grown = metric(url, "process_resident_memory_bytes").await - before;
    println!("{grown} bytes more, {} lists", answered(200).await);
    assert!(grown < GROWTH, "{grown} bytes more");
    // Small answers are given as ever, and large ones to callers with keys.
    assert_eq!(reqwest::get(format!("{url}/plans/x")).await.unwrap().status(), 404);
    assert_eq!(list(KEY).await.status, 200);
    let refused = list("").await;
    assert_eq!((refused.status, refused.code()), (503, "OVERLOADED"));
    drop(deaf);
    while list("").await.status == 503 {
        assert!(Instant::now() < deadline, "the room is not given back");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Sends requests that are held, a hundred to a connection, until `ask` is refused for want of a place.
async fn fill(url: &str, flags: u8, requests: &[Vec<u8>], ask: impl AsyncFn() -> Answer) -> Vec<Wire> {
    const HEADERS: u8 = 1;
    let (mut held, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    loop {
        let answer = ask().await;
        if answer.status != 200 {
            assert_eq!((answer.status, answer.code()), (503, "OVERLOADED"), "{answer:?}");
            assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
            break held;
        }
        // What is held ends by itself after a while.
        assert!(Instant::now() < deadline, "{} connections are held", held.len());
        for request in requests {
            let mut wire = Wire::to(url).await;
            wire.send(PREFACE).await;
            for stream in 0..100 {
                wire.send_frame(HEADERS, flags, 1 + 2 * stream, request).await;
            }
            held.push(wire);
        }
    }
}

/// An HTTP/2 frame's flags: all of the head, and with it all of the request.
const HEAD_ONLY: u8 = 4;
const WHOLE: u8 = 5;

/// Requests whose bodies are on their way take the places of their address: first all that one address may have, then all
/// there are for those who present no key.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_fill_every_place() {
    /// `POST /verify`, JSON, from an address that follows.
    const POST_VERIFY: &[u8] =
        b"\x83\x86\x04\x07/verify\x0f\x10\x10application/json\x00\x0fx-forwarded-for\x08";
    let folder = tempfile::tempdir().unwrap();
    let service = ServiceProcess::start(folder.path(), |command| {
        command.env("SOLANA_RPC_URL", "http://127.0.0.1:1").env("VALID_API_KEYS", KEY);
        command.env("TRUSTED_PROXIES", "127.0.0.1");
    })
    .await;
    let (url, client) = (&service.url, reqwest::Client::new());
    let ask = async |address: &str, key: Option<&str>| {
        let request = client.get(format!("{url}/plans")).header("x-forwarded-for", address);
        let request = key.into_iter().fold(request, |request, key| request.header("x-api-key", key));
        Answer::of(request.send().await.unwrap()).await
    };
    let from = |address: &str| [POST_VERIFY, address.as_bytes()].concat();
    let one = fill(url, HEAD_ONLY, &[from("10.0.0.1")], async || ask("10.0.0.1", None).await).await;
    assert_eq!(ask("10.0.0.2", None).await.status, 200, "others have their own");
    // Those of the first address as well, in case that the first of them have ended.
    let both = [from("10.0.0.1"), from("10.0.0.2")];
    let more = fill(url, HEAD_ONLY, &both, async || ask("10.0.0.3", None).await).await;
    assert!(one.len() > 10 && one.len() + more.len() > 20, "{} and {}", one.len(), more.len());
    assert_eq!(ask("10.0.0.3", Some(KEY)).await.status, 200, "so have those with a key");
    for path in ["/health", "/metrics"] {
        assert_eq!(client.get(format!("{url}{path}")).send().await.unwrap().status(), 200);
    }
    drop((one, more));
    let deadline = Instant::now() + PATIENCE;
    while ask("10.0.0.1", None).await.status != 200 {
        assert!(Instant::now() < deadline, "the places are not given back");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A look at how the service is waits for those who do not answer, and whatever key it presents is not looked at: it takes
/// the places of its address, and none of those that are for keys.
#[tokio::test(flavor = "multi_thread")]
async fn looks_that_wait_keep_no_key_out() {
    /// `GET /ready` with a key that is none.
    const GET_READY: &[u8] = b"\x82\x86\x04\x06/ready\x00\x09x-api-key\x01x";
    let app = TestApp::start().await;
    let _held = app.chain.sandbox.faults().hold(ANY, Hold::Before, ALWAYS);
    let plans = async |key: Option<&str>| app.get("/plans", key).await;
    let waiting = fill(&app.url, WHOLE, &[GET_READY.to_vec()], async || plans(None).await).await;
    assert!(waiting.len() > 10, "{}", waiting.len());
    assert_eq!(plans(Some(KEY)).await.status, 200);
}

/// Of the answers that one caller has not read, so much is kept.
const SHARE: u64 = 16 * 1024 * 1024;

/// A client that takes no more than the start of an answer until it is read.
fn deaf() -> reqwest::Client {
    let client = reqwest::Client::builder().http2_prior_knowledge();
    client.http2_initial_stream_window_size(1024).build().unwrap()
}

/// An answer given again takes room like any other, since it can be asked for once more; what was done just now is told in
/// any case.
#[tokio::test(flavor = "multi_thread")]
async fn answers_given_again_that_nobody_reads() {
    let app = TestApp::start().await;
    let body = largest_usage(&app).await;
    let client = deaf();
    let ask = async |once: &str| {
        let request = client.post(app.path("/usage")).header("idempotency-key", once);
        request.header("x-api-key", KEY).json(&body).send().await.unwrap()
    };
    let again = |answer: &reqwest::Response| answer.headers().contains_key("idempotent-replayed");
    let mut unread = vec![ask("once").await];
    assert!(unread[0].status() == 201 && !again(&unread[0]));
    let refused = loop {
        let answer = ask("once").await;
        if answer.status() != 201 {
            break Answer::of(answer).await;
        }
        assert!(again(&answer), "{answer:?}");
        unread.push(answer);
        let kept: u64 = unread.iter().map(|answer| answer.content_length().unwrap()).sum();
        assert!(kept <= SHARE, "{} answers are kept", unread.len());
    };
    assert_eq!((refused.status, refused.code()), (503, "OVERLOADED"), "{refused:?}");
    let another = ask("another").await;
    assert!(another.status() == 201 && !again(&another), "{another:?}");
    drop((unread, another));
    let deadline = Instant::now() + PATIENCE;
    while ask("once").await.status() != 201 {
        assert!(Instant::now() < deadline, "the room is not given back");
        sleep(Duration::from_millis(10)).await;
    }
}

/// What is the same for all is there once, however many do not read it: it takes no room that strangers need.
#[tokio::test(flavor = "multi_thread")]
async fn documents_that_nobody_reads_take_no_room() {
    let app = TestApp::start().await;
    for path in ["/docs/swagger-ui-bundle.js", "/openapi.json"] {
        let (client, mut unread, mut bytes) = (deaf(), Vec::new(), 0);
        while bytes <= SHARE {
            let answer = client.get(app.path(path)).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path} after {bytes} bytes");
            bytes += answer.content_length().unwrap();
            unread.push(answer);
        }
    }
}

/// What is announced and not sent takes no room.
#[tokio::test(flavor = "multi_thread")]
async fn announcing_much_keeps_nobody_out() {
    let app = TestApp::start().await;
    let _senders = join_all((0..SENDERS).map(async |_| {
        let mut wire = Wire::to(&app.url).await;
        wire.send(format!("{HEAD}\r\n{{")).await;
        wire
    }))
    .await;
    assert_eq!(post(&app.url, MIB).await.status, 400);
    app.issue(KEY, &json!({"amount": "0.05", "currency": "USDC"})).await;
}
