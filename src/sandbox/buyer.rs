//! An agent that pays as x402's stock clients do: it signs a transfer and leaves the fee, and the sending, to the facilitator.

use std::str::FromStr;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use solana_compute_budget_interface::ComputeBudgetInstruction;
use solana_instruction::Instruction;
use solana_message::{VersionedMessage, v0};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;
use spl_associated_token_account_interface::address::get_associated_token_address_with_program_id as associated_token_address;
use spl_token_interface::instruction::transfer_checked;

use super::{
    agent::{Agent, PayError},
    mints::STABLECOIN_DECIMALS,
};

/// What stock clients ask for.
const COMPUTE_UNITS: u32 = 20_000;
/// Micro-lamports for each of them.
const COMPUTE_UNIT_PRICE: u64 = 1;

impl Agent {
    /// A payment payload of version 2 for payment requirements in a token of SPL Token with six decimals, such as USDC.
    /// `memo` makes it another payment than the last one.
    ///
    /// # Errors
    /// When the requirements cannot be met, or the chain tells no blockhash.
    pub async fn pay_x402(
        &self,
        requirements: &Value,
        resource: &str,
        memo: &str,
    ) -> Result<Value, PayError> {
        let fee_payer = read(requirements, "/extra/feePayer")?;
        let instructions = self.instructions(requirements, memo)?;
        let blockhash = self.blockhash().await?;
        let message = v0::Message::try_compile(&fee_payer, &instructions, &[], blockhash)
            .map_err(|error| PayError::Build(error.to_string()))?;
        let message = VersionedMessage::V0(message);
        let signature = self.keypair().sign_message(&message.serialize());
        // The first place is the fee payer's.
        let transaction = VersionedTransaction { signatures: vec![Signature::default(), signature], message };
        let bytes = bincode::serialize(&transaction).map_err(|error| PayError::Build(error.to_string()))?;
        Ok(json!({
            "x402Version": 2,
            "resource": {"url": resource},
            "accepted": requirements,
            "payload": {"transaction": BASE64_STANDARD.encode(bytes)},
        }))
    }

    fn instructions(&self, requirements: &Value, memo: &str) -> Result<[Instruction; 4], PayError> {
        let (mint, pay_to): (Pubkey, Pubkey) = (read(requirements, "/asset")?, read(requirements, "/payTo")?);
        let account = |owner| associated_token_address(owner, &mint, &spl_token_interface::ID);
        let transfer = transfer_checked(
            &spl_token_interface::ID,
            &account(&self.address()),
            &mint,
            &account(&pay_to),
            &self.address(),
            &[],
            read(requirements, "/amount")?,
            STABLECOIN_DECIMALS,
        )
        .map_err(|error| PayError::Build(error.to_string()))?;
        let memo = Instruction {
            program_id: spl_memo_interface::v3::ID,
            accounts: Vec::new(),
            data: memo.as_bytes().to_vec(),
        };
        Ok([
            ComputeBudgetInstruction::set_compute_unit_limit(COMPUTE_UNITS),
            ComputeBudgetInstruction::set_compute_unit_price(COMPUTE_UNIT_PRICE),
            transfer,
            memo,
        ])
    }
}

fn read<T: FromStr>(requirements: &Value, pointer: &str) -> Result<T, PayError> {
    let text = requirements.pointer(pointer).and_then(Value::as_str);
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| PayError::Build(format!("the requirements' {pointer} cannot be read")))
}
