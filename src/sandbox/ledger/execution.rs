//! Landing a transaction: the checks a bank makes, the execution, and the metadata a validator keeps of it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use litesvm::types::{FailedTransactionMetadata, TransactionMetadata};
use solana_account::ReadableAccount;
use solana_clock::Slot;
use solana_message::{AccountKeys, AddressLoader, VersionedMessage, v0::LoadedAddresses};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;
use solana_transaction_status::{TransactionStatusMeta, TransactionTokenBalance, map_inner_instructions};

use super::{Block, Ledger, MAX_BLOCK_TRANSACTIONS, history::Landed, token_balances};

/// Bytes of a serialized transaction: what fits a packet.
pub const MAX_TRANSACTION_BYTES: usize = 1_232;

/// Lamports and token balances of a transaction's accounts, in the order of its keys.
pub struct Balances {
    pub lamports: Vec<u64>,
    pub tokens: Vec<TransactionTokenBalance>,
}

/// Whether all signatures are there and right; the transaction must be sanitized.
pub fn is_signed(transaction: &VersionedTransaction) -> bool {
    transaction.verify_with_results().into_iter().all(|right| right)
}

/// Whether a transaction is well formed, of a version the cluster knows, and fits a packet.
pub fn check_shape(transaction: &VersionedTransaction) -> Result<(), TransactionError> {
    if matches!(transaction.message, VersionedMessage::V1(_)) {
        return Err(TransactionError::UnsupportedVersion);
    }
    let size = bincode::serialized_size(transaction).unwrap_or(u64::MAX);
    if size > MAX_TRANSACTION_BYTES as u64 {
        return Err(TransactionError::SanitizeFailure);
    }
    Ok(transaction.sanitize()?)
}

impl Ledger {
    /// Lands a transaction in the present slot, as a leader would.
    ///
    /// A transaction that fails while it runs lands, with its error and its fee. An error is returned for one that no
    /// block would contain.
    pub fn land(&mut self, transaction: &VersionedTransaction) -> Result<Arc<Landed>, TransactionError> {
        check_shape(transaction)?;
        if !is_signed(transaction) {
            return Err(TransactionError::SignatureFailure);
        }
        if self.tip_transactions >= MAX_BLOCK_TRANSACTIONS {
            self.advance(1);
        }
        let tip = self.tip();
        self.check_age(transaction, tip)?;
        if self.tip_transactions == 0 && self.blocks.refresh_tip_time(self.clock.now()) {
            self.write_clock(self.blocks.tip());
        }
        let landed = self.execute(transaction, self.blocks.tip(), self.tip_transactions)?;
        self.tip_transactions += 1;
        Ok(landed)
    }

    /// What a bank at `slot` asks before it runs a transaction.
    pub fn check_age(&self, transaction: &VersionedTransaction, slot: Slot) -> Result<(), TransactionError> {
        if !self.blocks.is_recent(transaction.message.recent_blockhash(), slot) {
            return Err(TransactionError::BlockhashNotFound);
        }
        if self.statuses.contains(&transaction.message.hash(), slot) {
            return Err(TransactionError::AlreadyProcessed);
        }
        Ok(())
    }

    /// Runs a checked transaction in `block` and records it there.
    pub(super) fn execute(
        &mut self,
        transaction: &VersionedTransaction,
        block: Block,
        index: u32,
    ) -> Result<Arc<Landed>, TransactionError> {
        let message = &transaction.message;
        let loaded_addresses = self.load_addresses(message)?;
        let keys = AccountKeys::new(message.static_account_keys(), Some(&loaded_addresses));
        let mut decimals = HashMap::new();
        let before = self.balances(message, &keys, &mut decimals);
        for (position, key) in keys.iter().enumerate() {
            if is_writable(message, &loaded_addresses, position) {
                self.undo.record(block.slot, *key, self.present(key));
            }
        }

        let (status, executed) = match self.svm.send_transaction(transaction.clone()) {
            Ok(executed) => (Ok(()), executed),
            Err(failed) => (Err(failed.err.clone()), self.charge_failed(transaction, failed)?),
        };

        let after = self.balances(message, &keys, &mut decimals);
        let message_hash = message.hash();
        let meta = status_meta(status, executed, before, after, loaded_addresses);
        let landed = Arc::new(Landed {
            signature: transaction.signatures[0],
            message_hash,
            slot: block.slot,
            block_time: block.time,
            index,
            transaction: transaction.clone(),
            meta,
        });
        let blockhash_slot = self.blocks.slot_of(message.recent_blockhash()).unwrap_or(block.slot);
        self.statuses.insert(message_hash, blockhash_slot, block.slot);
        self.journal_landed(&landed);
        self.history.push(Arc::clone(&landed));
        Ok(landed)
    }

    /// Sorts failures: `LiteSVM` has charged those that ran, those whose programs or accounts could not be loaded pay
    /// their fee and land too, and the rest never reach a block.
    fn charge_failed(
        &mut self,
        transaction: &VersionedTransaction,
        failed: FailedTransactionMetadata,
    ) -> Result<TransactionMetadata, TransactionError> {
        // Only an execution carries the signature.
        if failed.meta.signature != Signature::default() {
            return Ok(failed.meta);
        }
        if !matches!(
            failed.err,
            TransactionError::ProgramAccountNotFound
                | TransactionError::InvalidProgramForExecution
                | TransactionError::MaxLoadedAccountsDataSizeExceeded
        ) {
            return Err(failed.err);
        }
        let payer = transaction.message.static_account_keys()[0];
        let account = self.svm.get_account(&payer).ok_or(TransactionError::AccountNotFound)?;
        let lamports =
            account.lamports.checked_sub(failed.meta.fee).ok_or(TransactionError::InsufficientFundsForFee)?;
        self.put(payer, solana_account::Account { lamports, ..account });
        Ok(failed.meta)
    }

    /// The addresses a v0 message takes from lookup tables.
    pub(super) fn load_addresses(
        &self,
        message: &VersionedMessage,
    ) -> Result<LoadedAddresses, TransactionError> {
        let lookups = message.address_table_lookups().unwrap_or_default();
        Ok(self.svm.accounts_db().load_addresses(lookups)?)
    }

    pub(super) fn balances(
        &self,
        message: &VersionedMessage,
        keys: &AccountKeys<'_>,
        decimals: &mut token_balances::Decimals,
    ) -> Balances {
        let lamports = keys.iter().map(|key| self.svm.get_balance(key).unwrap_or_default()).collect();
        let present = |key: &Pubkey| self.present(key).filter(|account| account.lamports() > 0);
        Balances { lamports, tokens: token_balances::collect(message, keys, decimals, present) }
    }
}

/// Whether the message may write the account; more may be said writable than are, never fewer.
fn is_writable(message: &VersionedMessage, loaded: &LoadedAddresses, position: usize) -> bool {
    let fixed = message.static_account_keys().len();
    if position < fixed {
        message.is_maybe_writable_with_reserved_addresses(position, None::<&HashSet<Pubkey>>)
    } else {
        position - fixed < loaded.writable.len()
    }
}

fn status_meta(
    status: Result<(), TransactionError>,
    executed: TransactionMetadata,
    before: Balances,
    after: Balances,
    loaded_addresses: LoadedAddresses,
) -> TransactionStatusMeta {
    let return_data = (!executed.return_data.data.is_empty()).then_some(executed.return_data);
    TransactionStatusMeta {
        status,
        fee: executed.fee,
        pre_balances: before.lamports,
        post_balances: after.lamports,
        inner_instructions: Some(map_inner_instructions(executed.inner_instructions).collect()),
        log_messages: Some(executed.logs),
        pre_token_balances: Some(before.tokens),
        post_token_balances: Some(after.tokens),
        rewards: Some(Vec::new()),
        loaded_addresses,
        return_data,
        compute_units_consumed: Some(executed.compute_units_consumed),
        cost_units: None,
    }
}
