//! The chain as Solana JSON-RPC, over HTTP and WebSocket, with a validator's answers and errors.

mod accounts;
mod cluster;
mod envelope;
mod history;
mod params;
mod pubsub;
mod simulate;
mod submit;
mod subscription;
mod tokens;

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{State, WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use jsonrpc_core::{Error, Params, Value};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{chain::Chain, faults::Disconnect, hold::Hold};
use envelope::Broken;

/// WebSocket connections at a time.
const MAX_WEBSOCKETS: usize = 1_024;

/// One RPC node.
#[derive(Clone, Debug)]
pub struct Node {
    chain: Arc<Chain>,
    stop: CancellationToken,
    /// One permit for each WebSocket there may be.
    sockets: Arc<Semaphore>,
}

impl Node {
    pub fn new(chain: Arc<Chain>, stop: CancellationToken) -> Self {
        Self { chain, stop, sockets: Arc::new(Semaphore::new(MAX_WEBSOCKETS)) }
    }
}

type Method = fn(&Chain, Params) -> Result<Value, Error>;

/// All methods, subscriptions excepted.
const METHODS: &[(&str, Method)] = &[
    ("getAccountInfo", accounts::get_account_info),
    ("getBalance", accounts::get_balance),
    ("getBlockHeight", cluster::get_block_height),
    ("getBlockTime", cluster::get_block_time),
    ("getBlocksWithLimit", history::get_blocks_with_limit),
    ("getEpochInfo", cluster::get_epoch_info),
    ("getFeeForMessage", simulate::get_fee_for_message),
    ("getFirstAvailableBlock", history::get_first_available_block),
    ("getGenesisHash", cluster::get_genesis_hash),
    ("getHealth", cluster::get_health),
    ("getLatestBlockhash", cluster::get_latest_blockhash),
    ("getMinimumBalanceForRentExemption", cluster::get_minimum_balance_for_rent_exemption),
    ("getMultipleAccounts", accounts::get_multiple_accounts),
    ("getRecentPrioritizationFees", cluster::get_recent_prioritization_fees),
    ("getSignatureStatuses", history::get_signature_statuses),
    ("getSignaturesForAddress", history::get_signatures_for_address),
    ("getSlot", cluster::get_slot),
    ("getTokenAccountBalance", tokens::get_token_account_balance),
    ("getTokenAccountsByOwner", tokens::get_token_accounts_by_owner),
    ("getTokenSupply", tokens::get_token_supply),
    ("getTransaction", history::get_transaction),
    ("getVersion", cluster::get_version),
    ("isBlockhashValid", cluster::is_blockhash_valid),
    ("requestAirdrop", submit::request_airdrop),
    ("sandbox_mintTo", submit::mint_to),
    ("sendTransaction", submit::send_transaction),
    ("simulateTransaction", simulate::simulate_transaction),
];

impl Node {
    /// Runs one method, with the faults due to it.
    async fn call(&self, method: &str, params: Params) -> Result<Result<Value, Error>, Broken> {
        let Some((name, run)) = METHODS.iter().find(|(name, _)| *name == method) else {
            return Ok(Err(Error::method_not_found()));
        };
        let plan = self.chain.faults.plan(name);
        if !plan.latency.is_zero() {
            tokio::time::sleep(plan.latency).await;
        }
        if let Some((Hold::Before, gate)) = &plan.hold {
            gate.pass().await?;
        }
        if plan.disconnect == Some(Disconnect::Before) {
            return Err(Broken);
        }
        if let Some((code, message, data)) = plan.error {
            return Ok(Err(Error { code: code.into(), message, data }));
        }
        let mut result = run(&self.chain, params);
        if let Some((Hold::After, gate)) = &plan.hold {
            gate.pass().await?;
        }
        if plan.disconnect == Some(Disconnect::After) {
            return Err(Broken);
        }
        if let (Some(lie), Ok(value)) = (plan.lie, &mut result) {
            *value = lie(value.take());
        }
        Ok(result)
    }
}

/// `POST /`.
pub async fn over_http(State(node): State<Node>, headers: HeaderMap, body: Bytes) -> Response {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.to_ascii_lowercase().starts_with("application/json") {
        let text = "Supplied content type is not allowed. Content-Type: application/json is required\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    }
    match envelope::answer(&node, &body).await {
        Ok(answer) => ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], answer).into_response(),
        // A body that cannot be sent is how a connection is cut from inside a handler.
        Err(Broken) => Response::new(Body::from_stream(stream::once(async {
            Err::<Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
        }))),
    }
}

/// `GET /`, upgraded.
pub async fn over_websocket(State(node): State<Node>, upgrade: WebSocketUpgrade) -> Response {
    let Ok(permit) = Arc::clone(&node.sockets).try_acquire_owned() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    upgrade.max_message_size(pubsub::MAX_MESSAGE_BYTES).on_upgrade(move |socket| async move {
        pubsub::serve(node, socket).await;
        drop(permit);
    })
}

/// `GET /health`, as load balancers ask for it.
pub async fn health(State(node): State<Node>) -> &'static str {
    if cluster::get_health(&node.chain, Params::None).is_ok() { "ok" } else { "behind" }
}
