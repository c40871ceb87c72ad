//! What was used.

use sha2::{Digest, Sha256};

use super::OverLimit;
use crate::{
    clock::UnixMs,
    ids::{SubscriptionId, UsageId},
    subscriptions::Standing,
};

/// Something that was used, to be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUsage {
    pub id: UsageId,
    /// The subscription's id, as the caller names it.
    pub subscription: String,
    /// 1 or more.
    pub quantity: u64,
    pub resource: Option<String>,
    /// When it was used, where that was said.
    pub timestamp: Option<UnixMs>,
    /// Under one key a subscription counts once. The caller's, or the [request's](key_of_request).
    pub idempotency_key: Option<String>,
    /// The owner's own JSON object.
    pub metadata: Option<String>,
}

impl NewUsage {
    /// A digest of what was said: under the same key it has to be the same.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let timestamp = self.timestamp.map(|at| at.0);
        let said = serde_json::json!([self.quantity, self.resource, timestamp, self.metadata]);
        Sha256::digest(said.to_string()).into()
    }
}

/// Begins the keys that requests give. No caller's key holds it: it is a control character.
const OF_REQUEST: char = '\u{1}';

/// The key of what comes without one in a request with a tag: sent again, it counts once too.
#[must_use]
pub fn key_of_request(tag: &str, index: usize) -> String {
    format!("{OF_REQUEST}request {tag} {index}")
}

/// Something that was used and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRecord {
    pub id: UsageId,
    pub subscription: SubscriptionId,
    pub quantity: u64,
    pub resource: Option<String>,
    pub used_at: UnixMs,
    pub recorded_at: UnixMs,
    pub idempotency_key: Option<String>,
    pub metadata: Option<String>,
}

impl UsageRecord {
    /// The key that the caller gave it, if they did.
    #[must_use]
    pub fn key_of_caller(&self) -> Option<&str> {
        self.idempotency_key.as_deref().filter(|key| !key.starts_with(OF_REQUEST))
    }
}

/// A record, and whether it had been counted before under its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub record: UsageRecord,
    pub repeated: bool,
}

/// Why usage is not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The caller has no such subscription.
    NotFound,
    /// It has ended, or its period is not paid.
    Inactive(Standing),
    /// It was used before the current period began.
    TooEarly {
        period_start: UnixMs,
    },
    /// Other usage was counted under the key.
    Conflict,
    OverLimit(OverLimit),
}
