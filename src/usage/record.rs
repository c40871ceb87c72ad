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
    /// Under one key a subscription counts once.
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
