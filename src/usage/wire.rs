//! Usage as it arrives in JSON: one thing that was used, or many.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::NewUsage;
use crate::{
    clock::UnixMs,
    ids::{Entropy, UsageId},
    input::{self, FieldErrors},
    requirements::MAX_RESOURCE,
    schema,
};

/// Most that is counted at once.
const MAX_BATCH: usize = 100;
/// Largest quantity.
const MAX_QUANTITY: u64 = 1_000_000_000;
/// Longest id of another object, in bytes.
const MAX_ID: usize = 64;
/// Longest idempotency key, in bytes.
const MAX_KEY: usize = 255;
/// How far a caller's clock may be ahead.
const MAX_AHEAD: Duration = Duration::from_mins(1);

/// Something that was used under a subscription.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(
    as = NewUsage,
    example = json!({
        "subscriptionId": "sub_01K0B9M2T8Q5W7Y3XN4VZC6RDE", "quantity": 1, "resource": "/weather",
        "idempotencyKey": "request-17",
    }),
)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
pub struct UsageMembers<'a> {
    #[schema(value_type = schema::OtherId, required)]
    #[serde(borrow)]
    subscription_id: Option<&'a RawValue>,
    #[schema(value_type = u64, required, minimum = 1, maximum = 1_000_000_000)]
    #[serde(borrow)]
    quantity: Option<&'a RawValue>,
    /// What was used.
    #[schema(value_type = Option<schema::Resource>)]
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    /// When it was used; now where it is left out. Not before the current period, and at most 60 s ahead, which counts as
    /// now.
    #[schema(value_type = Option<UnixMs>)]
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    /// Under one key a subscription counts once, ever.
    #[schema(value_type = Option<schema::UsageKey>)]
    #[serde(borrow)]
    idempotency_key: Option<&'a RawValue>,
    /// Your own, given back as it came; at most 4096 bytes of JSON.
    #[schema(value_type = Option<Object>)]
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[schema(ignore)]
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// Several things that were used. All of them are counted, or none.
#[derive(Debug, ToSchema)]
#[schema(as = UsageBatch)]
#[expect(dead_code, reason = "for the OpenAPI document; read as UsageMembers")]
pub struct BatchMembers<'a> {
    #[schema(min_items = 1, max_items = 100)]
    usage: Vec<UsageMembers<'a>>,
}

/// One thing that was used, or up to 100.
#[derive(Debug, ToSchema)]
#[schema(as = UsageBody)]
#[serde(untagged)]
pub enum UsageBody<'a> {
    One(UsageMembers<'a>),
    Many(BatchMembers<'a>),
}

impl UsageMembers<'_> {
    const fn has_more_than_usage(&self) -> bool {
        self.subscription_id.is_some()
            || self.quantity.is_some()
            || self.resource.is_some()
            || self.timestamp.is_some()
            || self.idempotency_key.is_some()
            || self.metadata.is_some()
    }

    /// `None` with what is wrong noted under `prefix`.
    fn read(
        &self,
        prefix: &str,
        now: UnixMs,
        entropy: &dyn Entropy,
        errors: &mut FieldErrors,
    ) -> Option<NewUsage> {
        let path = |field: &str| format!("{prefix}{field}");
        let subscription =
            errors.required(&path("subscriptionId"), self.subscription_id, |raw| input::text(raw, MAX_ID));
        let quantity = errors.required(&path("quantity"), self.quantity, quantity);
        let resource =
            errors.optional(&path("resource"), self.resource, |raw| input::text(raw, MAX_RESOURCE));
        let timestamp = errors.optional(&path("timestamp"), self.timestamp, |raw| timestamp(raw, now));
        let idempotency_key =
            errors.optional(&path("idempotencyKey"), self.idempotency_key, |raw| input::text(raw, MAX_KEY));
        let metadata = errors.optional(&path("metadata"), self.metadata, input::metadata);
        Some(NewUsage {
            id: UsageId::new(now, entropy),
            subscription: subscription?,
            quantity: quantity?,
            resource,
            timestamp,
            idempotency_key,
            metadata,
        })
    }
}

/// What is to be counted, and whether it was sent as a batch.
#[derive(Debug)]
pub(super) struct Batch {
    pub usage: Vec<NewUsage>,
    pub is_batch: bool,
}

impl Batch {
    pub(super) fn parse(body: &[u8], now: UnixMs, entropy: &dyn Entropy) -> Result<Self, FieldErrors> {
        let members: UsageMembers = input::object(body)?;
        let mut errors = FieldErrors::default();
        let is_batch = members.usage.is_some();
        let usage: Vec<Option<NewUsage>> = match members.usage {
            None => vec![members.read("", now, entropy, &mut errors)],
            Some(_) if members.has_more_than_usage() => {
                return Err(FieldErrors::one(
                    "usage",
                    "holds all there is to count: leave the other members out",
                ));
            }
            Some(raw) => items(raw)?
                .into_iter()
                .enumerate()
                .map(|(index, item)| read_item(index, item, now, entropy, &mut errors))
                .collect(),
        };
        match usage.into_iter().collect() {
            Some(usage) if errors.is_empty() => Ok(Self { usage, is_batch }),
            _ => Err(errors),
        }
    }
}

fn items(raw: &RawValue) -> Result<Vec<&RawValue>, FieldErrors> {
    let items: Option<Vec<&RawValue>> = serde_json::from_str(raw.get()).ok();
    let items = items.filter(|items| (1..=MAX_BATCH).contains(&items.len()));
    items.ok_or_else(|| FieldErrors::one("usage", format!("must be a list of 1 to {MAX_BATCH}")))
}

fn read_item(
    index: usize,
    raw: &RawValue,
    now: UnixMs,
    entropy: &dyn Entropy,
    errors: &mut FieldErrors,
) -> Option<NewUsage> {
    match input::object::<UsageMembers>(raw.get().as_bytes()) {
        Ok(members) => members.read(&format!("usage.{index}."), now, entropy, errors),
        Err(problems) => {
            for problem in problems.into_details() {
                errors.add(&format!("usage.{index}"), problem.message);
            }
            None
        }
    }
}

fn quantity(raw: &RawValue) -> Result<u64, String> {
    let quantity = raw.get().parse().ok().filter(|quantity| (1..=MAX_QUANTITY).contains(quantity));
    quantity.ok_or_else(|| format!("must be a whole number from 1 to {MAX_QUANTITY}"))
}

fn timestamp(raw: &RawValue, now: UnixMs) -> Result<UnixMs, &'static str> {
    let at = input::integer(raw).map(UnixMs).map_err(|_| "must be a whole number of Unix milliseconds")?;
    if at > now + MAX_AHEAD { Err("must not be more than 60 s ahead") } else { Ok(at) }
}
