//! Reads through one or several RPC endpoints. The one that answered last is asked first.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use solana_commitment_config::CommitmentConfig;
use solana_rpc_client::nonblocking::rpc_client::RpcClient;
use solana_rpc_client_api::{
    client_error::{Error as ClientError, ErrorKind},
    custom_error::JSON_RPC_SERVER_ERROR_UNSUPPORTED_TRANSACTION_VERSION,
    request::{RpcError, RpcRequest},
};
use solana_signature::Signature;
use solana_transaction_status_client_types::EncodedConfirmedTransactionWithStatusMeta;
use tokio::time::{Instant, timeout};

use super::decode::decode;
use crate::{
    chain::{Chain, ChainError, Lookup, assets::Network},
    metrics::Metrics,
};

/// How long one endpoint may take to answer before the next one is asked, at most.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a look-up may take on all endpoints together.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a sign of life may take on all endpoints together.
const SIGN_OF_LIFE_TIMEOUT: Duration = Duration::from_secs(3);

/// [`Chain`] over JSON-RPC.
pub struct SolanaRpc {
    network: Network,
    endpoints: Vec<RpcClient>,
    preferred: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl SolanaRpc {
    /// `urls` are asked in turn, each at most once per look-up, until one answers.
    #[must_use]
    pub fn new(network: Network, urls: &[String], metrics: Arc<Metrics>) -> Self {
        let endpoints = urls
            .iter()
            .map(|url| {
                RpcClient::new_with_timeout_and_commitment(
                    url.clone(),
                    REQUEST_TIMEOUT,
                    CommitmentConfig::confirmed(),
                )
            })
            .collect();
        Self { network, endpoints, preferred: AtomicUsize::new(0), metrics }
    }

    /// The endpoints' indices, the preferred one first.
    fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let count = self.endpoints.len();
        let first = self.preferred.load(Ordering::Relaxed);
        (0..count).map(move |step| (first + step) % count)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        endpoint: usize,
        request: RpcRequest,
        params: Value,
        budget: Duration,
    ) -> Result<T, ClientError> {
        let endpoints = u32::try_from(self.endpoints.len()).unwrap_or(u32::MAX);
        let limit = (budget / endpoints).min(REQUEST_TIMEOUT);
        let started = Instant::now();
        let method = request.to_string();
        // The client retries on 429 with waits of its own, so its timeout alone does not bound the call.
        let answer = timeout(limit, self.endpoints[endpoint].send(request, params))
            .await
            .unwrap_or_else(|_| Err(ErrorKind::Custom("timed out".to_owned()).into()))
            .map_err(without_url);
        let elapsed = started.elapsed();
        self.metrics.blockchain_request(self.network.as_str(), &method, answer.is_ok(), elapsed);
        if let Err(error) = &answer {
            // The next call begins with another endpoint, unless one has been preferred since.
            let next = (endpoint + 1) % self.endpoints.len();
            let _ = self.preferred.compare_exchange(endpoint, next, Ordering::Relaxed, Ordering::Relaxed);
            tracing::warn!(endpoint, method, error = error as &dyn std::error::Error, "RPC request failed");
        }
        answer
    }

    async fn transaction_from(&self, endpoint: usize, signature: &Signature) -> Result<Lookup, ChainError> {
        let params = json!([
            signature.to_string(),
            {"encoding": "base64", "commitment": "confirmed", "maxSupportedTransactionVersion": 0},
        ]);
        let answer: Result<Option<EncodedConfirmedTransactionWithStatusMeta>, _> =
            self.ask(endpoint, RpcRequest::GetTransaction, params, LOOKUP_TIMEOUT).await;
        match answer {
            Ok(Some(answer)) => {
                Ok(decode(signature, answer)?
                    .map_or(Lookup::NotVisible, |tx| Lookup::Confirmed(Box::new(tx))))
            }
            Ok(None) => Ok(Lookup::NotVisible),
            Err(error) if is_unsupported_version(&error) => Ok(Lookup::UnsupportedVersion),
            Err(error) => Err(ChainError::Unreachable(Box::new(error))),
        }
    }
}

#[async_trait]
impl Chain for SolanaRpc {
    /// A node that does not know the transaction may only be behind, so the others are asked as well.
    async fn transaction(&self, signature: &Signature) -> Result<Lookup, ChainError> {
        let mut not_visible = false;
        let mut failure = ChainError::BadResponse("no RPC endpoint is configured");
        for endpoint in self.order() {
            match self.transaction_from(endpoint, signature).await {
                Ok(Lookup::NotVisible) => not_visible = true,
                Ok(found) => {
                    self.preferred.store(endpoint, Ordering::Relaxed);
                    return Ok(found);
                }
                Err(error) => failure = error,
            }
        }
        if not_visible { Ok(Lookup::NotVisible) } else { Err(failure) }
    }

    async fn slot(&self) -> Result<u64, ChainError> {
        let mut failure = ChainError::BadResponse("no RPC endpoint is configured");
        for endpoint in self.order() {
            let params = json!([{"commitment": "confirmed"}]);
            match self.ask(endpoint, RpcRequest::GetSlot, params, SIGN_OF_LIFE_TIMEOUT).await {
                Ok(slot) => {
                    self.preferred.store(endpoint, Ordering::Relaxed);
                    return Ok(slot);
                }
                Err(error) => failure = ChainError::Unreachable(Box::new(error)),
            }
        }
        Err(failure)
    }
}

/// Silent about URLs: providers put access tokens into them.
impl fmt::Debug for SolanaRpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SolanaRpc")
            .field("network", &self.network)
            .field("endpoints", &self.endpoints.len())
            .finish_non_exhaustive()
    }
}

/// The error without the endpoint's URL, which may hold an access token.
fn without_url(error: ClientError) -> ClientError {
    let kind = match *error.kind {
        ErrorKind::Reqwest(error) => ErrorKind::Reqwest(error.without_url()),
        kind => kind,
    };
    ClientError { request: error.request, kind: Box::new(kind) }
}

fn is_unsupported_version(error: &ClientError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::RpcError(RpcError::RpcResponseError { code, .. })
            if *code == JSON_RPC_SERVER_ERROR_UNSUPPORTED_TRANSACTION_VERSION
    )
}
