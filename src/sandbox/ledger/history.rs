//! The transactions that landed, newest last, and what can be asked about them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use solana_clock::Slot;
use solana_hash::Hash;
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_status::{
    TransactionStatusMeta, VersionedTransactionWithStatusMeta, extract_memos::ExtractMemos,
};

/// Transactions remembered.
const MAX_TRANSACTIONS: usize = 16_384;

/// A transaction on the chain, successful or failed.
#[derive(Debug)]
pub struct Landed {
    pub signature: Signature,
    pub message_hash: Hash,
    pub slot: Slot,
    /// Seconds since the epoch.
    pub block_time: i64,
    /// Position within its block.
    pub index: u32,
    pub transaction: VersionedTransaction,
    pub meta: TransactionStatusMeta,
}

impl Landed {
    pub fn with_meta(&self) -> VersionedTransactionWithStatusMeta {
        VersionedTransactionWithStatusMeta { transaction: self.transaction.clone(), meta: self.meta.clone() }
    }

    /// The memos as `getSignaturesForAddress` shows them.
    pub fn memo(&self) -> Option<String> {
        let memos = self.with_meta().extract_memos();
        (!memos.is_empty()).then(|| memos.join("; "))
    }

    pub fn mentions(&self, address: &Pubkey) -> bool {
        let loaded = &self.meta.loaded_addresses;
        self.transaction.message.static_account_keys().contains(address)
            || loaded.writable.contains(address)
            || loaded.readonly.contains(address)
    }
}

#[derive(Debug, Default)]
pub struct History {
    landed: VecDeque<Arc<Landed>>,
    by_signature: HashMap<Signature, Arc<Landed>>,
    /// From here on nothing has been forgotten.
    first_slot: Slot,
    /// All that ever landed, forgotten ones included.
    count: u64,
}

impl History {
    pub fn push(&mut self, landed: Arc<Landed>) {
        self.count += 1;
        self.by_signature.insert(landed.signature, Arc::clone(&landed));
        self.landed.push_back(landed);
        if self.landed.len() > MAX_TRANSACTIONS
            && let Some(old) = self.landed.pop_front()
        {
            self.by_signature.remove(&old.signature);
            self.first_slot = old.slot + 1;
        }
    }

    pub const fn first_slot(&self) -> Slot {
        self.first_slot
    }

    pub fn get(&self, signature: &Signature) -> Option<&Arc<Landed>> {
        self.by_signature.get(signature)
    }

    pub fn newest_first(&self) -> impl Iterator<Item = &Arc<Landed>> {
        self.landed.iter().rev()
    }

    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Takes out everything from `slot` on.
    pub fn take_from(&mut self, slot: Slot) -> Vec<Arc<Landed>> {
        let keep = self.landed.partition_point(|landed| landed.slot < slot);
        let taken: Vec<_> = self.landed.drain(keep..).collect();
        for landed in &taken {
            self.by_signature.remove(&landed.signature);
            self.count -= 1;
        }
        taken
    }
}
