//! Where money comes from: the state before the first transaction, and the faucet's transactions after it.

use litesvm::LiteSVM;
use solana_account::Account;
use solana_hash::Hash;
use solana_instruction::Instruction;
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;
use spl_associated_token_account_interface::{
    address::get_associated_token_address_with_program_id as associated_token_address,
    instruction::create_associated_token_account_idempotent,
};
use spl_token_2022_interface::instruction::mint_to;

use super::{
    SandboxError,
    keys::{Seed, Wallets},
    ledger::Ledger,
    mints::{MintLayout, PYUSD, STABLECOIN_DECIMALS, TokenProgram, USDC, USDT},
};

const LAMPORTS_PER_SOL: u64 = 1_000_000_000;

/// What the faucet holds: more than all tests together will ask for.
const FAUCET_LAMPORTS: u64 = 500_000_000 * LAMPORTS_PER_SOL;

/// SOL of each wallet at the start.
const WALLET_LAMPORTS: u64 = 100 * LAMPORTS_PER_SOL;

/// What the agent has of each stablecoin at the start.
const AGENT_TOKENS: u64 = 1_000 * 10u64.pow(STABLECOIN_DECIMALS as u32);

const COMPUTE_BUDGET: Pubkey = Pubkey::from_str_const("ComputeBudget111111111111111111111111111111");

/// Compute units of a faucet transaction, at least, and how many different limits it takes in turn.
const COMPUTE_UNITS: u32 = 200_000;
const COMPUTE_UNITS_SPREAD: u32 = 1_000_000;

/// Gives SOL and mints tokens.
pub struct Faucet {
    purse: Keypair,
    mint_authority: Keypair,
}

impl Faucet {
    pub fn new(seed: Seed) -> Self {
        Self { purse: seed.keypair("faucet"), mint_authority: seed.keypair("mint authority") }
    }

    /// Writes the state the chain starts with.
    ///
    /// Real instructions without signatures: the stablecoins are at their devnet addresses, to which nobody here has
    /// the keys.
    pub fn endow(&self, ledger: &mut Ledger, wallets: &Wallets) -> Result<(), SandboxError> {
        let purse = self.purse.pubkey();
        let svm = ledger.genesis();
        give(svm, purse, FAUCET_LAMPORTS);
        for wallet in [&wallets.merchant, &wallets.agent, &wallets.fee_payer] {
            give(svm, wallet.pubkey(), WALLET_LAMPORTS);
        }
        let mints = [
            (USDC, MintLayout::stablecoin(), TokenProgram::Token),
            (USDT, MintLayout::stablecoin(), TokenProgram::Token),
            (PYUSD, MintLayout::pyusd(), TokenProgram::Token2022),
        ];
        for (mint, layout, program) in mints {
            let rent = |space| svm.minimum_balance_for_rent_exemption(space);
            let create = layout.instructions(&mint, &self.mint_authority.pubkey(), &purse, rent)?;
            run_unsigned(svm, &purse, &create)?;
            let agent = wallets.agent.pubkey();
            run_unsigned(svm, &purse, &self.mint_to(&mint, &agent, program.id(), AGENT_TOKENS)?)?;
            run_unsigned(svm, &purse, &self.mint_to(&mint, &wallets.merchant.pubkey(), program.id(), 0)?)?;
        }
        Ok(())
    }

    /// `unique` sets apart transactions that would otherwise be the same.
    pub fn airdrop(&self, to: &Pubkey, lamports: u64, blockhash: Hash, unique: u32) -> VersionedTransaction {
        let transfer = solana_system_interface::instruction::transfer(&self.purse.pubkey(), to, lamports);
        self.sign(vec![transfer], &[], blockhash, unique)
    }

    /// Mints to the owner's associated token account, creating it where it is missing.
    pub fn mint_tokens(
        &self,
        mint: &Pubkey,
        owner: &Pubkey,
        token_program: Pubkey,
        amount: u64,
        blockhash: Hash,
        unique: u32,
    ) -> Result<VersionedTransaction, SandboxError> {
        let instructions = self.mint_to(mint, owner, token_program, amount)?;
        Ok(self.sign(instructions, &[&self.mint_authority], blockhash, unique))
    }

    pub fn create_mint(
        &self,
        mint: &Keypair,
        layout: &MintLayout,
        rent: impl FnOnce(usize) -> u64,
        blockhash: Hash,
    ) -> Result<VersionedTransaction, SandboxError> {
        let authority = self.mint_authority.pubkey();
        let create = layout.instructions(&mint.pubkey(), &authority, &self.purse.pubkey(), rent)?;
        Ok(self.sign(create, &[mint], blockhash, 0))
    }

    fn mint_to(
        &self,
        mint: &Pubkey,
        owner: &Pubkey,
        token_program: Pubkey,
        amount: u64,
    ) -> Result<Vec<Instruction>, SandboxError> {
        let account = associated_token_address(owner, mint, &token_program);
        let create =
            create_associated_token_account_idempotent(&self.purse.pubkey(), owner, mint, &token_program);
        let mint = mint_to(&token_program, mint, &account, &self.mint_authority.pubkey(), &[], amount)
            .map_err(|_| SandboxError::NotAMint(*mint))?;
        Ok(vec![create, mint])
    }

    fn sign(
        &self,
        mut instructions: Vec<Instruction>,
        with: &[&Keypair],
        blockhash: Hash,
        unique: u32,
    ) -> VersionedTransaction {
        // Two airdrops of one amount on one blockhash are one message, which the chain would refuse the second time.
        // The compute limit tells them apart and costs nothing.
        let mut limit = vec![2];
        limit.extend((COMPUTE_UNITS + unique % COMPUTE_UNITS_SPREAD).to_le_bytes());
        instructions.insert(0, Instruction { program_id: COMPUTE_BUDGET, accounts: Vec::new(), data: limit });
        let message = Message::new_with_blockhash(&instructions, Some(&self.purse.pubkey()), &blockhash);
        let signers: Vec<&Keypair> = std::iter::once(&self.purse).chain(with.iter().copied()).collect();
        VersionedTransaction::try_new(VersionedMessage::Legacy(message), signers.as_slice())
            .expect("the instructions name no signers but these")
    }
}

fn give(svm: &mut LiteSVM, to: Pubkey, lamports: u64) {
    let account = Account { lamports, rent_epoch: u64::MAX, ..Account::default() };
    svm.set_account(to, account)
        .expect("a wallet is neither a program nor a sysvar, which alone are refused");
}

fn run_unsigned(svm: &mut LiteSVM, payer: &Pubkey, instructions: &[Instruction]) -> Result<(), SandboxError> {
    let message = Message::new(instructions, Some(payer));
    let signatures = vec![Signature::default(); usize::from(message.header.num_required_signatures)];
    let transaction = VersionedTransaction { signatures, message: VersionedMessage::Legacy(message) };
    svm.send_transaction(transaction).map(|_| ()).map_err(|failed| SandboxError::Failed(failed.err))
}
