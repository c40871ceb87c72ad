//! Heads that no client sends, byte by byte.

use serde_json::Value;

use crate::harness::{
    KEY, OTHER_KEY, TestApp,
    wire::{Wire, exchange, status},
};

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\n\r\n")
}

#[tokio::test]
async fn header_bombs() {
    let app = TestApp::start().await;
    let many = |count: usize| "x-many: 1\r\n".repeat(count);
    assert_eq!(status(&exchange(&app.url, get("/health", &many(90))).await), 200);
    assert_eq!(status(&exchange(&app.url, get("/health", &many(101))).await), 431);
    let long = |bytes: usize| format!("x-long: {}\r\n", "x".repeat(bytes));
    assert_eq!(status(&exchange(&app.url, get("/health", &long(8 * 1024))).await), 200);
    assert_eq!(status(&exchange(&app.url, get("/health", &long(64 * 1024))).await), 431);
    let path = format!("/{}", "x".repeat(64 * 1024));
    assert!([414, 431].contains(&status(&exchange(&app.url, get(&path, "")).await)));

    // One that never ends is not kept: the sender finds nobody there any more.
    let mut endless = Wire::to(&app.url).await;
    endless.send("GET /health HTTP/1.1\r\nhost: x\r\nx-endless: ").await;
    let mut sent = 0_usize;
    while endless.try_send([b'x'; 1024]).await {
        sent += 1024;
        assert!(sent < 1024 * 1024 * 1024, "it is read for ever");
    }
    assert_eq!(app.get("/health", None).await.status, 200);
}

/// What is no request is told so like everything else, on a connection that ends with it; also after requests that were.
#[tokio::test]
async fn heads_that_cannot_be_read_are_answered_in_the_envelope() {
    let app = TestApp::start().await;
    let keep = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
    let many = format!("GET /health HTTP/1.1\r\nhost: x\r\n{}\r\n", "x-many: 1\r\n".repeat(101));
    let long = format!("GET /health HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(64 * 1024));
    let path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(64 * 1024));
    for (head, expected, code) in [
        ("GET /health HTTP/1.1\r\nho st: x\r\n\r\n", 400, "INVALID_REQUEST"),
        ("GET  HTTP/1.1\r\nhost: x\r\n\r\n", 400, "INVALID_REQUEST"),
        ("POST /verify HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n", 400, "INVALID_REQUEST"),
        (&many, 431, "HEAD_TOO_LARGE"),
        (&long, 431, "HEAD_TOO_LARGE"),
        (&path, 431, "HEAD_TOO_LARGE"),
    ] {
        for before in [0, 1] {
            let mut wire = Wire::to(&app.url).await;
            if before == 1 {
                wire.send(keep).await;
                wire.read_until("}").await;
            }
            wire.try_send(head).await;
            let answer = wire.read_to_end().await;
            assert_eq!(status(&answer), expected, "{answer}");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["code"], code, "{answer}");
            let id = format!("x-request-id: {}", body["requestId"].as_str().unwrap());
            for line in
                [&id, "content-type: application/json", "connection: close", "x-frame-options: SAMEORIGIN"]
            {
                assert_eq!(head.lines().filter(|told| *told == line).count(), 1, "{line}: {answer}");
            }
            for name in ["date: ", "content-length: "] {
                assert_eq!(head.lines().filter(|told| told.starts_with(name)).count(), 1, "{name}: {answer}");
            }
        }
    }
    assert_eq!(app.count(r#"errors_total{code="HEAD_TOO_LARGE",type="client"}"#).await, 6);
}

/// What a proxy in front may take for the end of a body, the service must not take for another.
#[tokio::test]
async fn request_smuggling() {
    let app = TestApp::start().await;
    let smuggled = "GET /payments HTTP/1.1\r\nhost: x\r\n\r\n";
    let post = |headers: &str, body: &str| {
        format!("POST /verify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}\r\n{body}")
    };
    let malformed = [
        ("content-length: 2\r\ncontent-length: 4\r\n", "{}{}"),
        ("content-length: 2, 4\r\n", "{}{}"),
        ("content-length: +2\r\n", "{}"),
        ("content-length: -1\r\n", "{}"),
        ("content-length: 0x2\r\n", "{}"),
        ("content-length: 99999999999999999999\r\n", "{}"),
        ("transfer-encoding: identity\r\n", "{}"),
        ("transfer-encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("transfer-encoding: xchunked\r\n", "0\r\n\r\n"),
        ("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", "0\r\n\r\n"),
        ("content-length : 2\r\n", "{}"),
        (" folded: 2\r\n", "{}"),
        ("content\0-length: 2\r\n", "{}"),
    ];
    for (headers, body) in malformed {
        let answer = exchange(&app.url, post(headers, &format!("{body}{smuggled}"))).await;
        assert_eq!(status(&answer), 400, "{headers:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{headers:?}: {answer}");
    }
    // Chunks did not exist in HTTP/1.0, and no two agree on what they are there.
    let old = post("transfer-encoding: chunked\r\n", &format!("0\r\n\r\n{smuggled}"))
        .replace("HTTP/1.1", "HTTP/1.0");
    let answer = exchange(&app.url, old).await;
    assert_eq!((status(&answer), answer.matches("HTTP/1.").count()), (400, 1), "{answer}");
    // Chunks that are none: what follows is not read.
    for chunk in [
        "0x2\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "2\n{}\n0\n\n",
        "2\r\n{}0\r\n\r\n",
        "ffffffffffffffffff\r\n{}",
    ] {
        let answer =
            exchange(&app.url, post("transfer-encoding: chunked\r\n", &format!("{chunk}{smuggled}"))).await;
        assert_eq!((status(&answer), answer.matches("HTTP/1.").count()), (400, 1), "{chunk:?}: {answer}");
        assert!(answer.contains("BODY_UNREADABLE"), "{chunk:?}: {answer}");
    }
    // Both lengths: the chunks count, and nothing after them is read on this connection.
    for headers in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
    ] {
        let answer = exchange(&app.url, post(headers, &format!("2\r\n{{}}\r\n0\r\n\r\n{smuggled}"))).await;
        assert_eq!((status(&answer), answer.matches("HTTP/1.").count()), (400, 1), "{answer}");
        assert!(answer.contains("VALIDATION_FAILED"), "{answer}");
    }
    // The same length twice is one length, and the next request is the next request.
    let twice = post("content-length: 2\r\ncontent-length: 2\r\n", &format!("{{}}{}", get("/health", "")));
    let answer = exchange(&app.url, twice).await;
    assert!(answer.contains("VALIDATION_FAILED") && answer.contains("402pay-facilitator"), "{answer}");
}

#[tokio::test]
async fn hosts_and_targets() {
    let app = TestApp::start().await;
    let raw = |head: &str| exchange(&app.url, format!("{head}connection: close\r\n\r\n"));
    for (head, expected, code) in [
        ("GET /health HTTP/1.1\r\n", 400, "INVALID_REQUEST"),
        ("GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\n", 400, "INVALID_REQUEST"),
        ("GET http://elsewhere/health HTTP/1.1\r\n", 400, "INVALID_REQUEST"),
        ("GET /health HTTP/1.1\r\nhost: a\r\n", 200, ""),
        ("GET /health HTTP/1.0\r\n", 200, ""),
        ("GET http://elsewhere/health HTTP/1.1\r\nhost: elsewhere\r\n", 200, ""),
        ("GET /health?x=%00&%ff HTTP/1.1\r\nhost: a\r\n", 200, ""),
        ("GET //health HTTP/1.1\r\nhost: a\r\n", 404, "NOT_FOUND"),
        ("GET /health/ HTTP/1.1\r\nhost: a\r\n", 404, "NOT_FOUND"),
        ("GET /./health HTTP/1.1\r\nhost: a\r\n", 404, "NOT_FOUND"),
        ("GET /x/../health HTTP/1.1\r\nhost: a\r\n", 404, "NOT_FOUND"),
        ("GET /%68ealth HTTP/1.1\r\nhost: a\r\n", 404, "NOT_FOUND"),
        ("GET /HEALTH HTTP/1.1\r\nhost: a\r\n", 404, "NOT_FOUND"),
        ("GET health HTTP/1.1\r\nhost: a\r\n", 404, "NOT_FOUND"),
        ("OPTIONS * HTTP/1.1\r\nhost: a\r\n", 404, "NOT_FOUND"),
        ("CONNECT elsewhere:443 HTTP/1.1\r\nhost: a\r\n", 404, "NOT_FOUND"),
        ("BREW /health HTTP/1.1\r\nhost: a\r\n", 405, "METHOD_NOT_ALLOWED"),
        ("TRACE /health HTTP/1.1\r\nhost: a\r\n", 405, "METHOD_NOT_ALLOWED"),
    ] {
        let answer = raw(head).await;
        assert_eq!(status(&answer), expected, "{head:?}: {answer}");
        assert!(answer.contains(code), "{head:?}: {answer}");
        assert!(!answer.contains("location:"), "never a redirect: {answer}");
    }
    for head in [
        "GET /health\r\n",
        "GET  /health HTTP/1.1\r\nhost: a\r\n",
        "GET /health HTTP/3.0\r\nhost: a\r\n",
        "G\u{e9}T /health HTTP/1.1\r\n",
        "\u{16}\u{3}\u{1}",
    ] {
        let answer = raw(head).await;
        assert!(answer.is_empty() || status(&answer) == 400, "{head:?}: {answer}");
    }
}

/// What says who asks or what is sent is there once: who looks at the first line and who looks at the last must not see
/// different requests.
#[tokio::test]
async fn headers_that_contradict_each_other() {
    let app = TestApp::start().await;
    for (name, values) in [
        ("Authorization", [format!("Bearer {KEY}"), format!("Bearer {OTHER_KEY}")]),
        ("X-API-Key", [KEY.to_owned(), OTHER_KEY.to_owned()]),
        ("X-API-Key", [KEY.to_owned(), KEY.to_owned()]),
        ("Idempotency-Key", ["a".to_owned(), "b".to_owned()]),
        ("Content-Type", ["application/json".to_owned(), "text/plain".to_owned()]),
    ] {
        let mut request = app.http.get(app.path("/payments"));
        for value in &values {
            request = request.header(name, value);
        }
        let answer = app.send(request, None).await;
        assert_eq!((answer.status, answer.code()), (400, "INVALID_REQUEST"), "{name}: {answer:?}");
        assert!(answer.body["error"].as_str().unwrap().contains(name), "{answer:?}");
    }
}

/// A name in a path that is no text, or text that PostgreSQL cannot look for, names nothing.
#[tokio::test]
async fn control_characters_in_paths() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json", None).await.body;
    let paths = document["paths"].as_object().unwrap().iter();
    let named: Vec<&String> = paths
        .filter(|(path, methods)| path.contains("{id}") && methods.get("get").is_some())
        .map(|(path, _)| path)
        .collect();
    assert!(named.len() > 4, "{named:?}");
    for name in ["%00", "a%00b", "%0a", "%7f", "%ff", "%c2%85"] {
        for path in
            named.iter().map(|path| path.replace("{id}", name)).chain([format!("/requirements/{name}")])
        {
            let answer = app.get(&path, Some(KEY)).await;
            assert_eq!((answer.status, answer.code()), (404, "NOT_FOUND"), "{path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let app = TestApp::start().await;
    for (path, expected) in
        [("/health", 200), ("/metrics", 200), ("/nothing", 404), ("/verify", 405), ("/payments", 401)]
    {
        let request = format!("HEAD {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = exchange(&app.url, request).await;
        assert_eq!(status(&answer), expected, "{answer}");
        assert!(answer.ends_with("\r\n\r\n") && answer.matches("\r\n\r\n").count() == 1, "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on_only_where_the_body_is_wanted() {
    let app = TestApp::start().await;
    let ask = |content_type: &str, length: usize| {
        format!(
            "POST /verify HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-type: {content_type}\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n"
        )
    };
    let mut wire = Wire::to(&app.url).await;
    wire.send(ask("application/json", 2)).await;
    wire.read_until("HTTP/1.1 100 Continue\r\n\r\n").await;
    wire.send("{}").await;
    assert_eq!(status(&wire.read_to_end().await), 400);
    assert_eq!(status(&exchange(&app.url, ask("text/plain", 2)).await), 415);
    assert_eq!(status(&exchange(&app.url, ask("application/json", 1024 * 1024 + 1)).await), 413);
}

/// 1 MiB and a byte: announced, or in chunks that do not say how many will come.
#[tokio::test]
async fn a_byte_too_many() {
    let app = TestApp::start().await;
    let head = "POST /verify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let size = 1024 * 1024;
    let body = |size: usize| format!("\"{}\"", "x".repeat(size - 2));
    for (size, expected) in [(size, 400), (size + 1, 413)] {
        let announced = format!("{head}content-length: {size}\r\n\r\n{}", body(size));
        let chunked =
            format!("{head}transfer-encoding: chunked\r\n\r\n{size:x}\r\n{}\r\n0\r\n\r\n", body(size));
        for request in [announced, chunked] {
            let mut wire = Wire::to(&app.url).await;
            wire.try_send(request).await;
            assert_eq!(status(&wire.read_until("\r\n\r\n").await), expected);
        }
    }
}

/// Headers after a body are no headers: they name no caller, and many of them are refused with the body.
#[tokio::test]
async fn trailers() {
    let app = TestApp::start().await;
    let post = |trailers: &str| {
        format!(
            "POST /requirements HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\ntrailer: x-api-key\r\n\r\n2\r\n{{}}\r\n0\r\n{trailers}\r\n{}",
            get("/health", "")
        )
    };
    let answer = exchange(&app.url, post(&format!("x-api-key: {KEY}\r\n"))).await;
    assert_eq!(status(&answer), 401, "{answer}");
    let verify = |trailers: &str| post(trailers).replace("/requirements", "/verify");
    let answer = exchange(&app.url, verify("x-one: 1\r\n")).await;
    assert!(answer.contains("VALIDATION_FAILED") && answer.contains("402pay-facilitator"), "{answer}");
    for bomb in ["x-many: 1\r\n".repeat(5000), format!("x-long: {}\r\n", "x".repeat(64 * 1024))] {
        let mut wire = Wire::to(&app.url).await;
        wire.try_send(verify(&bomb)).await;
        let answer = wire.read_to_end().await;
        assert!(answer.contains("BODY_UNREADABLE") && !answer.contains("402pay-facilitator"), "{answer}");
    }
}
