//! The chain of blocks: which slot has which hash and time, and how long a hash may be used.

use std::collections::{HashMap, VecDeque};

use sha2::{Digest, Sha256};
use solana_clock::Slot;
use solana_hash::Hash;

use crate::clock::UnixMs;

/// Blocks a transaction may be behind the block whose hash it names (`MAX_PROCESSING_AGE` of a validator).
pub const MAX_BLOCKHASH_AGE: u64 = 150;

/// Blocks remembered, for block times and for the `SlotHashes` sysvar: about an hour.
const MAX_BLOCKS: usize = 8_192;

/// Slots without a block before the first one remembered. Height trails slot on every real cluster, so a client that
/// mistakes one for the other must fail here too.
pub const SKIPPED_SLOTS: u64 = 64;

/// Time between two blocks made up at the start.
const GENESIS_SLOT_MS: i64 = 400;

#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub slot: Slot,
    pub hash: Hash,
    /// Seconds since the epoch.
    pub time: i64,
}

#[derive(Debug)]
pub struct Blocks {
    recent: VecDeque<Block>,
    by_hash: HashMap<Hash, Slot>,
    genesis_hash: Hash,
}

/// Height of the block in `slot`.
pub const fn height(slot: Slot) -> u64 {
    slot.saturating_sub(SKIPPED_SLOTS)
}

fn next_hash(previous: &Hash, slot: Slot) -> Hash {
    Hash::new_from_array(
        Sha256::new().chain_update(previous).chain_update(slot.to_le_bytes()).finalize().into(),
    )
}

impl Blocks {
    /// A chain that has been running up to `tip` already, so that every commitment level has a block to show.
    pub fn up_to(tip: Slot, genesis_hash: Hash, now: UnixMs) -> Self {
        let mut blocks = Self { recent: VecDeque::new(), by_hash: HashMap::new(), genesis_hash };
        for slot in SKIPPED_SLOTS..=tip {
            let age = i64::try_from(tip - slot).unwrap_or(i64::MAX).saturating_mul(GENESIS_SLOT_MS);
            blocks.push(slot, UnixMs(now.0.saturating_sub(age)));
        }
        blocks
    }

    fn push(&mut self, slot: Slot, now: UnixMs) {
        let (previous, not_before) = self.recent.back().map_or((self.genesis_hash, 0), |b| (b.hash, b.time));
        let block = Block { slot, hash: next_hash(&previous, slot), time: now.as_secs().max(not_before) };
        self.by_hash.insert(block.hash, slot);
        self.recent.push_back(block);
        if self.recent.len() > MAX_BLOCKS
            && let Some(old) = self.recent.pop_front()
        {
            self.by_hash.remove(&old.hash);
        }
    }

    pub fn extend(&mut self, now: UnixMs) {
        self.push(self.tip().slot + 1, now);
    }

    pub const fn genesis_hash(&self) -> Hash {
        self.genesis_hash
    }

    pub fn tip(&self) -> Block {
        *self.recent.back().expect("a chain starts with blocks and never loses its last one")
    }

    /// Moves the tip's time forward to `now`; only right while the block is empty. Says whether it moved.
    pub fn refresh_tip_time(&mut self, now: UnixMs) -> bool {
        let tip = self.recent.back_mut().expect("a chain starts with blocks and never loses its last one");
        let moved = now.as_secs() > tip.time;
        tip.time = tip.time.max(now.as_secs());
        moved
    }

    pub fn at(&self, slot: Slot) -> Option<Block> {
        let first = self.recent.front()?.slot;
        self.recent.get(usize::try_from(slot.checked_sub(first)?).ok()?).copied()
    }

    pub fn first(&self) -> Slot {
        self.recent.front().map_or(0, |block| block.slot)
    }

    /// The slot whose block has this hash.
    pub fn slot_of(&self, hash: &Hash) -> Option<Slot> {
        self.by_hash.get(hash).copied()
    }

    /// Whether the bank of `slot` accepts transactions that name `hash`.
    pub fn is_recent(&self, hash: &Hash, slot: Slot) -> bool {
        self.slot_of(hash).is_some_and(|made| made <= slot && slot - made <= MAX_BLOCKHASH_AGE)
    }

    /// Newest first, those before `slot`.
    pub fn before(&self, slot: Slot) -> impl Iterator<Item = &Block> {
        self.recent.iter().rev().skip_while(move |block| block.slot >= slot)
    }
}
