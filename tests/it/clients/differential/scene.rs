//! The chain that both facilitators look at, and who is on it.

use base64::{Engine, prelude::BASE64_STANDARD};
use pay402::sandbox::{
    FINALITY_SLOTS, MAX_BLOCKHASH_AGE, MintSpec, PYUSD, TokenProgram, TransferFee, USDC, USDT,
};
use serde_json::json;
use solana_address_lookup_table_interface::instruction as lookup_tables;
use solana_hash::Hash;
use solana_instruction::Instruction;
use solana_keypair::Keypair;
use solana_program_runtime::{declare_process_instruction, solana_sbpf::program::BuiltinFunctionDefinition};
use solana_pubkey::Pubkey;
use solana_signer::Signer;
use solana_system_interface::instruction::create_account;
use spl_associated_token_account_interface::instruction::create_associated_token_account;
use spl_token_2022_interface::{
    extension::{ExtensionType, pausable::instruction as pausable},
    instruction as token_2022,
    state::Mint,
};
use spl_token_interface::instruction as token;

use super::{Sample, reference::Verdict};
use crate::{harness::TestApp, sandbox::setup::token_account, x402::kit::Case};

// Guards hold: what they would look at is not what is tried here.
declare_process_instruction!(Lighthouse, 150, |invoke_context| {
    invoke_context.transaction_context.get_current_instruction_context()?;
    Ok(())
});

const TOKEN: Pubkey = spl_token_interface::ID;
const TOKEN_2022: Pubkey = spl_token_2022_interface::ID;

/// Where a token account has its state: 0 is not initialised, 2 is frozen.
const TOKEN_ACCOUNT_STATE: usize = 108;

/// A new mint of Token-2022, of which the agent has much and the merchant a token account.
fn mint_of_both(app: &TestApp, transfer_fee: Option<TransferFee>, transfer_hook: Option<Pubkey>) -> Pubkey {
    let (chain, program) = (&app.chain.sandbox, TokenProgram::Token2022);
    let mint = chain.create_mint(MintSpec { decimals: 6, program, transfer_fee, transfer_hook }).unwrap();
    chain.mint_tokens(&mint, &app.agent().pubkey(), 1_000_000_000).unwrap();
    chain.mint_tokens(&mint, &app.merchant(), 0).unwrap();
    mint
}

/// The same, of the agent's making, with an extension.
fn extended_mint(
    app: &TestApp,
    seed: u8,
    extension: ExtensionType,
    initialize: impl FnOnce(&Pubkey) -> Instruction,
) -> Pubkey {
    let (agent, keypair) = (app.agent(), Keypair::new_from_array([seed; 32]));
    let (maker, mint) = (agent.pubkey(), keypair.pubkey());
    let space = ExtensionType::try_calculate_account_len::<Mint>(&[extension]).unwrap();
    let made = [
        create_account(&maker, &mint, 10_000_000, space as u64, &TOKEN_2022),
        initialize(&mint),
        token_2022::initialize_mint2(&TOKEN_2022, &mint, &maker, None, 6).unwrap(),
    ];
    app.land_instructions(&made, &[agent, &keypair]);
    let account = token_account(&mint, &maker, TokenProgram::Token2022);
    let held = [
        create_associated_token_account(&maker, &maker, &mint, &TOKEN_2022),
        create_associated_token_account(&maker, &app.merchant(), &mint, &TOKEN_2022),
        token_2022::mint_to(&TOKEN_2022, &mint, &account, &maker, &[], 1_000_000_000).unwrap(),
    ];
    app.land_instructions(&held, &[agent]);
    mint
}

/// May spend 10 USDC of the agent's, and as many of the merchant's from another account than its usual one.
fn delegate_of_both(app: &TestApp) -> (Keypair, Pubkey) {
    let (delegate, other) = (Keypair::new_from_array([22; 32]), Keypair::new_from_array([23; 32]));
    let (agent, merchant) = (app.agent(), &app.chain.sandbox.wallets().merchant);
    let agents = token_account(&USDC, &agent.pubkey(), TokenProgram::Token);
    let account = other.pubkey();
    let allow = |account: &Pubkey, owner: &Pubkey| {
        token::approve(&TOKEN, account, &delegate.pubkey(), owner, &[], 10_000_000).unwrap()
    };
    let made = [
        create_account(&agent.pubkey(), &account, 2_039_280, 165, &TOKEN),
        token::initialize_account3(&TOKEN, &account, &USDC, &merchant.pubkey()).unwrap(),
        token::transfer_checked(&TOKEN, &agents, &USDC, &account, &agent.pubkey(), &[], 10_000_000, 6)
            .unwrap(),
        allow(&account, &merchant.pubkey()),
        allow(&agents, &agent.pubkey()),
    ];
    app.land_instructions(&made, &[agent, &other, merchant]);
    (delegate, account)
}

fn multisig_of_the_agent(app: &TestApp) -> Pubkey {
    let (agent, multisig) = (app.agent(), Keypair::new_from_array([29; 32]));
    let key = multisig.pubkey();
    let made = [
        create_account(&agent.pubkey(), &key, 10_000_000, 355, &TOKEN),
        token::initialize_multisig2(&TOKEN, &key, &[&agent.pubkey()], 1).unwrap(),
    ];
    app.land_instructions(&made, &[agent, &multisig]);
    app.chain.sandbox.mint_tokens(&USDC, &key, 1_000_000_000).unwrap();
    key
}

/// Changes an account as only its program could.
async fn alter(app: &TestApp, key: Pubkey, change: impl FnOnce(&mut [u8])) {
    app.chain.sandbox.advance_slots(1);
    let mut account = app.chain.rpc.get_account(&key).await.unwrap();
    change(&mut account.data);
    app.chain.sandbox.set_account(key, account);
}

pub struct Scene {
    pub app: TestApp,
    /// Has a little USDC.
    pub broke: Keypair,
    /// Has no token account.
    pub nobody: Keypair,
    /// Has a token account that is frozen.
    pub frozen: Keypair,
    /// Its token account is none yet.
    pub blank: Pubkey,
    /// May spend from the agent's token account, and from `merchants_other`.
    pub delegate: Keypair,
    /// Another token account of the merchant's.
    pub merchants_other: Pubkey,
    /// Has a token account, and the agent as its only member.
    pub multisig: Pubkey,
    /// Withholds a part of each transfer.
    pub fee_mint: Pubkey,
    /// Runs a program at each transfer.
    pub hook_mint: Pubkey,
    /// Nobody knows it, and it does what it says.
    pub plain_mint: Pubkey,
    pub soulbound_mint: Pubkey,
    pub paused_mint: Pubkey,
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
        let fee = TransferFee { basis_points: 100, maximum: 1_000_000 };
        let fee_mint = mint_of_both(&app, Some(fee), None);
        let hook_mint = mint_of_both(&app, None, Some(Pubkey::new_from_array([26; 32])));
        let plain_mint = mint_of_both(&app, None, None);
        let soulbound_mint = extended_mint(&app, 27, ExtensionType::NonTransferable, |mint| {
            token_2022::initialize_non_transferable_mint(&TOKEN_2022, mint).unwrap()
        });
        let paused_mint = extended_mint(&app, 28, ExtensionType::Pausable, |mint| {
            pausable::initialize(&TOKEN_2022, mint, &agent).unwrap()
        });
        let pause = pausable::pause(&TOKEN_2022, &paused_mint, &agent, &[]).unwrap();
        app.land_instructions(&[pause], &[app.agent()]);
        let (delegate, merchants_other) = delegate_of_both(&app);
        let multisig = multisig_of_the_agent(&app);
        let (frozen, blank) = (Keypair::new_from_array([24; 32]), Pubkey::new_from_array([25; 32]));
        let account = chain.mint_tokens(&USDC, &frozen.pubkey(), 1_000_000_000).unwrap();
        alter(&app, account, |data| data[TOKEN_ACCOUNT_STATE] = 2).await;
        let account = chain.mint_tokens(&USDC, &blank, 0).unwrap();
        alter(&app, account, |data| data.fill(0)).await;
        let expired = chain.latest_blockhash();
        let (create, lookup_table) = lookup_tables::create_lookup_table(agent, agent, chain.slot() - 1);
        let destination = Case { pay_to: merchant, ..Case::new() }.destination();
        let extend = lookup_tables::extend_lookup_table(lookup_table, agent, Some(agent), vec![destination]);
        app.land_instructions(&[create, extend], &[app.agent()]);
        chain.advance_slots(MAX_BLOCKHASH_AGE + FINALITY_SLOTS + 2);
        let blockhash = chain.latest_blockhash();
        chain.advance_slots(2);
        let nobody = Keypair::new_from_array([21; 32]);
        Self {
            app,
            broke,
            nobody,
            frozen,
            blank,
            delegate,
            merchants_other,
            multisig,
            fee_mint,
            hook_mint,
            plain_mint,
            soulbound_mint,
            paused_mint,
            lookup_table,
            blockhash,
            expired,
        }
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
