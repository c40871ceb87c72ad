//! Attacks on the fee payer, through the routes, on a chain that would do as it is told. Each has its like in
//! `x402::attacks`, where the rules are asked alone; here nothing but the fee of a good payment may leave the fee payer.
//!
//! What `is_not_robbed_by` and `refuses_what_would_land` are asked with is no idle threat: the test signs it with the fee
//! payer's key, and the chain carries it out. What `refuses_payment` is asked with is refused for what it could become; some
//! of it the sandbox chain would not run, such as a durable nonce, which it does not model.

use pay402::{
    chain::solana::rules::LIGHTHOUSE,
    sandbox::{MintSpec, TokenProgram, TransferFee},
};
use solana_address_lookup_table_interface::instruction as lookup_tables;
use solana_hash::Hash;
use solana_instruction::{AccountMeta, Instruction};
use solana_keypair::Keypair;
use solana_message::{AddressLookupTableAccount, VersionedMessage, v0, v0::MessageAddressTableLookup};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_signer::Signer;
use solana_system_interface::instruction::{self as system, create_account};
use solana_transaction::versioned::VersionedTransaction;
use spl_associated_token_account_interface::instruction as ata;
use spl_token_interface::instruction as token;

use super::{assert_invalid, purse::Purse};
use crate::{
    harness::x402::Order,
    sandbox::setup::token_account,
    x402::kit::{lighthouse, limit, memo, price, transfer_data, with_account},
};

const FIFTH: &str = "invalid_exact_svm_payload_unknown_fifth_instruction";
const OURS: &str = "invalid_exact_svm_payload_transaction_fee_payer_included_in_instruction_accounts";
const UNDECODABLE: &str = "invalid_exact_svm_payload_transaction_could_not_be_decoded";
const PRICE_TOO_HIGH: &str =
    "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction_too_high";

impl Purse {
    fn usdc_of(&self, owner: &Pubkey) -> Pubkey {
        token_account(&self.order.mint, owner, self.order.program)
    }

    fn blockhash(&self) -> Hash {
        let blockhash = self.sandbox().latest_blockhash();
        self.sandbox().advance_slots(2);
        blockhash
    }

    fn payment(&self, instructions: &[Instruction]) -> VersionedTransaction {
        self.order.sign_instructions(instructions, self.blockhash())
    }

    /// A stock payment with something added.
    fn plus(&self, extra: Instruction) -> VersionedTransaction {
        self.payment(&[self.order.stock(), vec![extra]].concat())
    }

    /// Something else in the transfer's place.
    fn instead(&self, transfer: Instruction) -> VersionedTransaction {
        self.payment(&[limit(20_000), price(1), transfer, memo(b"402")])
    }

    /// A stock payment with its message changed before it is signed.
    fn altered(&self, change: impl FnOnce(&mut v0::Message)) -> VersionedMessage {
        let VersionedMessage::V0(mut message) = self.order.sign(self.blockhash()).message else {
            unreachable!()
        };
        change(&mut message);
        VersionedMessage::V0(message)
    }

    /// The fee payer's tokens to somebody.
    fn loot(&self, to: &Pubkey) -> Instruction {
        let ours = self.order.fee_payer;
        let accounts = vec![
            AccountMeta::new(self.usdc_of(&ours), false),
            AccountMeta::new_readonly(self.order.mint, false),
            AccountMeta::new(self.usdc_of(to), false),
            AccountMeta::new_readonly(ours, true),
        ];
        Instruction {
            program_id: self.order.program.id(),
            accounts,
            data: transfer_data(self.order.units, 6),
        }
    }
}

#[tokio::test]
async fn fee_payer_as_authority() {
    let purse = Purse::open().await;
    let robbery = purse.instead(purse.loot(&purse.order.pay_to));
    let reason = "invalid_exact_svm_payload_transaction_fee_payer_transferring_funds";
    purse.is_not_robbed_by(&robbery, reason).await;
}

#[tokio::test]
async fn fee_payer_as_source_or_lent_to_an_instruction() {
    let purse = Purse::open().await;
    let ours = AccountMeta::new(purse.order.fee_payer, true);
    let mut source = purse.order.transfer();
    source.accounts[0] = ours.clone();
    let lent = with_account(purse.order.transfer(), ours.clone());
    let mut budget = purse.order.stock();
    budget[0].accounts.push(ours.clone());
    let mut noted = purse.order.stock();
    noted[3].accounts.push(ours);
    let payments =
        [purse.instead(source), purse.instead(lent), purse.payment(&budget), purse.payment(&noted)];
    for payment in payments {
        purse.refuses_payment(&payment, OURS).await;
    }
    purse.still_settles().await;
}

/// Its signature would move what a multisig holds that it is a member of.
#[tokio::test]
async fn fee_payer_as_a_member_of_a_multisig() {
    let purse = Purse::open().await;
    let (agent, multisig, token) = (purse.app.agent(), Keypair::new(), purse.order.program.id());
    let (key, ours) = (multisig.pubkey(), purse.order.fee_payer);
    let create = create_account(&agent.pubkey(), &key, 10_000_000, 355, &token);
    let initialize = token::initialize_multisig2(&token, &key, &[&ours], 1).unwrap();
    purse.app.land_instructions(&[create, initialize], &[agent, &multisig]);
    purse.sandbox().mint_tokens(&purse.order.mint, &key, purse.order.units).unwrap();
    let mut transfer = purse.order.transfer();
    transfer.accounts[0] = AccountMeta::new(purse.usdc_of(&key), false);
    transfer.accounts[3] = AccountMeta::new_readonly(key, false);
    transfer.accounts.push(AccountMeta::new_readonly(ours, true));
    let held = || purse.sandbox().token_balance(&purse.order.mint, &key);
    assert_eq!(held(), purse.order.units);
    purse.refuses_what_would_land(&purse.instead(transfer), OURS).await;
    assert_eq!(held(), 0);
}

#[tokio::test]
async fn added_system_transfer() {
    let purse = Purse::open().await;
    let (ours, thief) = (purse.order.fee_payer, purse.thief.pubkey());
    let drain = system::transfer(&ours, &thief, 1_000_000_000);
    purse.is_not_robbed_by(&purse.plus(drain.clone()), FIFTH).await;
    let no_transfer = "invalid_exact_svm_payload_no_transfer_instruction";
    purse.app.chain.sandbox.advance_slots(1);
    purse.is_not_robbed_by(&purse.instead(drain), no_transfer).await;
}

#[tokio::test]
async fn closed_account_of_or_to_the_fee_payer() {
    let purse = Purse::open().await;
    let (ours, thief, buyer) = (purse.order.fee_payer, purse.thief.pubkey(), purse.order.payer.pubkey());
    let program = purse.order.program.id();
    let close =
        |of: &Pubkey, to: &Pubkey| token::close_account(&program, &purse.usdc_of(of), to, of, &[]).unwrap();
    purse.refuses_payment(&purse.plus(close(&buyer, &ours)), FIFTH).await;
    // An account must be empty to be closed.
    let burn =
        token::burn_checked(&program, &purse.usdc_of(&ours), &purse.order.mint, &ours, &[], 1_000_000, 6);
    let both = [purse.order.stock(), vec![burn.unwrap(), close(&ours, &thief)]].concat();
    purse.is_not_robbed_by(&purse.payment(&both), FIFTH).await;
}

#[tokio::test]
async fn ata_creation() {
    let purse = Purse::open().await;
    let owner = Pubkey::new_unique();
    let program = purse.order.program.id();
    let create = |funder: &Pubkey| {
        ata::create_associated_token_account_idempotent(funder, &owner, &purse.order.mint, &program)
    };
    purse.refuses_payment(&purse.plus(create(&purse.order.payer.pubkey())), FIFTH).await;
    let ours = create(&purse.order.fee_payer);
    // Making an account takes more than a transfer.
    let before = [&[limit(60_000), price(1), ours.clone()], &purse.order.stock()[2..]].concat();
    let no_transfer = "invalid_exact_svm_payload_no_transfer_instruction";
    purse.refuses_payment(&purse.payment(&before), no_transfer).await;
    let mut after = [purse.order.stock(), vec![ours]].concat();
    after[0] = limit(100_000);
    purse.is_not_robbed_by(&purse.payment(&after), FIFTH).await;
}

#[tokio::test]
async fn lighthouse_memory_write() {
    let purse = Purse::open().await;
    for discriminator in [0, 1] {
        let write = with_account(lighthouse(discriminator), AccountMeta::new(purse.order.fee_payer, true));
        assert_eq!(write.program_id, LIGHTHOUSE);
        purse.refuses_payment(&purse.plus(write), FIFTH).await;
    }
}

#[tokio::test]
async fn compute_price_and_product_caps() {
    let purse = Purse::open().await;
    let with = |units, micro| {
        let transfer = purse.order.transfer();
        purse.payment(&[limit(units), price(micro), transfer, memo(Pubkey::new_unique().as_ref())])
    };
    // Below the cap on the price, and 2,000,000 lamports by it.
    purse.is_not_robbed_by(&with(400_000, 5_000_000), PRICE_TOO_HIGH).await;
    purse.is_not_robbed_by(&with(20_000, 500_000_000), PRICE_TOO_HIGH).await;
    let too_many = "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction_too_high";
    purse.is_not_robbed_by(&with(1_400_000, 5_000_000), too_many).await;
}

#[tokio::test]
async fn second_transfer_checked() {
    let purse = Purse::open().await;
    let robbery = purse.plus(purse.loot(&purse.thief.pubkey()));
    purse.is_not_robbed_by(&robbery, FIFTH).await;
}

#[tokio::test]
async fn second_compute_budget_instruction() {
    let purse = Purse::open().await;
    let price_reason = "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction";
    let limit_reason = "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction";
    for (extra, reason) in [(price(5_000_000), price_reason), (limit(1_400_000), limit_reason)] {
        purse.refuses_payment(&purse.plus(extra), reason).await;
    }
    purse.still_settles().await;
}

/// The transfer seems to go nowhere, and the table has the thief's account.
#[tokio::test]
async fn lookup_table_with_the_destination_in_it() {
    let purse = Purse::open().await;
    let (agent, thief) = (purse.app.agent(), purse.thief.pubkey());
    let destination = purse.usdc_of(&thief);
    let slot = purse.sandbox().slot() - 1;
    let (create, key) = lookup_tables::create_lookup_table(agent.pubkey(), agent.pubkey(), slot);
    let extend =
        lookup_tables::extend_lookup_table(key, agent.pubkey(), Some(agent.pubkey()), vec![destination]);
    purse.app.land_instructions(&[create, extend], &[agent]);
    let mut transfer = purse.order.transfer();
    transfer.accounts[2].pubkey = destination;
    let table = AddressLookupTableAccount { key, addresses: vec![destination] };
    let instructions = [limit(20_000), price(1), transfer, memo(b"402")];
    let message =
        v0::Message::try_compile(&purse.order.fee_payer, &instructions, &[table], purse.blockhash()).unwrap();
    assert_eq!(message.address_table_lookups.len(), 1);
    let robbery = purse.order.sign_message(VersionedMessage::V0(message));
    let held = || purse.sandbox().token_balance(&purse.order.mint, &thief);
    let before = held();
    purse.refuses_what_would_land(&robbery, UNDECODABLE).await;
    assert_eq!(held() - before, purse.order.units);
}

#[tokio::test]
async fn lookup_table_that_does_not_exist() {
    let purse = Purse::open().await;
    let message = purse.altered(|message| {
        message.instructions[2].accounts[2] = u8::try_from(message.account_keys.len()).unwrap();
        message.address_table_lookups = vec![MessageAddressTableLookup {
            account_key: Pubkey::new_unique(),
            writable_indexes: vec![0],
            readonly_indexes: vec![],
        }];
    });
    purse.refuses_message(message, UNDECODABLE).await;
}

#[tokio::test]
async fn durable_nonce() {
    let purse = Purse::open().await;
    let nonce = Pubkey::new_unique();
    for authority in [purse.order.payer.pubkey(), purse.order.fee_payer] {
        let advance = system::advance_nonce_account(&nonce, &authority);
        let payment = purse.payment(&[vec![advance], purse.order.stock()].concat());
        let reason = "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction";
        purse.refuses_payment(&payment, reason).await;
    }
}

/// The lamports in a nonce account go where its authority's signature sends them.
#[tokio::test]
async fn withdrawal_from_a_nonce_account_of_the_fee_payer() {
    let purse = Purse::open().await;
    let (agent, nonce, thief) = (purse.app.agent(), Keypair::new(), purse.thief.pubkey());
    let (key, ours) = (nonce.pubkey(), purse.order.fee_payer);
    let create = system::create_nonce_account(&agent.pubkey(), &key, &ours, 100_000_000);
    purse.app.land_instructions(&create, &[agent, &nonce]);
    let withdraw = system::withdraw_nonce_account(&key, &ours, &thief, 50_000_000);
    let before = purse.sandbox().balance(&thief);
    purse.refuses_what_would_land(&purse.plus(withdraw), FIFTH).await;
    assert_eq!(purse.sandbox().balance(&thief) - before, 50_000_000);
}

#[tokio::test]
async fn truncated_and_oversized_wire_bytes() {
    let purse = Purse::open().await;
    let good = bincode::serialize(&purse.order.sign(purse.blockhash())).unwrap();
    for bytes in [
        good[..good.len() - 1].to_vec(),
        good[..65].to_vec(),
        vec![0],
        [good.clone(), vec![0]].concat(),
        [good, vec![0; 1_232]].concat(),
    ] {
        purse.refuses_bytes(&bytes, UNDECODABLE).await;
    }
    let long = [purse.order.stock(), vec![memo(&[b'm'; 1_000])]].concat();
    purse.refuses_payment(&purse.payment(&long), UNDECODABLE).await;
    purse.still_settles().await;
}

#[tokio::test]
async fn program_index_out_of_range() {
    let purse = Purse::open().await;
    for index in [u8::MAX, 8, 0] {
        let message = purse.altered(|message| message.instructions[2].program_id_index = index);
        purse.refuses_message(message, UNDECODABLE).await;
    }
}

#[tokio::test]
async fn version_1_transaction() {
    let purse = Purse::open().await;
    let good = bincode::serialize(&purse.order.sign(purse.blockhash())).unwrap();
    let signatures = 1..=2 * 64;
    let modern = [&[0x81][..], &good[1 + 2 * 64 + 1..], &good[signatures]].concat();
    let mut enveloped = good;
    enveloped[1 + 2 * 64] = 0x81;
    for bytes in [modern, enveloped] {
        purse.refuses_bytes(&bytes, "unsupported_transaction_version").await;
    }
}

/// Mints whose transfers do not do what they say: simulating shows no fee, and a hook only where its program is missing.
#[tokio::test]
async fn transfer_fee_and_transfer_hook_mints() {
    let purse = Purse::open().await;
    let fee = TransferFee { basis_points: 100, maximum: u64::MAX };
    let fails = "invalid_exact_svm_transaction_simulation_failed";
    for (transfer_fee, transfer_hook, reason, words) in [
        (Some(fee), None, "invalid_exact_svm_payload_mint_mismatch", "withholds a fee"),
        (None, Some(Pubkey::new_unique()), fails, "runs a program of its issuer"),
    ] {
        let order = of_mint(&purse, MintSpec { transfer_fee, transfer_hook, ..PLAIN });
        purse.refuses_order(&order, reason, words).await;
    }
    let order = of_mint(&purse, PLAIN);
    crate::harness::x402::settled(&purse.app.settle(None, &purse.app.paid(&order)).await, &order);
}

const PLAIN: MintSpec =
    MintSpec { decimals: 6, program: TokenProgram::Token2022, transfer_fee: None, transfer_hook: None };

/// A payment in a new mint that both sides hold.
fn of_mint(purse: &Purse, spec: MintSpec) -> Order {
    let sandbox = purse.sandbox();
    let mint = sandbox.create_mint(spec).unwrap();
    let order = Order { mint, program: spec.program, ..purse.app.order() };
    for owner in [order.payer.pubkey(), order.pay_to] {
        sandbox.mint_tokens(&mint, &owner, 1_000_000).unwrap();
    }
    sandbox.advance_slots(2);
    order
}

/// Decimals are one byte: what is said of 255 of them is still a sentence.
#[tokio::test]
async fn a_mint_with_the_most_decimals_there_can_be() {
    let purse = Purse::open().await;
    let order = of_mint(&purse, MintSpec { decimals: u8::MAX, ..PLAIN });
    purse.refuses_order(&order, "invalid_exact_svm_transaction_simulation_failed", "has 255 decimals").await;
}

/// Nobody but the fee payer signs for it, and what stands in its place is no part of the payment.
#[tokio::test]
async fn whatever_stands_in_the_fee_payers_place_nothing_else_is_signed() {
    let purse = Purse::open().await;
    let stranger = Pubkey::new_unique();
    let order = Order { fee_payer: stranger, ..purse.app.order() };
    let reason = "invalid_exact_svm_fee_payer_not_managed_by_facilitator";
    let request = purse.app.paid(&order);
    assert_invalid(&purse.app.verify_x402(&request).await, reason, "not one of this service");
    assert_eq!(purse.app.settle(None, &request).await.body["errorReason"], reason);
    // The requirements name ours, the transaction another.
    let transaction = order.sign(purse.blockhash());
    let bytes = bincode::serialize(&transaction).unwrap();
    purse.refuses_bytes(&bytes, "invalid_exact_svm_fee_payer_mismatch").await;
    // The buyer has not signed.
    let mut unsigned = purse.order.sign(purse.blockhash());
    unsigned.signatures[1] = Signature::default();
    purse.refuses_payment(&unsigned, "invalid_exact_svm_payload_signature_invalid").await;
    purse.still_settles().await;
}
