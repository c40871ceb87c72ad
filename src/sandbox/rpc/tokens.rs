//! Methods about tokens.

use jsonrpc_core::{Error, Params, Value};
use solana_account::{AccountSharedData, ReadableAccount};
use solana_account_decoder::{
    UiAccountEncoding,
    parse_token::{is_known_spl_token_id, spl_token_ids, token_amount_to_ui_amount_v3},
};
use solana_clock::Slot;
use solana_commitment_config::CommitmentConfig;
use solana_pubkey::Pubkey;
use solana_rpc_client_api::{
    config::{RpcAccountInfoConfig, RpcTokenAccountsFilter},
    response::RpcKeyedAccount,
};
use spl_token_2022_interface::{
    extension::StateWithExtensions,
    state::{Account as TokenAccount, Mint},
};

use super::{accounts, params};
use crate::sandbox::{chain::Chain, ledger::Ledger};

fn invalid(message: &str) -> Error {
    Error::invalid_params(format!("Invalid param: {message}"))
}

fn token_owned(ledger: &Ledger, slot: Slot, key: &Pubkey, what: &str) -> Result<AccountSharedData, Error> {
    let account = ledger.account(key, slot).ok_or_else(|| invalid("could not find account"))?;
    if is_known_spl_token_id(account.owner()) { Ok(account) } else { Err(invalid(what)) }
}

pub fn get_token_account_balance(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (key, config): (String, Option<CommitmentConfig>) = params::read::<_, 2>(params)?;
    let key = params::pubkey(&key)?;
    let ledger = chain.ledger();
    let slot = params::slot(chain, &ledger, config, None)?;
    let account = token_owned(&ledger, slot, &key, "not a Token account")?;
    let token = StateWithExtensions::<TokenAccount>::unpack(account.data())
        .map_err(|_| invalid("not a Token account"))?
        .base;
    let mint =
        accounts::mint_data(&ledger, slot, &token.mint).ok_or_else(|| invalid("could not find mint"))?;
    params::in_context(slot, token_amount_to_ui_amount_v3(token.amount, &mint))
}

pub fn get_token_supply(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (key, config): (String, Option<CommitmentConfig>) = params::read::<_, 2>(params)?;
    let key = params::pubkey(&key)?;
    let ledger = chain.ledger();
    let slot = params::slot(chain, &ledger, config, None)?;
    let account = token_owned(&ledger, slot, &key, "not a Token mint")?;
    let mint = StateWithExtensions::<Mint>::unpack(account.data())
        .map_err(|_| invalid("mint could not be unpacked"))?
        .base;
    let data = accounts::mint_data(&ledger, slot, &key).ok_or_else(|| invalid("could not find mint"))?;
    params::in_context(slot, token_amount_to_ui_amount_v3(mint.supply, &data))
}

pub fn get_token_accounts_by_owner(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (owner, filter, config): (String, RpcTokenAccountsFilter, Option<RpcAccountInfoConfig>) =
        params::read::<_, 3>(params)?;
    let (owner, config) = (params::pubkey(&owner)?, config.unwrap_or_default());
    let ledger = chain.ledger();
    let slot = params::slot(chain, &ledger, config.commitment, config.min_context_slot)?;
    let (program, mint) = match filter {
        RpcTokenAccountsFilter::ProgramId(program) => {
            let program = params::pubkey(&program)?;
            if !spl_token_ids().contains(&program) {
                return Err(invalid("unrecognized Token program id"));
            }
            (program, None)
        }
        RpcTokenAccountsFilter::Mint(mint) => {
            let mint = params::pubkey(&mint)?;
            (*token_owned(&ledger, slot, &mint, "not a Token mint")?.owner(), Some(mint))
        }
    };
    let encoding = config.encoding.unwrap_or(UiAccountEncoding::Binary);
    let held = ledger.program_accounts(&program, slot).into_iter().filter(|(_, account)| {
        StateWithExtensions::<TokenAccount>::unpack(account.data())
            .is_ok_and(|token| token.base.owner == owner && mint.is_none_or(|mint| token.base.mint == mint))
    });
    let shown = held.map(|(key, account)| {
        let account = accounts::encode(&ledger, slot, &key, &account, encoding, config.data_slice)?;
        Ok(RpcKeyedAccount { pubkey: key.to_string(), account })
    });
    params::in_context(slot, shown.collect::<Result<Vec<_>, Error>>()?)
}
