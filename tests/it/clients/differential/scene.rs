//! The chain that both facilitators look at, and who is on it.

use base64::{Engine, prelude::BASE64_STANDARD};
use pay402::sandbox::{
    FINALITY_SLOTS, MAX_BLOCKHASH_AGE, MintSpec, PYUSD, TokenProgram, TransferFee, USDC, USDT,
};
use serde_json::json;
use solana_address_lookup_table_interface::instruction as lookup_tables;
use solana_hash::Hash;
use solana_keypair::Keypair;
use solana_program_runtime::{declare_process_instruction, solana_sbpf::program::BuiltinFunctionDefinition};
use solana_pubkey::Pubkey;
use solana_signer::Signer;

use super::{Sample, reference::Verdict};
use crate::{harness::TestApp, x402::kit::Case};

// Guards hold: what they would look at is not what is tried here.
declare_process_instruction!(Lighthouse, 150, |invoke_context| {
    invoke_context.transaction_context.get_current_instruction_context()?;
    Ok(())
});

pub struct Scene {
    pub app: TestApp,
    /// Has a little USDC.
    pub broke: Keypair,
    /// Has no token account.
    pub nobody: Keypair,
    /// Withholds a part of each transfer.
    pub fee_mint: Pubkey,
    /// Has the destination's token account in it.
    pub lookup_table: Pubkey,
    pub blockhash: Hash,
    pub expired: Hash,
}

impl Scene {
    pub async fn set() -> Self {
        let app = TestApp::settling().await;
        let (chain, agent, merchant) = (&app.chain.sandbox, app.agent().pubkey(), app.merchant());
        chain.add_builtin(pay402::chain::solana::rules::LIGHTHOUSE, Lighthouse::register);
        let broke = Keypair::new_from_array([20; 32]);
        chain.mint_tokens(&USDC, &broke.pubkey(), 10).unwrap();
        let fee_payer = chain.wallets().fee_payer.pubkey();
        for mint in [USDC, USDT, PYUSD] {
            chain.mint_tokens(&mint, &fee_payer, 1_000_000).unwrap();
        }
        let fee_mint = chain
            .create_mint(MintSpec {
                decimals: 6,
                program: TokenProgram::Token2022,
                transfer_fee: Some(TransferFee { basis_points: 100, maximum: 1_000_000 }),
                transfer_hook: None,
            })
            .unwrap();
        chain.mint_tokens(&fee_mint, &agent, 1_000_000_000).unwrap();
        chain.mint_tokens(&fee_mint, &merchant, 0).unwrap();
        let expired = chain.latest_blockhash();
        let (create, lookup_table) = lookup_tables::create_lookup_table(agent, agent, chain.slot() - 1);
        let destination = Case { pay_to: merchant, ..Case::new() }.destination();
        let extend = lookup_tables::extend_lookup_table(lookup_table, agent, Some(agent), vec![destination]);
        app.land_instructions(&[create, extend], &[app.agent()]);
        chain.advance_slots(MAX_BLOCKHASH_AGE + FINALITY_SLOTS + 2);
        let blockhash = chain.latest_blockhash();
        chain.advance_slots(2);
        let nobody = Keypair::new_from_array([21; 32]);
        Self { app, broke, nobody, fee_mint, lookup_table, blockhash, expired }
    }

    pub fn fee_payer(&self) -> &Keypair {
        &self.app.chain.sandbox.wallets().fee_payer
    }

    /// What the service says, and its sentence.
    pub async fn judge(&self, sample: &Sample) -> (Verdict, String) {
        let (payload, requirements) = (&sample.payload, &sample.requirements);
        let body = if sample.by_header {
            let header = BASE64_STANDARD.encode(payload.to_string());
            json!({"x402Version": 1, "paymentHeader": header, "paymentRequirements": requirements})
        } else {
            let version = &payload["x402Version"];
            json!({"x402Version": version, "paymentPayload": payload, "paymentRequirements": requirements})
        };
        let answer = self.app.post("/verify", None, &body).await;
        let verdict = Verdict::of(&answer.body);
        let malformed = verdict == Verdict::refused("invalid_payload");
        let right = if malformed { [200, 400].contains(&answer.status) } else { answer.status == 200 };
        assert!(right, "{}: {answer:?}", sample.name());
        (verdict, answer.body["invalidMessage"].as_str().unwrap_or_default().to_owned())
    }
}
