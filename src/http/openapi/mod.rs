//! The OpenAPI document: what the handlers say of themselves, and what holds for all of them.
//!
//! `utoipa::path` above a handler names its path, its own answers, and the scope it needs. [`everywhere`] adds what
//! follows from those: a body can be too large, a key can be wrong, a parameter can be out of range.

mod codes;
mod everywhere;

use std::sync::LazyLock;

use utoipa::openapi::{
    Components, Info, OpenApi, OpenApiBuilder,
    security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    tag::TagBuilder,
};

pub(super) use codes::Code;

use super::router;

/// The key as `Authorization: Bearer`.
const BEARER: &str = "bearer";
/// The key as `X-API-Key`.
const HEADER: &str = "apiKey";

const TAGS: &[(&str, &str)] = &[
    ("Verification", "Is this payment good?"),
    ("x402", "Payments that the service makes final itself."),
    ("Requirements", "What is asked to be paid, issued and remembered by the service."),
    ("Payments", "The books."),
    ("Agents", "Wallets that pay on their own, and what they may spend."),
    ("Plans", "What can be subscribed to."),
    ("Subscriptions", "Agents on plans, and what they use."),
    ("Analytics", "What the books come to."),
    ("Keys", "Who may call, and what for."),
    ("Operations", "For those who run the service."),
];

const DESCRIPTION: &str = "Verifies HTTP 402 payments on Solana and keeps the books.

JSON in and out. Unknown fields are ignored. Every answer carries `X-Request-Id`; send your own (1 to 64 letters, digits, \
`-`, `_`, `.`) and it is used.

Each operation lists the keys it takes, and in that list the scope that the key must have. One that lists no key at all \
needs none, and one that lists an empty choice among them may be called without: either refuses a bad key all the same \
where a 401 is among its answers, and looks at none where it is not.";

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let json = complete(router::operations().into_openapi()).to_pretty_json();
    json.expect("the document is made of strings and numbers")
});

/// The document, as served at `/openapi.json`.
///
/// # Panics
/// Never: the document is made of strings and numbers, which are JSON.
#[must_use]
pub fn openapi_json() -> &'static str {
    &DOCUMENT
}

/// What the operations are added to.
pub(super) fn head() -> OpenApi {
    let info = Info::builder()
        .title("402pay facilitator")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION));
    let tags = TAGS.iter().map(|(name, what)| TagBuilder::new().name(*name).description(Some(*what)).build());
    OpenApiBuilder::new().info(info).tags(Some(tags)).components(Some(Components::new())).build()
}

fn complete(mut document: OpenApi) -> OpenApi {
    let mut components = document.components.take().unwrap_or_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API key."));
    let header = ApiKeyValue::with_description("X-API-Key", "The same API key, in a header of its own.");
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer.build()));
    components.add_security_scheme(HEADER, SecurityScheme::ApiKey(ApiKey::Header(header)));
    everywhere::add_components(&mut components);
    document.components = Some(components);
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            everywhere::complete(operation);
        }
    }
    document
}
