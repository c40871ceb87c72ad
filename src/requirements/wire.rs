//! Requirements as they arrive in JSON.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use solana_pubkey::Pubkey;
use utoipa::ToSchema;

use super::{Requirement, Scheme, SchemeName};
use crate::{
    clock::UnixMs,
    input::{self, FieldErrors},
    money::{Amount, Currency},
    schema,
};

/// Longest `resource`, in bytes.
pub const MAX_RESOURCE: usize = 2048;
/// Longest nonce, in bytes.
pub const MAX_NONCE: usize = 128;
/// How long an issued requirement stands where the merchant says nothing.
const DEFAULT_LIFETIME: Duration = Duration::from_mins(15);
/// How far ahead a requirement may expire.
const MAX_LIFETIME: Duration = Duration::from_hours(30 * 24);

/// What must have been paid, and to whom.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Requirement)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
pub struct RequirementMembers<'a> {
    /// With the scheme `exact` just that, with `minimum` that or more, with `range` the lower end.
    #[schema(value_type = schema::AmountIn, required)]
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    /// The upper end, included; with the scheme `range`, and only with it.
    #[schema(value_type = Option<schema::AmountIn>)]
    #[serde(borrow)]
    max_amount: Option<&'a RawValue>,
    #[schema(value_type = Currency, required)]
    #[serde(borrow)]
    currency: Option<&'a RawValue>,
    /// The wallet to be paid, not a token account of it.
    #[schema(value_type = schema::PublicKey, required)]
    #[serde(borrow)]
    recipient: Option<&'a RawValue>,
    /// How the amount is meant; `exact` where it is left out.
    #[schema(value_type = Option<SchemeName>)]
    #[serde(borrow)]
    scheme: Option<&'a RawValue>,
    /// What is to be paid for.
    #[schema(value_type = Option<schema::Resource>)]
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    /// The nonce that the proof must have.
    #[schema(value_type = Option<schema::Nonce>)]
    #[serde(borrow)]
    nonce: Option<&'a RawValue>,
    /// A payment in a later block is too late.
    #[schema(value_type = Option<UnixMs>)]
    #[serde(borrow)]
    expires_at: Option<&'a RawValue>,
}

/// A requirement to be issued. The service gives it its nonce.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(
    as = NewRequirement,
    example = json!({"amount": 0.05, "currency": "USDC", "resource": "/articles/1", "metadata": {"order": 17}}),
)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
pub struct NewRequirementMembers<'a> {
    /// With the scheme `exact` just that, with `minimum` that or more, with `range` the lower end.
    #[schema(value_type = schema::AmountIn, required)]
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    /// The upper end, included; with the scheme `range`, and only with it.
    #[schema(value_type = Option<schema::AmountIn>)]
    #[serde(borrow)]
    max_amount: Option<&'a RawValue>,
    #[schema(value_type = Currency, required)]
    #[serde(borrow)]
    currency: Option<&'a RawValue>,
    /// The wallet to be paid, not a token account of it. Left out: the key's, then the first of `MERCHANT_WALLETS`.
    #[schema(value_type = Option<schema::PublicKey>)]
    #[serde(borrow)]
    recipient: Option<&'a RawValue>,
    /// How the amount is meant; `exact` where it is left out.
    #[schema(value_type = Option<SchemeName>)]
    #[serde(borrow)]
    scheme: Option<&'a RawValue>,
    /// What is to be paid for.
    #[schema(value_type = Option<schema::Resource>)]
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    #[schema(ignore)]
    #[serde(borrow)]
    nonce: Option<&'a RawValue>,
    /// A payment in a later block is too late. In the future, at most 30 days ahead; 15 minutes where it is left out.
    #[schema(value_type = Option<UnixMs>)]
    #[serde(borrow)]
    expires_at: Option<&'a RawValue>,
    /// Your own, given back as it came; at most 4096 bytes of JSON.
    #[schema(value_type = Option<Object>)]
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

impl<'a> NewRequirementMembers<'a> {
    const fn terms(&self) -> RequirementMembers<'a> {
        RequirementMembers {
            amount: self.amount,
            max_amount: self.max_amount,
            currency: self.currency,
            recipient: self.recipient,
            scheme: self.scheme,
            resource: self.resource,
            nonce: self.nonce,
            expires_at: self.expires_at,
        }
    }
}

/// The requirement inside a proof. What is wrong with it is noted under `requirement.`.
pub fn read_requirement(raw: &RawValue, errors: &mut FieldErrors) -> Option<Requirement> {
    let members: RequirementMembers = match input::object(raw.get().as_bytes()) {
        Ok(members) => members,
        Err(problems) => {
            for problem in problems.into_details() {
                errors.add("requirement", problem.message);
            }
            return None;
        }
    };
    let recipient = errors.required("requirement.recipient", members.recipient, input::public_key);
    let terms = Terms::read(&members, "requirement.", errors);
    let nonce = errors.optional("requirement.nonce", members.nonce, |raw| input::text(raw, MAX_NONCE));
    Some(terms?.with(recipient?, nonce))
}

/// A request to issue a requirement.
#[derive(Clone, Debug)]
pub struct NewRequirement {
    pub amount: Amount,
    pub currency: Currency,
    pub scheme: Scheme,
    /// Who is to be paid; the key's own recipient where it is left out.
    pub recipient: Option<Pubkey>,
    pub resource: Option<String>,
    pub expires_at: UnixMs,
    pub metadata: Option<String>,
}

impl NewRequirement {
    /// # Errors
    /// Every field that is wrong.
    pub fn parse(body: &[u8], now: UnixMs) -> Result<Self, FieldErrors> {
        let members: NewRequirementMembers = input::object(body)?;
        let mut errors = FieldErrors::default();
        if members.nonce.is_some() {
            errors.add("nonce", "is issued by the service: leave it out");
        }
        let recipient = errors.optional("recipient", members.recipient, input::public_key);
        let metadata = errors.optional("metadata", members.metadata, input::metadata);
        let terms = Terms::read(&members.terms(), "", &mut errors);
        let expires_at = terms.as_ref().and_then(|terms| terms.expires_at).unwrap_or(now + DEFAULT_LIFETIME);
        if expires_at <= now || expires_at > now + MAX_LIFETIME {
            errors.add("expiresAt", "must be in the future, at most 30 days ahead, in Unix milliseconds");
        }
        match terms {
            Some(terms) if errors.is_empty() => Ok(Self {
                amount: terms.amount,
                currency: terms.currency,
                scheme: terms.scheme,
                recipient,
                resource: terms.resource,
                expires_at,
                metadata,
            }),
            _ => Err(errors),
        }
    }
}

/// The members that both forms share.
struct Terms {
    amount: Amount,
    currency: Currency,
    scheme: Scheme,
    resource: Option<String>,
    expires_at: Option<UnixMs>,
}

impl Terms {
    fn read(members: &RequirementMembers<'_>, prefix: &str, errors: &mut FieldErrors) -> Option<Self> {
        let path = |field: &str| format!("{prefix}{field}");
        let currency = errors.required(&path("currency"), members.currency, input::currency);
        let decimals = currency.map_or(Currency::MAX_DECIMALS, Currency::decimals);
        let amount = errors.required(&path("amount"), members.amount, |raw| input::amount(raw, decimals));
        let max = errors.optional(&path("maxAmount"), members.max_amount, |raw| input::amount(raw, decimals));
        let name = errors.optional(&path("scheme"), members.scheme, |raw| input::text(raw, 16));
        let scheme = match (name.as_deref().unwrap_or("exact"), max, amount) {
            ("exact", None, _) => Some(Scheme::Exact),
            ("minimum", None, _) => Some(Scheme::Minimum),
            ("range", Some(max), Some(min)) if max >= min => Some(Scheme::Range { max }),
            ("range", Some(_), Some(_)) => {
                errors.add(&path("maxAmount"), "must not be less than amount");
                None
            }
            ("range", _, _) => {
                if members.max_amount.is_none() {
                    errors.add(&path("maxAmount"), "is required with the scheme range");
                }
                None
            }
            ("exact" | "minimum", Some(_), _) => {
                errors.add(&path("maxAmount"), "goes with the scheme range only");
                None
            }
            _ => {
                errors.add(&path("scheme"), "must be one of exact, minimum, range");
                None
            }
        };
        let resource =
            errors.optional(&path("resource"), members.resource, |raw| input::text(raw, MAX_RESOURCE));
        let expires_at =
            errors.optional(&path("expiresAt"), members.expires_at, |raw| input::integer(raw).map(UnixMs));
        Some(Self { amount: amount?, currency: currency?, scheme: scheme?, resource, expires_at })
    }

    fn with(self, recipient: Pubkey, nonce: Option<String>) -> Requirement {
        Requirement {
            amount: self.amount,
            currency: self.currency,
            recipient,
            scheme: self.scheme,
            resource: self.resource,
            nonce,
            expires_at: self.expires_at,
        }
    }
}
