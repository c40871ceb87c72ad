//! Who may ask how often, seen from outside. The clock stands still unless a test moves it.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Answer, KEY, OTHER_KEY, TestApp};

/// Public, authenticated, verification.
async fn limited(limits: [u32; 3]) -> TestApp {
    behind("", limits).await
}

/// Behind these proxies.
async fn behind(proxies: &str, [public, authenticated, verification]: [u32; 3]) -> TestApp {
    TestApp::with(|environment, _| {
        environment
            .with("TRUSTED_PROXIES", proxies)
            .with("RATE_LIMIT_PUBLIC", public.to_string())
            .with("RATE_LIMIT_AUTHENTICATED", authenticated.to_string())
            .with("RATE_LIMIT_VERIFICATION", verification.to_string())
    })
    .await
}

async fn forwarded(app: &TestApp, path: &str, addresses: &[&str]) -> Answer {
    let request = app.http.get(app.path(path));
    let add = |request: reqwest::RequestBuilder, line: &&str| request.header("x-forwarded-for", *line);
    app.send(addresses.iter().fold(request, add), None).await
}

async fn status(app: &TestApp, path: &str, key: Option<&str>) -> u16 {
    app.get(path, key).await.status
}

/// `RateLimit-Limit`, `-Remaining` and `-Reset`.
#[track_caller]
fn told(answer: &Answer) -> [u64; 3] {
    ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]
        .map(|name| answer.headers[name].to_str().unwrap().parse().unwrap())
}

#[track_caller]
fn assert_exceeded(answer: &Answer, limit: u64, retry_after_secs: u64) {
    assert_eq!((answer.status, answer.code()), (429, "RATE_LIMIT_EXCEEDED"), "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.body["requestId"], answer.headers["x-request-id"].to_str().unwrap());
    assert!(answer.body["error"].as_str().unwrap().contains("too many requests"));
    assert_eq!(answer.headers["retry-after"], retry_after_secs.to_string().as_str());
    assert_eq!(told(answer)[..2], [limit, 0]);
}

#[tokio::test]
async fn headers_say_where_a_client_stands_and_429_when_to_come_back() {
    let app = limited([3, 300, 100]).await;
    for remaining in [2, 1, 0] {
        let answer = app.get("/nothing", None).await;
        assert_eq!((answer.status, told(&answer)), (404, [3, remaining, 60]));
        assert!(!answer.headers.contains_key("retry-after"));
        app.chain.clock.advance(Duration::from_secs(10));
    }
    let refused = app.get("/payments", None).await;
    assert_exceeded(&refused, 3, 30);
    assert_eq!(told(&refused), [3, 0, 50]);
    app.chain.clock.advance(Duration::from_millis(29_999));
    assert_exceeded(&app.get("/nothing", None).await, 3, 1);
    app.chain.clock.advance(Duration::from_millis(1));
    assert_eq!(told(&app.get("/nothing", None).await), [3, 0, 60]);
    assert_exceeded(&app.get("/nothing", None).await, 3, 10);
}

#[tokio::test]
async fn every_limited_answer_carries_the_headers() {
    let app = limited([1000, 1000, 1000]).await;
    for (path, key, status) in [
        ("/health", None, 200),
        ("/ready", None, 200),
        ("/metrics", None, 200),
        ("/payments", Some(KEY), 200),
        ("/payments", None, 401),
        ("/payments", Some("nonsense"), 401),
        ("/verify", None, 405),
        ("/nothing", None, 404),
    ] {
        let answer = app.get(path, key).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!([told(&answer)[0], told(&answer)[2]], [1000, 60], "{path}");
    }
    let answer = app.post("/verify", None, &json!({})).await;
    assert_eq!((answer.status, told(&answer)), (400, [1000, 999, 60]));
}

/// All of a minute's requests at its end, and again at the beginning of the next.
#[tokio::test]
async fn the_minutes_edge_doubles_nothing() {
    let app = limited([20, 300, 100]).await;
    let into_minute_ms = u64::try_from(app.now().0 % 60_000).unwrap();
    app.chain.clock.advance(Duration::from_millis(119_000 - into_minute_ms));
    let burst = async || {
        let answers = join_all((0..30).map(|_| app.get("/nothing", None))).await;
        answers.iter().filter(|answer| answer.status == 404).count()
    };
    assert_eq!(burst().await, 20);
    for second in 60..119 {
        app.chain.clock.advance(Duration::from_secs(1));
        assert_eq!(burst().await, 0, "second {second}");
    }
    app.chain.clock.advance(Duration::from_secs(1));
    assert_eq!(burst().await, 20);
}

#[tokio::test]
async fn each_key_and_each_address_has_its_own() {
    let app = limited([2, 3, 1]).await;
    for _ in 0..3 {
        assert_eq!(status(&app, "/payments", Some(KEY)).await, 200);
    }
    assert_exceeded(&app.get("/payments", Some(KEY)).await, 3, 60);
    assert_eq!(status(&app, "/payments", Some(OTHER_KEY)).await, 200);
    for _ in 0..2 {
        assert_eq!(status(&app, "/payments", None).await, 401);
    }
    assert_exceeded(&app.get("/payments", None).await, 2, 60);
    assert_exceeded(&app.get("/nothing", Some(OTHER_KEY)).await, 2, 60);
    assert_eq!(status(&app, "/payments", Some(OTHER_KEY)).await, 200);
    // Verifications are counted apart: by key, else by address.
    for key in [None, Some(KEY), Some(OTHER_KEY)] {
        assert_eq!(app.post("/verify", key, &json!({})).await.status, 400, "{key:?}");
        assert_exceeded(&app.post("/verify", key, &json!({})).await, 1, 60);
    }
}

/// Traffic from a probe's address does not starve it, and a probe is limited too.
#[tokio::test]
async fn probes_have_a_count_of_their_own() {
    let app = limited([2, 300, 100]).await;
    for _ in 0..5 {
        app.get("/nothing", None).await;
    }
    assert_eq!(status(&app, "/health", Some("nonsense")).await, 200, "probes show no keys");
    assert_eq!(status(&app, "/ready", None).await, 200);
    assert_exceeded(&app.get("/metrics", None).await, 2, 60);
}

/// x402's middleware asks what is supported for every request it guards, and some ends its process where it is refused.
#[tokio::test]
async fn what_is_supported_has_a_count_of_its_own_that_is_far_above() {
    let app = limited([2, 300, 100]).await;
    for _ in 0..5 {
        app.get("/nothing", None).await;
    }
    for key in [None, Some(KEY), Some("nonsense")] {
        let answer = app.get("/supported", key).await;
        assert_eq!((answer.status, told(&answer)[0]), (200, 200), "no key is looked at");
    }
    let asked = join_all((0..200).map(|_| app.get("/supported", None))).await;
    assert_eq!(asked.iter().filter(|answer| answer.status == 200).count(), 197);
    assert_exceeded(&app.get("/supported", None).await, 200, 60);
}

#[tokio::test]
async fn a_flood_of_bad_keys_uses_up_the_address_and_no_key() {
    let app = limited([5, 300, 100]).await;
    let nearly = format!("{OTHER_KEY}x");
    for key in ["nonsense", "sk_test_unknown_0123456789abcdef", &nearly, "", "x y"] {
        let answer = app.get("/payments", Some(key)).await;
        assert_eq!((answer.status, answer.code()), (401, "INVALID_API_KEY"));
    }
    // Neither does a 429 tell which of these is nearly one.
    for key in ["nonsense", &nearly] {
        assert_exceeded(&app.get("/payments", Some(key)).await, 5, 60);
        assert_exceeded(&app.post("/verify", Some(key), &json!({})).await, 5, 60);
    }
    let basic = app.http.get(app.path("/payments")).basic_auth("a", Some("b"));
    assert_exceeded(&app.send(basic, None).await, 5, 60);
    // Right keys are served from the same address, also those that nobody has used yet.
    for key in [KEY, OTHER_KEY] {
        assert_eq!(told(&app.get("/payments", Some(key)).await), [300, 299, 60]);
    }
}

/// What is refused is refused by its head: the body is not waited for.
#[tokio::test]
async fn a_refusal_does_not_wait_for_the_body() {
    let app = limited([60, 300, 1]).await;
    assert_eq!(app.post("/verify", None, &json!({})).await.status, 400);
    let mut stream = TcpStream::connect(app.url.strip_prefix("http://").unwrap()).await.unwrap();
    let head =
        "POST /verify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let read = tokio::time::timeout(Duration::from_secs(8), stream.read_exact(&mut answer)).await;
    read.expect("at once").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 429");
}

#[tokio::test]
async fn a_spoofed_forwarded_address_from_anybody_is_ignored() {
    let app = behind("192.0.2.0/24", [2, 300, 100]).await;
    for spoofed in ["198.51.100.1", "198.51.100.2"] {
        assert_eq!(forwarded(&app, "/nothing", &[spoofed]).await.status, 404);
    }
    assert_exceeded(&forwarded(&app, "/nothing", &["198.51.100.3"]).await, 2, 60);
    assert_exceeded(&app.get("/nothing", None).await, 2, 60);
}

/// A proxy appends to the line that the client sent, be that text or not.
#[tokio::test]
async fn bytes_that_are_no_text_do_not_turn_the_client_into_the_proxy() {
    let app = behind("127.0.0.0/8", [1, 300, 100]).await;
    let ask = async |line: &[u8]| {
        let line = reqwest::header::HeaderValue::from_bytes(line).unwrap();
        app.send(app.http.get(app.path("/nothing")).header("x-forwarded-for", line), None).await
    };
    assert_eq!(ask(b"\xff, 198.51.100.1").await.status, 404);
    assert_exceeded(&ask(b"\xff\xfe, 198.51.100.1").await, 1, 60);
    assert_eq!(ask(b"\xff, 198.51.100.2").await.status, 404);
}

/// Whatever a client writes into the header itself stands left of what the proxy appends.
#[tokio::test]
async fn a_forged_left_part_changes_nothing() {
    let app = behind("127.0.0.1, 10.0.0.0/8", [3, 300, 100]).await;
    let real = "203.0.113.9";
    assert_eq!(forwarded(&app, "/nothing", &[&format!("198.51.100.1, {real}")]).await.status, 404);
    assert_eq!(forwarded(&app, "/nothing", &["198.51.100.2", real, "10.0.0.7"]).await.status, 404);
    assert_eq!(forwarded(&app, "/nothing", &[&format!("unknown, {real}:4711,10.0.0.7")]).await.status, 404);
    assert_exceeded(&forwarded(&app, "/nothing", &["10.0.0.1", real]).await, 3, 60);
    for other in ["203.0.113.10", "198.51.100.1", "unknown"] {
        assert_eq!(forwarded(&app, "/nothing", &[other]).await.status, 404, "{other}");
    }
}

#[tokio::test]
async fn an_ipv6_network_of_64_bits_is_one_client() {
    let app = behind("127.0.0.1", [2, 300, 100]).await;
    assert_eq!(forwarded(&app, "/nothing", &["2001:db8:1:2::1"]).await.status, 404);
    assert_eq!(forwarded(&app, "/nothing", &["[2001:db8:1:2:a:b:c:d]:99"]).await.status, 404);
    assert_exceeded(&forwarded(&app, "/nothing", &["2001:db8:1:2:ffff::"]).await, 2, 60);
    assert_eq!(forwarded(&app, "/nothing", &["2001:db8:1:3::1"]).await.status, 404);
    // A mapped address is the IPv4 address.
    assert_eq!(forwarded(&app, "/nothing", &["203.0.113.9"]).await.status, 404);
    assert_eq!(forwarded(&app, "/nothing", &["::ffff:203.0.113.9"]).await.status, 404);
    assert_exceeded(&forwarded(&app, "/nothing", &["203.0.113.9"]).await, 2, 60);
}

/// Without a key an answer is kept for the client's address, which a proxy in front must not make everybody's.
#[tokio::test]
async fn idempotency_keys_belong_to_the_forwarded_address() {
    let app = behind("127.0.0.1", [0, 0, 0]).await;
    let proof = app.proof(&app.pay_merchant(), "n");
    let send = async |address: &str| {
        let request = app.http.post(app.path("/verify")).json(&proof);
        app.send(request.header("idempotency-key", "k").header("x-forwarded-for", address), None).await
    };
    send("203.0.113.9").await.assert_valid();
    let again = send("203.0.113.9").await;
    again.assert_valid();
    assert_eq!(again.headers["idempotent-replayed"], "true");
    send("203.0.113.10").await.assert_refused("REPLAY_ATTACK");
}

#[tokio::test]
async fn zero_is_no_limit_and_says_nothing() {
    let app = limited([0, 2, 0]).await;
    for _ in 0..500 {
        let answer = app.get("/nothing", None).await;
        assert_eq!(answer.status, 404);
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("ratelimit")));
    }
    assert_eq!(told(&app.get("/payments", Some(KEY)).await), [2, 1, 60]);
}

#[tokio::test]
async fn refusals_are_counted_by_endpoint() {
    let app = limited([3, 1, 1]).await;
    app.post("/verify", None, &json!({})).await;
    app.post("/verify", None, &json!({})).await;
    for id in 0..4 {
        app.get(&format!("/payments/{id}"), Some(KEY)).await;
    }
    for path in 0..5 {
        app.get(&format!("/nothing/{path}"), None).await;
    }
    let text = app.get("/metrics", None).await.body.as_str().unwrap().to_owned();
    for sample in [
        r#"rate_limit_exceeded_total{endpoint="/verify"} 1"#,
        r#"rate_limit_exceeded_total{endpoint="/payments/{id}"} 3"#,
        r#"rate_limit_exceeded_total{endpoint="unmatched"} 2"#,
        r#"errors_total{code="RATE_LIMIT_EXCEEDED",type="client"} 6"#,
        r#"http_requests_total{method="POST",route="/verify",status_code="429"} 1"#,
    ] {
        assert!(text.contains(sample), "{sample}\n{text}");
    }
    assert_eq!(text.matches("rate_limit_exceeded_total{").count(), 3, "{text}");
}
