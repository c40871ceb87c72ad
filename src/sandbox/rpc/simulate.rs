//! Running a transaction without sending it.

use jsonrpc_core::{Error, Params, Value};
use solana_account_decoder::UiAccountEncoding;
use solana_clock::Slot;
use solana_message::{AccountKeys, VersionedMessage};
use solana_rpc_client_api::{
    config::{RpcContextConfig, RpcSimulateTransactionAccountsConfig, RpcSimulateTransactionConfig},
    custom_error::RpcCustomError,
    response::{RpcBlockhash, RpcSimulateTransactionResult, UiAccount},
};
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;
use solana_transaction_status::{
    TransactionTokenBalance, UiInnerInstructions, UiLoadedAddresses, UiTransactionTokenBalance,
    map_inner_instructions, parse_ui_inner_instructions,
};

use super::{accounts, params};
use crate::sandbox::{
    chain::Chain,
    ledger::{Ledger, MAX_BLOCKHASH_AGE, Simulated, height, is_signed},
};

pub fn simulate_transaction(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (encoded, config): (String, Option<RpcSimulateTransactionConfig>) = params::read::<_, 2>(params)?;
    let config = config.unwrap_or_default();
    if config.sig_verify && config.replace_recent_blockhash {
        return Err(Error::invalid_params("sigVerify may not be used with replaceRecentBlockhash"));
    }
    let mut transaction = params::transaction(&encoded, config.encoding)?;
    let mut ledger = chain.ledger();
    let slot = params::slot(chain, &ledger, config.commitment, config.min_context_slot)?;
    let replacement_blockhash = config.replace_recent_blockhash.then(|| {
        let hash = ledger.latest_blockhash(slot);
        transaction.message.set_recent_blockhash(hash);
        RpcBlockhash {
            blockhash: hash.to_string(),
            last_valid_block_height: height(slot) + MAX_BLOCKHASH_AGE,
        }
    });
    if config.sig_verify && !is_signed(&transaction) {
        return Err(RpcCustomError::TransactionSignatureVerificationFailure.into());
    }
    let simulated = run(&mut ledger, &transaction, slot)?;
    let accounts = config
        .accounts
        .map(|wanted| accounts_after(&ledger, slot, &transaction, &simulated, &wanted))
        .transpose()?;
    let inner_instructions =
        config.inner_instructions.then(|| inner_instructions(&transaction.message, &simulated));
    let result = RpcSimulateTransactionResult {
        accounts,
        inner_instructions,
        replacement_blockhash,
        fee: Some(simulated.executed.fee).filter(|_| simulated.before.is_some()),
        pre_balances: simulated.before.as_ref().map(|before| before.lamports.clone()),
        post_balances: simulated.after.as_ref().map(|after| after.lamports.clone()),
        pre_token_balances: simulated.before.as_ref().map(|before| ui_tokens(&before.tokens)),
        post_token_balances: simulated.after.as_ref().map(|after| ui_tokens(&after.tokens)),
        loaded_addresses: Some(UiLoadedAddresses::from(&simulated.loaded_addresses)),
        ..outcome(simulated)
    };
    params::in_context(slot, result)
}

fn ui_tokens(balances: &[TransactionTokenBalance]) -> Vec<UiTransactionTokenBalance> {
    balances.iter().cloned().map(Into::into).collect()
}

/// Simulates on the bank of a slot.
pub fn run(ledger: &mut Ledger, transaction: &VersionedTransaction, slot: Slot) -> Result<Simulated, Error> {
    ledger.simulate(transaction, slot).map_err(invalid_transaction)
}

/// What both a failed preflight and a simulation tell.
pub fn outcome(simulated: Simulated) -> RpcSimulateTransactionResult {
    let executed = simulated.executed;
    RpcSimulateTransactionResult {
        err: simulated.result.err().map(Into::into),
        logs: Some(executed.logs),
        accounts: None,
        units_consumed: Some(executed.compute_units_consumed),
        loaded_accounts_data_size: Some(simulated.loaded_accounts_data_size),
        return_data: (!executed.return_data.data.is_empty()).then(|| executed.return_data.into()),
        inner_instructions: None,
        replacement_blockhash: None,
        fee: None,
        pre_balances: None,
        post_balances: None,
        pre_token_balances: None,
        post_token_balances: None,
        loaded_addresses: None,
    }
}

fn accounts_after(
    ledger: &Ledger,
    slot: Slot,
    transaction: &VersionedTransaction,
    simulated: &Simulated,
    wanted: &RpcSimulateTransactionAccountsConfig,
) -> Result<Vec<Option<UiAccount>>, Error> {
    let encoding = wanted.encoding.unwrap_or(UiAccountEncoding::Base64);
    if matches!(encoding, UiAccountEncoding::Binary | UiAccountEncoding::Base58) {
        return Err(Error::invalid_params("base58 encoding not supported"));
    }
    let max = transaction.message.static_account_keys().len()
        + simulated.loaded_addresses.writable.len()
        + simulated.loaded_addresses.readonly.len();
    if wanted.addresses.len() > max {
        return Err(Error::invalid_params(format!("Too many accounts provided; max {max}")));
    }
    let shown = wanted.addresses.iter().map(|address| {
        let key = params::pubkey(address)?;
        if simulated.result.is_err() {
            return Ok(None);
        }
        let account = simulated.post_accounts.get(&key).cloned().or_else(|| ledger.account(&key, slot));
        account.map(|account| accounts::encode(ledger, slot, &key, &account, encoding, None)).transpose()
    });
    shown.collect()
}

fn inner_instructions(message: &VersionedMessage, simulated: &Simulated) -> Vec<UiInnerInstructions> {
    let keys = AccountKeys::new(message.static_account_keys(), Some(&simulated.loaded_addresses));
    let inner = map_inner_instructions(simulated.executed.inner_instructions.clone());
    inner.map(|instructions| parse_ui_inner_instructions(instructions, &keys)).collect()
}

/// Null when the blockhash is not, or no longer, known.
pub fn get_fee_for_message(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (encoded, config): (String, Option<RpcContextConfig>) = params::read::<_, 2>(params)?;
    let config = config.unwrap_or_default();
    let message = params::message(&encoded)?;
    let mut ledger = chain.ledger();
    let slot = params::slot(chain, &ledger, config.commitment, config.min_context_slot)?;
    if !ledger.is_blockhash_valid(message.recent_blockhash(), slot) {
        return params::in_context(slot, Value::Null);
    }
    let signatures = vec![Signature::default(); usize::from(message.header().num_required_signatures)];
    let fee = ledger.fee(&VersionedTransaction { signatures, message }, slot).map_err(invalid_transaction)?;
    params::in_context(slot, fee)
}

/// Lookup tables that cannot be read are the caller's mistake.
#[expect(clippy::needless_pass_by_value, reason = "the shape `map_err` wants")]
fn invalid_transaction(error: TransactionError) -> Error {
    Error::invalid_params(format!("invalid transaction: {error}"))
}
