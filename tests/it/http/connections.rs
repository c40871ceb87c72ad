//! What ends a connection. The limits are short here, and everything else is as in production.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use pay402::{http::ConnectionLimits, metrics::Metrics, shutdown::Shutdown};
use tokio::{net::TcpListener, time::sleep};

use crate::harness::wire::{PREFACE, Wire, status};

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_hours(1);
const PATIENT: ConnectionLimits = ConnectionLimits { head: LONG, idle: LONG, age: LONG, ending: LONG };

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
/// A request for `/`: `:method GET`, `:scheme http`, `:path /`, all from HPACK's static table.
const GET_ROOT: &[u8] = &[0x82, 0x86, 0x84];
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

struct Server {
    url: String,
    metrics: Arc<Metrics>,
}

impl Server {
    /// `/` answers at once, `/slow` after a while, `/large` much.
    async fn start(limits: ConnectionLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let metrics = Arc::new(Metrics::new());
        let app = Router::new()
            .route("/", get(async || "ok"))
            .route("/slow", get(async || sleep(5 * SHORT).await))
            .route("/large", get(async || "x".repeat(64 * 1024 * 1024)));
        tokio::spawn(pay402::http::serve(listener, app, Arc::clone(&metrics), Shutdown::default(), limits));
        Self { url, metrics }
    }

    async fn wire(&self) -> Wire {
        Wire::to(&self.url).await
    }

    fn open_connections(&self) -> bool {
        !self.metrics.render().unwrap().contains("active_connections 0")
    }
}

#[tokio::test]
async fn silence_before_the_version_is_known_ends() {
    let server = Server::start(ConnectionLimits { head: SHORT, ..PATIENT }).await;
    for sent in [&b""[..], b"P", b"PRI * HTTP/2", &PREFACE[..23], b"G", b"GET / HTTP/1.1\r\nhost: x\r\n"] {
        let mut wire = server.wire().await;
        wire.send(sent).await;
        wire.read_to_end().await;
    }
    // Between requests too.
    let mut wire = server.wire().await;
    wire.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(status(&wire.read_to_end().await), 200);
}

#[tokio::test]
async fn slowloris_is_cut_off_however_steadily_it_sends() {
    let server = Server::start(ConnectionLimits { head: SHORT, ..PATIENT }).await;
    for start in ["GET / HTTP/1.1\r\nhost: x\r\nx-slow: ", "PRI"] {
        let mut wire = server.wire().await;
        wire.send(start).await;
        // The preface goes on with exactly these bytes.
        let mut rest = b" * HTTP/2.0\r\n\r\nSM\r\n\r".iter().cycle();
        let mut drops = 0;
        while wire.try_send([if start == "PRI" { *rest.next().unwrap() } else { b'x' }]).await {
            sleep(SHORT / 10).await;
            drops += 1;
            assert!(drops < 3000, "it is listened to for ever");
        }
    }
}

#[tokio::test]
async fn idle_http2_connections_end() {
    let server = Server::start(ConnectionLimits { idle: SHORT, ..PATIENT }).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    assert_eq!(client.get(&server.url).send().await.unwrap().text().await.unwrap(), "ok");
    while server.open_connections() {
        sleep(SHORT / 10).await;
    }
    // A request in flight is no idleness.
    assert_eq!(client.get(format!("{}/slow", server.url)).send().await.unwrap().status(), 200);
}

/// A client that says nothing after the preface, or begins a head and does not end it, answers no GOAWAY either.
#[tokio::test]
async fn http2_without_a_request_ends() {
    let server = Server::start(ConnectionLimits { idle: SHORT, ending: SHORT, ..PATIENT }).await;
    let mut silent = server.wire().await;
    silent.send(PREFACE).await;
    silent.read_to_end().await;
    let mut half = server.wire().await;
    half.send(PREFACE).await;
    half.send_frame(HEADERS, END_STREAM, 1, GET_ROOT).await;
    half.read_to_end().await;
}

/// A client that does not read its answers.
#[tokio::test]
async fn answers_that_are_not_read_end() {
    let server = Server::start(ConnectionLimits { idle: SHORT, ending: SHORT, ..PATIENT }).await;
    let mut deaf = server.wire().await;
    deaf.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    deaf.read_until("HTTP/1.1 200").await;
    while server.open_connections() {
        sleep(SHORT / 10).await;
    }
}

#[tokio::test]
async fn old_connections_end_after_their_answer() {
    let server = Server::start(ConnectionLimits { age: SHORT, ..PATIENT }).await;
    let mut wire = server.wire().await;
    wire.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let answer = wire.read_to_end().await;
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("connection: close"), "{answer}");
}

/// Heads in frames that never end, requests taken back at once: each flood ends the
/// connection, and nobody else's.
#[tokio::test]
async fn http2_floods() {
    let server = Server::start(PATIENT).await;
    let flooded = async |flood: &mut dyn FnMut(u32) -> (u8, u8, u32, Vec<u8>)| {
        let mut wire = server.wire().await;
        wire.send(PREFACE).await;
        let mut frames = 0;
        loop {
            let (kind, flags, stream, payload) = flood(frames);
            if !wire.send_frame(kind, flags, stream, &payload).await {
                break;
            }
            frames += 1;
            assert!(frames < 1_000_000, "frame type {kind} is taken for ever");
        }
    };
    // CONTINUATION: a head without an end, of a header that is not kept.
    let literal = [&[0x00, 0x01, b'x', 0x7f, 0x80, 0x20][..], &[b'y'; 127 + 4096]].concat();
    flooded(&mut |n| match n {
        0 => (HEADERS, END_STREAM, 1, GET_ROOT.to_vec()),
        _ => (CONTINUATION, 0, 1, literal.clone()),
    })
    .await;
    // Rapid reset.
    flooded(&mut |n| {
        let stream = 1 + 2 * (n / 2);
        match n % 2 {
            0 => (HEADERS, END_STREAM | END_HEADERS, stream, GET_ROOT.to_vec()),
            _ => (RST_STREAM, 0, stream, vec![0, 0, 0, 8]),
        }
    })
    .await;
    let mut wire = server.wire().await;
    wire.send("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!(status(&wire.read_to_end().await), 200);
}
