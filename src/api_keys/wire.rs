//! Requests about keys as they arrive in JSON.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use solana_pubkey::Pubkey;
use utoipa::ToSchema;

use super::{Caller, Environment, Scopes, UnknownScope};
use crate::{
    clock::UnixMs,
    input::{self, FieldErrors},
    schema,
};

/// Longest name, in bytes.
pub const MAX_NAME: usize = 100;
/// Longest user, in bytes.
pub const MAX_USER: usize = 128;
/// Most wallets of one key.
pub const MAX_RECIPIENTS: usize = 16;
/// How long a rotated key goes on working where nothing is said.
const DEFAULT_OVERLAP_SECS: u64 = 86_400;
/// How long it may go on working.
pub const MAX_OVERLAP_SECS: u64 = 604_800;

/// A body that asks for a key.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CreateApiKey)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
pub struct CreateMembers<'a> {
    #[schema(value_type = schema::KeyName, required)]
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    /// That of the network the service works on, which is the default.
    #[schema(value_type = Option<Environment>)]
    #[serde(borrow)]
    environment: Option<&'a RawValue>,
    /// Scopes, or `*` for all; by default those of the calling key, and no more than those.
    #[schema(value_type = Option<Vec<schema::Permission>>, min_items = 1)]
    #[serde(borrow)]
    permissions: Option<&'a RawValue>,
    /// By default those of the calling key.
    #[schema(value_type = Option<Vec<schema::PublicKey>>, max_items = 16)]
    #[serde(borrow)]
    recipients: Option<&'a RawValue>,
    /// In the future, and not after the calling key's own end, which is the default.
    #[schema(value_type = Option<UnixMs>)]
    #[serde(borrow)]
    expires_at: Option<&'a RawValue>,
}

/// A body that asks for a key in another's place.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RotateApiKey)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
pub struct RotateMembers<'a> {
    /// How long the old key goes on working; a day by default.
    #[schema(value_type = Option<u32>, maximum = 604_800)]
    #[serde(borrow)]
    overlap_seconds: Option<&'a RawValue>,
}

/// A key to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    pub name: String,
    pub user: String,
    pub environment: Environment,
    pub scopes: Scopes,
    pub recipients: Vec<Pubkey>,
    pub expires_at: Option<UnixMs>,
}

impl NewKey {
    /// What `caller` asks for. Where they say nothing, it is what their own key has.
    ///
    /// # Errors
    /// Every field that is wrong.
    pub(super) fn parse(
        body: &[u8],
        caller: &Caller,
        here: Environment,
        now: UnixMs,
    ) -> Result<Self, FieldErrors> {
        let members: CreateMembers = input::object(body)?;
        let mut errors = FieldErrors::default();
        let name = errors.required("name", members.name, |raw| input::text(raw, MAX_NAME));
        errors.optional("environment", members.environment, |raw| environment(raw, here));
        let scopes = errors.optional("permissions", members.permissions, permissions);
        let recipients = errors.optional("recipients", members.recipients, recipients);
        let expires_at =
            errors.optional("expiresAt", members.expires_at, |raw| expiry(raw, caller.expires_at, now));
        match name {
            Some(name) if errors.is_empty() => Ok(Self {
                name,
                user: caller.user.clone(),
                environment: here,
                scopes: scopes.unwrap_or(caller.scopes),
                recipients: recipients.unwrap_or_else(|| caller.recipients.clone()),
                expires_at: expires_at.or(caller.expires_at),
            }),
            _ => Err(errors),
        }
    }
}

/// How long the old key is to go on working.
///
/// # Errors
/// When it is not said in whole seconds, or is too long.
pub(super) fn overlap(body: &[u8]) -> Result<Duration, FieldErrors> {
    let members: RotateMembers = input::object(body)?;
    let mut errors = FieldErrors::default();
    let seconds = errors.optional("overlapSeconds", members.overlap_seconds, |raw| {
        let seconds = input::integer(raw).ok().and_then(|seconds| u64::try_from(seconds).ok());
        let problem = "must be a whole number of seconds from 0 to 604800";
        seconds.filter(|seconds| *seconds <= MAX_OVERLAP_SECS).ok_or(problem)
    });
    let seconds = seconds.unwrap_or(DEFAULT_OVERLAP_SECS);
    if errors.is_empty() { Ok(Duration::from_secs(seconds)) } else { Err(errors) }
}

fn environment(raw: &RawValue, here: Environment) -> Result<(), String> {
    let wanted = input::parsed::<Environment>(raw, "must be test or live")?;
    if wanted == here {
        return Ok(());
    }
    Err(format!("must be {here}: this service works on a network where {wanted} keys open nothing"))
}

fn permissions(raw: &RawValue) -> Result<Scopes, String> {
    let names: Vec<String> =
        serde_json::from_str(raw.get()).map_err(|_| "must be a list of strings".to_owned())?;
    let scopes = Scopes::from_names(names.iter().map(String::as_str)).map_err(|error| error.to_string())?;
    if scopes.is_empty() { Err(UnknownScope.to_string()) } else { Ok(scopes) }
}

fn recipients(raw: &RawValue) -> Result<Vec<Pubkey>, String> {
    let wrong = || format!("must be a list of at most {MAX_RECIPIENTS} Solana public keys");
    let texts: Vec<String> = serde_json::from_str(raw.get()).map_err(|_| wrong())?;
    if texts.len() > MAX_RECIPIENTS {
        return Err(wrong());
    }
    texts.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(|_| wrong())
}

fn expiry(raw: &RawValue, own: Option<UnixMs>, now: UnixMs) -> Result<UnixMs, &'static str> {
    let at = input::integer(raw).map(UnixMs).map_err(|_| "must be a time in Unix milliseconds")?;
    if at <= now {
        Err("must be in the future, in Unix milliseconds")
    } else if own.is_some_and(|own| at > own) {
        Err("must not be later than when the calling key expires")
    } else {
        Ok(at)
    }
}
