//! Methods that change the chain: transactions and the faucet.

use jsonrpc_core::{Error, ErrorCode, Params, Value};
use serde::Deserialize;
use serde_json::json;
use solana_commitment_config::CommitmentConfig;
use solana_rpc_client_api::{
    config::{RpcRequestAirdropConfig, RpcSendTransactionConfig},
    custom_error::RpcCustomError,
};
use solana_transaction::versioned::VersionedTransaction;

use super::{cluster, params, simulate};
use crate::sandbox::{SandboxError, chain::Chain, ledger::is_signed};

pub fn send_transaction(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (encoded, config): (String, Option<RpcSendTransactionConfig>) = params::read::<_, 2>(params)?;
    let config = config.unwrap_or_default();
    let transaction = params::transaction(&encoded, config.encoding)?;
    if !config.skip_preflight {
        preflight(chain, &transaction, config)?;
    }
    // From here on the signature is the answer, whatever becomes of the transaction.
    if !chain.faults.takes_send()
        && let Err(error) = chain.land(&transaction)
    {
        tracing::debug!(%error, "a transaction was sent that no block would contain");
    }
    Ok(json!(transaction.signatures[0].to_string()))
}

fn preflight(
    chain: &Chain,
    transaction: &VersionedTransaction,
    config: RpcSendTransactionConfig,
) -> Result<(), Error> {
    let commitment = config.preflight_commitment.map(|commitment| CommitmentConfig { commitment });
    let mut ledger = chain.ledger();
    let slot = params::slot(chain, &ledger, commitment, config.min_context_slot)?;
    if !is_signed(transaction) {
        return Err(RpcCustomError::TransactionSignatureVerificationFailure.into());
    }
    cluster::check_health(chain)?;
    let simulated = simulate::run(&mut ledger, transaction, slot)?;
    if let Err(error) = &simulated.result {
        let message = format!("Transaction simulation failed: {error}");
        let result = simulate::outcome(simulated);
        return Err(RpcCustomError::SendTransactionPreflightFailure { message, result }.into());
    }
    Ok(())
}

pub fn request_airdrop(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (to, lamports, _): (String, u64, Option<RpcRequestAirdropConfig>) = params::read::<_, 3>(params)?;
    let signature = chain.airdrop(&params::pubkey(&to)?, lamports).map_err(faucet_error)?;
    Ok(json!(signature.to_string()))
}

/// What `sandbox_mintTo` takes.
#[derive(Deserialize)]
struct MintTo {
    mint: String,
    owner: String,
    /// Atomic units.
    amount: u64,
}

/// The faucet for tokens, which no real node has: `[{"mint", "owner", "amount"}]`, answered with the signature.
pub fn mint_to(chain: &Chain, params: Params) -> Result<Value, Error> {
    let (wanted,): (MintTo,) = params::read::<_, 1>(params)?;
    let (mint, owner) = (params::pubkey(&wanted.mint)?, params::pubkey(&wanted.owner)?);
    let signature = chain.mint_tokens(&mint, &owner, wanted.amount).map_err(faucet_error)?;
    Ok(json!(signature.to_string()))
}

fn faucet_error(error: SandboxError) -> Error {
    let message = match error {
        SandboxError::Refused(source) | SandboxError::Failed(source) => format!("airdrop failed: {source}"),
        SandboxError::NotAMint(_) => return Error::invalid_params("Invalid param: not a Token mint"),
        other => other.to_string(),
    };
    Error { code: ErrorCode::InvalidRequest, message, data: None }
}
