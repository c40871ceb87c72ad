//! Rule 5 with the version before it, and rule 9.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE},
};
use pay402::chain::solana::rules::{Kind, MAX_TRANSACTION_BYTES, Reason, Terms};
use solana_message::{
    VersionedMessage, compiled_instruction::CompiledInstruction, v0::MessageAddressTableLookup,
};
use solana_pubkey::Pubkey;
use solana_signature::Signature;

use super::kit::{Case, assert_reason, memo, wire};

const UNDECODABLE: Reason = Reason::TransactionCouldNotBeDecoded;

fn stock_bytes(case: &Case) -> Vec<u8> {
    wire(&case.sign(case.message(&case.stock())))
}

/// The stock message, changed and signed again.
fn altered(change: impl Fn(&mut solana_message::v0::Message)) {
    for case in Case::both() {
        let VersionedMessage::V0(mut message) = case.message(&case.stock()) else { unreachable!() };
        change(&mut message);
        assert_reason(case.check_message(VersionedMessage::V0(message)), UNDECODABLE);
    }
}

#[test]
fn rule_5_what_is_no_base64_is_refused() {
    let case = Case::new();
    let bytes = stock_bytes(&case);
    for text in ["", "!", "AAA", " ", "é"] {
        assert_reason(case.check_text(text), UNDECODABLE);
    }
    let text = BASE64_STANDARD.encode(&bytes);
    assert!(case.check_text(&text).is_ok());
    assert_reason(case.check_text(&format!(" {text}")), UNDECODABLE);
    assert_reason(case.check_text(&format!("{text}\n")), UNDECODABLE);
    assert_reason(case.check_text(&bs58::encode(&bytes).into_string()), UNDECODABLE);
    // Made so that both alphabets and both paddings differ.
    let mut other = Case::new();
    let (text, unpadded, url) = (0..=u8::MAX)
        .find_map(|byte| {
            other.blockhash = solana_hash::Hash::new_from_array([byte; 32]);
            let bytes = wire(&other.sign(
                other.message(&[other.stock(), vec![memo(&vec![b'x'; 1 + usize::from(byte % 3)])]].concat()),
            ));
            let text = BASE64_STANDARD.encode(&bytes);
            let (unpadded, url) = (BASE64_STANDARD_NO_PAD.encode(&bytes), BASE64_URL_SAFE.encode(&bytes));
            (text != unpadded && text != url).then_some((text, unpadded, url))
        })
        .unwrap();
    assert!(other.check_text(&text).is_ok());
    assert_reason(other.check_text(&unpadded), UNDECODABLE);
    assert_reason(other.check_text(&url), UNDECODABLE);
}

#[test]
fn rule_5_no_prefix_of_a_transaction_is_one() {
    let case = Case::new();
    let bytes = stock_bytes(&case);
    for length in 0..bytes.len() {
        assert_reason(case.check_bytes(&bytes[..length]), UNDECODABLE);
    }
}

#[test]
fn rule_5_trailing_bytes_are_refused() {
    let case = Case::new();
    for tail in [&[0][..], &[1], &[0; 64]] {
        assert_reason(case.check_bytes(&[&stock_bytes(&case), tail].concat()), UNDECODABLE);
    }
}

/// A payment of exactly this many bytes.
fn of_size(case: &Case, size: usize) -> Vec<u8> {
    let with_memo = |length: usize| {
        let mut instructions = case.stock();
        instructions[3] = memo(&vec![b'm'; length]);
        wire(&case.sign(case.message(&instructions)))
    };
    // A memo of 128 bytes and more has two bytes of length before it.
    let bytes = with_memo(200 + size - with_memo(200).len());
    assert_eq!(bytes.len(), size);
    bytes
}

#[test]
fn rule_5_a_full_packet_passes_and_one_byte_more_does_not() {
    let case = Case::new();
    assert!(case.check_bytes(&of_size(&case, MAX_TRANSACTION_BYTES)).is_ok());
    assert_reason(case.check_bytes(&of_size(&case, MAX_TRANSACTION_BYTES + 1)), UNDECODABLE);
    assert_reason(case.check_bytes(&of_size(&case, 8_000)), UNDECODABLE);
}

#[test]
fn rule_5_a_length_spelled_in_more_bytes_than_it_needs_is_refused() {
    let case = Case::new();
    let bytes = stock_bytes(&case);
    // The number of account keys, behind the signatures, the version and the header.
    let keys = 1 + 2 * 64 + 1 + 3;
    assert_eq!(usize::from(bytes[keys]), case.message(&case.stock()).static_account_keys().len());
    for tail in [&[0][..], &[0x80, 0]] {
        let alias = [&bytes[..keys], &[bytes[keys] | 0x80], tail, &bytes[keys + 1..]].concat();
        assert_reason(case.check_bytes(&alias), UNDECODABLE);
    }
    // The number of signatures: there its first bit says that a version follows.
    let alias = [&[bytes[0] | 0x80, 0][..], &bytes[1..]].concat();
    assert_reason(case.check_bytes(&alias), Reason::UnsupportedTransactionVersion);
}

#[test]
fn rule_5_a_vast_length_is_refused_without_memory_for_it() {
    let case = Case::new();
    let mut bytes = stock_bytes(&case);
    let keys = 1 + 2 * 64 + 1 + 3;
    bytes.splice(keys..=keys, [0xff, 0xff, 0x03]);
    assert_reason(case.check_bytes(&bytes), UNDECODABLE);
}

#[test]
fn rule_5_more_signatures_than_the_message_asks_for_are_refused() {
    let case = Case::new();
    let mut transaction = case.sign(case.message(&case.stock()));
    transaction.signatures.push(Signature::default());
    assert_reason(case.check_transaction(&transaction), UNDECODABLE);
}

#[test]
fn rule_5_fewer_signatures_than_the_message_asks_for_are_refused() {
    let case = Case::new();
    let mut transaction = case.sign(case.message(&case.stock()));
    transaction.signatures.pop();
    assert_reason(case.check_transaction(&transaction), UNDECODABLE);
    transaction.signatures.clear();
    assert_reason(case.check_transaction(&transaction), UNDECODABLE);
}

#[test]
fn rule_5_an_account_index_out_of_range_is_refused() {
    altered(|message| {
        let keys = u8::try_from(message.account_keys.len()).unwrap();
        message.instructions[2].accounts[0] = keys;
    });
    altered(|message| message.instructions[3].accounts.push(u8::MAX));
}

#[test]
fn rule_5_a_program_index_out_of_range_is_refused() {
    altered(|message| {
        message.instructions[2].program_id_index = u8::try_from(message.account_keys.len()).unwrap();
    });
    altered(|message| message.instructions[0].program_id_index = u8::MAX);
}

#[test]
fn rule_5_the_fee_payer_as_a_program_is_refused() {
    altered(|message| message.instructions[3].program_id_index = 0);
    altered(|message| {
        message.instructions.push(CompiledInstruction {
            program_id_index: 0,
            accounts: vec![],
            data: vec![],
        });
    });
}

#[test]
fn rule_5_duplicate_account_keys_are_refused() {
    altered(|message| {
        let last = *message.account_keys.last().unwrap();
        message.account_keys.push(last);
    });
    // The fee payer a second time, as an account that does not sign.
    altered(|message| {
        let first = message.account_keys[0];
        message.account_keys.push(first);
        message.header.num_readonly_unsigned_accounts += 1;
    });
}

#[test]
fn rule_5_a_header_that_makes_no_sense_is_refused() {
    altered(|message| message.header.num_required_signatures = 0);
    altered(|message| message.header.num_readonly_signed_accounts = message.header.num_required_signatures);
    altered(|message| message.header.num_readonly_unsigned_accounts = u8::MAX);
    altered(|message| message.account_keys.clear());
}

#[test]
fn rule_9_address_lookup_tables_are_refused() {
    let lookup = |writable_indexes, readonly_indexes| MessageAddressTableLookup {
        account_key: Pubkey::new_from_array([8; 32]),
        writable_indexes,
        readonly_indexes,
    };
    altered(|message| message.address_table_lookups = vec![lookup(vec![0], vec![])]);
    altered(|message| message.address_table_lookups = vec![lookup(vec![], vec![3])]);
    // One that loads nothing, and one that the transfer's destination comes from.
    altered(|message| message.address_table_lookups = vec![lookup(vec![], vec![])]);
    altered(|message| {
        message.instructions[2].accounts[2] = u8::try_from(message.account_keys.len()).unwrap();
        message.address_table_lookups = vec![lookup(vec![0], vec![])];
    });
}

#[test]
fn transaction_version_1_is_refused_first() {
    for case in Case::both() {
        let bytes = stock_bytes(&case);
        // As SIMD-0385 has it: the version first, the signatures last.
        let modern = [&[0x81][..], &bytes[1 + 2 * 64 + 1..], &bytes[1..=2 * 64]].concat();
        // The version where it was before.
        let mut enveloped = bytes.clone();
        enveloped[1 + 2 * 64] = 0x81;
        let long = [&[0x81][..], &[0; 4_095]].concat();
        for bytes in [modern, enveloped, long] {
            let text = BASE64_STANDARD.encode(&bytes);
            assert_reason(case.check_text(&text), Reason::UnsupportedTransactionVersion);
            let nowhere = Kind { scheme: "upto", network: "nowhere" };
            let checked = case.check_with(&text, |terms| Terms { paid: nowhere, fee_payer: None, ..terms });
            assert_reason(checked, Reason::UnsupportedTransactionVersion);
        }
    }
}

#[test]
fn later_transaction_versions_are_refused_too() {
    let case = Case::new();
    for version in 1..=127_u8 {
        let mut bytes = stock_bytes(&case);
        bytes[1 + 2 * 64] = 0x80 | version;
        assert_reason(case.check_bytes(&bytes), Reason::UnsupportedTransactionVersion);
    }
}
