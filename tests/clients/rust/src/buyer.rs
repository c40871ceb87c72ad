//! A buyer on `x402-reqwest`, x402 versions 2 and 1. Prints JSON `{status, body, receipt?, error?}`.

use std::{error::Error, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{Client, header::HeaderMap};
use serde::Deserialize;
use serde_json::{Value, json};
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_commitment_config::CommitmentConfig;
use solana_keypair::Keypair;
use x402_chain_solana::{V1SolanaExactClient, V2SolanaExactClient};
use x402_reqwest::{ReqwestWithPayments, ReqwestWithPaymentsBuild, X402Client};

#[derive(Deserialize)]
pub struct Settings {
    url: String,
    /// In base58.
    key: String,
    rpc: String,
}

pub async fn run(settings: Settings) -> Result<(), Box<dyn Error>> {
    let key = Arc::new(Keypair::from_base58_string(&settings.key));
    let rpc = Arc::new(RpcClient::new_with_commitment(settings.rpc, CommitmentConfig::confirmed()));
    let payments = X402Client::new()
        .register(V2SolanaExactClient::new(Arc::clone(&key), Arc::clone(&rpc)))
        .register(V1SolanaExactClient::new(key, rpc));
    let client = Client::new().with_payments(payments).build();
    let response = client.get(settings.url).send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.text().await?;
    let receipt = header(&headers, "payment-response").or_else(|| header(&headers, "x-payment-response"));
    let required = header(&headers, "payment-required").or_else(|| serde_json::from_str(&body).ok());
    let error = required.map(|required: Value| required["error"].clone());
    println!("{}", json!({"status": status, "body": body, "receipt": receipt, "error": error}));
    Ok(())
}

/// JSON in base64.
fn header(headers: &HeaderMap, name: &str) -> Option<Value> {
    let bytes = BASE64_STANDARD.decode(headers.get(name)?.as_bytes()).ok()?;
    serde_json::from_slice(&bytes).ok()
}
