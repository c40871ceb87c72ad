//! Where requests are counted.

use std::num::NonZeroU32;

use async_trait::async_trait;

use super::{Action, Decision, Subject};

/// Counts cannot fail: a store that loses its backend counts in memory.
#[async_trait]
pub trait RateLimitStore: std::fmt::Debug + Send + Sync {
    /// Decides about one request, and counts it if it is admitted. A refused one costs nothing.
    async fn admit(&self, subject: &Subject, action: Action, limit: NonZeroU32) -> Decision;

    /// Whether the subject is a key that has ended, as another instance has told. For where nothing is counted:
    /// [`admit`](Self::admit) looks by itself.
    async fn has_ended(&self, subject: &Subject) -> bool;

    /// A refusal given here before that still holds: time alone ends it. Asks nobody and counts nothing.
    fn standing_refusal(&self, subject: &Subject, action: Action, limit: NonZeroU32) -> Option<Decision>;
}
