//! Payments as clients make them, and the parts to make others of.

use base64::{Engine, prelude::BASE64_STANDARD};
use pay402::chain::{
    assets::{Assets, Network},
    solana::rules::{CheckedPayment, Kind, LIGHTHOUSE, Reason, Refusal, RulePolicy, Rules, Terms, Version},
};
use pay402::sandbox::USDC;
use solana_hash::Hash;
use solana_instruction::{AccountMeta, Instruction};
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage, v0};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;
use spl_associated_token_account_interface::address::get_associated_token_address_with_program_id;

pub const COMPUTE_BUDGET: Pubkey = Pubkey::from_str_const("ComputeBudget111111111111111111111111111111");

/// A buyer, a merchant, a facilitator, and what is asked.
pub struct Case {
    pub version: Version,
    pub policy: RulePolicy,
    pub fee_payer: Keypair,
    /// Fee payers of the service besides.
    pub retired: Vec<Pubkey>,
    pub payer: Keypair,
    /// Others whose signatures are put where they are asked for.
    pub others: Vec<Keypair>,
    pub pay_to: Pubkey,
    pub mint: Pubkey,
    pub program: Pubkey,
    pub amount: u64,
    pub memo: Option<String>,
    pub blockhash: Hash,
}

impl Case {
    /// 0.05 USDC by version 2.
    pub fn new() -> Self {
        Self {
            version: Version::V2,
            policy: RulePolicy::default(),
            fee_payer: Keypair::new_from_array([1; 32]),
            retired: Vec::new(),
            payer: Keypair::new_from_array([2; 32]),
            others: Vec::new(),
            pay_to: Keypair::new_from_array([3; 32]).pubkey(),
            mint: USDC,
            program: spl_token_interface::ID,
            amount: 50_000,
            memo: None,
            blockhash: Hash::new_from_array([4; 32]),
        }
    }

    pub fn v1() -> Self {
        Self { version: Version::V1, ..Self::new() }
    }

    pub fn both() -> [Self; 2] {
        [Self::new(), Self::v1()]
    }

    pub fn ata(&self, owner: &Pubkey) -> Pubkey {
        get_associated_token_address_with_program_id(owner, &self.mint, &self.program)
    }

    pub fn source(&self) -> Pubkey {
        self.ata(&self.payer.pubkey())
    }

    pub fn destination(&self) -> Pubkey {
        self.ata(&self.pay_to)
    }

    pub fn transfer(&self) -> Instruction {
        let accounts = vec![
            AccountMeta::new(self.source(), false),
            AccountMeta::new_readonly(self.mint, false),
            AccountMeta::new(self.destination(), false),
            AccountMeta::new_readonly(self.payer.pubkey(), true),
        ];
        Instruction { program_id: self.program, accounts, data: transfer_data(self.amount, 6) }
    }

    /// What stock clients build.
    pub fn stock(&self) -> Vec<Instruction> {
        vec![limit(20_000), price(1), self.transfer(), memo(b"402")]
    }

    pub fn message(&self, instructions: &[Instruction]) -> VersionedMessage {
        let payer = self.fee_payer.pubkey();
        VersionedMessage::V0(v0::Message::try_compile(&payer, instructions, &[], self.blockhash).unwrap())
    }

    pub fn legacy(&self, instructions: &[Instruction]) -> VersionedMessage {
        let payer = self.fee_payer.pubkey();
        VersionedMessage::Legacy(Message::new_with_blockhash(instructions, Some(&payer), &self.blockhash))
    }

    /// Signed by all whose keys are known, except the fee payer.
    pub fn sign(&self, message: VersionedMessage) -> VersionedTransaction {
        let bytes = message.serialize();
        let required = usize::from(message.header().num_required_signatures);
        let known = || std::iter::once(&self.payer).chain(&self.others);
        let signatures = message.static_account_keys().iter().take(required).map(|key| {
            known()
                .find(|pair| pair.pubkey() == *key)
                .map_or_else(Signature::default, |pair| pair.sign_message(&bytes))
        });
        VersionedTransaction { signatures: signatures.collect(), message }
    }

    pub fn rules(&self) -> Rules {
        let mut fee_payers = vec![self.fee_payer.pubkey()];
        fee_payers.extend(&self.retired);
        Rules::new(Network::Sandbox, Assets::of(Network::Sandbox), fee_payers, self.policy.clone())
    }

    pub fn check(&self, instructions: &[Instruction]) -> Result<CheckedPayment, Refusal> {
        self.check_message(self.message(instructions))
    }

    pub fn check_message(&self, message: VersionedMessage) -> Result<CheckedPayment, Refusal> {
        self.check_transaction(&self.sign(message))
    }

    pub fn check_transaction(&self, transaction: &VersionedTransaction) -> Result<CheckedPayment, Refusal> {
        self.check_bytes(&wire(transaction))
    }

    pub fn check_bytes(&self, bytes: &[u8]) -> Result<CheckedPayment, Refusal> {
        self.check_text(&BASE64_STANDARD.encode(bytes))
    }

    pub fn check_text(&self, text: &str) -> Result<CheckedPayment, Refusal> {
        self.check_with(text, |terms| terms)
    }

    /// With other terms than the payment is made for.
    pub fn check_with(
        &self,
        text: &str,
        change: impl FnOnce(Terms<'_>) -> Terms<'_>,
    ) -> Result<CheckedPayment, Refusal> {
        let kind = Kind { scheme: "exact", network: self.version.network_name(Network::Sandbox) };
        let (fee_payer, asset) = (self.fee_payer.pubkey().to_string(), self.mint.to_string());
        let pay_to = self.pay_to.to_string();
        self.rules().check(&change(Terms {
            version: self.version,
            paid: kind,
            transaction: text,
            asked: kind,
            fee_payer: Some(&fee_payer),
            asset: &asset,
            pay_to: &pay_to,
            amount: self.amount,
            memo: self.memo.as_deref(),
        }))
    }

    pub fn stock_text(&self) -> String {
        BASE64_STANDARD.encode(wire(&self.sign(self.message(&self.stock()))))
    }

    #[track_caller]
    pub fn assert_refused(&self, instructions: &[Instruction], reason: Reason) {
        assert_reason(self.check(instructions), reason);
    }
}

#[track_caller]
pub fn assert_reason(checked: Result<CheckedPayment, Refusal>, reason: Reason) {
    let refusal = checked.expect_err("must be refused");
    assert_eq!(refusal.reason, reason, "{}", refusal.message);
    assert!(refusal.message.len() > 20, "a sentence for people: {}", refusal.message);
}

pub fn wire(transaction: &VersionedTransaction) -> Vec<u8> {
    bincode::serialize(transaction).unwrap()
}

pub fn transfer_data(amount: u64, decimals: u8) -> Vec<u8> {
    [&[12][..], &amount.to_le_bytes(), &[decimals]].concat()
}

fn call(program_id: Pubkey, data: &[u8]) -> Instruction {
    Instruction { program_id, accounts: Vec::new(), data: data.to_vec() }
}

pub fn limit(units: u32) -> Instruction {
    call(COMPUTE_BUDGET, &[&[2][..], &units.to_le_bytes()].concat())
}

pub fn price(micro_lamports: u64) -> Instruction {
    call(COMPUTE_BUDGET, &[&[3][..], &micro_lamports.to_le_bytes()].concat())
}

pub fn memo(text: &[u8]) -> Instruction {
    call(spl_memo_interface::v3::ID, text)
}

/// An assertion, as wallets add them.
pub fn guard() -> Instruction {
    lighthouse(5)
}

pub fn lighthouse(discriminator: u8) -> Instruction {
    call(LIGHTHOUSE, &[discriminator, 0, 1])
}

/// A call of a program nobody knows.
pub fn unknown() -> Instruction {
    call(Pubkey::new_from_array([9; 32]), &[])
}

pub fn with_account(mut instruction: Instruction, account: AccountMeta) -> Instruction {
    instruction.accounts.push(account);
    instruction
}
