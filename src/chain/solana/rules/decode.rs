//! Rule 5: from base64 to a transaction that has exactly one encoding, whose indices and signatures all fit.
//!
//! Of two texts that mean the same transaction at most one is let through, so that nobody can tell a cache, a log or
//! another decoder something else than the chain will see.

use std::collections::HashSet;

use base64::{Engine, prelude::BASE64_STANDARD};
use bincode::Options;
use sha2::{Digest, Sha256};
use solana_transaction::versioned::VersionedTransaction;

use super::{Reason, Refusal};

/// What fits a packet, and with it any transaction of a version that is accepted.
pub const MAX_TRANSACTION_BYTES: usize = 1_232;

/// The longest text that is looked at: the 4,096 bytes that version 1 allows, so as to tell what it is.
const MAX_TEXT: usize = 4_096_usize.div_ceil(3) * 4;

const SIGNATURE_BYTES: usize = 64;

/// In the first byte of a message, and of a transaction from version 1 on: the other bits are the version.
const VERSION_BIT: u8 = 0x80;

pub(super) struct Decoded {
    pub transaction: VersionedTransaction,
    /// What the signatures are over, as it came.
    pub message: Vec<u8>,
}

fn refusal(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Reason::TransactionCouldNotBeDecoded, message)
}

pub(super) fn bytes(text: &str) -> Result<Vec<u8>, Refusal> {
    if text.len() > MAX_TEXT {
        return Err(too_long());
    }
    BASE64_STANDARD
        .decode(text)
        .map_err(|error| refusal(format!("the transaction is not standard base64 with padding: {error}")))
}

fn too_long() -> Refusal {
    refusal("the transaction is longer than 1232 bytes, which is what fits Solana's packets")
}

/// Before all rules: versions from 1 on carry their compute budget in the message itself, where rules 11 and 12 do not
/// look.
pub(super) fn check_version(bytes: &[u8]) -> Result<(), Refusal> {
    match version(bytes) {
        None | Some(0) => Ok(()),
        Some(version) => Err(Refusal::new(
            Reason::UnsupportedTransactionVersion,
            format!("the transaction is of version {version}: build a legacy one or one of version 0"),
        )),
    }
}

/// What a payment is known by, whatever the rules say of it: as [`CheckedPayment`](super::CheckedPayment) has it. `None` for
/// what no transaction is made of.
#[must_use]
pub fn message_sha256(text: &str) -> Option<[u8; 32]> {
    let decoded = decode(bytes(text).ok()?).ok()?;
    Some(sha256(&decoded.message))
}

pub(super) fn sha256(message: &[u8]) -> [u8; 32] {
    Sha256::digest(message).into()
}

/// From version 1 on the version comes first and the signatures last; before, signatures come first.
fn version(bytes: &[u8]) -> Option<u8> {
    let versioned = |byte: &u8| (byte & VERSION_BIT != 0).then_some(byte & !VERSION_BIT);
    let first = bytes.first()?;
    versioned(first).or_else(|| versioned(bytes.get(message_offset(*first))?))
}

/// Where the message begins after `signatures` signatures, whose number takes one byte below 128.
fn message_offset(signatures: u8) -> usize {
    1 + usize::from(signatures) * SIGNATURE_BYTES
}

/// Rule 5.
pub(super) fn decode(mut bytes: Vec<u8>) -> Result<Decoded, Refusal> {
    if bytes.len() > MAX_TRANSACTION_BYTES {
        return Err(too_long());
    }
    let transaction: VersionedTransaction = bincode::options()
        .with_fixint_encoding()
        .with_limit(MAX_TRANSACTION_BYTES as u64)
        .deserialize(&bytes)
        .map_err(|error| refusal(format!("the transaction's bytes make no sense: {error}")))?;
    let signatures = u8::try_from(transaction.signatures.len()).unwrap_or(u8::MAX);
    let message = bytes.split_off(message_offset(signatures).min(bytes.len()));
    if transaction.message.serialize() != message {
        return Err(refusal("the transaction is not encoded the one way there is"));
    }
    check_sane(&transaction)?;
    Ok(Decoded { transaction, message })
}

fn check_sane(transaction: &VersionedTransaction) -> Result<(), Refusal> {
    let message = &transaction.message;
    let (needed, found) =
        (usize::from(message.header().num_required_signatures), transaction.signatures.len());
    if needed != found {
        return Err(refusal(format!(
            "the transaction carries {found} signatures, its message asks for {needed}"
        )));
    }
    let keys = message.static_account_keys();
    transaction.sanitize().map_err(|error| {
        refusal(format!(
            "the transaction contradicts itself ({error}): its header or an instruction points past its {} accounts, \
             or makes the fee payer a program or read-only",
            keys.len()
        ))
    })?;
    let mut seen = HashSet::with_capacity(keys.len());
    match keys.iter().find(|key| !seen.insert(**key)) {
        Some(twice) => Err(refusal(format!("the transaction names the account {twice} twice"))),
        None => Ok(()),
    }
}
