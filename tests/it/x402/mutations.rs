//! However a good payment is changed, it is refused or moves the same money.
//!
//! The attacker is the buyer, so whatever can be signed again is. What an accepted mutant does is judged twice: from its
//! bytes (`oracle`), and by running it on the sandbox chain with the fee payer's signature, as settlement would.

use pay402::{
    chain::solana::rules::{CheckedPayment, LIGHTHOUSE, MAX_TRANSACTION_BYTES, RulePolicy},
    sandbox::{PYUSD, Sandbox, SandboxError, USDC, USDT},
};
use proptest::{
    prelude::*,
    sample::Index,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use solana_instruction::{AccountMeta, Instruction};
use solana_keypair::Keypair;
use solana_message::{VersionedMessage, compiled_instruction::CompiledInstruction};
use solana_pubkey::Pubkey;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;
use spl_associated_token_account_interface::instruction::create_associated_token_account;
use spl_token_interface::instruction::{self as token, AuthorityType};

use super::{
    kit::{Case, guard, lighthouse, limit, memo, price, transfer_data, unknown, wire, with_account},
    oracle::{Expected, assert_moves_the_same_money},
};
use crate::{harness::rounds, sandbox::setup::start};

/// A change to a payment, at places that are taken modulo what there is.
#[derive(Clone, Debug)]
enum Mutation {
    Insert { at: Index, what: Index },
    Remove { at: Index },
    Swap { one: Index, other: Index },
    Data { of: Index, byte: Index, value: u8 },
    Extend { of: Index, bytes: Vec<u8> },
    Truncate { of: Index, to: Index },
    Account { of: Index, account: Index, key: Index, signer: bool, writable: bool },
    PushAccount { of: Index, key: Index, signer: bool, writable: bool },
    DropAccount { of: Index, account: Index },
    Program { of: Index, key: Index },
    Legacy,
    Header { field: Index, value: u8 },
    Key { at: Index, key: Index },
    AddKey { key: Index },
    DropKey { at: Index },
    CompiledAccount { of: Index, account: Index, value: u8 },
    CompiledProgram { of: Index, value: u8 },
    FlipAndSign { bit: Index },
    Flip { bit: Index },
    Tail { bytes: Vec<u8> },
    Cut { to: Index },
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    let few = || prop::collection::vec(any::<u8>(), 1..12);
    prop_oneof![
        6 => (at(), at()).prop_map(|(at, what)| Mutation::Insert { at, what }),
        1 => at().prop_map(|at| Mutation::Remove { at }),
        1 => (at(), at()).prop_map(|(one, other)| Mutation::Swap { one, other }),
        3 => (at(), at(), any::<u8>()).prop_map(|(of, byte, value)| Mutation::Data { of, byte, value }),
        2 => (at(), few()).prop_map(|(of, bytes)| Mutation::Extend { of, bytes }),
        1 => (at(), at()).prop_map(|(of, to)| Mutation::Truncate { of, to }),
        3 => (at(), at(), at(), any::<bool>(), any::<bool>())
            .prop_map(|(of, account, key, signer, writable)| Mutation::Account { of, account, key, signer, writable }),
        3 => (at(), at(), any::<bool>(), any::<bool>())
            .prop_map(|(of, key, signer, writable)| Mutation::PushAccount { of, key, signer, writable }),
        1 => (at(), at()).prop_map(|(of, account)| Mutation::DropAccount { of, account }),
        1 => (at(), at()).prop_map(|(of, key)| Mutation::Program { of, key }),
        1 => Just(Mutation::Legacy),
        1 => (at(), 0..8_u8).prop_map(|(field, value)| Mutation::Header { field, value }),
        1 => (at(), at()).prop_map(|(at, key)| Mutation::Key { at, key }),
        1 => at().prop_map(|key| Mutation::AddKey { key }),
        1 => at().prop_map(|at| Mutation::DropKey { at }),
        2 => (at(), at(), 0..12_u8).prop_map(|(of, account, value)| Mutation::CompiledAccount { of, account, value }),
        1 => (at(), 0..12_u8).prop_map(|(of, value)| Mutation::CompiledProgram { of, value }),
        4 => at().prop_map(|bit| Mutation::FlipAndSign { bit }),
        2 => at().prop_map(|bit| Mutation::Flip { bit }),
        1 => few().prop_map(|bytes| Mutation::Tail { bytes }),
        1 => at().prop_map(|to| Mutation::Cut { to }),
    ]
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    prop::collection::vec(mutation(), 1..4)
}

/// The accounts an attacker would bring in.
fn keys(case: &Case) -> Vec<Pubkey> {
    let (ours, thief) = (case.fee_payer.pubkey(), Pubkey::new_from_array([80; 32]));
    vec![
        ours,
        case.ata(&ours),
        case.payer.pubkey(),
        case.others[0].pubkey(),
        case.source(),
        case.destination(),
        case.pay_to,
        case.mint,
        USDT,
        thief,
        case.ata(&thief),
        spl_token_interface::ID,
        spl_token_2022_interface::ID,
        spl_memo_interface::v3::ID,
        LIGHTHOUSE,
        solana_system_interface::program::ID,
        super::kit::COMPUTE_BUDGET,
    ]
}

/// The instructions an attacker would add, and some that are allowed.
fn instructions(case: &Case) -> Vec<Instruction> {
    let (ours, payer) = (case.fee_payer.pubkey(), case.payer.pubkey());
    let (program, thief) = (&case.program, Pubkey::new_from_array([80; 32]));
    let mut small = case.transfer();
    small.data = transfer_data(1, 6);
    let write = with_account(lighthouse(0), AccountMeta::new(ours, true));
    vec![
        memo(b"more"),
        with_account(memo(b"signed"), AccountMeta::new_readonly(payer, true)),
        with_account(memo(b"signed"), AccountMeta::new_readonly(ours, true)),
        guard(),
        with_account(guard(), AccountMeta::new(ours, true)),
        write,
        lighthouse(1),
        limit(20_000),
        limit(1_400_000),
        price(1),
        price(5_000_000),
        price(u64::MAX),
        case.transfer(),
        small,
        token::close_account(program, &case.source(), &ours, &payer, &[]).unwrap(),
        token::set_authority(program, &case.source(), Some(&thief), AuthorityType::AccountOwner, &payer, &[])
            .unwrap(),
        token::approve(program, &case.ata(&ours), &thief, &ours, &[], u64::MAX).unwrap(),
        solana_system_interface::instruction::transfer(&ours, &thief, 1_000_000),
        solana_system_interface::instruction::transfer(&payer, &thief, 1_000_000),
        solana_system_interface::instruction::advance_nonce_account(&thief, &ours),
        create_associated_token_account(&ours, &thief, &case.mint, program),
        unknown(),
    ]
}

/// The mutant's bytes: changed as instructions, then as a message, signed again, then changed as bytes.
fn mutate(case: &Case, mutations: &[Mutation]) -> Vec<u8> {
    let mut instructions = case.stock();
    let mut legacy = false;
    for mutation in mutations {
        legacy |= matches!(mutation, Mutation::Legacy);
        mutate_instructions(case, &mut instructions, mutation);
    }
    let mut message = if legacy { case.legacy(&instructions) } else { case.message(&instructions) };
    for mutation in mutations {
        mutate_message(case, &mut message, mutation);
        if let Mutation::FlipAndSign { bit } = mutation {
            message = flipped(message, *bit);
        }
    }
    let mut bytes = wire(&case.sign(message));
    for mutation in mutations {
        match mutation {
            Mutation::Flip { bit } if !bytes.is_empty() => flip(&mut bytes, *bit),
            Mutation::Tail { bytes: tail } => bytes.extend(tail),
            Mutation::Cut { to } => bytes.truncate(to.index(bytes.len() + 1)),
            _ => {}
        }
    }
    bytes
}

fn mutate_instructions(case: &Case, instructions: &mut Vec<Instruction>, mutation: &Mutation) {
    let keys = keys(case);
    if let Mutation::Insert { at, what } = mutation {
        let pool = self::instructions(case);
        instructions.insert(at.index(instructions.len() + 1), what.get(&pool).clone());
    }
    let count = instructions.len();
    if count == 0 {
        return;
    }
    match mutation {
        Mutation::Remove { at } => drop(instructions.remove(at.index(count))),
        Mutation::Swap { one, other } => instructions.swap(one.index(count), other.index(count)),
        Mutation::Data { of, byte, value } => {
            let data = &mut instructions[of.index(count)].data;
            if !data.is_empty() {
                let byte = byte.index(data.len());
                data[byte] = *value;
            }
        }
        Mutation::Extend { of, bytes } => instructions[of.index(count)].data.extend(bytes),
        Mutation::Truncate { of, to } => {
            let data = &mut instructions[of.index(count)].data;
            data.truncate(to.index(data.len() + 1));
        }
        Mutation::Account { of, account, key, signer, writable } => {
            let accounts = &mut instructions[of.index(count)].accounts;
            if !accounts.is_empty() {
                let account = account.index(accounts.len());
                accounts[account] =
                    AccountMeta { pubkey: *key.get(&keys), is_signer: *signer, is_writable: *writable };
            }
        }
        Mutation::PushAccount { of, key, signer, writable } => instructions[of.index(count)]
            .accounts
            .push(AccountMeta { pubkey: *key.get(&keys), is_signer: *signer, is_writable: *writable }),
        Mutation::DropAccount { of, account } => {
            let accounts = &mut instructions[of.index(count)].accounts;
            if !accounts.is_empty() {
                accounts.remove(account.index(accounts.len()));
            }
        }
        Mutation::Program { of, key } => instructions[of.index(count)].program_id = *key.get(&keys),
        _ => {}
    }
}

fn mutate_message(case: &Case, message: &mut VersionedMessage, mutation: &Mutation) {
    let (header, account_keys, instructions): (_, &mut Vec<Pubkey>, &mut Vec<CompiledInstruction>) =
        match message {
            VersionedMessage::Legacy(message) => {
                (&mut message.header, &mut message.account_keys, &mut message.instructions)
            }
            VersionedMessage::V0(message) => {
                (&mut message.header, &mut message.account_keys, &mut message.instructions)
            }
            VersionedMessage::V1(_) => return,
        };
    let (keys, count) = (keys(case), instructions.len());
    match mutation {
        Mutation::Header { field, value } => match field.index(3) {
            0 => header.num_required_signatures = *value,
            1 => header.num_readonly_signed_accounts = *value,
            _ => header.num_readonly_unsigned_accounts = *value,
        },
        Mutation::Key { at, key } if !account_keys.is_empty() => {
            let at = at.index(account_keys.len());
            account_keys[at] = *key.get(&keys);
        }
        Mutation::AddKey { key } => account_keys.push(*key.get(&keys)),
        Mutation::DropKey { at } if !account_keys.is_empty() => {
            account_keys.remove(at.index(account_keys.len()));
        }
        Mutation::CompiledAccount { of, account, value } if count > 0 => {
            let accounts = &mut instructions[of.index(count)].accounts;
            if !accounts.is_empty() {
                let account = account.index(accounts.len());
                accounts[account] = *value;
            }
        }
        Mutation::CompiledProgram { of, value } if count > 0 => {
            instructions[of.index(count)].program_id_index = *value;
        }
        _ => {}
    }
}

fn flip(bytes: &mut [u8], bit: Index) {
    let bit = bit.index(bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
}

/// The message with one bit changed, where it is one still.
fn flipped(message: VersionedMessage, bit: Index) -> VersionedMessage {
    let mut bytes = bincode::serialize(&message).unwrap();
    flip(&mut bytes, bit);
    match bincode::deserialize(&bytes) {
        // Version 1 does not go into this envelope.
        Ok(VersionedMessage::V1(_)) | Err(_) => message,
        Ok(flipped) => flipped,
    }
}

/// A buyer's helper, who signs what a mutation lets it sign.
pub fn helper() -> Keypair {
    Keypair::new_from_array([81; 32])
}

/// Mutants of a payment, the same under the same seed.
pub fn mutants(case: &Case, seed: u64) -> impl Iterator<Item = Vec<u8>> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    std::iter::from_fn(move || Some(mutate(case, &mutations().new_tree(&mut runner).unwrap().current())))
}

fn case() -> Case {
    Case { others: vec![helper()], ..Case::new() }
}

fn expected(case: &Case) -> Expected {
    let policy = RulePolicy::default();
    Expected {
        fee_payer: case.fee_payer.pubkey(),
        mint: case.mint,
        destination: case.destination(),
        amount: case.amount,
        decimals: 6,
        max_fee_lamports: u64::from(policy.max_signers) * 5_000 + policy.max_priority_fee_lamports,
    }
}

/// What the rules say they found is what is there.
fn assert_found(case: &Case, payment: &CheckedPayment, bytes: &[u8]) {
    let expected = expected(case);
    assert_moves_the_same_money(bytes, &expected);
    assert_eq!((payment.mint, payment.destination), (expected.mint, expected.destination));
    assert_eq!((payment.amount, payment.decimals), (expected.amount, expected.decimals));
    assert_eq!((payment.fee_payer, payment.signers[0]), (expected.fee_payer, expected.fee_payer));
    assert!(bytes.len() <= MAX_TRANSACTION_BYTES && payment.signers.len() <= 2);
}

proptest! {
    #![proptest_config(Config { cases: 1_024, ..Config::default() })]

    #[test]
    fn a_mutant_is_refused_or_moves_the_same_money(mutations in mutations()) {
        let case = case();
        let bytes = mutate(&case, &mutations);
        if let Ok(payment) = case.check_bytes(&bytes) {
            assert_found(&case, &payment, &bytes);
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_rules_panic(bytes in prop::collection::vec(any::<u8>(), 0..1_400)) {
        prop_assert!(case().check_bytes(&bytes).is_err());
    }

    #[test]
    fn no_text_makes_the_rules_panic(text in "\\PC{0,200}") {
        prop_assert!(case().check_text(&text).is_err());
    }
}

/// One bit anywhere, and nobody signs again: only the fee payer's own slot may differ.
#[test]
fn every_flipped_bit_is_refused_but_those_of_the_fee_payers_signature() {
    let case = Case::new();
    let good = wire(&case.sign(case.message(&case.stock())));
    let key = case.check_bytes(&good).unwrap().message_sha256;
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match case.check_bytes(&bytes) {
            Ok(payment) => {
                assert!((1..=64).contains(&(bit / 8)), "bit {bit}");
                assert_eq!(payment.message_sha256, key);
            }
            Err(_) => assert!(!(1..=64).contains(&(bit / 8)), "bit {bit}"),
        }
    }
}

/// One bit of the message, and the buyer signs again.
#[test]
fn every_flipped_bit_that_is_signed_again_is_refused_or_moves_the_same_money() {
    let case = case();
    let good = bincode::serialize(&case.message(&case.stock())).unwrap();
    let mut accepted = 0;
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(message) = bincode::deserialize::<VersionedMessage>(&bytes) else { continue };
        if matches!(message, VersionedMessage::V1(_)) {
            continue;
        }
        let bytes = wire(&case.sign(message));
        if let Ok(payment) = case.check_bytes(&bytes) {
            assert_found(&case, &payment, &bytes);
            accepted += 1;
        }
    }
    assert!(accepted > 256, "the blockhash is free: {accepted}");
}

/// All that the fee payer and the merchant own, and what the buyer has of the asset.
#[derive(Debug, PartialEq, Eq)]
struct Wealth {
    fee_payer_tokens: [u64; 3],
    merchant_tokens: [u64; 3],
    merchant_lamports: u64,
    payer_tokens: u64,
    thief: (u64, u64),
}

fn wealth(chain: &Sandbox, case: &Case) -> Wealth {
    let tokens = |owner: &Pubkey| [USDC, USDT, PYUSD].map(|mint| chain.token_balance(&mint, owner));
    let thief = Pubkey::new_from_array([80; 32]);
    Wealth {
        fee_payer_tokens: tokens(&case.fee_payer.pubkey()),
        merchant_tokens: tokens(&case.pay_to),
        merchant_lamports: chain.balance(&case.pay_to),
        payer_tokens: chain.token_balance(&USDC, &case.payer.pubkey()),
        thief: (chain.balance(&thief), chain.token_balance(&USDC, &thief)),
    }
}

/// Runs an accepted mutant as settlement would. Whether it paid.
fn settle(chain: &Sandbox, case: &Case, payment: &CheckedPayment) -> bool {
    let mut transaction: VersionedTransaction = payment.transaction.clone();
    transaction.signatures[0] = case.fee_payer.sign_message(&transaction.message.serialize());
    let (before, lamports) = (wealth(chain, case), chain.balance(&case.fee_payer.pubkey()));
    match chain.send(&transaction) {
        Ok(_) => {}
        Err(SandboxError::Refused(_)) => return false,
        Err(other) => panic!("{other}"),
    }
    let (mut after, spent) = (wealth(chain, case), lamports - chain.balance(&case.fee_payer.pubkey()));
    assert_eq!(
        spent,
        5_000 * payment.signers.len() as u64 + payment.priority_fee_lamports,
        "the fee, no more"
    );
    if after == before {
        return false;
    }
    after.merchant_tokens[0] -= payment.amount;
    after.payer_tokens += payment.amount;
    assert_eq!(after, before, "the amount from the buyer to the merchant, and nothing else");
    true
}

#[tokio::test]
async fn a_mutant_run_on_chain_moves_the_same_money() {
    let chain = start().await;
    let wallets = chain.sandbox.wallets();
    let mut case = Case {
        fee_payer: wallets.fee_payer.insecure_clone(),
        payer: wallets.agent.insecure_clone(),
        pay_to: wallets.merchant.pubkey(),
        amount: 7,
        ..case()
    };
    // Something to steal.
    for mint in [USDC, USDT, PYUSD] {
        chain.sandbox.mint_tokens(&mint, &case.fee_payer.pubkey(), 1_000_000).unwrap();
    }
    let mut runner = TestRunner::deterministic();
    let (mut accepted, mut paid) = (0, 0);
    for _ in 0..rounds(500) {
        let mutations = mutations().new_tree(&mut runner).unwrap().current();
        // A blockhash of its own for each, or the second good one would be a duplicate.
        chain.sandbox.advance_slots(1);
        case.blockhash = chain.sandbox.latest_blockhash();
        let bytes = mutate(&case, &mutations);
        if let Ok(payment) = case.check_bytes(&bytes) {
            accepted += 1;
            assert_found(&case, &payment, &bytes);
            paid += u32::from(settle(&chain.sandbox, &case, &payment));
        }
    }
    assert!(accepted > 0 && paid > 0, "{accepted} accepted, {paid} paid");
}
