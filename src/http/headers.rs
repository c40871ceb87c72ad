//! The headers that every answer carries: Helmet's defaults, as Node services send them, and `Cache-Control`.
//!
//! `Cross-Origin-Resource-Policy: same-origin` stays where origins are allowed: browsers hold it against requests made
//! without CORS only, and nothing here is meant to be embedded.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};

macro_rules! content_policy {
    () => {
        "default-src 'self';base-uri 'self';font-src 'self' https: data:;form-action 'self';\
         frame-ancestors 'self';img-src 'self' data:;object-src 'none';script-src 'self';\
         script-src-attr 'none';style-src 'self' https: 'unsafe-inline'"
    };
}

/// Of a page that may be served over plain HTTP: there `upgrade-insecure-requests` would have browsers ask for its files
/// over HTTPS, except on localhost. Over HTTPS they are asked for over HTTPS without it.
pub(super) const PAGE_CONTENT_POLICY: (HeaderName, HeaderValue) =
    (HeaderName::from_static("content-security-policy"), HeaderValue::from_static(content_policy!()));

/// A handler that sets one of these itself has its reasons.
const DEFAULTS: [(&str, &str); 13] = [
    ("cache-control", "no-store"),
    ("content-security-policy", concat!(content_policy!(), ";upgrade-insecure-requests")),
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

/// Adds what the answer does not have.
pub(super) async fn add_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in DEFAULTS {
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    response
}
