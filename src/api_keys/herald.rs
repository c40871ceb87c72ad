//! Telling the other instances that keys have ended.

use std::time::Duration;

use async_trait::async_trait;

use crate::ids::ApiKeyId;

/// Every instance reads by itself, about every second, whether a key still works. This is for those whose database does
/// not answer meanwhile: nothing fails where they cannot be told.
#[async_trait]
pub trait Herald: std::fmt::Debug + Send + Sync {
    /// These keys end so much later; at once, if that is nothing. The clocks of two instances are never the same.
    async fn ended(&self, keys: &[ApiKeyId], after: Duration);
}
