//! The rules speak in their order: of several that are broken the first one is told.

use pay402::chain::solana::rules::Reason;
use solana_instruction::AccountMeta;
use solana_keypair::Keypair;
use solana_message::{VersionedMessage, v0, v0::MessageAddressTableLookup};
use solana_pubkey::Pubkey;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;

use super::kit::{Case, assert_reason, limit, memo, price, unknown, wire, with_account};

/// A payment that breaks the rules from this one on, as far as rule 19.
fn breaking_from(rule: u8, case: &Case, others: &[Keypair; 3]) -> VersionedTransaction {
    let breaks = |broken: u8| rule <= broken;
    let [ours, payer, third] = others;
    let elsewhere = Pubkey::new_from_array([7; 32]);
    let mut transfer = case.transfer();
    if breaks(13) {
        // Transfer, which does not say which mint.
        transfer.data[0] = 3;
    }
    if breaks(14) {
        transfer.accounts[3].pubkey = ours.pubkey();
    }
    if breaks(15) {
        transfer.accounts[1].pubkey = Pubkey::new_from_array([8; 32]);
    }
    if breaks(16) {
        transfer.accounts[2].pubkey = elsewhere;
    }
    if breaks(17) {
        transfer.data[1] ^= 1;
    }
    let limit = limit(if breaks(11) { 10_000_000 } else { 20_000 });
    let price = price(if breaks(12) { 5_000_001 } else { 1 });
    let mut instructions = vec![limit, price, transfer];
    if breaks(18) {
        instructions.push(unknown());
    }
    instructions.push(memo(if breaks(19) { b"another" } else { b"order" }));
    if breaks(10) {
        instructions.extend((0..4).map(|_| memo(b"more")));
    }
    if breaks(6) {
        let last = instructions.pop().unwrap();
        instructions.push(with_account(last, AccountMeta::new_readonly(third.pubkey(), true)));
    }
    let first = if breaks(7) { payer } else { &case.fee_payer };
    let mut message = v0::Message::try_compile(&first.pubkey(), &instructions, &[], case.blockhash).unwrap();
    if breaks(9) {
        let lookup = MessageAddressTableLookup {
            account_key: elsewhere,
            writable_indexes: vec![0],
            readonly_indexes: Vec::new(),
        };
        message.address_table_lookups.push(lookup);
    }
    let mut transaction = case.sign(VersionedMessage::V0(message));
    if breaks(8) {
        transaction.signatures[1] = transaction.signatures[0];
    }
    transaction
}

#[test]
fn of_several_broken_rules_the_first_is_told() {
    let order = [
        (6, Reason::ExcessiveSigners),
        (7, Reason::FeePayerMismatch),
        (8, Reason::SignatureInvalid),
        (9, Reason::TransactionCouldNotBeDecoded),
        (10, Reason::InstructionsLength),
        (11, Reason::ComputeLimitTooHigh),
        (12, Reason::ComputePriceTooHigh),
        (13, Reason::NoTransferInstruction),
        (14, Reason::FeePayerTransferringFunds),
        (15, Reason::MintMismatch),
        (16, Reason::RecipientMismatch),
        (17, Reason::AmountMismatch),
        (18, Reason::UnknownInstruction(4)),
        (19, Reason::MemoMismatch),
    ];
    for mut case in Case::both() {
        let others = [41, 42, 43].map(|seed| Keypair::new_from_array([seed; 32]));
        case.retired = vec![others[0].pubkey()];
        case.others = others.each_ref().map(Keypair::insecure_clone).into();
        case.memo = Some("order".to_owned());
        for (rule, reason) in order {
            assert_reason(case.check_bytes(&wire(&breaking_from(rule, &case, &others))), reason);
        }
        assert!(case.check_bytes(&wire(&breaking_from(20, &case, &others))).is_ok());
    }
}
