//! The fast first answer to "was this used before?", the lock that keeps concurrent twins apart, and what the chain
//! said of transactions that have not paid yet.

use std::sync::Arc;

use async_trait::async_trait;
use solana_signature::Signature;

use crate::chain::ConfirmedTransaction;

/// What one verification holds on to while it runs.
///
/// It keeps away its twins, the same request sent again, and nobody else: a nonce and a transaction are public, so if
/// they could be held, strangers could keep the payer from using them. Different requests with the same nonce or
/// transaction run side by side, and the database admits one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub nonce: String,
    pub transaction: Signature,
    /// Digest of the request.
    pub request: [u8; 32],
}

/// The answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// Held until it is released or marked used, or its lease runs out.
    Claimed,
    /// A twin is being verified right now.
    InFlight,
    /// A payment accepted a short while ago has the nonce or the transaction.
    Used,
}

/// Claims are hints: when they are lost, two verifications run side by side and the database admits one. So nothing
/// here fails.
#[async_trait]
pub trait ClaimStore: std::fmt::Debug + Send + Sync {
    async fn claim(&self, claim: &Claim) -> ClaimOutcome;

    /// Nothing came of it: it can be claimed again.
    async fn release(&self, claim: &Claim);

    /// The payment was accepted: nonce and transaction stay used.
    async fn mark_used(&self, claim: &Claim);

    /// What the chain said of a claimed transaction when it was last asked, here or at another instance.
    fn known(&self, transaction: &Signature) -> Option<Arc<ConfirmedTransaction>>;

    /// Remembers what the chain said, so that the next attempt to pay with it need not ask.
    fn learn(&self, transaction: Arc<ConfirmedTransaction>);
}
