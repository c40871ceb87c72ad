//! A chain, the service, and wallets to trade with.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use pay402::{
    clock::SystemClock,
    sandbox::{FINALITY_SLOTS, Sandbox, SandboxConfig, USDC},
};
use serde_json::Value;
use solana_commitment_config::CommitmentConfig;
use solana_keypair::Keypair;
use solana_pubkey::Pubkey;
use solana_rpc_client::nonblocking::rpc_client::RpcClient;
use solana_rpc_client_api::config::RpcTransactionConfig;
use solana_signer::Signer;
use solana_transaction_status::UiTransactionEncoding;

use crate::harness::{process::ServiceProcess, x402::settling_process};

pub struct Stage {
    pub chain: Sandbox,
    pub service: ServiceProcess,
    rpc: RpcClient,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// `variables` are the service's, besides the usual ones.
    pub async fn start(variables: &[(&str, &str)]) -> Self {
        let config = SandboxConfig {
            // A buyer's payment is good for half a minute, of which a busy machine may need some.
            slot_time: Some(Duration::from_millis(200)),
            ..SandboxConfig::new(Arc::new(SystemClock))
        };
        let chain = Sandbox::start(config).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let service = settling_process(&chain, folder.path(), |command| {
            command.envs(variables.iter().copied());
        })
        .await;
        let rpc = RpcClient::new_with_commitment(chain.rpc_url(), CommitmentConfig::confirmed());
        Self { chain, service, rpc, _folder: folder }
    }

    /// A new wallet with a token account that holds this much USDC, and no SOL.
    pub fn wallet(&self, units: u64) -> Keypair {
        let wallet = Keypair::new();
        self.chain.mint_tokens(&USDC, &wallet.pubkey(), units).unwrap();
        // Clients ask for the state at any commitment.
        self.chain.advance_slots(FINALITY_SLOTS + 1);
        wallet
    }

    pub fn usdc(&self, owner: &Pubkey) -> u64 {
        self.chain.token_balance(&USDC, owner)
    }

    /// By how much a confirmed transaction changed each owner's USDC.
    pub async fn moved(&self, signature: &str) -> Vec<(String, i128)> {
        let config = RpcTransactionConfig {
            encoding: Some(UiTransactionEncoding::Base64),
            commitment: Some(CommitmentConfig::confirmed()),
            max_supported_transaction_version: Some(0),
        };
        let signature = signature.parse().expect("the receipt names a transaction");
        let read = self.rpc.get_transaction_with_config(&signature, config).await.unwrap();
        let meta = serde_json::to_value(read.transaction.meta.unwrap()).unwrap();
        assert_eq!(meta["err"], Value::Null, "the transaction went through");
        let held = |side: &str, owner: &str| {
            let balances = meta[side].as_array().unwrap();
            let own = balances
                .iter()
                .find(|balance| balance["owner"] == owner && balance["mint"] == USDC.to_string());
            own.map_or(0, |balance| {
                balance["uiTokenAmount"]["amount"].as_str().unwrap().parse::<i128>().unwrap()
            })
        };
        let owners = meta["postTokenBalances"].as_array().unwrap().iter();
        owners
            .map(|balance| {
                let owner = balance["owner"].as_str().unwrap();
                (owner.to_owned(), held("postTokenBalances", owner) - held("preTokenBalances", owner))
            })
            .collect()
    }
}

/// What an unpaid answer asks for: version 2 says it in a header, version 1 in the body.
pub async fn asked(response: reqwest::Response, version: u8) -> Value {
    if version == 2 {
        let header = response.headers()["payment-required"].as_bytes();
        return serde_json::from_slice(&BASE64_STANDARD.decode(header).unwrap()).unwrap();
    }
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}
