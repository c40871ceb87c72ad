//! Running a transaction without landing it, against the state of any commitment level.

use std::collections::HashMap;

use litesvm::types::TransactionMetadata;
use solana_account::{Account, AccountSharedData, ReadableAccount};
use solana_clock::Slot;
use solana_message::{AccountKeys, v0::LoadedAddresses};
use solana_pubkey::Pubkey;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;

use super::{Ledger, execution::Balances, token_balances, undo::PreImage};

/// Size a validator counts for each account and each lookup table it loads, on top of the data.
const ACCOUNT_BASE_SIZE: usize = 64;
const LOOKUP_TABLE_BASE_SIZE: usize = 8_248;

/// What a simulation found.
pub struct Simulated {
    pub result: Result<(), TransactionError>,
    pub executed: TransactionMetadata,
    pub loaded_addresses: LoadedAddresses,
    pub loaded_accounts_data_size: u32,
    pub before: Option<Balances>,
    pub after: Option<Balances>,
    /// The writable accounts after a success.
    pub post_accounts: HashMap<Pubkey, AccountSharedData>,
}

impl Simulated {
    fn refused(error: TransactionError) -> Self {
        Self {
            result: Err(error),
            executed: TransactionMetadata::default(),
            loaded_addresses: LoadedAddresses::default(),
            loaded_accounts_data_size: 0,
            before: None,
            after: None,
            post_accounts: HashMap::new(),
        }
    }
}

impl Ledger {
    /// Simulates a sanitized transaction on the bank of `slot`. Signatures are not looked at.
    ///
    /// An error is returned when the addresses of its lookup tables cannot be loaded, which a node reports before it
    /// simulates.
    pub fn simulate(
        &mut self,
        transaction: &VersionedTransaction,
        slot: Slot,
    ) -> Result<Simulated, TransactionError> {
        self.at_slot(transaction, slot, |ledger, loaded| match ledger.check_age(transaction, slot) {
            Ok(()) => ledger.run(transaction, loaded),
            Err(error) => Simulated::refused(error),
        })
    }

    /// What the bank of `slot` would charge for a transaction, were it never so old or landed already.
    pub fn fee(&mut self, transaction: &VersionedTransaction, slot: Slot) -> Result<u64, TransactionError> {
        self.at_slot(transaction, slot, |ledger, loaded| ledger.run(transaction, loaded).executed.fee)
    }

    /// Runs something while the accounts a transaction names are as they were at the end of `slot`.
    fn at_slot<T>(
        &mut self,
        transaction: &VersionedTransaction,
        slot: Slot,
        run: impl FnOnce(&Self, LoadedAddresses) -> T,
    ) -> Result<T, TransactionError> {
        let message = &transaction.message;
        let lookups = message.address_table_lookups().unwrap_or_default();
        let tables = lookups.iter().map(|lookup| lookup.account_key);
        let named = message.static_account_keys().iter().copied().chain(tables).collect();
        let mut rewound = self.rewind(named, slot);
        let loaded = self.load_addresses(message);
        if let Ok(loaded) = &loaded {
            let more = loaded.writable.iter().chain(&loaded.readonly).copied().collect();
            rewound.extend(self.rewind(more, slot));
        }
        let done = loaded.map(|loaded| run(self, loaded));
        // Back to front, so that an account rewound twice ends as it was at first.
        for (key, present) in rewound.into_iter().rev() {
            self.put(key, present.map(Account::from).unwrap_or_default());
        }
        done
    }

    /// Sets the named accounts back to the end of `slot` and returns what they are now. A transaction touches no
    /// others.
    fn rewind(&mut self, keys: Vec<Pubkey>, slot: Slot) -> Vec<(Pubkey, PreImage)> {
        let mut rewound = Vec::new();
        for key in keys {
            if let Some(before) = self.undo.at(slot, &key).cloned() {
                rewound.push((key, self.present(&key)));
                self.put(key, before.map(Account::from).unwrap_or_default());
            }
        }
        rewound
    }

    fn run(&self, transaction: &VersionedTransaction, loaded_addresses: LoadedAddresses) -> Simulated {
        let message = &transaction.message;
        let keys = AccountKeys::new(message.static_account_keys(), Some(&loaded_addresses));
        let mut decimals = HashMap::new();
        let before = self.balances(message, &keys, &mut decimals);
        let tables = message.address_table_lookups().map_or(0, <[_]>::len);
        let data_size = keys
            .iter()
            .filter_map(|key| self.present(key))
            .map(|account| account.data().len() + ACCOUNT_BASE_SIZE)
            .sum::<usize>()
            + tables * LOOKUP_TABLE_BASE_SIZE;
        let (result, executed, post_accounts) = match self.svm.simulate_transaction(transaction.clone()) {
            Ok(done) => (Ok(()), done.meta, done.post_accounts.into_iter().collect::<HashMap<_, _>>()),
            Err(failed) => (Err(failed.err), failed.meta, HashMap::new()),
        };
        let post = |key: &Pubkey| post_accounts.get(key).cloned().or_else(|| self.present(key));
        let after = result.is_ok().then(|| Balances {
            lamports: keys.iter().map(|key| post(key).map_or(0, |account| account.lamports())).collect(),
            tokens: token_balances::collect(message, &keys, &mut decimals, |key| {
                post(key).filter(|account| account.lamports() > 0)
            }),
        });
        Simulated {
            result,
            executed,
            loaded_accounts_data_size: u32::try_from(data_size).unwrap_or(u32::MAX),
            before: Some(before),
            after,
            post_accounts,
            loaded_addresses,
        }
    }
}
