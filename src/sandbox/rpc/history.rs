//! Methods about transactions that landed.

use jsonrpc_core::{Error, Params, Value};
use serde_json::json;
use solana_clock::Slot;
use solana_commitment_config::CommitmentLevel;
use solana_rpc_client_api::{
    config::{
        RpcContextConfig, RpcEncodingConfigWrapper, RpcSignatureStatusConfig, RpcSignaturesForAddressConfig,
        RpcTransactionConfig,
    },
    custom_error::RpcCustomError,
    response::RpcConfirmedTransactionStatusWithSignature,
};
use solana_signature::Signature;
use solana_transaction_status::{
    ConfirmedTransactionWithStatusMeta, TransactionConfirmationStatus, TransactionStatus,
    TransactionWithStatusMeta, UiTransactionEncoding,
};

use super::params;
use crate::sandbox::{
    chain::Chain,
    ledger::{FINALITY_SLOTS, Landed, Ledger, SKIPPED_SLOTS},
};

/// Signatures `getSignatureStatuses` takes.
const MAX_STATUSES: usize = 256;

/// Most `getSignaturesForAddress` returns, and what it returns unasked.
const MAX_SIGNATURES: usize = 1_000;

/// Most `getBlocksWithLimit` returns.
const MAX_BLOCKS: usize = 500_000;

/// Slots for which a node knows statuses without searching its history.
const STATUS_CACHE_SLOTS: u64 = 300;

/// How settled a slot is for a node whose newest is `processed`.
fn confirmation(slot: Slot, processed: Slot) -> TransactionConfirmationStatus {
    match processed - slot {
        0 => TransactionConfirmationStatus::Processed,
        depth if depth < FINALITY_SLOTS => TransactionConfirmationStatus::Confirmed,
        _ => TransactionConfirmationStatus::Finalized,
    }
}

fn status(landed: &Landed, processed: Slot) -> TransactionStatus {
    let depth = processed - landed.slot;
    TransactionStatus {
        slot: landed.slot,
        confirmations: (depth < FINALITY_SLOTS).then(|| usize::try_from(depth).unwrap_or(usize::MAX)),
        status: landed.meta.status.clone(),
        err: landed.meta.status.clone().err(),
        confirmation_status: Some(confirmation(landed.slot, processed)),
    }
}

pub fn get_signature_statuses(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (signatures, config): (Vec<String>, Option<RpcSignatureStatusConfig>) = params::read::<_, 2>(params)?;
    if signatures.len() > MAX_STATUSES {
        return Err(Error::invalid_params(format!("Too many inputs provided; max {MAX_STATUSES}")));
    }
    let search = config.is_some_and(|config| config.search_transaction_history);
    let ledger = chain.ledger();
    let processed = chain.slot_at(&ledger, CommitmentLevel::Processed);
    let known = |landed: &Landed| {
        landed.slot <= processed && (search || processed - landed.slot <= STATUS_CACHE_SLOTS)
    };
    let statuses = signatures.iter().map(|text| {
        let signature = params::signature(text)?;
        let landed = ledger.history().get(&signature).filter(|landed| known(landed));
        Ok(landed.map(|landed| status(landed, processed)))
    });
    params::in_context(processed, statuses.collect::<Result<Vec<_>, Error>>()?)
}

/// Genesis for as long as no transaction has been forgotten.
pub fn get_first_available_block(chain: &Chain, params: Params) -> Result<Value, Error> {
    params.expect_no_params()?;
    Ok(json!(chain.ledger().history().first_slot()))
}

/// Blocks from a slot on: every slot has one, but for those before the first block and those that were forgotten.
pub fn get_blocks_with_limit(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (from, limit, config): (Slot, usize, Option<RpcContextConfig>) = params::read::<_, 3>(params)?;
    if limit > MAX_BLOCKS {
        return Err(Error::invalid_params(format!("Limit too large; max {MAX_BLOCKS}")));
    }
    let config = config.unwrap_or_default();
    let ledger = chain.ledger();
    let newest = params::settled_slot(chain, &ledger, config.commitment, config.min_context_slot)?;
    let first = from.max(ledger.history().first_slot()).max(SKIPPED_SLOTS);
    Ok(json!((first..=newest).take(limit).collect::<Vec<_>>()))
}

pub fn get_transaction(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (signature, config): (String, Option<RpcEncodingConfigWrapper<RpcTransactionConfig>>) =
        params::read::<_, 2>(params)?;
    let signature = params::signature(&signature)?;
    let config = config.map(|config| config.convert_to_current()).unwrap_or_default();
    let ledger = chain.ledger();
    let slot = params::settled_slot(chain, &ledger, config.commitment, None)?;
    let Some(landed) = ledger.history().get(&signature).filter(|landed| landed.slot <= slot) else {
        return Ok(Value::Null);
    };
    let encoded = ConfirmedTransactionWithStatusMeta {
        slot: landed.slot,
        tx_with_meta: TransactionWithStatusMeta::Complete(landed.with_meta()),
        block_time: Some(landed.block_time),
        index: landed.index,
    }
    .encode(config.encoding.unwrap_or(UiTransactionEncoding::Json), config.max_supported_transaction_version)
    .map_err(RpcCustomError::from)?;
    params::value(encoded)
}

pub fn get_signatures_for_address(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (address, config): (String, Option<RpcSignaturesForAddressConfig>) = params::read::<_, 2>(params)?;
    let (address, config) = (params::pubkey(&address)?, config.unwrap_or_default());
    let limit = config.limit.unwrap_or(MAX_SIGNATURES);
    if limit == 0 || limit > MAX_SIGNATURES {
        return Err(Error::invalid_params(format!("Invalid limit; max {MAX_SIGNATURES}")));
    }
    let before = config.before.as_deref().map(params::signature).transpose()?;
    let until = config.until.as_deref().map(params::signature).transpose()?;
    let ledger = chain.ledger();
    let slot = params::settled_slot(chain, &ledger, config.commitment, config.min_context_slot)?;
    let processed = chain.slot_at(&ledger, CommitmentLevel::Processed);
    let found = between(&ledger, before, until)
        .filter(|landed| landed.slot <= slot && landed.mentions(&address))
        .take(limit)
        .map(|landed| RpcConfirmedTransactionStatusWithSignature {
            signature: landed.signature.to_string(),
            slot: landed.slot,
            err: landed.meta.status.clone().err().map(Into::into),
            memo: landed.memo(),
            block_time: Some(landed.block_time),
            confirmation_status: Some(confirmation(landed.slot, processed)),
            transaction_index: Some(landed.index),
        });
    params::value(found.collect::<Vec<_>>())
}

/// Newest first: after `before` was passed, if it is given, and up to `until`.
fn between(
    ledger: &Ledger,
    before: Option<Signature>,
    until: Option<Signature>,
) -> impl Iterator<Item = &std::sync::Arc<Landed>> {
    let newest = ledger.history().newest_first();
    newest
        .skip_while(move |landed| before.is_some_and(|before| landed.signature != before))
        .skip(usize::from(before.is_some()))
        .take_while(move |landed| until.is_none_or(|until| landed.signature != until))
}
