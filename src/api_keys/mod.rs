//! API keys and who calls with them.

mod keyring;

pub use keyring::{ApiKey, KeyRing, KeyRingError};
use solana_pubkey::Pubkey;

/// Who a request comes from, once its key is known to be good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Owner of what the caller creates. Nobody else sees it.
    pub user: String,
    /// Wallets that payments verified with this key must go to, where no requirement says otherwise.
    pub recipients: Vec<Pubkey>,
}
