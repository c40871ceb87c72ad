//! An agent that pays over JSON-RPC, as one on mainnet would, and proves that it did.

use std::time::Duration;

use serde_json::{Value, json};
use solana_commitment_config::CommitmentConfig;
use solana_hash::Hash;
use solana_instruction::Instruction;
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage};
use solana_pubkey::Pubkey;
use solana_rpc_client::nonblocking::rpc_client::RpcClient;
use solana_rpc_client_api::{client_error, config::RpcSendTransactionConfig};
use solana_signature::Signature;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;
use spl_associated_token_account_interface::{
    address::get_associated_token_address_with_program_id as associated_token_address,
    instruction::create_associated_token_account_idempotent,
};
use spl_token_2022_interface::instruction::transfer_checked;

use super::mints::{PYUSD, TokenProgram, USDC, USDT};
use crate::{
    clock::UnixMs,
    money::{Amount, Currency},
};

/// How long a transaction may take to be confirmed.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);
/// How often its status is asked for.
const CONFIRM_POLL: Duration = Duration::from_millis(50);

/// Why an agent could not pay.
#[derive(Debug, thiserror::Error)]
pub enum PayError {
    #[error("the chain did not take the payment")]
    Rpc(#[from] Box<client_error::Error>),
    #[error("the payment cannot be put together: {0}")]
    Build(String),
    #[error("the payment failed on chain: {0}")]
    Failed(String),
    #[error("the payment was not confirmed in time")]
    NotConfirmed,
}

impl From<client_error::Error> for PayError {
    fn from(error: client_error::Error) -> Self {
        Self::Rpc(Box::new(error))
    }
}

/// A wallet with a connection.
pub struct Agent {
    keypair: Keypair,
    rpc: RpcClient,
}

/// Silent about the key.
impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Agent {
    #[must_use]
    pub fn new(keypair: Keypair, rpc_url: String) -> Self {
        Self { keypair, rpc: RpcClient::new_with_commitment(rpc_url, CommitmentConfig::confirmed()) }
    }

    #[must_use]
    pub fn address(&self) -> Pubkey {
        self.keypair.pubkey()
    }

    pub(super) const fn keypair(&self) -> &Keypair {
        &self.keypair
    }

    pub(super) async fn blockhash(&self) -> Result<Hash, PayError> {
        Ok(self.rpc.get_latest_blockhash().await?)
    }

    /// Pays and waits until the payment is confirmed.
    ///
    /// # Errors
    /// When the chain refuses the payment or does not confirm it in time.
    pub async fn pay(
        &self,
        recipient: &Pubkey,
        amount: Amount,
        currency: Currency,
    ) -> Result<Signature, PayError> {
        let instructions = transfer(&self.address(), recipient, amount, currency)?;
        let blockhash = self.blockhash().await?;
        let message = Message::new_with_blockhash(&instructions, Some(&self.address()), &blockhash);
        let transaction = VersionedTransaction::try_new(VersionedMessage::Legacy(message), &[&self.keypair])
            .map_err(|error| PayError::Build(error.to_string()))?;
        let config = RpcSendTransactionConfig {
            preflight_commitment: Some(CommitmentConfig::confirmed().commitment),
            ..RpcSendTransactionConfig::default()
        };
        let signature = self.rpc.send_transaction_with_config(&transaction, config).await?;
        tokio::time::timeout(CONFIRM_TIMEOUT, self.confirmed(&signature))
            .await
            .unwrap_or(Err(PayError::NotConfirmed))?;
        Ok(signature)
    }

    async fn confirmed(&self, signature: &Signature) -> Result<(), PayError> {
        loop {
            let statuses = self.rpc.get_signature_statuses(&[*signature]).await?.value;
            if let Some(status) = statuses.into_iter().flatten().next() {
                if let Some(error) = &status.err {
                    return Err(PayError::Failed(error.to_string()));
                }
                if status.satisfies_commitment(CommitmentConfig::confirmed()) {
                    return Ok(());
                }
            }
            tokio::time::sleep(CONFIRM_POLL).await;
        }
    }

    /// The payment proof for a transaction that paid.
    #[must_use]
    pub fn prove(
        &self,
        transaction: &Signature,
        amount: Amount,
        currency: Currency,
        nonce: &str,
        now: UnixMs,
    ) -> Value {
        json!({
            "signature": self.keypair.sign_message(nonce.as_bytes()).to_string(),
            "payer": self.address().to_string(),
            "amount": crate::money::decimal_text(amount.atomic(), currency.decimals()),
            "currency": currency,
            "nonce": nonce,
            "timestamp": now,
            "transactionId": transaction.to_string(),
        })
    }
}

/// The instructions that pay: a lamport transfer, or a checked token transfer to the recipient's associated token
/// account, which is made where it is missing.
///
/// # Errors
/// When the token program does not take the transfer.
pub fn transfer(
    payer: &Pubkey,
    recipient: &Pubkey,
    amount: Amount,
    currency: Currency,
) -> Result<Vec<Instruction>, PayError> {
    let (mint, program) = match currency {
        Currency::Sol => {
            return Ok(vec![solana_system_interface::instruction::transfer(
                payer,
                recipient,
                amount.atomic(),
            )]);
        }
        Currency::Usdc => (USDC, TokenProgram::Token),
        Currency::Usdt => (USDT, TokenProgram::Token),
        Currency::Pyusd => (PYUSD, TokenProgram::Token2022),
    };
    let program = program.id();
    let account = |owner| associated_token_address(owner, &mint, &program);
    let transfer = transfer_checked(
        &program,
        &account(payer),
        &mint,
        &account(recipient),
        payer,
        &[],
        amount.atomic(),
        currency.decimals(),
    )
    .map_err(|error| PayError::Build(error.to_string()))?;
    Ok(vec![create_associated_token_account_idempotent(payer, recipient, &mint, &program), transfer])
}
