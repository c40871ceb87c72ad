//! What accounts were before each recent slot changed them: reads at an older commitment, a lagging node and a lost
//! fork all look back through it.

use std::collections::{BTreeMap, HashMap};

use solana_account::AccountSharedData;
use solana_clock::Slot;
use solana_pubkey::Pubkey;

/// An account as it was; `None` where it did not exist.
pub type PreImage = Option<AccountSharedData>;

#[derive(Debug, Default)]
pub struct UndoLog {
    slots: BTreeMap<Slot, HashMap<Pubkey, PreImage>>,
}

impl UndoLog {
    /// Remembers what `key` was when `slot` first changed it.
    pub fn record(&mut self, slot: Slot, key: Pubkey, before: PreImage) {
        self.slots.entry(slot).or_default().entry(key).or_insert(before);
    }

    /// The account at the end of `slot`; `None` when nothing changed it since, so that the present one stands.
    pub fn at(&self, slot: Slot, key: &Pubkey) -> Option<&PreImage> {
        self.slots.range(slot + 1..).find_map(|(_, changed)| changed.get(key))
    }

    /// Accounts changed after `slot`.
    pub fn changed_after(&self, slot: Slot) -> impl Iterator<Item = &Pubkey> {
        self.slots.range(slot + 1..).flat_map(|(_, changed)| changed.keys())
    }

    /// Takes out everything from `slot` on: the accounts as they were at the end of the slot before it.
    pub fn take_from(&mut self, slot: Slot) -> HashMap<Pubkey, PreImage> {
        let mut before = HashMap::new();
        for (_, changed) in self.slots.split_off(&slot) {
            for (key, image) in changed {
                before.entry(key).or_insert(image);
            }
        }
        before
    }

    /// Forgets the slots before `slot`.
    pub fn prune(&mut self, slot: Slot) {
        while self.slots.first_entry().is_some_and(|oldest| *oldest.key() < slot) {
            self.slots.pop_first();
        }
    }
}
