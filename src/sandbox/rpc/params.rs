//! What most methods have in common: reading parameters, choosing the slot to answer for, and wrapping the answer.

use std::str::FromStr;

use base64::{Engine, prelude::BASE64_STANDARD};
use jsonrpc_core::{Error, Params, Value};
use serde::{Serialize, de::DeserializeOwned};
use solana_clock::Slot;
use solana_commitment_config::{CommitmentConfig, CommitmentLevel};
use solana_message::VersionedMessage;
use solana_pubkey::Pubkey;
use solana_rpc_client_api::{
    custom_error::RpcCustomError,
    response::{Response, RpcResponseContext},
};
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_status::{TransactionBinaryEncoding, UiTransactionEncoding};

use crate::sandbox::{
    chain::Chain,
    ledger::{Ledger, MAX_TRANSACTION_BYTES, check_shape},
};

/// Reads positional parameters into a tuple of `N`; those left out are null.
pub fn read<T: DeserializeOwned, const N: usize>(params: Params) -> Result<T, Error> {
    let mut values = match params {
        Params::None => Vec::new(),
        Params::Array(values) => values,
        Params::Map(_) => return Err(Error::invalid_params("`params` should be an array")),
    };
    if values.len() > N {
        return Err(Error::invalid_params(format!("Invalid params: at most {N} expected.")));
    }
    values.resize(N, Value::Null);
    serde_json::from_value(Value::Array(values))
        .map_err(|error| Error::invalid_params(format!("Invalid params: {error}.")))
}

pub fn pubkey(text: &str) -> Result<Pubkey, Error> {
    text.parse().map_err(|error| Error::invalid_params(format!("Invalid param: {error:?}")))
}

pub fn signature(text: &str) -> Result<Signature, Error> {
    Signature::from_str(text).map_err(|error| Error::invalid_params(format!("Invalid param: {error:?}")))
}

/// The slot to answer for: what this node shows at the commitment (`finalized` unless said), if it has reached the
/// slot the client insists on.
pub fn slot(
    chain: &Chain,
    ledger: &Ledger,
    commitment: Option<CommitmentConfig>,
    min_context_slot: Option<Slot>,
) -> Result<Slot, Error> {
    let slot = chain.slot_at(ledger, commitment.unwrap_or_default().commitment);
    match min_context_slot {
        Some(wanted) if slot < wanted => {
            Err(RpcCustomError::MinContextSlotNotReached { context_slot: slot }.into())
        }
        _ => Ok(slot),
    }
}

/// As `slot`, for the methods that know of no `processed`.
pub fn settled_slot(
    chain: &Chain,
    ledger: &Ledger,
    commitment: Option<CommitmentConfig>,
    min_context_slot: Option<Slot>,
) -> Result<Slot, Error> {
    if commitment.is_some_and(|config| config.commitment == CommitmentLevel::Processed) {
        return Err(Error::invalid_params("Method does not support commitment below `confirmed`"));
    }
    slot(chain, ledger, commitment, min_context_slot)
}

pub fn value(result: impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(result).map_err(|_| Error::internal_error())
}

pub fn in_context(slot: Slot, value: impl Serialize) -> Result<Value, Error> {
    self::value(Response { context: RpcResponseContext::new(slot), value })
}

/// Decodes a transaction and checks its shape.
pub fn transaction(
    encoded: &str,
    encoding: Option<UiTransactionEncoding>,
) -> Result<VersionedTransaction, Error> {
    let encoding = encoding.unwrap_or(UiTransactionEncoding::Base58);
    let binary = encoding.into_binary_encoding().ok_or_else(|| {
        Error::invalid_params(format!(
            "unsupported encoding: {encoding}. Supported encodings: base58, base64"
        ))
    })?;
    let transaction: VersionedTransaction = decode(encoded, binary, "VersionedTransaction")?;
    check_shape(&transaction)
        .map_err(|error| Error::invalid_params(format!("invalid transaction: {error}")))?;
    Ok(transaction)
}

pub fn message(encoded: &str) -> Result<VersionedMessage, Error> {
    let message: VersionedMessage = decode(encoded, TransactionBinaryEncoding::Base64, "VersionedMessage")?;
    if matches!(message, VersionedMessage::V1(_)) {
        return Err(Error::invalid_params("invalid transaction message: unsupported version"));
    }
    message
        .sanitize()
        .map_err(|error| Error::invalid_params(format!("invalid transaction message: {error}")))?;
    Ok(message)
}

fn decode<T: DeserializeOwned>(
    encoded: &str,
    encoding: TransactionBinaryEncoding,
    what: &str,
) -> Result<T, Error> {
    let (name, decoded) = match encoding {
        TransactionBinaryEncoding::Base58 => {
            // Base58 takes time in the square of its length.
            if encoded.len() > MAX_TRANSACTION_BYTES * 2 {
                return Err(too_large("base58", what, encoded.len()));
            }
            ("base58", bs58::decode(encoded).into_vec().map_err(|error| error.to_string()))
        }
        TransactionBinaryEncoding::Base64 => {
            ("base64", BASE64_STANDARD.decode(encoded).map_err(|error| error.to_string()))
        }
    };
    let bytes =
        decoded.map_err(|error| Error::invalid_params(format!("invalid {name} encoding: {error}")))?;
    if bytes.len() > MAX_TRANSACTION_BYTES {
        return Err(too_large(name, what, bytes.len()));
    }
    bincode::deserialize(&bytes)
        .map_err(|error| Error::invalid_params(format!("failed to deserialize {what}: {error}")))
}

fn too_large(encoding: &str, what: &str, len: usize) -> Error {
    Error::invalid_params(format!(
        "{encoding} encoded {what} too large: {len} bytes (max: raw {MAX_TRANSACTION_BYTES})"
    ))
}
