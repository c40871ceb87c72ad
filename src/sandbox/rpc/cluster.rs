//! Methods about the node and its chain: slots, blocks, hashes, health.

use jsonrpc_core::{Error, Params, Value};
use serde_json::json;
use solana_commitment_config::{CommitmentConfig, CommitmentLevel};
use solana_hash::Hash;
use solana_rpc_client_api::{
    config::RpcContextConfig,
    custom_error::RpcCustomError,
    response::{RpcApiVersion, RpcBlockhash, RpcPrioritizationFee, RpcVersionInfo},
};

use super::params;
use crate::sandbox::{
    chain::Chain,
    ledger::{MAX_BLOCKHASH_AGE, SLOTS_PER_EPOCH, height},
};

/// Slots a node may be behind and still be healthy (`DELINQUENT_VALIDATOR_SLOT_DISTANCE` of a validator).
const MAX_HEALTHY_LAG: u64 = 128;

/// Accounts `getRecentPrioritizationFees` takes.
const MAX_FEE_ACCOUNTS: usize = 128;

/// Tells this chain's feature set from others; nothing looks inside.
const FEATURE_SET: u32 = 402;

pub fn check_health(chain: &Chain) -> Result<(), Error> {
    let behind = chain.faults.lag_slots();
    if behind > MAX_HEALTHY_LAG {
        return Err(RpcCustomError::NodeUnhealthy { num_slots_behind: Some(behind) }.into());
    }
    Ok(())
}

pub fn get_health(chain: &Chain, params: Params) -> Result<Value, Error> {
    params.expect_no_params()?;
    check_health(chain)?;
    Ok(json!("ok"))
}

pub fn get_version(_: &Chain, params: Params) -> Result<Value, Error> {
    params.expect_no_params()?;
    let solana_core = RpcApiVersion::default().to_string();
    params::value(RpcVersionInfo { solana_core, feature_set: Some(FEATURE_SET) })
}

pub fn get_genesis_hash(chain: &Chain, params: Params) -> Result<Value, Error> {
    params.expect_no_params()?;
    Ok(json!(chain.ledger().genesis_hash().to_string()))
}

fn context_slot(chain: &Chain, params: Params) -> Result<u64, Error> {
    let (config,): (Option<RpcContextConfig>,) = params::read::<_, 1>(params)?;
    let config = config.unwrap_or_default();
    params::slot(chain, &chain.ledger(), config.commitment, config.min_context_slot)
}

pub fn get_slot(chain: &Chain, params: Params) -> Result<Value, Error> {
    Ok(json!(context_slot(chain, params)?))
}

pub fn get_block_height(chain: &Chain, params: Params) -> Result<Value, Error> {
    Ok(json!(height(context_slot(chain, params)?)))
}

pub fn get_epoch_info(chain: &Chain, params: Params) -> Result<Value, Error> {
    let slot = context_slot(chain, params)?;
    Ok(json!({
        "absoluteSlot": slot,
        "blockHeight": height(slot),
        "epoch": slot / SLOTS_PER_EPOCH,
        "slotIndex": slot % SLOTS_PER_EPOCH,
        "slotsInEpoch": SLOTS_PER_EPOCH,
        "transactionCount": chain.ledger().history().count(),
    }))
}

pub fn get_block_time(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (slot,): (u64,) = params::read::<_, 1>(params)?;
    let ledger = chain.ledger();
    if slot > chain.slot_at(&ledger, CommitmentLevel::Confirmed) {
        return Err(RpcCustomError::BlockNotAvailable { slot }.into());
    }
    let first_available_block = ledger.first_block();
    let block = ledger.block(slot).ok_or(RpcCustomError::BlockCleanedUp { slot, first_available_block })?;
    Ok(json!(block.time))
}

pub fn get_latest_blockhash(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (config,): (Option<RpcContextConfig>,) = params::read::<_, 1>(params)?;
    let config = config.unwrap_or_default();
    let ledger = chain.ledger();
    let slot = params::slot(chain, &ledger, config.commitment, config.min_context_slot)?;
    let blockhash = ledger.latest_blockhash(slot).to_string();
    params::in_context(
        slot,
        RpcBlockhash { blockhash, last_valid_block_height: height(slot) + MAX_BLOCKHASH_AGE },
    )
}

pub fn is_blockhash_valid(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (hash, config): (String, Option<RpcContextConfig>) = params::read::<_, 2>(params)?;
    let config = config.unwrap_or_default();
    let hash: Hash = hash.parse().map_err(|error| Error::invalid_params(format!("{error:?}")))?;
    let ledger = chain.ledger();
    let slot = params::slot(chain, &ledger, config.commitment, config.min_context_slot)?;
    params::in_context(slot, ledger.is_blockhash_valid(&hash, slot))
}

pub fn get_minimum_balance_for_rent_exemption(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (data_len, _): (usize, Option<CommitmentConfig>) = params::read::<_, 2>(params)?;
    Ok(json!(chain.ledger().minimum_balance(data_len)))
}

/// Blocks here are never full, so that nobody has had to pay for priority.
pub fn get_recent_prioritization_fees(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (accounts,): (Option<Vec<String>>,) = params::read::<_, 1>(params)?;
    let accounts = accounts.unwrap_or_default();
    if accounts.len() > MAX_FEE_ACCOUNTS {
        return Err(Error::invalid_params(format!("Too many inputs provided; max {MAX_FEE_ACCOUNTS}")));
    }
    for account in &accounts {
        params::pubkey(account)?;
    }
    let tip = chain.slot_at(&chain.ledger(), CommitmentLevel::Processed);
    let slots = tip - MAX_BLOCKHASH_AGE + 1..=tip;
    params::value(slots.map(|slot| RpcPrioritizationFee { slot, prioritization_fee: 0 }).collect::<Vec<_>>())
}
