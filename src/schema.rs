//! How values look on the wire: the schemas of the OpenAPI document that several rooms speak of.
//!
//! A body's own schema is derived where the body is read or written; its members are of these kinds.

use std::borrow::Cow;

use utoipa::{
    Number, PartialSchema, ToSchema,
    openapi::{
        KnownFormat, RefOr, Schema, SchemaFormat, Type,
        schema::{AnyOf, ObjectBuilder},
    },
};

use crate::{clock::UnixMs, money::MAX_AMOUNT_TEXT};

/// A wallet, or any other account.
#[derive(Debug)]
pub enum PublicKey {}

/// Of a transaction or a message.
#[derive(Debug)]
pub enum Signature {}

/// An amount as it is sent to the service.
#[derive(Debug)]
pub enum AmountIn {}

/// An amount as the service answers.
#[derive(Debug)]
pub enum AmountOut {}

/// What amounts come to, as the service answers.
#[derive(Debug)]
pub enum SumOut {}

/// What a proof is for. Used once, ever.
#[derive(Debug)]
pub enum Nonce {}

/// What is paid for.
#[derive(Debug)]
pub enum Resource {}

/// What an agent is called.
#[derive(Debug)]
pub enum AgentName {}

/// What may be spent.
#[derive(Debug)]
pub enum LimitIn {}

/// What may be paid for.
#[derive(Debug)]
pub enum ServicePattern {}

/// What a key is called.
#[derive(Debug)]
pub enum KeyName {}

/// What a plan is called.
#[derive(Debug)]
pub enum PlanName {}

/// What a plan is, for persons.
#[derive(Debug)]
pub enum PlanDescription {}

/// Something a plan comes with.
#[derive(Debug)]
pub enum PlanFeature {}

/// What usage is counted under once.
#[derive(Debug)]
pub enum UsageKey {}

/// Something a key may do.
#[derive(Debug)]
pub enum Permission {}

/// The id of an object of another kind.
#[derive(Debug)]
pub enum OtherId {}

/// The largest amount in whole tokens: 2^63 - 1 atomic units, 6 to the token.
const MAX_TOKENS: f64 = 9_223_372_036_854.775;

fn base58(format: &str, lengths: (usize, usize)) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom(format.to_owned())))
        .min_length(Some(lengths.0))
        .max_length(Some(lengths.1))
        .pattern(Some("^[1-9A-HJ-NP-Za-km-z]+$"))
}

/// Without control characters. JSON Schema counts characters, the service bytes.
fn line(max_bytes: usize, what: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(max_bytes))
        .pattern(Some(r"^[^\u0000-\u001f\u007f-\u009f]+$"))
        .description(Some(format!("{what}: 1 to {max_bytes} bytes of UTF-8 without control characters.")))
}

fn tokens() -> ObjectBuilder {
    tokens_or_none().exclusive_minimum(Some(Number::Int(0))).examples([0.05])
}

fn tokens_or_none() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Number).maximum(Some(Number::Float(MAX_TOKENS)))
}

/// A decimal number as text.
fn tokens_text() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(r"^(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"))
        .max_length(Some(MAX_AMOUNT_TEXT))
        .examples(["0.05"])
}

impl PartialSchema for PublicKey {
    fn schema() -> RefOr<Schema> {
        base58("solana-public-key", (32, 44))
            .description(Some("A Solana public key: 32 bytes in base58."))
            .examples(["EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"])
            .into()
    }
}

impl PartialSchema for Signature {
    fn schema() -> RefOr<Schema> {
        let example =
            "5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBgmQpjKhoR4tjF3ZpRzrFmBV6UjKdiSZkQUW";
        base58("solana-signature", (64, 88))
            .description(Some(
                "An Ed25519 signature, or a Solana transaction by its first one: 64 bytes in base58.",
            ))
            .examples([example])
            .into()
    }
}

impl PartialSchema for Nonce {
    fn schema() -> RefOr<Schema> {
        line(128, "A nonce").examples(["9hqhG4LuA1o2vT6bYx3rKe"]).into()
    }
}

impl PartialSchema for Resource {
    fn schema() -> RefOr<Schema> {
        line(2048, "What is paid for, such as a path").examples(["/articles/1"]).into()
    }
}

impl PartialSchema for KeyName {
    fn schema() -> RefOr<Schema> {
        line(100, "A name").examples(["checkout"]).into()
    }
}

impl PartialSchema for PlanName {
    fn schema() -> RefOr<Schema> {
        line(100, "A name").examples(["pro"]).into()
    }
}

impl PartialSchema for PlanDescription {
    fn schema() -> RefOr<Schema> {
        line(1000, "A description").examples(["For agents that work all day"]).into()
    }
}

impl PartialSchema for PlanFeature {
    fn schema() -> RefOr<Schema> {
        line(200, "A feature").examples(["forecasts"]).into()
    }
}

impl PartialSchema for UsageKey {
    fn schema() -> RefOr<Schema> {
        line(255, "A key").examples(["request-17"]).into()
    }
}

impl PartialSchema for Permission {
    fn schema() -> RefOr<Schema> {
        let names = [
            "*",
            "verify",
            "settle",
            "agents:read",
            "agents:write",
            "subscriptions:read",
            "subscriptions:write",
            "plans:write",
            "usage:write",
            "analytics:read",
            "keys:manage",
        ];
        let text = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
        text.description(Some("A scope, or `*` for all.")).into()
    }
}

impl PartialSchema for OtherId {
    fn schema() -> RefOr<Schema> {
        line(64, "An id").into()
    }
}

impl PartialSchema for AmountIn {
    fn schema() -> RefOr<Schema> {
        let description = "Whole tokens, as a number or a string, read digit by digit. More than 0, at most 2^63 - 1 \
                           atomic units, and a whole number of those: USDC, USDT and PYUSD have 6 digits after the \
                           point, SOL has 9. Never rounded.";
        either(tokens(), description)
    }
}

fn either(number: ObjectBuilder, description: &str) -> RefOr<Schema> {
    let mut schema = AnyOf::new();
    schema.items.extend([number.into(), tokens_text().into()]);
    schema.description = Some(description.to_owned());
    Schema::AnyOf(schema).into()
}

impl PartialSchema for LimitIn {
    fn schema() -> RefOr<Schema> {
        let description = "Whole tokens, as a number or a string, read digit by digit. 0, which is nothing, or more, at \
                           most 2^63 - 1 atomic units, and a whole number of those: USDC, USDT and PYUSD have 6 digits \
                           after the point, SOL has 9.";
        either(tokens_or_none().minimum(Some(Number::Int(0))).examples([10]), description)
    }
}

impl PartialSchema for SumOut {
    fn schema() -> RefOr<Schema> {
        let description = "Whole tokens, exactly; 0 or more. Read it as a decimal, not as a float, where every digit \
                           counts.";
        ObjectBuilder::new()
            .schema_type(Type::Number)
            .minimum(Some(Number::Int(0)))
            .examples([0.05])
            .description(Some(description))
            .into()
    }
}

impl PartialSchema for AgentName {
    fn schema() -> RefOr<Schema> {
        line(200, "A name").examples(["research"]).into()
    }
}

impl PartialSchema for ServicePattern {
    fn schema() -> RefOr<Schema> {
        let description = "A path such as `/v1/*` or a URL such as `https://api.example.com/*`: 1 to 512 bytes, without \
                           user, query, dot segments or encoded slashes. `*` stands for any characters; `*.` may begin \
                           a host.";
        ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(512))
            .examples(["https://api.example.com/*"])
            .description(Some(description))
            .into()
    }
}

impl PartialSchema for AmountOut {
    fn schema() -> RefOr<Schema> {
        let description = "Whole tokens, exactly. Has up to 19 digits: read it as a decimal, not as a float, where \
                           every digit counts.";
        tokens().description(Some(description)).into()
    }
}

impl PartialSchema for UnixMs {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(Number::Int(isize::MIN)))
            .maximum(Some(Number::Int(isize::MAX)))
            .description(Some("Milliseconds since the Unix epoch."))
            .examples([1_767_225_600_000_i64])
            .into()
    }
}

macro_rules! named {
    ($($kind:ty => $name:literal),* $(,)?) => {
        $(impl ToSchema for $kind {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        })*
    };
}

named! {
    PublicKey => "PublicKey",
    Signature => "Signature",
    AmountIn => "AmountIn",
    AmountOut => "AmountOut",
    Nonce => "Nonce",
    Resource => "Resource",
    AgentName => "AgentName",
    LimitIn => "LimitIn",
    SumOut => "SumOut",
    ServicePattern => "ServicePattern",
    KeyName => "KeyName",
    PlanName => "PlanName",
    PlanDescription => "PlanDescription",
    PlanFeature => "PlanFeature",
    UsageKey => "UsageKey",
    Permission => "Permission",
    OtherId => "OtherId",
    UnixMs => "UnixMs",
}
