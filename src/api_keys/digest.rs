//! What a presented text is known by within this process.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::{ids::Entropy, server_secrets::ServerSecret};

const HALF: usize = 16;

/// Makes digests under a secret that this process made for itself: worth nothing elsewhere, and nobody can choose a text
/// for its digest.
#[derive(Clone, Debug)]
pub(super) struct Digester(ServerSecret);

impl Digester {
    pub fn new(entropy: &dyn Entropy) -> Self {
        Self(ServerSecret::fresh(entropy))
    }

    pub fn digest(&self, text: &str) -> Digest {
        let mac = keyed(self.0.expose()).chain_update(text).finalize().into_bytes();
        let (mut slot, mut rest) = ([0; HALF], [0; HALF]);
        slot.copy_from_slice(&mac[..HALF]);
        rest.copy_from_slice(&mac[HALF..]);
        Digest { slot, rest }
    }
}

/// HMAC-SHA256 of a text.
#[derive(Clone, Copy)]
pub(super) struct Digest {
    /// Where it is looked up, in a map.
    pub slot: [u8; HALF],
    rest: [u8; HALF],
}

impl Digest {
    /// Whether this is the digest that was found under the slot, in constant time.
    pub fn is(&self, other: &Self) -> bool {
        bool::from(self.slot.ct_eq(&other.slot) & self.rest.ct_eq(&other.rest))
    }
}

/// HMAC-SHA256 under a secret.
pub(super) fn keyed(secret: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes keys of any length")
}
