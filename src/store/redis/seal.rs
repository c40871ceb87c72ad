//! What the chain said of a transaction, as it lies in Redis: with an authentication code, so that whoever else can
//! write to Redis cannot have a payment accepted that nobody made.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use solana_signature::Signature;

use crate::chain::ConfirmedTransaction;

/// Bytes of the code, which comes first.
const CODE: usize = 32;

pub(super) struct Seal(Hmac<Sha256>);

/// Silent about the secret.
impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

impl Seal {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("a secret of any length will do"))
    }

    pub(super) fn close(&self, transaction: &ConfirmedTransaction) -> Vec<u8> {
        let content = bincode::serialize(transaction).expect("a transaction can be written down");
        let mut sealed = self.0.clone().chain_update(&content).finalize().into_bytes().to_vec();
        sealed.extend(content);
        sealed
    }

    /// `None` for what was not sealed with this secret, by this version, for this transaction.
    pub(super) fn open(&self, asked: &Signature, sealed: &[u8]) -> Option<ConfirmedTransaction> {
        let (code, content) = sealed.split_at_checked(CODE)?;
        self.0.clone().chain_update(content).verify_slice(code).ok()?;
        let transaction: ConfirmedTransaction = bincode::deserialize(content).ok()?;
        (transaction.signature == *asked).then_some(transaction)
    }
}

#[cfg(test)]
mod tests {
    use solana_pubkey::Pubkey;
    use solana_signature::Signature;

    use super::Seal;
    use crate::{
        chain::{ConfirmedTransaction, LamportBalance, TokenBalance},
        clock::UnixMs,
    };

    fn transaction() -> ConfirmedTransaction {
        let key = Pubkey::new_from_array([5; 32]);
        let tokens = TokenBalance { account: key, owner: key, mint: key, decimals: 6, amount: u64::MAX };
        ConfirmedTransaction {
            signature: Signature::from([1; 64]),
            slot: 7,
            block_time: UnixMs(1_700_000_000_000),
            failure: Some("it failed".to_owned()),
            signers: vec![key],
            fee: 5000,
            lamports: vec![LamportBalance { account: key, before: 2, after: 1 }],
            tokens_before: vec![tokens],
            tokens_after: vec![tokens],
        }
    }

    #[test]
    fn what_is_sealed_is_found_as_it_was() {
        let seal = Seal::new(&[3; 32]);
        let sealed = seal.close(&transaction());
        assert_eq!(seal.open(&transaction().signature, &sealed), Some(transaction()));
    }

    #[test]
    fn nothing_else_is_believed() {
        let seal = Seal::new(&[3; 32]);
        let sealed = seal.close(&transaction());
        let asked = transaction().signature;
        for position in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[position] ^= 1;
            assert_eq!(seal.open(&asked, &forged), None, "byte {position}");
            assert_eq!(seal.open(&asked, &sealed[..position]), None, "cut off at {position}");
        }
        assert_eq!(seal.open(&Signature::from([2; 64]), &sealed), None, "of another transaction");
        assert_eq!(Seal::new(&[4; 32]).open(&asked, &sealed), None, "by somebody else");
    }
}
