//! Reading accounts and balances.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use solana_pubkey::Pubkey;
use solana_rpc_client_api::{
    request::RpcRequest,
    response::{Response, UiAccount, UiAccountData, UiAccountEncoding},
};

use super::{SolanaRpc, endpoint::Answer};
use crate::chain::{
    ChainError,
    accounts::{Account, AccountReader},
};

/// How long a read may take on all endpoints together.
const READ_TIMEOUT: Duration = Duration::from_secs(8);

/// What `getMultipleAccounts` answers.
pub(super) type UiAccounts = Response<Vec<Option<UiAccount>>>;

pub(super) fn accounts_params(addresses: &[Pubkey]) -> Value {
    let addresses: Vec<String> = addresses.iter().map(Pubkey::to_string).collect();
    json!([addresses, {"encoding": "base64", "commitment": "confirmed"}])
}

pub(super) fn read_accounts(
    asked: usize,
    answer: UiAccounts,
) -> Result<Answer<Vec<Option<Account>>>, &'static str> {
    if answer.value.len() != asked {
        return Err("not as many accounts as were asked for");
    }
    let accounts = answer.value.into_iter().map(|account| account.map(read_account).transpose());
    Ok(Answer::at(answer.context.slot, accounts.collect::<Result<_, _>>()?))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape `map` wants")]
fn read_account(account: UiAccount) -> Result<Account, &'static str> {
    let UiAccountData::Binary(_, UiAccountEncoding::Base64) = &account.data else {
        return Err("account data in another encoding than asked for");
    };
    Ok(Account {
        owner: account.owner.parse().map_err(|_| "an account of a program whose address is none")?,
        lamports: account.lamports,
        data: account.data.decode().ok_or("account data that cannot be decoded")?,
    })
}

#[async_trait]
impl AccountReader for SolanaRpc {
    async fn accounts(&self, addresses: &[Pubkey]) -> Result<Vec<Option<Account>>, ChainError> {
        let read = |answer| read_accounts(addresses.len(), answer);
        self.pool
            .first(RpcRequest::GetMultipleAccounts, &accounts_params(addresses), READ_TIMEOUT, read)
            .await
    }

    async fn balance(&self, address: &Pubkey) -> Result<u64, ChainError> {
        let params = json!([address.to_string(), {"commitment": "confirmed"}]);
        let read = |answer: Response<u64>| Ok(Answer::at(answer.context.slot, answer.value));
        self.pool.first(RpcRequest::GetBalance, &params, READ_TIMEOUT, read).await
    }
}
