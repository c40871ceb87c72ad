//! Reads of the chain: each at the endpoint that does best, and at the others while it fails.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::json;
use solana_rpc_client_api::{
    custom_error::JSON_RPC_SERVER_ERROR_UNSUPPORTED_TRANSACTION_VERSION, request::RpcRequest,
};
use solana_signature::Signature;
use solana_transaction_status_client_types::EncodedConfirmedTransactionWithStatusMeta;

use super::{
    decode::decode,
    endpoint::{Answer, CallError},
    pool::{Attempt, Pool},
    statuses::Warned,
};
use crate::{
    chain::{Chain, ChainError, Lookup, assets::Network},
    metrics::Metrics,
};

/// How long a look-up may take on all endpoints together.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a sign of life may take on all endpoints together.
const SIGN_OF_LIFE_TIMEOUT: Duration = Duration::from_secs(3);

/// The chain's roles over JSON-RPC. Clones share what is known of the endpoints.
#[derive(Clone)]
pub struct SolanaRpc {
    network: Network,
    pub(super) pool: Arc<Pool>,
    /// How often it was looked at what became of recent transactions.
    pub(super) looks: Arc<AtomicU64>,
    pub(super) warned: Arc<Warned>,
    pub(super) metrics: Arc<Metrics>,
}

impl SolanaRpc {
    /// A read asks each of `urls`, one after the other, until one answers: once, and where none does and its failure may have
    /// passed, once more.
    #[must_use]
    pub fn new(network: Network, urls: &[String], metrics: &Arc<Metrics>) -> Self {
        let pool = Arc::new(Pool::new(network, urls, metrics));
        let (looks, warned) = (Arc::default(), Arc::default());
        Self { network, pool, looks, warned, metrics: Arc::clone(metrics) }
    }

    async fn transaction_from(&self, attempt: &Attempt, signature: &Signature) -> Result<Lookup, CallError> {
        let params = json!([
            signature.to_string(),
            {"encoding": "base64", "commitment": "confirmed", "maxSupportedTransactionVersion": 0},
        ]);
        let call = attempt.call(RpcRequest::GetTransaction, &params);
        let read = |answer: Option<EncodedConfirmedTransactionWithStatusMeta>| {
            let decoded = answer.map(|answer| decode(signature, answer)).transpose()?.flatten();
            let lookup = decoded.map_or(Lookup::NotVisible, |tx| Lookup::Confirmed(Box::new(tx)));
            Ok(Answer { value: lookup, slot: None })
        };
        match attempt.endpoint.ask(call, read).await {
            Err(error) if error.code() == Some(JSON_RPC_SERVER_ERROR_UNSUPPORTED_TRANSACTION_VERSION) => {
                Ok(Lookup::UnsupportedVersion)
            }
            answer => answer,
        }
    }
}

#[async_trait]
impl Chain for SolanaRpc {
    /// A node that does not know the transaction may only be behind, so the others are asked as well.
    async fn transaction(&self, signature: &Signature) -> Result<Lookup, ChainError> {
        let mut not_visible = false;
        let mut attempts = self.pool.attempts(LOOKUP_TIMEOUT);
        while let Some(attempt) = attempts.next().await {
            match self.transaction_from(&attempt, signature).await {
                Ok(Lookup::NotVisible) => not_visible = true,
                Ok(found) => return Ok(found),
                Err(error) => attempts.failed(attempt, error),
            }
        }
        if not_visible { Ok(Lookup::NotVisible) } else { Err(attempts.into_failure()) }
    }

    async fn slot(&self) -> Result<u64, ChainError> {
        let params = json!([{"commitment": "confirmed"}]);
        let read = |slot: u64| Ok(Answer::at(slot, slot));
        self.pool.first(RpcRequest::GetSlot, &params, SIGN_OF_LIFE_TIMEOUT, read).await
    }
}

/// Silent about URLs: providers put access tokens into them.
impl fmt::Debug for SolanaRpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SolanaRpc")
            .field("network", &self.network)
            .field("endpoints", &self.pool.endpoints().len())
            .finish_non_exhaustive()
    }
}
