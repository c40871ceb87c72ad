//! What a mint's extensions and the token accounts say about a payment, on accounts the real token programs made.

use pay402::{
    chain::{
        accounts::Account,
        solana::rules::{CheckedPayment, Holdings, Reason, Refusal, RulePolicy},
    },
    sandbox::{MintSpec, PYUSD, TokenProgram, TransferFee, USDC},
};
use solana_instruction::Instruction;
use solana_keypair::Keypair;
use solana_pubkey::Pubkey;
use solana_signer::Signer;
use solana_system_interface::instruction::create_account;
use spl_token_2022_interface::{
    extension::{ExtensionType, memo_transfer, pausable},
    instruction as token,
    state::{Account as TokenAccount, Mint},
};

use super::kit::Case;
use crate::sandbox::setup::{Fixture, start};

const TOKEN_2022: Pubkey = spl_token_2022_interface::ID;

struct Stage {
    chain: Fixture,
    case: Case,
}

impl Stage {
    /// The agent owes the merchant 1.00 of a mint.
    async fn new() -> Self {
        let chain = start().await;
        let wallets = chain.sandbox.wallets();
        let case = Case {
            fee_payer: wallets.fee_payer.insecure_clone(),
            payer: wallets.agent.insecure_clone(),
            pay_to: wallets.merchant.pubkey(),
            mint: USDC,
            amount: 1_000_000,
            ..Case::new()
        };
        Self { chain, case }
    }

    fn on_mint(mut self, mint: Pubkey, program: Pubkey) -> Self {
        (self.case.mint, self.case.program) = (mint, program);
        self
    }

    fn payment(&self) -> CheckedPayment {
        self.case.check(&self.case.stock()).unwrap()
    }

    async fn fetch(&self, key: &Pubkey) -> Option<Account> {
        self.chain.sandbox.advance_slots(1);
        let found = self.chain.rpc.get_multiple_accounts(&[*key]).await.unwrap();
        let found = found.into_iter().next().unwrap()?;
        Some(Account { owner: found.owner, lamports: found.lamports, data: found.data })
    }

    async fn check_mint(&self) -> Result<(), Refusal> {
        let mint = self.fetch(&self.case.mint).await.unwrap();
        self.case.rules().check_mint(&self.payment(), Some(&mint))
    }

    async fn explain(&self) -> Option<Refusal> {
        let payment = self.payment();
        self.on_holdings(&payment, |holdings| self.case.rules().explain(&payment, &holdings)).await
    }

    async fn on_holdings<T>(&self, payment: &CheckedPayment, judge: impl FnOnce(Holdings<'_>) -> T) -> T {
        let [mint, source, destination] = payment.holdings();
        let found = [self.fetch(&mint).await, self.fetch(&source).await, self.fetch(&destination).await];
        let [mint, source, destination] = found.each_ref().map(Option::as_ref);
        judge(Holdings { mint, source, destination })
    }

    #[track_caller]
    fn land(&self, instructions: &[Instruction], signers: &[&Keypair]) {
        let transaction = self.chain.legacy(instructions, signers);
        let before = self.chain.sandbox.send(&transaction);
        assert!(before.is_ok(), "{before:?}");
        self.chain.sandbox.advance_slots(1);
    }

    /// A Token-2022 mint of the agent's with one extension.
    fn create(&self, extension: ExtensionType, initialize: impl FnOnce(&Pubkey) -> Instruction) -> Pubkey {
        let (agent, mint) = (&self.case.payer, Keypair::new_from_array([90; 32]));
        let space = ExtensionType::try_calculate_account_len::<Mint>(&[extension]).unwrap();
        let key = mint.pubkey();
        let authority = agent.pubkey();
        let instructions = [
            create_account(&authority, &key, 10_000_000, space as u64, &TOKEN_2022),
            initialize(&key),
            token::initialize_mint2(&TOKEN_2022, &key, &authority, Some(&authority), 6).unwrap(),
        ];
        self.land(&instructions, &[agent, &mint]);
        key
    }
}

fn mint_with(transfer_fee: Option<TransferFee>, transfer_hook: Option<Pubkey>) -> MintSpec {
    MintSpec { decimals: 6, program: TokenProgram::Token2022, transfer_fee, transfer_hook }
}

#[tokio::test]
async fn known_stablecoins_are_accepted() {
    assert_eq!(Stage::new().await.check_mint().await, Ok(()));
    // PYUSD has a fee of zero, a hook without a program and a permanent delegate.
    assert_eq!(Stage::new().await.on_mint(PYUSD, TOKEN_2022).check_mint().await, Ok(()));
}

async fn refused_unless_trusted(spec: MintSpec, words: &str) {
    let stage = Stage::new().await;
    let mint = stage.chain.sandbox.create_mint(spec).unwrap();
    let mut stage = stage.on_mint(mint, TOKEN_2022);
    let refusal = stage.check_mint().await.unwrap_err();
    assert_eq!(refusal.reason, Reason::MintMismatch);
    assert!(refusal.message.contains(words), "{}", refusal.message);
    assert_eq!(refusal.payer, Some(stage.case.payer.pubkey()));
    stage.case.policy = RulePolicy { trusted_mints: vec![mint], ..RulePolicy::default() };
    assert_eq!(stage.check_mint().await, Ok(()));
}

#[tokio::test]
async fn a_transfer_fee_is_refused_unless_the_operator_allows_the_mint() {
    let fee = TransferFee { basis_points: 1, maximum: 1 };
    refused_unless_trusted(mint_with(Some(fee), None), "withholds a fee").await;
}

#[tokio::test]
async fn a_transfer_hook_is_refused_unless_the_operator_allows_the_mint() {
    let hook = Pubkey::new_from_array([91; 32]);
    refused_unless_trusted(mint_with(None, Some(hook)), "runs a program").await;
}

#[tokio::test]
async fn a_fee_of_zero_basis_points_is_none() {
    let stage = Stage::new().await;
    let fee = TransferFee { basis_points: 0, maximum: 1_000 };
    let mint = stage.chain.sandbox.create_mint(mint_with(Some(fee), None)).unwrap();
    assert_eq!(stage.on_mint(mint, TOKEN_2022).check_mint().await, Ok(()));
}

#[tokio::test]
async fn a_mint_that_cannot_be_transferred_is_refused() {
    let stage = Stage::new().await;
    let mint = stage.create(ExtensionType::NonTransferable, |mint| {
        token::initialize_non_transferable_mint(&TOKEN_2022, mint).unwrap()
    });
    let refusal = stage.on_mint(mint, TOKEN_2022).check_mint().await.unwrap_err();
    assert_eq!(refusal.reason, Reason::SimulationFailed);
    assert!(refusal.message.ends_with("cannot be transferred"), "{}", refusal.message);
}

#[tokio::test]
async fn a_pausable_mint_is_refused_while_it_is_paused() {
    let stage = Stage::new().await;
    let authority = stage.case.payer.pubkey();
    let mint = stage.create(ExtensionType::Pausable, |mint| {
        pausable::instruction::initialize(&TOKEN_2022, mint, &authority).unwrap()
    });
    let stage = stage.on_mint(mint, TOKEN_2022);
    assert_eq!(stage.check_mint().await, Ok(()));
    let pause = pausable::instruction::pause(&TOKEN_2022, &mint, &authority, &[]).unwrap();
    stage.land(&[pause], &[&stage.case.payer]);
    let refusal = stage.check_mint().await.unwrap_err();
    assert_eq!(refusal.reason, Reason::SimulationFailed);
    assert!(refusal.message.contains("paused"), "{}", refusal.message);
}

#[tokio::test]
async fn what_is_no_mint_is_refused() {
    let stage = Stage::new().await;
    let payment = stage.payment();
    let judge = |owner, data: &[u8]| {
        let account = Account { owner, lamports: 1, data: data.to_vec() };
        stage.case.rules().check_mint(&payment, Some(&account)).unwrap_err().message
    };
    let mint = stage.fetch(&USDC).await.unwrap();
    assert!(judge(TOKEN_2022, &mint.data).contains("belongs to"));
    assert!(judge(mint.owner, &[]).ends_with("is not a mint"));
    let account = stage.fetch(&stage.case.source()).await.unwrap();
    assert!(judge(account.owner, &account.data).ends_with("is not a mint"));
    assert!(stage.case.rules().check_mint(&payment, None).unwrap_err().message.contains("does not exist"));
}

#[tokio::test]
async fn a_mint_with_other_decimals_than_the_transfers_is_refused() {
    let stage = Stage::new().await;
    let spec = MintSpec { decimals: 9, ..mint_with(None, None) };
    let mint = stage.chain.sandbox.create_mint(spec).unwrap();
    let refusal = stage.on_mint(mint, TOKEN_2022).check_mint().await.unwrap_err();
    assert_eq!(refusal.reason, Reason::SimulationFailed);
    assert!(refusal.message.ends_with("has 9 decimals, the transfer counts on 6"), "{}", refusal.message);
}

#[tokio::test]
async fn an_unknown_extension_is_refused() {
    let stage = Stage::new().await.on_mint(PYUSD, TOKEN_2022);
    let mint = stage.fetch(&PYUSD).await.unwrap();
    // One more entry, of a type nobody has heard of.
    let data = [&mint.data[..], &[0xaa, 0x7f, 0, 0]].concat();
    let account = Account { data, ..mint };
    let refusal = stage.case.rules().check_mint(&stage.payment(), Some(&account)).unwrap_err();
    assert!(refusal.message.contains("unknown to this service"), "{}", refusal.message);
    for length in 0..mint.data.len() {
        let account = Account { data: mint.data[..length].to_vec(), ..mint };
        let _ = stage.case.rules().check_mint(&stage.payment(), Some(&account));
    }
}

#[track_caller]
fn says(refusal: Option<Refusal>, message: &str) {
    let refusal = refusal.expect("there is a reason");
    assert_eq!((refusal.reason, refusal.message.as_ref()), (Reason::SimulationFailed, message));
    assert!(refusal.payer.is_some());
}

#[tokio::test]
async fn where_nothing_is_wrong_nothing_is_said() {
    assert_eq!(Stage::new().await.explain().await, None);
}

#[tokio::test]
async fn a_low_balance_is_said_with_both_sums() {
    let mut stage = Stage::new().await;
    stage.case.payer = Keypair::new_from_array([92; 32]);
    stage.chain.sandbox.mint_tokens(&USDC, &stage.case.payer.pubkey(), 400_000).unwrap();
    says(stage.explain().await, "the payer holds 0.40 USDC, 1.00 needed");
    stage.chain.sandbox.mint_tokens(&USDC, &stage.case.payer.pubkey(), 599_999).unwrap();
    says(stage.explain().await, "the payer holds 0.999999 USDC, 1.00 needed");
    stage.chain.sandbox.mint_tokens(&USDC, &stage.case.payer.pubkey(), 1).unwrap();
    assert_eq!(stage.explain().await, None);
}

#[tokio::test]
async fn a_payer_without_an_account_is_told_so() {
    let mut stage = Stage::new().await;
    stage.case.payer = Keypair::new_from_array([92; 32]);
    let source = stage.case.source();
    says(stage.explain().await, &format!("the payer has no USDC token account {source}: 1.00 USDC needed"));
}

#[tokio::test]
async fn a_merchant_without_an_account_is_told_to_create_it() {
    let mut stage = Stage::new().await;
    stage.case.pay_to = Keypair::new_from_array([93; 32]).pubkey();
    let destination = stage.case.destination();
    says(
        stage.explain().await,
        &format!("payTo has no USDC token account: create it first, at {destination}"),
    );
}

/// A mint of the agent's that both sides hold, for freezing.
async fn own_mint() -> Stage {
    let stage = Stage::new().await;
    let mint = stage.create(ExtensionType::MintCloseAuthority, |mint| {
        token::initialize_mint_close_authority(&TOKEN_2022, mint, None).unwrap()
    });
    let stage = stage.on_mint(mint, TOKEN_2022);
    let payer = stage.case.payer.pubkey();
    let create = |owner: &Pubkey| {
        spl_associated_token_account_interface::instruction::create_associated_token_account(
            &payer,
            owner,
            &mint,
            &TOKEN_2022,
        )
    };
    let fund = token::mint_to(&TOKEN_2022, &mint, &stage.case.source(), &payer, &[], 5_000_000).unwrap();
    stage.land(&[create(&payer), create(&stage.case.pay_to), fund], &[&stage.case.payer]);
    assert_eq!(stage.explain().await, None);
    stage
}

#[tokio::test]
async fn a_frozen_account_is_named() {
    for merchants in [false, true] {
        let stage = own_mint().await;
        let (mint, payer) = (stage.case.mint, stage.case.payer.pubkey());
        let (account, whose) =
            if merchants { (stage.case.destination(), "payTo") } else { (stage.case.source(), "the payer") };
        let freeze = token::freeze_account(&TOKEN_2022, &account, &mint, &payer, &[]).unwrap();
        stage.land(&[freeze], &[&stage.case.payer]);
        says(stage.explain().await, &format!("{whose}'s {mint} token account {account} is frozen"));
    }
}

#[tokio::test]
async fn an_account_that_demands_memos_is_named() {
    let stage = own_mint().await;
    let (merchant, account) = (&stage.chain.sandbox.wallets().merchant, stage.case.destination());
    let payer = stage.case.payer.pubkey();
    let demand = [
        token::reallocate(
            &TOKEN_2022,
            &account,
            &payer,
            &merchant.pubkey(),
            &[],
            &[ExtensionType::MemoTransfer],
        )
        .unwrap(),
        memo_transfer::instruction::enable_required_transfer_memos(
            &TOKEN_2022,
            &account,
            &merchant.pubkey(),
            &[],
        )
        .unwrap(),
    ];
    stage.land(&demand, &[&stage.case.payer, merchant]);
    let refusal = stage.explain().await.unwrap();
    assert!(refusal.message.contains("demands a memo right before each transfer"), "{}", refusal.message);
}

#[tokio::test]
async fn a_delegate_is_told_what_it_may_spend() {
    let mut stage = own_mint().await;
    let owner = stage.case.payer.insecure_clone();
    let source = stage.case.source();
    let delegate = Keypair::new_from_array([94; 32]);
    stage.case.payer = delegate.insecure_clone();
    let explain = async |stage: &Stage| {
        let mut instructions = stage.case.stock();
        instructions[2].accounts[0].pubkey = source;
        let payment = stage.case.check(&instructions).unwrap();
        stage.on_holdings(&payment, |holdings| stage.case.rules().explain(&payment, &holdings)).await
    };
    let mint = stage.case.mint;
    let said = |allowance: &str| {
        format!(
            "the payer may spend {allowance} {mint} of {}'s token account {source}, 1.00 {mint} needed",
            owner.pubkey()
        )
    };
    says(explain(&stage).await, &said("0.00"));
    let approve = |amount| {
        token::approve(&TOKEN_2022, &source, &delegate.pubkey(), &owner.pubkey(), &[], amount).unwrap()
    };
    stage.land(&[approve(300_000)], &[&owner]);
    says(explain(&stage).await, &said("0.30"));
    stage.land(&[approve(1_000_000)], &[&owner]);
    assert_eq!(explain(&stage).await, None);
}

/// From another account of payTo's: what it holds in all would not grow.
#[tokio::test]
async fn pay_tos_own_money_is_no_payment_to_it() {
    let mut stage = own_mint().await;
    let (agent, merchant) = (stage.case.payer.insecure_clone(), stage.case.pay_to);
    let other = Keypair::new_from_array([95; 32]);
    let space = ExtensionType::try_calculate_account_len::<TokenAccount>(&[]).unwrap();
    let mint = stage.case.mint;
    let open = [
        create_account(&agent.pubkey(), &other.pubkey(), 10_000_000, space as u64, &TOKEN_2022),
        token::initialize_account3(&TOKEN_2022, &other.pubkey(), &mint, &merchant).unwrap(),
        token::mint_to(&TOKEN_2022, &mint, &other.pubkey(), &agent.pubkey(), &[], 5_000_000).unwrap(),
    ];
    stage.land(&open, &[&agent, &other]);
    let check = async |stage: &Stage, source: Option<Pubkey>| {
        let mut instructions = stage.case.stock();
        instructions[2].accounts[0].pubkey = source.unwrap_or(stage.case.source());
        let payment = stage.case.check(&instructions).unwrap();
        stage.on_holdings(&payment, |holdings| stage.case.rules().check_holdings(&payment, &holdings)).await
    };
    assert_eq!(check(&stage, None).await, Ok(()));
    // Whoever's signature moves it.
    let owner = stage.chain.sandbox.wallets().merchant.insecure_clone();
    for payer in [agent, owner] {
        stage.case.payer = payer;
        let refusal = check(&stage, Some(other.pubkey())).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::RecipientMismatch);
        assert!(refusal.message.contains("payTo's own"), "{}", refusal.message);
        assert_eq!(refusal.payer, Some(stage.case.payer.pubkey()));
    }
    // Nor from what cannot be told whose it is.
    for source in [mint, Pubkey::new_from_array([96; 32])] {
        let refusal = check(&stage, Some(source)).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::SimulationFailed, "{}", refusal.message);
    }
}
