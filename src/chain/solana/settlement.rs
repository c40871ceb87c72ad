//! Settling over JSON-RPC.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::Deserialize;
use serde_json::json;
use solana_rpc_client_api::{
    client_error::ErrorKind,
    request::RpcRequest,
    response::{Response, RpcBlockhash},
};
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;

use super::{
    SolanaRpc,
    endpoint::{Answer, Call, CallError, Endpoint},
    evidence::{finality_of, last_valid_of},
    slots::{FINALITY_DEPTH, MAX_LAG},
};
use crate::chain::{
    ChainError,
    settlement::{Finality, Findings, Search, SettlementChain},
};

/// How long each endpoint may take to tell a height.
const HEIGHT_TIMEOUT: Duration = Duration::from_secs(3);
/// How many blocks a blockhash may be good for, at most: twice what it is today.
const MAX_BLOCKHASH_AGE: u64 = 300;
/// How long each endpoint may take to accept a transaction.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// What is read of `getEpochInfo`'s answer: slot and height of one block.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EpochInfo {
    absolute_slot: u64,
    block_height: u64,
}

fn read_finality(
    EpochInfo { absolute_slot: slot, block_height }: EpochInfo,
) -> Result<Answer<Finality>, &'static str> {
    if block_height > slot {
        return Err("a block height above its slot");
    }
    Ok(Answer::at(slot.saturating_add(FINALITY_DEPTH), Finality { slot, block_height }))
}

/// Hands a transaction to one endpoint.
async fn send_to(endpoint: Arc<Endpoint>, encoded: String, signature: Signature) -> Result<(), CallError> {
    let params = json!([encoded, {"encoding": "base64", "skipPreflight": true, "maxRetries": 0}]);
    let request = RpcRequest::SendTransaction;
    let call = Call { request, params: &params, limit: SEND_TIMEOUT, trial: false };
    let read = |answer: String| {
        let same = answer.parse() == Ok(signature);
        if same { Ok(Answer { value: (), slot: None }) } else { Err("the signature of another transaction") }
    };
    let Some(_permit) = endpoint.send_permit() else {
        tracing::debug!(endpoint = endpoint.index(), "too many transactions wait for this RPC endpoint");
        return Err(CallError::Busy);
    };
    match endpoint.ask(call, read).await {
        Err(error) if says_already_processed(&error) => Ok(()),
        answer => answer,
    }
}

fn says_already_processed(error: &CallError) -> bool {
    matches!(
        error,
        CallError::Client(error)
            if ErrorKind::get_transaction_error(error.kind()) == Some(TransactionError::AlreadyProcessed)
    )
}

#[async_trait]
impl SettlementChain for SolanaRpc {
    /// A node that lags knows a lower height than the one that knew the blockhash, so what others were ahead of it is added:
    /// of as many slots, each may have had a block.
    async fn last_valid_block_height(&self) -> Result<u64, ChainError> {
        let params = json!([{"commitment": "confirmed"}]);
        let read = |answer: Response<RpcBlockhash>| {
            let (slot, height) = (answer.context.slot, answer.value.last_valid_block_height);
            if height > slot.saturating_add(MAX_BLOCKHASH_AGE) {
                return Err("a last valid block height far above the slot");
            }
            Ok(Answer::at(slot, (slot, height)))
        };
        let told = self.pool.panel(RpcRequest::GetLatestBlockhash, &params, HEIGHT_TIMEOUT, read).await?;
        let lag = |slot: u64| self.pool.lag_of(slot).min(MAX_LAG);
        Ok(last_valid_of(told.iter().map(|(slot, height)| height.saturating_add(lag(*slot))).collect()))
    }

    async fn finality(&self) -> Result<Finality, ChainError> {
        let params = json!([{"commitment": "finalized"}]);
        let request = RpcRequest::GetEpochInfo;
        Ok(finality_of(&self.pool.panel(request, &params, HEIGHT_TIMEOUT, read_finality).await?))
    }

    /// Returns with the first endpoint that took it; the others are still told.
    async fn send(&self, transaction: &[u8]) -> Result<(), ChainError> {
        let decoded: VersionedTransaction =
            bincode::deserialize(transaction).map_err(|error| ChainError::Unreachable(error))?;
        let signature = decoded.signatures.first().copied().unwrap_or_default();
        let encoded = BASE64_STANDARD.encode(transaction);
        let told = self
            .pool
            .endpoints()
            .iter()
            .map(|endpoint| tokio::spawn(send_to(Arc::clone(endpoint), encoded.clone(), signature)));
        let mut told: FuturesUnordered<_> = told.collect();
        let mut failure = ChainError::BadResponse("no RPC endpoint is configured");
        while let Some(answer) = told.next().await {
            match answer {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => failure = error.into(),
                Err(error) => failure = ChainError::Unreachable(Box::new(error)),
            }
        }
        Err(failure)
    }

    async fn statuses(&self, signatures: &[Signature], search: Search) -> Result<Findings, ChainError> {
        if signatures.is_empty() {
            return Ok(Findings { statuses: Vec::new(), since: None });
        }
        match search {
            Search::Recent => self.recent_statuses(signatures).await,
            Search::History { seen, age } => self.search_history(signatures, seen, age).await,
        }
    }
}
