//! Token balances of a transaction's accounts, as a validator writes them into its metadata.

use std::collections::HashMap;

use solana_account::{AccountSharedData, ReadableAccount};
use solana_account_decoder::{
    parse_account_data::SplTokenAdditionalDataV2,
    parse_token::{is_known_spl_token_id, token_amount_to_ui_amount_v3},
};
use solana_message::{AccountKeys, VersionedMessage};
use solana_pubkey::Pubkey;
use solana_transaction_status::TransactionTokenBalance;
use spl_token_2022_interface::{
    extension::StateWithExtensions,
    state::{Account as TokenAccount, Mint},
};

/// Decimals of the mints met so far: a mint closed by the transaction is gone when the balances after it are taken.
pub type Decimals = HashMap<Pubkey, u8>;

/// In the order of the account keys; empty unless the transaction names a token program.
pub fn collect(
    message: &VersionedMessage,
    keys: &AccountKeys<'_>,
    decimals: &mut Decimals,
    account: impl Fn(&Pubkey) -> Option<AccountSharedData>,
) -> Vec<TransactionTokenBalance> {
    if !keys.iter().any(is_known_spl_token_id) {
        return Vec::new();
    }
    let mut balances = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        if message.is_invoked(index) || is_known_spl_token_id(key) {
            continue;
        }
        let Some(data) = account(key).filter(|held| is_known_spl_token_id(held.owner())) else { continue };
        let Ok(token) = StateWithExtensions::<TokenAccount>::unpack(data.data()) else { continue };
        let mint = token.base.mint;
        let Some(decimals) = decimals_of(mint, decimals, &account) else { continue };
        balances.push(TransactionTokenBalance {
            account_index: u8::try_from(index).unwrap_or(u8::MAX),
            mint: mint.to_string(),
            ui_token_amount: token_amount_to_ui_amount_v3(
                token.base.amount,
                &SplTokenAdditionalDataV2::with_decimals(decimals),
            ),
            owner: token.base.owner.to_string(),
            program_id: data.owner().to_string(),
        });
    }
    balances
}

fn decimals_of(
    mint: Pubkey,
    known: &mut Decimals,
    account: &impl Fn(&Pubkey) -> Option<AccountSharedData>,
) -> Option<u8> {
    if let Some(decimals) = known.get(&mint) {
        return Some(*decimals);
    }
    let data = account(&mint)?;
    let decimals = StateWithExtensions::<Mint>::unpack(data.data()).ok()?.base.decimals;
    known.insert(mint, decimals);
    Some(decimals)
}
