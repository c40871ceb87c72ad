//! What a transaction would do if it landed now.

use std::fmt;

use async_trait::async_trait;
use solana_pubkey::Pubkey;
use solana_transaction::versioned::VersionedTransaction;

use super::{ChainError, accounts::Account};

/// What kind of failure it is, as far as that makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Its blockhash is not known, or not any more.
    UnknownBlockhash,
    /// It is on the chain already.
    AlreadyLanded,
    /// Account 0 cannot pay the transaction's fee.
    FeePayerShort,
    /// It runs, and fails.
    Other,
}

/// Why a simulated transaction failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulationFailure {
    pub kind: FailureKind,
    /// The chain's own words.
    pub error: String,
    /// The last thing a program said. Anybody's words, cut short.
    pub log: Option<String>,
}

impl fmt::Display for SimulationFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)?;
        self.log.iter().try_for_each(|log| write!(f, " ({log})"))
    }
}

/// A transaction that was simulated, and the accounts that were asked for beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulation {
    /// The slot it was simulated in. The accounts may be of another one close by.
    pub slot: u64,
    pub failure: Option<SimulationFailure>,
    pub units_consumed: Option<u64>,
    /// As they are without the transaction, in the order asked for; `None` for those that do not exist.
    pub accounts: Vec<Option<Account>>,
}

/// Simulates at commitment `confirmed`.
#[async_trait]
pub trait Simulator: std::fmt::Debug + Send + Sync {
    /// Runs the transaction with its blockhash as it is, and reads `accounts` beside it. No signature leaves the
    /// process: they have to be checked before.
    ///
    /// # Errors
    /// When no endpoint gave an answer that makes sense. A transaction that fails is no error.
    async fn simulate(
        &self,
        transaction: &VersionedTransaction,
        accounts: &[Pubkey],
    ) -> Result<Simulation, ChainError>;
}
