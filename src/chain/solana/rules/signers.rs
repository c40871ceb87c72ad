//! Rules 6 to 9: who signs, and that the others have.

use solana_pubkey::Pubkey;

use super::{Reason, Refusal, Rules, decode::Decoded};

impl Rules {
    pub(super) fn check_signers(&self, decoded: &Decoded, fee_payer: &Pubkey) -> Result<(), Refusal> {
        self.check_signer_count(decoded)?;
        check_first_account(decoded, fee_payer)?;
        check_signatures(decoded)?;
        check_no_lookups(decoded)
    }

    /// Rule 6.
    fn check_signer_count(&self, decoded: &Decoded) -> Result<(), Refusal> {
        let (found, most) =
            (decoded.transaction.message.header().num_required_signatures, self.policy.max_signers);
        if found <= most {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::ExcessiveSigners,
            format!(
                "the transaction needs {found} signatures, each at the fee payer's cost: at most {most} are accepted"
            ),
        ))
    }
}

/// Rule 7.
fn check_first_account(decoded: &Decoded, fee_payer: &Pubkey) -> Result<(), Refusal> {
    match decoded.transaction.message.static_account_keys().first() {
        Some(first) if first == fee_payer => Ok(()),
        first => Err(Refusal::new(
            Reason::FeePayerMismatch,
            format!(
                "the transaction's fee payer is {}, the requirements name {fee_payer}",
                first.map_or_else(|| "missing".to_owned(), Pubkey::to_string)
            ),
        )),
    }
}

/// Rule 8. The first signature is the fee payer's own, which is made when the payment is settled.
fn check_signatures(decoded: &Decoded) -> Result<(), Refusal> {
    let keys = decoded.transaction.message.static_account_keys();
    let bad = keys
        .iter()
        .zip(&decoded.transaction.signatures)
        .skip(1)
        .find(|(key, signature)| !signature.verify(key.as_ref(), &decoded.message));
    match bad {
        Some((key, _)) => Err(Refusal::new(
            Reason::SignatureInvalid,
            format!("{key} has not signed this transaction: its Ed25519 signature does not verify"),
        )),
        None => Ok(()),
    }
}

/// Rule 9. What a lookup table holds is known to the chain alone.
fn check_no_lookups(decoded: &Decoded) -> Result<(), Refusal> {
    let tables = decoded.transaction.message.address_table_lookups().map_or(0, <[_]>::len);
    if tables == 0 {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::TransactionCouldNotBeDecoded,
        "the transaction uses address lookup tables: build it with all its accounts in the message",
    ))
}
