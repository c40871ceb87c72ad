//! Rules 6 to 8.

use pay402::chain::solana::rules::{Reason, RulePolicy, Version};
use solana_instruction::AccountMeta;
use solana_keypair::Keypair;
use solana_message::VersionedMessage;
use solana_signature::Signature;
use solana_signer::Signer;

use super::kit::{Case, assert_reason, memo, with_account};

/// A payment whose memo `others` sign as well.
fn with_signers(case: &mut Case, others: u8) -> VersionedMessage {
    case.others = (0..others).map(|n| Keypair::new_from_array([100 + n; 32])).collect();
    let mut instructions = case.stock();
    for other in &case.others {
        let account = AccountMeta::new_readonly(other.pubkey(), true);
        instructions[3] = with_account(memo(b"402"), account);
        instructions.push(instructions[3].clone());
    }
    instructions.truncate(6);
    case.message(&instructions)
}

#[test]
fn rule_6_two_signers_pass_and_three_do_not() {
    for mut case in Case::both() {
        assert!(case.check(&case.stock()).is_ok());
        let message = with_signers(&mut case, 1);
        assert_eq!(message.header().num_required_signatures, 3);
        assert_reason(case.check_message(message), Reason::ExcessiveSigners);
    }
    assert_ne!(Reason::ExcessiveSigners.text(Version::V1), Reason::ExcessiveSigners.text(Version::V2));
}

#[test]
fn rule_6_the_bound_is_the_operators() {
    let mut case = Case::new();
    case.policy = RulePolicy { max_signers: 3, ..RulePolicy::default() };
    let message = with_signers(&mut case, 1);
    let payment = case.check_message(message).unwrap();
    assert_eq!(payment.signers.len(), 3);
    let message = with_signers(&mut case, 2);
    assert_eq!(message.header().num_required_signatures, 4);
    assert_reason(case.check_message(message), Reason::ExcessiveSigners);
    case.policy = RulePolicy { max_signers: 1, ..RulePolicy::default() };
    case.assert_refused(&case.stock(), Reason::ExcessiveSigners);
}

#[test]
fn rule_7_another_account_first_is_refused() {
    for case in Case::both() {
        let mut other = Case::new();
        other.fee_payer = Keypair::new_from_array([50; 32]);
        let transaction = other.sign(other.message(&other.stock()));
        assert_reason(case.check_transaction(&transaction), Reason::FeePayerMismatch);
    }
}

#[test]
fn rule_7_another_fee_payer_of_ours_than_the_required_one_is_refused() {
    let mut case = Case::new();
    let other = Case { fee_payer: Keypair::new_from_array([50; 32]), ..Case::new() };
    case.retired = vec![other.fee_payer.pubkey()];
    let transaction = other.sign(other.message(&other.stock()));
    assert_reason(case.check_transaction(&transaction), Reason::FeePayerMismatch);
}

#[test]
fn rule_8_a_missing_signature_is_refused() {
    for case in Case::both() {
        let mut transaction = case.sign(case.message(&case.stock()));
        transaction.signatures[1] = Signature::default();
        assert_reason(case.check_transaction(&transaction), Reason::SignatureInvalid);
    }
}

#[test]
fn rule_8_a_signature_over_anything_else_is_refused() {
    let case = Case::new();
    let mut transaction = case.sign(case.message(&case.stock()));
    let bytes = transaction.message.serialize();
    // Without the version byte, as a client might get it wrong; by somebody else; with one bit more.
    transaction.signatures[1] = case.payer.sign_message(&bytes[1..]);
    assert_reason(case.check_transaction(&transaction), Reason::SignatureInvalid);
    transaction.signatures[1] = Keypair::new_from_array([60; 32]).sign_message(&bytes);
    assert_reason(case.check_transaction(&transaction), Reason::SignatureInvalid);
    let mut flipped: [u8; 64] = case.payer.sign_message(&bytes).into();
    flipped[10] ^= 1;
    transaction.signatures[1] = flipped.into();
    assert_reason(case.check_transaction(&transaction), Reason::SignatureInvalid);
}

/// The high half of the scalar must be reduced, or the chain would refuse what was accepted here.
#[test]
fn rule_8_a_malleable_signature_is_refused() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let case = Case::new();
    let mut transaction = case.sign(case.message(&case.stock()));
    let mut bytes: [u8; 64] = transaction.signatures[1].into();
    let mut carry = 0_u16;
    for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
    transaction.signatures[1] = bytes.into();
    assert_reason(case.check_transaction(&transaction), Reason::SignatureInvalid);
}

#[test]
fn rule_8_does_not_look_at_the_fee_payers_slot() {
    let case = Case::new();
    let mut transaction = case.sign(case.message(&case.stock()));
    let empty = case.check_transaction(&transaction).unwrap();
    transaction.signatures[0] = Signature::from([7; 64]);
    let filled = case.check_transaction(&transaction).unwrap();
    assert_eq!(empty.message_sha256, filled.message_sha256, "the key of a payment is not the envelope");
}
