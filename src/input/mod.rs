//! Reading JSON bodies so that a caller hears of every bad field at once.
//!
//! A body is first taken apart into raw members, then each member is parsed on its own; [`FieldErrors`] collects what
//! is wrong. Numbers keep their digits, because no float is made of them.

mod change;
mod metadata;
mod strict;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use solana_pubkey::Pubkey;
use utoipa::ToSchema;

use crate::money::{Amount, Currency};
pub use change::Change;
pub use metadata::{MAX_METADATA, merged_metadata, metadata};

/// One thing wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Path of the field, such as `requirement.amount`; `body` for the whole.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// A request that cannot be read, field by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    #[must_use]
    pub fn one(field: &str, message: impl Into<String>) -> Self {
        Self(vec![FieldError { field: field.to_owned(), message: message.into() }])
    }

    pub fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldError { field: field.to_owned(), message: message.into() });
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn into_details(self) -> Vec<FieldError> {
        self.0
    }

    /// The field's value, or `None` with the reason noted.
    pub fn required<T, E: fmt::Display>(
        &mut self,
        field: &str,
        raw: Option<&RawValue>,
        parse: impl FnOnce(&RawValue) -> Result<T, E>,
    ) -> Option<T> {
        if raw.is_none() {
            self.add(field, "is required");
        }
        self.optional(field, raw, parse)
    }

    /// The field's value; `None` where it is absent, `null`, or wrong (then with the reason noted).
    pub fn optional<T, E: fmt::Display>(
        &mut self,
        field: &str,
        raw: Option<&RawValue>,
        parse: impl FnOnce(&RawValue) -> Result<T, E>,
    ) -> Option<T> {
        raw.and_then(|raw| parse(raw).map_err(|problem| self.add(field, problem.to_string())).ok())
    }
}

/// For members that may be `null` on purpose: `null` is there, where serde would take it for absent.
///
/// # Errors
/// When there is no value.
pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// Takes a JSON object apart. `T` is a struct of `Option<&RawValue>` members.
///
/// # Errors
/// When the text is not a JSON object, or, at any depth, names a member twice, is nested too deep, or holds text that
/// no database keeps.
pub fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, FieldErrors> {
    // A derived struct can be read from an array too, by position.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(FieldErrors::one("body", "must be a JSON object"));
    }
    strict::check(body)?;
    serde_json::from_slice(body).map_err(|error| FieldErrors::one("body", format!("is not valid: {error}")))
}

/// A string of 1 to `max` bytes without control characters.
///
/// # Errors
/// Says which of these it is not.
pub fn text(raw: &RawValue, max: usize) -> Result<String, String> {
    plain_text(serde_json::from_str(raw.get()).map_err(|_| "must be a string".to_owned())?, max)
}

/// A text of 1 to `max` bytes without control characters.
///
/// # Errors
/// Says which of these it is not.
pub fn plain_text(text: String, max: usize) -> Result<String, String> {
    if text.is_empty() || text.len() > max {
        return Err(format!("must be 1 to {max} bytes long"));
    }
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters".to_owned());
    }
    Ok(text)
}

/// A whole number.
///
/// # Errors
/// When it is anything else.
pub fn integer(raw: &RawValue) -> Result<i64, &'static str> {
    raw.get().parse().map_err(|_| "must be a whole number")
}

/// # Errors
/// When it is neither `true` nor `false`.
pub fn boolean(raw: &RawValue) -> Result<bool, &'static str> {
    raw.get().parse().map_err(|_| "must be true or false")
}

/// A number or a string holding one, as written.
///
/// # Errors
/// When it is neither.
pub fn number_text(raw: &RawValue) -> Result<String, &'static str> {
    match raw.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw.get()).map_err(|_| "must be a number or a string holding one"),
        Some(b'-' | b'0'..=b'9') => Ok(raw.get().to_owned()),
        _ => Err("must be a number or a string holding one"),
    }
}

/// A value in its text form, within a string.
///
/// # Errors
/// Says `what` it should have been.
pub fn parsed<T: std::str::FromStr>(raw: &RawValue, what: &'static str) -> Result<T, &'static str> {
    serde_json::from_str::<String>(raw.get()).ok().and_then(|text| text.parse().ok()).ok_or(what)
}

/// An amount in whole tokens, as a number or a string.
///
/// # Errors
/// What is wrong with it.
pub fn amount(raw: &RawValue, decimals: u8) -> Result<Amount, String> {
    let text = number_text(raw)?;
    Amount::parse(&text, decimals).map_err(|error| error.to_string())
}

/// # Errors
/// The currencies there are.
pub fn currency(raw: &RawValue) -> Result<Currency, &'static str> {
    parsed(raw, "must be one of USDC, USDT, SOL, PYUSD")
}

/// # Errors
/// What a public key looks like.
pub fn public_key(raw: &RawValue) -> Result<Pubkey, &'static str> {
    parsed(raw, "must be a Solana public key (32 bytes in base58)")
}
