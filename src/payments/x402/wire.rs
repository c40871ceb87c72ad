//! Verify and settle requests as they arrive in JSON.
//!
//! Versions 1 and 2 are told apart by `paymentPayload.x402Version`. Early clients send the payload in base64 instead, as
//! `paymentHeader`. `null` stands for an absent field, unknown fields are skipped, and a field that is read may be
//! named only once.

use std::collections::HashMap;

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{
    Version,
    requirements::{self, Requirements, is_solana, name},
    section::Section,
};
use crate::{
    chain::solana::rules::{Kind, Terms},
    input::{self, FieldErrors},
};

/// A request to verify or to settle, read; nothing about it has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X402Request {
    pub version: Version,
    pub payload: Payload,
    pub requirements: Requirements,
}

/// What the buyer sent to the merchant. In version 2 scheme and network are those of `accepted`, the requirements that the
/// buyer chose. The merchant's own decide, and nothing else of `accepted` is looked at: a merchant may renew the rest, and a
/// buyer may add to `extra`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    pub scheme: String,
    /// As the buyer spelled it, which is how answers spell it.
    pub network: String,
    /// Base64; empty for a network that is none of Solana's.
    pub transaction: String,
    /// In version 2: `resource.url`, of any length.
    pub resource: Option<String>,
}

/// A request that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub errors: FieldErrors,
    /// The network as the request spells it, where it does.
    pub network: String,
}

impl Malformed {
    /// All that is wrong, in one line: field names with what they must be.
    #[must_use]
    pub fn message(&self) -> String {
        let details = self.errors.clone().into_details();
        let lines: Vec<_> =
            details.iter().map(|error| format!("{} {}", error.field, error.message)).collect();
        lines.join("; ")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
struct Body<'a> {
    #[serde(borrow, rename = "x402Version")]
    x402_version: Option<&'a RawValue>,
    #[serde(borrow)]
    payment_payload: Option<&'a RawValue>,
    #[serde(borrow)]
    payment_header: Option<&'a RawValue>,
    #[serde(borrow)]
    payment_requirements: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
struct PayloadMembers<'a> {
    #[serde(borrow, rename = "x402Version")]
    x402_version: Option<&'a RawValue>,
    #[serde(borrow)]
    scheme: Option<&'a RawValue>,
    #[serde(borrow)]
    network: Option<&'a RawValue>,
    #[serde(borrow)]
    accepted: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct Accepted<'a> {
    #[serde(borrow)]
    scheme: Option<&'a RawValue>,
    #[serde(borrow)]
    network: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct Inner<'a> {
    #[serde(borrow)]
    transaction: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct Resource<'a> {
    #[serde(borrow)]
    url: Option<&'a RawValue>,
}

/// What only x402 bodies have, at their top level.
const MARKS: [&str; 3] = ["x402Version", "paymentPayload", "paymentHeader"];

/// Whether a body for `/verify` is x402's rather than a 402pay payment proof. Of one that is no JSON object it can only be
/// guessed.
#[must_use]
pub fn is_x402(body: &[u8]) -> bool {
    if let Ok(members) = serde_json::from_slice::<HashMap<String, &RawValue>>(body) {
        return MARKS.into_iter().any(|mark| members.contains_key(mark));
    }
    let text = String::from_utf8_lossy(body);
    MARKS.into_iter().any(|mark| text.contains(&format!("\"{mark}\"")))
}

impl X402Request {
    /// # Errors
    /// Every field that is missing or wrong.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let body: Body =
            input::object(body).map_err(|errors| Malformed { errors, network: String::new() })?;
        let mut errors = FieldErrors::default();
        // The payload's version decides: clients of version 1 put either here.
        errors.optional("x402Version", body.x402_version, input::integer);
        let header = header(&body, &mut errors);
        let (section, payload) = match &header {
            Some(header) => (Section::new("paymentHeader"), Some(&**header)),
            None => (Section::new("paymentPayload"), body.payment_payload),
        };
        // What is wrong with the header is noted by now.
        let members: Option<PayloadMembers> = match body.payment_header {
            Some(_) if header.is_none() => None,
            _ => section.required(payload, &mut errors),
        };
        let version = members.as_ref().and_then(|members| read_version(&section, members, &mut errors));
        let payload = version
            .zip(members.as_ref())
            .and_then(|(version, members)| Payload::read(version, &section, members, &mut errors));
        let requirements = read_requirements(version, body.payment_requirements, &mut errors);
        match (version, payload, requirements) {
            (Some(version), Some(payload), Some(requirements)) if errors.is_empty() => {
                Ok(Self { version, payload, requirements })
            }
            _ => Err(Malformed { errors, network: spelled_network(&body, members.as_ref()) }),
        }
    }

    /// What is paid for, where it is said: the whole of it, as it is in the [`fingerprint`](Self::fingerprint).
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        let resource = self.requirements.resource.as_deref().or(self.payload.resource.as_deref());
        resource.filter(|resource| !resource.is_empty())
    }

    /// SHA-256 over all that the request says about what is to be paid, and what for: two settlements of one transaction
    /// with the same fingerprint are the same settlement. Version 2 names the resource in the payload.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let resource = self.payload.resource.as_deref();
        let length = resource.map_or(u64::MAX, |resource| resource.len() as u64);
        Sha256::new()
            .chain_update(self.requirements.fingerprint())
            .chain_update(length.to_le_bytes())
            .chain_update(resource.unwrap_or_default())
            .finalize()
            .into()
    }

    /// What the rules are asked with.
    #[must_use]
    pub fn terms(&self) -> Terms<'_> {
        let (payload, asked) = (&self.payload, &self.requirements);
        Terms {
            version: self.version,
            paid: Kind { scheme: &payload.scheme, network: &payload.network },
            transaction: &payload.transaction,
            asked: Kind { scheme: &asked.scheme, network: &asked.network },
            fee_payer: asked.fee_payer.as_deref(),
            asset: &asked.asset,
            pay_to: &asked.pay_to,
            amount: asked.amount,
            memo: asked.memo.as_deref(),
        }
    }
}

impl Payload {
    fn read(
        version: Version,
        section: &Section,
        members: &PayloadMembers<'_>,
        errors: &mut FieldErrors,
    ) -> Option<Self> {
        let (scheme, network) = match version {
            Version::V1 => read_kind(section, members.scheme, members.network, errors),
            Version::V2 => {
                let section = section.inner("accepted");
                let accepted: Option<Accepted> = section.required(members.accepted, errors);
                let kind =
                    accepted.map(|accepted| read_kind(&section, accepted.scheme, accepted.network, errors));
                kind.unwrap_or_default()
            }
        };
        let on_solana = network.as_deref().is_none_or(is_solana);
        let transaction = read_transaction(&section.inner("payload"), members.payload, on_solana, errors);
        let resource = match version {
            Version::V1 => None,
            Version::V2 => read_resource(&section.inner("resource"), members.resource, errors),
        };
        Some(Self { scheme: scheme?, network: network?, transaction: transaction?, resource })
    }
}

/// Without a version the fields inside would be guesses.
fn read_requirements(
    version: Option<Version>,
    raw: Option<&RawValue>,
    errors: &mut FieldErrors,
) -> Option<Requirements> {
    let section = Section::new("paymentRequirements");
    match version {
        Some(version) => Requirements::read(version, &section, raw, errors),
        None => section.required::<IgnoredAny>(raw, errors).and(None),
    }
}

fn read_version(
    section: &Section,
    members: &PayloadMembers<'_>,
    errors: &mut FieldErrors,
) -> Option<Version> {
    errors.required(&section.field("x402Version"), members.x402_version, |raw| {
        Version::ALL
            .into_iter()
            .find(|version| raw.get().parse() == Ok(version.number()))
            .ok_or("must be 1 or 2: these are the versions that are served")
    })
}

fn read_kind(
    section: &Section,
    scheme: Option<&RawValue>,
    network: Option<&RawValue>,
    errors: &mut FieldErrors,
) -> (Option<String>, Option<String>) {
    let scheme = errors.required(&section.field("scheme"), scheme, name);
    (scheme, errors.required(&section.field("network"), network, name))
}

/// How another chain's payload looks does not matter: the rules refuse the chain.
fn read_transaction(
    section: &Section,
    raw: Option<&RawValue>,
    on_solana: bool,
    errors: &mut FieldErrors,
) -> Option<String> {
    if !on_solana {
        return Some(String::new());
    }
    let inner: Inner = section.required(raw, errors)?;
    errors.required(&section.field("transaction"), inner.transaction, |raw| {
        let text = serde_json::from_str(raw.get()).ok().filter(|text: &String| !text.is_empty());
        text.ok_or("must be a transaction in base64")
    })
}

fn read_resource(section: &Section, raw: Option<&RawValue>, errors: &mut FieldErrors) -> Option<String> {
    let resource: Resource = section.optional(raw, errors)?;
    errors.optional(&section.field("url"), resource.url, requirements::resource)
}

/// Padded or not: both are in use.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The payload inside `paymentHeader`, where there is one.
fn header(body: &Body<'_>, errors: &mut FieldErrors) -> Option<Box<RawValue>> {
    if body.payment_header.is_some() && body.payment_payload.is_some() {
        errors.add("paymentHeader", "must not be sent together with paymentPayload");
    }
    errors.optional("paymentHeader", body.payment_header, |raw| {
        let text: Option<String> = serde_json::from_str(raw.get()).ok();
        let bytes = text.and_then(|text| BASE64.decode(text).ok());
        let json = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        json.ok_or("must be base64 of a payment payload in JSON")
    })
}

/// The network of a request that is answered without having been understood.
fn spelled_network(body: &Body<'_>, members: Option<&PayloadMembers<'_>>) -> String {
    #[derive(Deserialize)]
    #[serde(expecting = "a JSON object")]
    struct Named<'a> {
        #[serde(borrow)]
        network: Option<&'a RawValue>,
    }
    let within = |raw: &RawValue| {
        let named: Named = serde_json::from_str(raw.get()).ok()?;
        name(named.network?).ok()
    };
    let payload = members.and_then(|members| {
        members.network.and_then(|raw| name(raw).ok()).or_else(|| within(members.accepted?))
    });
    payload.or_else(|| within(body.payment_requirements?)).unwrap_or_default()
}
