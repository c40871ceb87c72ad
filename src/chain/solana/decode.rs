//! From `getTransaction`'s answer to a [`ConfirmedTransaction`].
//!
//! An RPC node is believed about balances, because nobody else can tell. It is not believed about who signed: the
//! signatures are checked here over the message the node returned.

use std::str::FromStr;

use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_transaction_status_client_types::{
    EncodedConfirmedTransactionWithStatusMeta, UiLoadedAddresses, UiTransactionTokenBalance,
    option_serializer::OptionSerializer,
};

use crate::{
    chain::{ConfirmedTransaction, LamportBalance, TokenBalance},
    clock::UnixMs,
};

/// `None` while the node cannot yet say when the block was made.
///
/// # Errors
/// When the answer contradicts itself or is about another transaction.
pub(super) fn decode(
    asked: &Signature,
    answer: EncodedConfirmedTransactionWithStatusMeta,
) -> Result<Option<ConfirmedTransaction>, &'static str> {
    let Some(block_time) = answer.block_time else { return Ok(None) };
    let transaction = answer.transaction.transaction.decode().ok_or("undecodable transaction")?;
    if transaction.signatures.first() != Some(asked) {
        return Err("another transaction than the one asked for");
    }
    if !transaction.verify_with_results().iter().all(|valid| *valid) {
        return Err("a transaction whose signatures do not verify");
    }
    let meta = answer.transaction.meta.ok_or("a transaction without its status")?;

    let static_keys = transaction.message.static_account_keys();
    let signers = static_keys[..transaction.signatures.len()].to_vec();
    let mut accounts = static_keys.to_vec();
    if let OptionSerializer::Some(loaded) = &meta.loaded_addresses {
        accounts.extend(loaded_keys(loaded)?);
    }
    if meta.pre_balances.len() != accounts.len() || meta.post_balances.len() != accounts.len() {
        return Err("balances that do not match the accounts");
    }
    let lamports = accounts
        .iter()
        .zip(meta.pre_balances.iter().zip(&meta.post_balances))
        .map(|(account, (before, after))| LamportBalance {
            account: *account,
            before: *before,
            after: *after,
        })
        .collect();

    Ok(Some(ConfirmedTransaction {
        signature: *asked,
        slot: answer.slot,
        block_time: UnixMs::from_secs(block_time),
        failure: meta.err.map(|error| error.to_string()),
        signers,
        fee: meta.fee,
        lamports,
        tokens_before: token_balances(&accounts, meta.pre_token_balances)?,
        tokens_after: token_balances(&accounts, meta.post_token_balances)?,
    }))
}

fn loaded_keys(loaded: &UiLoadedAddresses) -> Result<Vec<Pubkey>, &'static str> {
    loaded.writable.iter().chain(&loaded.readonly).map(|text| key(text)).collect()
}

fn token_balances(
    accounts: &[Pubkey],
    balances: OptionSerializer<Vec<UiTransactionTokenBalance>>,
) -> Result<Vec<TokenBalance>, &'static str> {
    let OptionSerializer::Some(balances) = balances else {
        return Err("a transaction without token balances");
    };
    balances
        .into_iter()
        .map(|balance| {
            let OptionSerializer::Some(owner) = &balance.owner else {
                return Err("a token balance without an owner");
            };
            Ok(TokenBalance {
                account: *accounts
                    .get(usize::from(balance.account_index))
                    .ok_or("a token balance of an unknown account")?,
                owner: key(owner)?,
                mint: key(&balance.mint)?,
                decimals: balance.ui_token_amount.decimals,
                amount: balance
                    .ui_token_amount
                    .amount
                    .parse()
                    .map_err(|_| "a token amount that is no number")?,
            })
        })
        .collect()
}

fn key(text: &str) -> Result<Pubkey, &'static str> {
    Pubkey::from_str(text).map_err(|_| "an address that is none")
}
