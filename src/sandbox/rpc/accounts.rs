//! Methods that read accounts.

use jsonrpc_core::{Error, Params, Value};
use solana_account::{AccountSharedData, ReadableAccount};
use solana_account_decoder::{
    MAX_BASE58_BYTES, UiAccount, UiAccountEncoding, UiDataSliceConfig, encode_ui_account,
    parse_account_data::{AccountAdditionalDataV3, SplTokenAdditionalDataV2},
    parse_token::{get_token_account_mint, is_known_spl_token_id},
};
use solana_clock::Slot;
use solana_pubkey::Pubkey;
use solana_rpc_client_api::config::{RpcAccountInfoConfig, RpcContextConfig};
use spl_token_2022_interface::{
    extension::{
        BaseStateWithExtensions, StateWithExtensions, interest_bearing_mint::InterestBearingConfig,
        scaled_ui_amount::ScaledUiAmountConfig,
    },
    state::Mint,
};

use super::params;
use crate::sandbox::{chain::Chain, ledger::Ledger};

/// Accounts `getMultipleAccounts` takes.
const MAX_MULTIPLE_ACCOUNTS: usize = 100;

pub fn get_balance(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (key, config): (String, Option<RpcContextConfig>) = params::read::<_, 2>(params)?;
    let (key, config) = (params::pubkey(&key)?, config.unwrap_or_default());
    let ledger = chain.ledger();
    let slot = params::slot(chain, &ledger, config.commitment, config.min_context_slot)?;
    params::in_context(slot, ledger.account(&key, slot).map_or(0, |account| account.lamports()))
}

pub fn get_account_info(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (key, config): (String, Option<RpcAccountInfoConfig>) = params::read::<_, 2>(params)?;
    let (key, config) = (params::pubkey(&key)?, config.unwrap_or_default());
    let ledger = chain.ledger();
    let slot = params::slot(chain, &ledger, config.commitment, config.min_context_slot)?;
    let encoding = config.encoding.unwrap_or(UiAccountEncoding::Binary);
    let account = encoded(&ledger, slot, &key, encoding, config.data_slice)?;
    params::in_context(slot, account)
}

pub fn get_multiple_accounts(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (keys, config): (Vec<String>, Option<RpcAccountInfoConfig>) = params::read::<_, 2>(params)?;
    let config = config.unwrap_or_default();
    if keys.len() > MAX_MULTIPLE_ACCOUNTS {
        return Err(Error::invalid_params(format!("Too many inputs provided; max {MAX_MULTIPLE_ACCOUNTS}")));
    }
    let ledger = chain.ledger();
    let slot = params::slot(chain, &ledger, config.commitment, config.min_context_slot)?;
    let encoding = config.encoding.unwrap_or(UiAccountEncoding::Base64);
    let accounts = keys.iter().map(|key| {
        let key = params::pubkey(key)?;
        encoded(&ledger, slot, &key, encoding, config.data_slice)
    });
    params::in_context(slot, accounts.collect::<Result<Vec<_>, _>>()?)
}

fn encoded(
    ledger: &Ledger,
    slot: Slot,
    key: &Pubkey,
    encoding: UiAccountEncoding,
    slice: Option<UiDataSliceConfig>,
) -> Result<Option<UiAccount>, Error> {
    let account = ledger.account(key, slot);
    account.map(|account| encode(ledger, slot, key, &account, encoding, slice)).transpose()
}

/// An account as the wire shows it.
pub fn encode(
    ledger: &Ledger,
    slot: Slot,
    key: &Pubkey,
    account: &AccountSharedData,
    encoding: UiAccountEncoding,
    slice: Option<UiDataSliceConfig>,
) -> Result<UiAccount, Error> {
    let shown = slice.map_or(account.data().len(), |slice| slice.length.min(account.data().len()));
    if matches!(encoding, UiAccountEncoding::Binary | UiAccountEncoding::Base58) && shown > MAX_BASE58_BYTES {
        return Err(Error {
            code: jsonrpc_core::ErrorCode::InvalidRequest,
            message: format!(
                "Encoded binary (base 58) data should be less than {MAX_BASE58_BYTES} bytes, please use Base64 \
                 encoding."
            ),
            data: None,
        });
    }
    let additional = (encoding == UiAccountEncoding::JsonParsed && is_known_spl_token_id(account.owner()))
        .then(|| get_token_account_mint(account.data()))
        .flatten()
        .and_then(|mint| mint_data(ledger, slot, &mint))
        .map(|data| AccountAdditionalDataV3 { spl_token_additional_data: Some(data) });
    Ok(encode_ui_account(key, account, encoding, additional, slice))
}

/// What a mint tells of how amounts of its token read.
pub fn mint_data(ledger: &Ledger, slot: Slot, mint: &Pubkey) -> Option<SplTokenAdditionalDataV2> {
    let account = ledger.account(mint, slot).filter(|account| is_known_spl_token_id(account.owner()))?;
    let mint = StateWithExtensions::<Mint>::unpack(account.data()).ok()?;
    let time = ledger.block(slot).map_or(0, |block| block.time);
    Some(SplTokenAdditionalDataV2 {
        decimals: mint.base.decimals,
        interest_bearing_config: mint.get_extension::<InterestBearingConfig>().ok().map(|it| (*it, time)),
        scaled_ui_amount_config: mint.get_extension::<ScaledUiAmountConfig>().ok().map(|it| (*it, time)),
    })
}
