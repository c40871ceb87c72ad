//! Being told early that a transaction may have landed.
//!
//! Hints only save waiting: any of them may be lost, late or wrong, and what they are about is always asked again.

use std::sync::Arc;

use solana_signature::Signature;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Called at most a few times for each signature, and must not block.
pub type Hint = Arc<dyn Fn(&Signature) + Send + Sync>;

/// Keeps a signature watched; the watching ends with it.
#[must_use = "the watching ends when it is dropped"]
#[derive(Debug)]
pub struct Watched(#[expect(dead_code, reason = "only its end matters")] Option<DropGuard>);

impl Watched {
    pub(in crate::chain) fn until_dropped(token: CancellationToken) -> Self {
        Self(Some(token.drop_guard()))
    }

    /// Nothing is watched.
    pub const fn nothing() -> Self {
        Self(None)
    }
}

/// Role of whoever hears first.
pub trait LandingHints: std::fmt::Debug + Send + Sync {
    /// Calls `hint` when the transaction may have landed.
    fn watch(&self, signature: Signature, hint: Hint) -> Watched;
}

/// Nobody to hear from: everything is found by asking.
#[derive(Clone, Copy, Debug)]
pub struct NoHints;

impl LandingHints for NoHints {
    fn watch(&self, _: Signature, _: Hint) -> Watched {
        Watched::nothing()
    }
}
