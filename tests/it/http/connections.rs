//! What ends a connection. The limits are short here, and everything else is as in production.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use pay402::{
    client_address::TrustedProxies,
    http::{ConnectionLimits, Slots},
    metrics::Metrics,
    shutdown::Shutdown,
};
use tokio::{
    io::AsyncReadExt,
    net::TcpListener,
    time::{Instant, sleep, timeout},
};

use crate::harness::{
    TestApp,
    wire::{Attentive, PATIENCE, PREFACE, Wire, status},
};

/// Within it a client has to have sent what it is to be answered, on a machine however busy.
const SHORT: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_hours(1);
const PATIENT: ConnectionLimits = ConnectionLimits {
    head: LONG,
    idle: LONG,
    stall: LONG,
    answer: LONG,
    age: LONG,
    ending: LONG,
    linger: LONG,
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// A request for `/`: `:method GET`, `:scheme http`, `:path /`, all from HPACK's static table.
const GET_ROOT: &[u8] = &[0x82, 0x86, 0x84];
/// The same for `/large`.
const GET_LARGE: &[u8] = b"\x82\x86\x04\x06/large";
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
        let slots = Slots::new(100, None, TrustedProxies::default());
        let (counted, shutdown) = (Arc::clone(&metrics), Shutdown::default());
        tokio::spawn(pay402::http::serve(listener, app, counted, shutdown, limits, slots));
        Self { url, metrics }
    }

    async fn wire(&self) -> Wire {
        Wire::to(&self.url).await
    }

    async fn all_ended(&self) {
        let until = Instant::now() + PATIENCE;
        while self.open_connections() {
            assert!(Instant::now() < until, "it is open for ever");
            sleep(SHORT / 10).await;
        }
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
}

/// Load balancers keep connections for a minute: between requests there is more time than for a head, which has to come
/// quickly all the same once it has begun.
#[tokio::test]
async fn between_requests_there_is_more_time_than_for_a_head() {
    let server = Server::start(ConnectionLimits { head: SHORT, ..PATIENT }).await;
    let mut wire = server.wire().await;
    for _ in 0..2 {
        wire.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(status(&wire.read_until("ok").await), 200);
        sleep(3 * SHORT).await;
    }
    wire.send("GET / HTTP/1.1\r\nhost: ").await;
    assert_eq!(wire.read_to_end().await, "");
    let server = Server::start(ConnectionLimits { idle: SHORT, ..PATIENT }).await;
    let mut wire = server.wire().await;
    wire.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(status(&wire.read_to_end().await), 200);
}

/// Asking too often keeps no connection open.
#[tokio::test]
async fn who_is_only_turned_away_is_idle() {
    let app = TestApp::with(|environment, _| {
        environment.with("IDLE_TIMEOUT_SECONDS", "1").with("RATE_LIMIT_PUBLIC", "1")
    })
    .await;
    let (mut wire, until) = (Wire::to(&app.url).await, Instant::now() + PATIENCE);
    while wire.try_send("GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n").await {
        wire.read_now();
        sleep(SHORT / 10).await;
        assert!(Instant::now() < until, "it is open for ever");
    }
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
    server.all_ended().await;
    // A request in flight is no idleness.
    assert_eq!(client.get(format!("{}/slow", server.url)).send().await.unwrap().status(), 200);
}

/// A client that says nothing after the preface, or begins a head and does not end it, answers no GOAWAY either.
#[tokio::test]
async fn http2_without_a_request_ends() {
    let server = Server::start(ConnectionLimits { idle: SHORT, linger: SHORT, ..PATIENT }).await;
    let mut silent = server.wire().await;
    silent.send(PREFACE).await;
    silent.read_to_end().await;
    let mut half = server.wire().await;
    half.send(PREFACE).await;
    half.send_frame(HEADERS, END_STREAM, 1, GET_ROOT).await;
    half.read_to_end().await;
}

/// Clients that do not read their answers: one, or many asked for at once.
#[tokio::test]
async fn answers_that_are_not_read_end() {
    let server = Server::start(ConnectionLimits { stall: SHORT, ..PATIENT }).await;
    for requests in [1, 2, 50] {
        let mut deaf = server.wire().await;
        deaf.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n".repeat(requests)).await;
        deaf.read_until("HTTP/1.1 200").await;
        server.all_ended().await;
    }
    // Small answers, more than the kernel keeps.
    let mut deaf = server.wire().await;
    let requests = "GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    let until = Instant::now() + PATIENCE;
    while timeout(SHORT * 10, deaf.try_send(&requests)).await == Ok(true) {
        assert!(Instant::now() < until, "they are taken for ever");
    }
    server.all_ended().await;
}

/// A client of HTTP/2 that reads the connection, but makes no room for the answer.
#[tokio::test]
async fn http2_answers_for_which_no_room_is_made_end() {
    let server = Server::start(ConnectionLimits { stall: SHORT, ..PATIENT }).await;
    let mut deaf = server.wire().await;
    deaf.send(PREFACE).await;
    deaf.send_frame(HEADERS, END_STREAM | END_HEADERS, 1, GET_LARGE).await;
    attend_to_the_end(deaf).await;
    // Nor any for the first byte.
    let mut deaf = server.wire().await;
    deaf.send(&PREFACE[..24]).await;
    deaf.send_frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await;
    for stream in 0..50 {
        deaf.send_frame(HEADERS, END_STREAM | END_HEADERS, 1 + 2 * stream, GET_ROOT).await;
    }
    attend_to_the_end(deaf).await;
    server.all_ended().await;
}

async fn attend_to_the_end(wire: Wire) {
    let (mut client, until) = (Attentive::new(wire), Instant::now() + PATIENCE);
    while client.attend().await {
        assert!(Instant::now() < until, "it is waited for for ever");
        sleep(SHORT / 10).await;
    }
}

/// Byte by byte is progress, but not for ever.
#[tokio::test]
async fn answers_that_are_read_byte_by_byte_end() {
    let server = Server::start(ConnectionLimits { answer: 3 * SHORT, ..PATIENT }).await;
    let mut slow = server.wire().await;
    slow.send(PREFACE).await;
    slow.send_frame(HEADERS, END_STREAM | END_HEADERS, 1, GET_LARGE).await;
    let one = 1_u32.to_be_bytes();
    let (mut client, until) = (Attentive::new(slow), Instant::now() + PATIENCE);
    while client.attend().await
        && client.wire.send_frame(WINDOW_UPDATE, 0, 0, &one).await
        && client.wire.send_frame(WINDOW_UPDATE, 0, 1, &one).await
    {
        assert!(Instant::now() < until, "it is waited for for ever");
        sleep(SHORT / 10).await;
    }
}

/// Slow, and longer in all than one may read nothing.
#[tokio::test]
async fn answers_that_are_read_slowly_are_sent_whole() {
    let stall = 6 * SHORT;
    let server = Server::start(ConnectionLimits { stall, idle: SHORT, ..PATIENT }).await;
    let mut buffer = vec![0; 8 * 1024 * 1024];
    for tries_left in (0..5).rev() {
        let mut slow = server.wire().await;
        slow.send("GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        let (mut read, mut longest, mut last) = (0, Duration::ZERO, Instant::now());
        while slow.0.read_exact(&mut buffer).await.is_ok() {
            read += buffer.len();
            sleep(SHORT).await;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        if read >= 64 * 1024 * 1024 {
            return;
        }
        // Where the machine stood still it was rightly taken for one who reads nothing.
        assert!(longest > stall / 2 && tries_left > 0, "{read} bytes, none for {longest:?}");
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
    // Headers beyond all measure, in one frame after the other, compressed: each entry names one that was sent before.
    let bomb = [&[0x40, 0x01, b'x', 0x7f, 0x81, 0x1e][..], &[b'y'; 4000], &[0xbe; 12_000]].concat();
    flooded(&mut |n| match n {
        0 => (HEADERS, END_STREAM, 1, GET_ROOT.to_vec()),
        _ => (CONTINUATION, 0, 1, bomb.clone()),
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

/// Frames that ask for an answer each, from a client that reads none: they are not kept.
#[tokio::test]
async fn http2_control_frames_of_a_client_that_does_not_read() {
    let server = Server::start(ConnectionLimits { stall: SHORT, ..PATIENT }).await;
    for (kind, payload) in [(SETTINGS, &[0, 3, 0, 0, 0, 9][..]), (PING, &[7; 8]), (DATA, &[])] {
        let mut deaf = server.wire().await;
        deaf.send(PREFACE).await;
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = [&length[1..], &[kind, 0, 0, 0, 0, 0], payload].concat();
        if kind == DATA {
            // Of a request that is open.
            deaf.send_frame(HEADERS, END_HEADERS, 1, GET_ROOT).await;
            frame[8] = 1;
        }
        let frames = frame.repeat(1000);
        let until = Instant::now() + PATIENCE;
        while timeout(SHORT * 10, deaf.try_send(&frames)).await == Ok(true) {
            assert!(Instant::now() < until, "frame type {kind} is taken for ever");
        }
        server.all_ended().await;
    }
}
