//! A fork that loses: an unfinalized transaction disappears, and what came after it is played again without it.

use std::{collections::HashMap, sync::Arc};

use solana_account::Account;
use solana_clock::Slot;
use solana_pubkey::Pubkey;
use solana_signature::Signature;

use super::{FINALITY_SLOTS, Ledger, history::Landed};

/// What happened in the slots that are not final, in order.
#[derive(Debug)]
pub enum JournalEntry {
    Transaction(Arc<Landed>),
    Write { slot: Slot, key: Pubkey, account: Account },
}

impl JournalEntry {
    fn slot(&self) -> Slot {
        match self {
            Self::Transaction(landed) => landed.slot,
            Self::Write { slot, .. } => *slot,
        }
    }
}

impl Ledger {
    pub(super) fn journal_landed(&mut self, landed: &Arc<Landed>) {
        self.journal.push_back(JournalEntry::Transaction(Arc::clone(landed)));
    }

    pub(super) fn prune_journal(&mut self, finalized: Slot) {
        while self.journal.front().is_some_and(|entry| entry.slot() <= finalized) {
            self.journal.pop_front();
        }
    }

    /// Makes an unfinalized transaction vanish, with its effects; false when it is unknown or final.
    ///
    /// Later transactions run again in their own slots and may end otherwise, or not land at all. Blocks keep their
    /// hashes: the transactions that survive must stay valid.
    pub fn drop_by_fork(&mut self, signature: &Signature) -> bool {
        let Some(lost) = self.history.get(signature).map(|landed| landed.slot) else { return false };
        if lost + FINALITY_SLOTS <= self.tip() {
            return false;
        }
        for (key, before) in self.undo.take_from(lost) {
            self.put(key, before.map(Account::from).unwrap_or_default());
        }
        for landed in self.history.take_from(lost) {
            self.statuses.remove(&landed.message_hash);
        }
        let keep = self.journal.partition_point(|entry| entry.slot() < lost);
        let replay: Vec<_> = self.journal.drain(keep..).collect();
        let mut indices = HashMap::<Slot, u32>::new();
        for entry in replay {
            let slot = entry.slot();
            match entry {
                JournalEntry::Write { key, account, .. } => {
                    self.undo.record(slot, key, self.present(&key));
                    self.put(key, account.clone());
                    self.journal.push_back(JournalEntry::Write { slot, key, account });
                }
                JournalEntry::Transaction(landed) if landed.signature == *signature => {}
                JournalEntry::Transaction(landed) => self.replay(&landed, indices.entry(slot).or_default()),
            }
        }
        let tip = self.blocks.tip();
        self.write_clock(tip);
        self.tip_transactions = indices.remove(&tip.slot).unwrap_or_default();
        true
    }

    fn replay(&mut self, landed: &Landed, index: &mut u32) {
        let Some(block) = self.blocks.at(landed.slot) else { return };
        self.write_clock(block);
        match self.execute(&landed.transaction, block, *index) {
            Ok(_) => *index += 1,
            Err(error) => tracing::debug!(signature = %landed.signature, %error, "lost with the fork"),
        }
    }
}
