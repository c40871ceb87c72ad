//! The fee payers' keys, and the one thing that is ever done with them.
//!
//! A key signs a whole transaction that names it as the payer of its fee and that everybody else has signed. Nothing here
//! signs other bytes, and nothing gives a key away. Whether the transaction should be signed is not judged here.

use std::{fmt, sync::Arc};

use solana_keypair::Keypair;
use solana_message::VersionedMessage;
use solana_pubkey::Pubkey;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;

/// Fee payers there may be: each is watched.
pub const MAX_FEE_PAYERS: usize = 32;

/// Why a set of keys cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFeePayers {
    #[error("there must be at least one key")]
    None,
    #[error("there may be at most {MAX_FEE_PAYERS} keys")]
    TooMany,
    #[error("the same key is there twice")]
    Twice,
}

/// Why a transaction was not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("the transaction is malformed")]
    Malformed,
    #[error("the transaction's version is not supported")]
    UnsupportedVersion,
    #[error("the transaction's fee payer is none of ours")]
    NotOurs,
    #[error("{0} has not signed the transaction")]
    NotSignedBy(Pubkey),
}

/// The keys that pay fees. Clones share them; each is erased from memory with its last user.
#[derive(Clone)]
pub struct FeePayers {
    keys: Arc<[Keypair]>,
}

/// Silent about the keys; says whose they are.
impl fmt::Debug for FeePayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.addresses()).finish()
    }
}

impl FeePayers {
    /// The first one that can pay is advertised; payments made for any of them are accepted.
    ///
    /// # Errors
    /// When there is none, or too many, or one twice.
    pub fn new(keys: Vec<Keypair>) -> Result<Self, InvalidFeePayers> {
        if keys.is_empty() {
            return Err(InvalidFeePayers::None);
        }
        if keys.len() > MAX_FEE_PAYERS {
            return Err(InvalidFeePayers::TooMany);
        }
        let mut addresses: Vec<Pubkey> = keys.iter().map(Keypair::pubkey).collect();
        addresses.sort_unstable();
        if addresses.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(InvalidFeePayers::Twice);
        }
        Ok(Self { keys: keys.into() })
    }

    /// All of them, in the order they are advertised in.
    pub fn addresses(&self) -> impl Iterator<Item = Pubkey> {
        self.keys.iter().map(Keypair::pubkey)
    }

    #[must_use]
    pub fn contains(&self, address: &Pubkey) -> bool {
        self.addresses().any(|ours| ours == *address)
    }

    /// Puts the fee payer's signature into its place, the first, whatever was there.
    ///
    /// # Errors
    /// When the first account is none of the fee payers, or when the transaction lacks any other signature.
    pub fn sign(&self, mut transaction: VersionedTransaction) -> Result<VersionedTransaction, SignError> {
        if !matches!(transaction.message, VersionedMessage::Legacy(_) | VersionedMessage::V0(_)) {
            return Err(SignError::UnsupportedVersion);
        }
        transaction.sanitize().map_err(|_| SignError::Malformed)?;
        let accounts = transaction.message.static_account_keys();
        let payer = accounts.first().ok_or(SignError::Malformed)?;
        let key = self.keys.iter().find(|key| key.pubkey() == *payer).ok_or(SignError::NotOurs)?;
        let message = transaction.message.serialize();
        let others = accounts.iter().zip(&transaction.signatures).skip(1);
        for (signer, signature) in others {
            if !signature.verify(signer.as_ref(), &message) {
                return Err(SignError::NotSignedBy(*signer));
            }
        }
        let signature = key.sign_message(&message);
        *transaction.signatures.first_mut().ok_or(SignError::Malformed)? = signature;
        Ok(transaction)
    }
}
