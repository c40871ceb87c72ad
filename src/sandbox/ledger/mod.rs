//! The ledger: accounts, blocks and landed transactions, and which of them each commitment level can see.
//!
//! `LiteSVM` holds the present state and runs programs; everything a bank does around that (blockhash age, duplicates,
//! signatures, commitments, forks) is here, because `LiteSVM` only knows its latest blockhash and keeps no past.

mod blocks;
mod execution;
mod fork;
mod history;
mod simulation;
mod status_cache;
mod token_balances;
mod undo;

use std::{collections::VecDeque, fmt, sync::Arc};

use litesvm::LiteSVM;
use solana_account::{Account, AccountSharedData, ReadableAccount};
use solana_clock::{Clock as ClockSysvar, Slot};
use solana_commitment_config::CommitmentLevel;
use solana_hash::Hash;
use solana_program_runtime::invoke_context::BuiltinFunctionRegisterer;
use solana_pubkey::Pubkey;
use solana_slot_hashes::SlotHashes;

pub use blocks::{Block, MAX_BLOCKHASH_AGE, SKIPPED_SLOTS, height};
pub use execution::{MAX_TRANSACTION_BYTES, check_shape, is_signed};
pub use history::{History, Landed};
pub use simulation::Simulated;

use crate::clock::Clock;
use blocks::Blocks;
use fork::JournalEntry;
use status_cache::StatusCache;
use undo::UndoLog;

/// Slots until a block is final, as voting towers make it on a real cluster.
pub const FINALITY_SLOTS: u64 = 32;

/// How far a node may be told to lag, in slots: what the undo log keeps beyond the finalized slot.
pub const MAX_LAG_SLOTS: u64 = 256;

pub const SLOTS_PER_EPOCH: u64 = 432_000;

/// Transactions in one block; the next one opens a new slot. Bounds what an unfinalized slot holds.
const MAX_BLOCK_TRANSACTIONS: u32 = 4_096;

/// Hashes in the `SlotHashes` sysvar.
const SLOT_HASHES: usize = 512;

/// The slot a new chain is at.
pub const FIRST_SLOT: Slot = 1_000;

pub struct Ledger {
    svm: LiteSVM,
    clock: Arc<dyn Clock>,
    blocks: Blocks,
    undo: UndoLog,
    statuses: StatusCache,
    history: History,
    journal: VecDeque<JournalEntry>,
    /// Transactions in the block being filled.
    tip_transactions: u32,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("tip", &self.tip()).finish_non_exhaustive()
    }
}

impl Ledger {
    pub fn new(genesis_hash: Hash, clock: Arc<dyn Clock>) -> Self {
        // `LiteSVM::new` without its faucet (ours is funded at genesis from the seed) and from slot 0, so that the
        // programs are already deployed in the first slot. The features are mainnet's: LiteSVM's bare default has
        // none, and would run the SPL Token program of before p-token.
        let mut svm = LiteSVM::default().with_mainnet_features().with_builtins().with_sysvars();
        svm.warp_to_slot(0);
        let svm = svm
            .with_feature_accounts()
            .with_default_programs()
            .with_sigverify(false)
            .with_blockhash_check(false)
            .with_transaction_history(0);
        let blocks = Blocks::up_to(FIRST_SLOT, genesis_hash, clock.now());
        let mut ledger = Self {
            svm,
            clock,
            blocks,
            undo: UndoLog::default(),
            statuses: StatusCache::default(),
            history: History::default(),
            journal: VecDeque::new(),
            tip_transactions: 0,
        };
        ledger.write_sysvars(ledger.blocks.tip());
        ledger
    }

    /// The state itself, for what exists before the first transaction; nothing done here can be undone.
    pub const fn genesis(&mut self) -> &mut LiteSVM {
        &mut self.svm
    }

    pub fn tip(&self) -> Slot {
        self.blocks.tip().slot
    }

    /// The slot whose state a node shows at this commitment, when it is `lag` slots behind.
    pub fn slot_at(&self, commitment: CommitmentLevel, lag: u64) -> Slot {
        let depth = match commitment {
            CommitmentLevel::Processed => 0,
            CommitmentLevel::Confirmed => 1,
            CommitmentLevel::Finalized => FINALITY_SLOTS,
        };
        self.tip() - depth - lag.min(MAX_LAG_SLOTS)
    }

    pub fn genesis_hash(&self) -> Hash {
        self.blocks.genesis_hash()
    }

    pub fn block(&self, slot: Slot) -> Option<Block> {
        self.blocks.at(slot)
    }

    pub fn first_block(&self) -> Slot {
        self.blocks.first()
    }

    pub fn latest_blockhash(&self, slot: Slot) -> Hash {
        self.blocks.at(slot).unwrap_or(self.blocks.tip()).hash
    }

    /// Whether a bank at `slot` accepts the hash.
    pub fn is_blockhash_valid(&self, hash: &Hash, slot: Slot) -> bool {
        self.blocks.is_recent(hash, slot)
    }

    pub const fn history(&self) -> &History {
        &self.history
    }

    pub fn minimum_balance(&self, data_len: usize) -> u64 {
        self.svm.minimum_balance_for_rent_exemption(data_len)
    }

    /// Opens `n` new slots.
    pub fn advance(&mut self, n: u64) {
        for _ in 0..n {
            self.blocks.extend(self.clock.now());
        }
        self.tip_transactions = 0;
        self.write_sysvars(self.blocks.tip());
        let tip = self.tip();
        let oldest = tip.saturating_sub(FINALITY_SLOTS + MAX_LAG_SLOTS);
        self.undo.prune(oldest);
        self.statuses.prune(oldest);
        self.prune_journal(tip.saturating_sub(FINALITY_SLOTS));
    }

    /// Gives the bank of `block` its clock and the hashes of the blocks before it.
    fn write_sysvars(&mut self, block: Block) {
        let hashes: Vec<_> =
            self.blocks.before(block.slot).take(SLOT_HASHES).map(|b| (b.slot, b.hash)).collect();
        self.svm.set_sysvar(&SlotHashes::new(&hashes));
        self.write_clock(block);
    }

    fn write_clock(&mut self, block: Block) {
        let epoch = block.slot / SLOTS_PER_EPOCH;
        self.svm.set_sysvar(&ClockSysvar {
            slot: block.slot,
            epoch_start_timestamp: block.time,
            epoch,
            leader_schedule_epoch: epoch + 1,
            unix_timestamp: block.time,
        });
    }

    /// The account at the end of `slot`.
    pub fn account(&self, key: &Pubkey, slot: Slot) -> Option<AccountSharedData> {
        let account = match self.undo.at(slot, key) {
            Some(before) => before.clone(),
            None => self.present(key),
        };
        account.filter(|account| account.lamports() > 0)
    }

    fn present(&self, key: &Pubkey) -> Option<AccountSharedData> {
        self.svm.accounts_db().get_account(key)
    }

    /// Accounts of a program at the end of `slot`, in the order of their keys.
    pub fn program_accounts(&self, program: &Pubkey, slot: Slot) -> Vec<(Pubkey, AccountSharedData)> {
        let present = self.svm.get_program_accounts(program).into_iter().map(|(key, _)| key);
        let mut keys: Vec<Pubkey> = present.chain(self.undo.changed_after(slot).copied()).collect();
        keys.sort_unstable();
        keys.dedup();
        let at_slot = keys.into_iter().filter_map(|key| Some((key, self.account(&key, slot)?)));
        at_slot.filter(|(_, account)| account.owner() == program).collect()
    }

    /// Writes an account in the present slot, whatever it was.
    pub fn write_account(&mut self, key: Pubkey, account: Account) {
        let slot = self.tip();
        self.undo.record(slot, key, self.present(&key));
        self.journal.push_back(JournalEntry::Write { slot, key, account: account.clone() });
        self.put(key, account);
    }

    /// Puts an account without a trace.
    fn put(&mut self, key: Pubkey, account: Account) {
        // LiteSVM refuses only what it cannot load: executables that are no programs, sysvars that do not parse. Then
        // the account stays as it was.
        if let Err(error) = self.svm.set_account(key, account) {
            tracing::warn!(%key, %error, "account not written");
        }
    }

    pub fn add_builtin(&mut self, program_id: Pubkey, entrypoint: BuiltinFunctionRegisterer) {
        self.svm.add_builtin(program_id, entrypoint);
    }
}
