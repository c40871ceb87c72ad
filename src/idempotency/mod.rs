//! `Idempotency-Key`: a request sent again gets the answer of the first time.
//!
//! An [`Attempt`] claims its key in the database before the request is handled, so that of twins, on one instance or on
//! several, one is handled. Answers to trouble of our own are not kept: the next attempt is handled afresh.

mod store;

use std::time::Duration;

use sha2::{Digest, Sha256};

pub use store::{Begun, IdempotencyStore, StoredAnswer};

use crate::clock::UnixMs;

/// Longest key, in bytes.
pub const MAX_KEY: usize = 255;
/// How long answers are kept.
pub const LIFETIME: Duration = Duration::from_hours(24);
/// How long an attempt without an answer keeps its twins away: longer than any request may take.
pub const LEASE: Duration = Duration::from_secs(90);

/// A request with a key, on its way to be handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Who sent it; others' keys are others'.
    pub caller: String,
    pub key: String,
    /// SHA-256 over method, path and body.
    pub fingerprint: [u8; 32],
    /// Names this attempt among those with the same key.
    pub holder: String,
    pub at: UnixMs,
}

impl Attempt {
    #[must_use]
    pub fn new(
        caller: String,
        key: String,
        request: (&str, &str, &[u8]),
        holder: String,
        at: UnixMs,
    ) -> Self {
        let (method, path, body) = request;
        let head = format!("{method} {path}\n");
        let fingerprint = Sha256::new().chain_update(head).chain_update(body).finalize().into();
        Self { caller, key, fingerprint, holder, at }
    }

    /// Names caller, key and request together: what is written under it was written for the same request.
    #[must_use]
    pub fn tag(&self) -> String {
        let lengths = format!("{} {} ", self.caller.len(), self.key.len());
        let digest = Sha256::new()
            .chain_update(lengths)
            .chain_update(&self.caller)
            .chain_update(&self.key)
            .chain_update(self.fingerprint)
            .finalize();
        bs58::encode(digest).into_string()
    }
}
