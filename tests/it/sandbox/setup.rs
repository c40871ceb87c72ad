//! A sandbox whose slots and clock move only when a test says so, and the transactions tests send to it.

use std::sync::Arc;

use pay402::{
    clock::{ManualClock, UnixMs},
    sandbox::{Sandbox, SandboxConfig, TokenProgram},
};
use solana_commitment_config::CommitmentConfig;
use solana_instruction::Instruction;
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage, v0};
use solana_pubkey::Pubkey;
use solana_rpc_client::nonblocking::rpc_client::RpcClient;
use solana_rpc_client_api::{client_error::Error, config::RpcTransactionConfig};
use solana_signature::Signature;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_status::{
    EncodedConfirmedTransactionWithStatusMeta, TransactionStatus, UiTransactionEncoding,
};
use spl_associated_token_account_interface::address::get_associated_token_address_with_program_id;
use spl_token_2022_interface::instruction::transfer_checked;

use crate::harness::logs;

/// The time all tests start at.
pub const START: UnixMs = UnixMs(1_790_000_000_000);

pub struct Fixture {
    pub sandbox: Sandbox,
    pub rpc: RpcClient,
    pub clock: Arc<ManualClock>,
}

pub async fn start() -> Fixture {
    logs::watch();
    let clock = Arc::new(ManualClock::new(START));
    let config = SandboxConfig { slot_time: None, ..SandboxConfig::new(Arc::<ManualClock>::clone(&clock)) };
    let sandbox = Sandbox::start(config).await.unwrap();
    let rpc = RpcClient::new_with_commitment(sandbox.rpc_url(), CommitmentConfig::confirmed());
    Fixture { sandbox, rpc, clock }
}

impl Fixture {
    /// The same chain and clock.
    pub fn again(&self) -> Self {
        let rpc = RpcClient::new_with_commitment(self.sandbox.rpc_url(), CommitmentConfig::confirmed());
        Self { sandbox: self.sandbox.clone(), rpc, clock: Arc::clone(&self.clock) }
    }

    pub fn agent(&self) -> &Keypair {
        &self.sandbox.wallets().agent
    }

    pub fn merchant(&self) -> Pubkey {
        self.sandbox.wallets().merchant.pubkey()
    }

    pub fn legacy(&self, instructions: &[Instruction], signers: &[&Keypair]) -> VersionedTransaction {
        let blockhash = self.sandbox.latest_blockhash();
        let message = Message::new_with_blockhash(instructions, Some(&signers[0].pubkey()), &blockhash);
        VersionedTransaction::try_new(VersionedMessage::Legacy(message), signers).unwrap()
    }

    pub fn v0(&self, instructions: &[Instruction], signers: &[&Keypair]) -> VersionedTransaction {
        let blockhash = self.sandbox.latest_blockhash();
        let message = v0::Message::try_compile(&signers[0].pubkey(), instructions, &[], blockhash).unwrap();
        VersionedTransaction::try_new(VersionedMessage::V0(message), signers).unwrap()
    }

    /// Sends a transaction through the client, and opens a slot before and after it: its blockhash is then confirmed
    /// when it is sent, and it is itself when this returns.
    pub async fn pay(&self, transaction: &VersionedTransaction) -> Signature {
        self.sandbox.advance_slots(1);
        let signature = self.rpc.send_transaction(transaction).await.unwrap();
        self.sandbox.advance_slots(1);
        signature
    }

    pub async fn status(&self, signature: &Signature) -> Option<TransactionStatus> {
        self.rpc.get_signature_statuses(&[*signature]).await.unwrap().value.remove(0)
    }

    /// Reads a confirmed transaction; [`RpcClient::get_transaction`] would ask for a finalized one.
    pub async fn read(
        &self,
        signature: &Signature,
        encoding: UiTransactionEncoding,
        max_supported_transaction_version: Option<u8>,
    ) -> Result<EncodedConfirmedTransactionWithStatusMeta, Error> {
        let commitment = Some(CommitmentConfig::confirmed());
        let encoding = Some(encoding);
        let config = RpcTransactionConfig { encoding, commitment, max_supported_transaction_version };
        self.rpc.get_transaction_with_config(signature, config).await
    }

    /// The agent pays the merchant in SOL.
    pub fn payment(&self, lamports: u64) -> VersionedTransaction {
        let agent = self.agent();
        let transfer =
            solana_system_interface::instruction::transfer(&agent.pubkey(), &self.merchant(), lamports);
        self.legacy(&[transfer], &[agent])
    }

    /// The agent pays the merchant in a stablecoin.
    pub fn token_payment(&self, mint: &Pubkey, program: TokenProgram, amount: u64) -> VersionedTransaction {
        let agent = self.agent();
        let instruction = transfer_checked(
            &program.id(),
            &token_account(mint, &agent.pubkey(), program),
            mint,
            &token_account(mint, &self.merchant(), program),
            &agent.pubkey(),
            &[],
            amount,
            6,
        )
        .unwrap();
        self.legacy(&[instruction], &[agent])
    }
}

pub fn token_account(mint: &Pubkey, owner: &Pubkey, program: TokenProgram) -> Pubkey {
    get_associated_token_address_with_program_id(owner, mint, &program.id())
}
