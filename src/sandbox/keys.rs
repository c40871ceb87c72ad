//! The key pairs of a sandbox, all derived from its seed.

use sha2::{Digest, Sha256};
use solana_hash::Hash;
use solana_keypair::Keypair;

/// The named wallets, funded at start.
#[derive(Debug)]
pub struct Wallets {
    /// Is paid. Has a token account for each stablecoin, empty.
    pub merchant: Keypair,
    /// Pays.
    pub agent: Keypair,
    /// The facilitator's: pays the fees of transactions it sponsors.
    pub fee_payer: Keypair,
}

/// Derives keys and hashes from a seed.
#[derive(Clone, Copy, Debug)]
pub struct Seed(pub u64);

impl Seed {
    fn digest(self, label: &str) -> [u8; 32] {
        let seeded = Sha256::new().chain_update("pay402 sandbox ").chain_update(self.0.to_le_bytes());
        seeded.chain_update(label).finalize().into()
    }

    pub fn keypair(self, label: &str) -> Keypair {
        Keypair::new_from_array(self.digest(label))
    }

    pub fn genesis_hash(self) -> Hash {
        Hash::new_from_array(self.digest("genesis"))
    }

    pub fn wallets(self) -> Wallets {
        Wallets {
            merchant: self.keypair("merchant"),
            agent: self.keypair("agent"),
            fee_payer: self.keypair("fee payer"),
        }
    }
}
