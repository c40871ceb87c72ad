//! The fast first answer to "was this used before?", and the lock that keeps concurrent twins apart.

use async_trait::async_trait;
use solana_signature::Signature;

/// What one verification holds on to while it runs: a nonce and a transaction, both or neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub nonce: String,
    pub transaction: Signature,
}

/// The answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// Held until it is released or marked used, or its lease runs out.
    Claimed,
    /// Another verification holds one of the two right now.
    InFlight,
    /// A payment accepted a short while ago has one of the two.
    Used,
}

/// Claims are hints: when they are lost, two verifications run side by side and the database admits one. So nothing
/// here fails.
#[async_trait]
pub trait ClaimStore: std::fmt::Debug + Send + Sync {
    async fn claim(&self, claim: &Claim) -> ClaimOutcome;

    /// Nothing came of it: both can be claimed again.
    async fn release(&self, claim: &Claim);

    /// The payment was accepted: both stay used.
    async fn mark_used(&self, claim: &Claim);
}
