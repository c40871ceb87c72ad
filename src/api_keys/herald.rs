//! Telling the other instances that keys have ended.

use async_trait::async_trait;

use crate::{clock::UnixMs, ids::ApiKeyId};

/// Every instance reads by itself, about every second, whether a key still works. This is for those whose database does
/// not answer meanwhile: nothing fails where they cannot be told.
#[async_trait]
pub trait Herald: std::fmt::Debug + Send + Sync {
    /// These keys end at this moment.
    async fn ended(&self, keys: &[ApiKeyId], at: UnixMs);
}
