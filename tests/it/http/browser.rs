//! Pages in browsers, and the headers that keep browsers out of trouble.

use reqwest::{Method, header::HeaderMap};

use crate::harness::{Answer, KEY, TestApp};

const SHOP: &str = "https://shop.example";
const ROUTES: [(&str, &str); 8] = [
    ("/health", "GET,HEAD"),
    ("/ready", "GET,HEAD"),
    ("/metrics", "GET,HEAD"),
    ("/verify", "POST"),
    ("/requirements", "POST"),
    ("/requirements/x", "GET,HEAD"),
    ("/payments", "GET,HEAD"),
    ("/payments/x", "GET,HEAD"),
];
/// What Helmet 8 sends, as its documentation lists it.
const HELMET: [(&str, &str); 12] = [
    (
        "content-security-policy",
        "default-src 'self';base-uri 'self';font-src 'self' https: data:;form-action 'self';frame-ancestors 'self';img-src 'self' data:;object-src 'none';script-src 'self';script-src-attr 'none';style-src 'self' https: 'unsafe-inline';upgrade-insecure-requests",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("origin-agent-cluster", "?1"),
    ("referrer-policy", "no-referrer"),
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    ("x-dns-prefetch-control", "off"),
    ("x-download-options", "noopen"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-permitted-cross-domain-policies", "none"),
    ("x-xss-protection", "0"),
];

async fn allowing(origins: &str) -> TestApp {
    TestApp::with(|environment, _| environment.with("ALLOWED_ORIGINS", origins)).await
}

async fn preflight(app: &TestApp, path: &str, origin: &str) -> Answer {
    let request = app
        .http
        .request(Method::OPTIONS, app.path(path))
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-api-key");
    app.send(request, None).await
}

async fn from_page(app: &TestApp, origin: &str) -> Answer {
    app.send(app.http.get(app.path("/payments")).header("origin", origin), Some(KEY)).await
}

fn words(headers: &HeaderMap, name: &str) -> Vec<String> {
    let mut words: Vec<String> = headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.to_str().unwrap().split(','))
        .map(|word| word.trim().to_ascii_lowercase())
        .collect();
    words.sort_unstable();
    words
}

#[tokio::test]
async fn pages_of_allowed_origins_may_call() {
    let app = allowing(&format!("{SHOP}, http://localhost:5173")).await;
    for origin in [SHOP, "http://localhost:5173"] {
        for (path, _) in ROUTES {
            let answer = preflight(&app, path, origin).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.headers["access-control-allow-origin"], origin);
        }
        let answer = from_page(&app, origin).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["access-control-allow-origin"], origin);
        assert!(words(&answer.headers, "vary").contains(&"origin".to_owned()));
    }
    let allowed = preflight(&app, "/verify", SHOP).await.headers;
    assert_eq!(words(&allowed, "access-control-allow-methods"), ["delete", "get", "head", "patch", "post"]);
    assert_eq!(
        words(&allowed, "access-control-allow-headers"),
        [
            "authorization",
            "content-type",
            "idempotency-key",
            "payment-signature",
            "x-api-key",
            "x-payment",
            "x-request-id"
        ]
    );
    assert_eq!(allowed["access-control-max-age"], "3600");
    assert_eq!(
        words(&from_page(&app, SHOP).await.headers, "access-control-expose-headers"),
        [
            "idempotent-replayed",
            "ratelimit-limit",
            "ratelimit-remaining",
            "ratelimit-reset",
            "retry-after",
            "x-request-id"
        ]
    );
}

/// Errors too: a page must be able to read why.
#[tokio::test]
async fn pages_may_read_errors() {
    let app = allowing(SHOP).await;
    let bad = app.http.post(app.path("/verify")).header("origin", SHOP).body("{}");
    let nowhere = app.http.get(app.path("/nothing")).header("origin", SHOP);
    for (request, status) in [(bad, 415), (nowhere, 404)] {
        let answer = app.send(request, None).await;
        assert_eq!(
            (answer.status, &answer.headers["access-control-allow-origin"]),
            (status, &SHOP.parse().unwrap())
        );
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_not() {
    let app = allowing(SHOP).await;
    for origin in [
        "https://evil.example",
        "https://shop.example.evil.example",
        "http://shop.example",
        "https://shop.example:444",
        "null",
        "*",
    ] {
        for answer in [preflight(&app, "/verify", origin).await, from_page(&app, origin).await] {
            assert!(!answer.headers.contains_key("access-control-allow-origin"), "{origin}: {answer:?}");
            assert!(!answer.headers.contains_key("access-control-allow-credentials"));
        }
    }
}

#[tokio::test]
async fn every_page_or_none() {
    let app = allowing("*").await;
    for answer in [preflight(&app, "/verify", SHOP).await, from_page(&app, SHOP).await] {
        assert_eq!(
            (answer.status, &answer.headers["access-control-allow-origin"]),
            (200, &"*".parse().unwrap())
        );
        assert!(!answer.headers.contains_key("access-control-allow-credentials"));
    }
    let app = TestApp::start().await;
    for answer in [preflight(&app, "/verify", SHOP).await, from_page(&app, SHOP).await] {
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{answer:?}");
    }
}

/// An OPTIONS request that is no preflight is a method that no path has, whether origins are allowed or not.
#[tokio::test]
async fn a_method_that_a_path_does_not_have() {
    for app in [TestApp::start().await, allowing(SHOP).await] {
        for (path, methods) in ROUTES {
            for method in [Method::OPTIONS, Method::PUT, Method::TRACE, "BREW".parse().unwrap()] {
                let answer = app.send(app.http.request(method.clone(), app.path(path)), None).await;
                assert_eq!((answer.status, answer.code()), (405, "METHOD_NOT_ALLOWED"), "{method} {path}");
                assert_eq!(answer.headers["allow"], methods, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn every_answer_carries_helmets_headers() {
    let app = allowing(SHOP).await;
    let json = || app.http.post(app.path("/verify")).header("content-type", "application/json");
    let answers = [
        app.get("/health", None).await,
        app.get("/metrics", None).await,
        app.get("/payments", Some(KEY)).await,
        app.get("/payments", None).await,
        app.get("/nothing", None).await,
        app.get("/verify", None).await,
        app.send(json().body("{"), None).await,
        app.send(json().body("x".repeat(1024 * 1024 + 1)), None).await,
        app.send(app.http.post(app.path("/verify")), None).await,
        preflight(&app, "/verify", SHOP).await,
        app.verify(&app.proof(&app.pay_merchant(), "n")).await,
    ];
    for answer in answers {
        for (name, value) in HELMET {
            assert_eq!(answer.headers[name], value, "{answer:?}");
        }
        assert_eq!(answer.headers["cache-control"], "no-store", "{answer:?}");
        assert!(answer.headers.contains_key("x-request-id"));
        assert!(!answer.headers.contains_key("server") && !answer.headers.contains_key("x-powered-by"));
    }
}
