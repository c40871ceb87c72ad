//! Which messages have landed while their blockhash is still usable: what makes a duplicate.
//!
//! By message hash and not by signature, as in a validator's bank: the fee payer's signature may be missing when a
//! transaction is simulated.

use std::collections::{BTreeMap, HashMap};

use solana_clock::Slot;
use solana_hash::Hash;

use super::blocks::MAX_BLOCKHASH_AGE;

#[derive(Debug, Default)]
pub struct StatusCache {
    landed: HashMap<Hash, Slot>,
    /// Message hashes by the slot of their blockhash, which bounds how long they matter.
    expiring: BTreeMap<Slot, Vec<Hash>>,
}

impl StatusCache {
    pub fn insert(&mut self, message: Hash, blockhash_slot: Slot, slot: Slot) {
        self.landed.insert(message, slot);
        self.expiring.entry(blockhash_slot).or_default().push(message);
    }

    pub fn remove(&mut self, message: &Hash) {
        self.landed.remove(message);
    }

    /// Whether the bank of `slot` has seen the message.
    pub fn contains(&self, message: &Hash, slot: Slot) -> bool {
        self.landed.get(message).is_some_and(|landed| *landed <= slot)
    }

    /// Forgets what no bank from `oldest` on can accept again.
    pub fn prune(&mut self, oldest: Slot) {
        while let Some(first) = self.expiring.first_entry()
            && first.key() + MAX_BLOCKHASH_AGE < oldest
        {
            for message in first.remove() {
                self.landed.remove(&message);
            }
        }
    }
}
