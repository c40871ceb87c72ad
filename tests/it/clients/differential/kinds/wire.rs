//! Bytes, header and signatures: rules 5 to 9.

use base64::{Engine, prelude::BASE64_URL_SAFE};
use solana_instruction::AccountMeta;
use solana_keypair::Keypair;
use solana_message::{VersionedMessage, v0::MessageAddressTableLookup};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_signer::Signer;

use super::{
    Kind,
    Stage::{Bytes, Case, Instructions, Message, Text, Transaction},
    bare, kind, of_usdc, small,
};
use crate::x402::kit::{memo, wire, with_account};

pub const KINDS: &[Kind] = &[
    kind("a legacy message", &[(Case, |draft, _| draft.legacy = true)]),
    kind(
        "anything in the fee payer's signature",
        &[(Transaction, |draft, random| {
            draft.transaction.signatures[0] = Signature::from([u8::try_from(random.below(256)).unwrap(); 64]);
        })],
    ),
    kind(
        "no base64",
        &[(Text, |draft, random| {
            let texts = ["!", "AAA", "é", "a b c", "===="];
            texts[random.index(texts.len())].clone_into(&mut draft.text);
        })],
    ),
    kind("an empty text", &[(Text, |draft, _| draft.text = String::new())]),
    kind(
        "base64 without padding",
        &[
            (Instructions, |draft, _| {
                // Three lengths in a row: one of them needs no padding.
                for length in 20..22 {
                    bare(draft).push(memo(&vec![b'm'; length]));
                    let bytes = wire(&draft.case.sign(draft.case.message(&draft.instructions)));
                    if !bytes.len().is_multiple_of(3) {
                        break;
                    }
                }
                draft.legacy = false;
            }),
            (Text, |draft, _| draft.text = draft.text.trim_end_matches('=').to_owned()),
        ],
    ),
    kind(
        "base64 for URLs",
        &[(Text, |draft, _| {
            draft.bytes.extend([0xff; 3]);
            draft.text = BASE64_URL_SAFE.encode(&draft.bytes);
        })],
    ),
    kind("base64 with a newline", &[(Text, |draft, _| draft.text.push('\n'))]),
    kind(
        "cut-off bytes",
        &[(Bytes, |draft, random| {
            // In its first half: the reference does not always miss the last bytes, and then the signature is wrong.
            let length = 1 + random.index(draft.bytes.len() / 2);
            draft.bytes.truncate(length);
        })],
    ),
    kind(
        "trailing bytes",
        &[
            (Case, |draft, _| draft.legacy = false),
            (Bytes, |draft, random| draft.bytes.extend(vec![7; 1 + random.index(9)])),
        ],
    ),
    kind(
        "trailing bytes of a legacy message",
        &[
            (Case, |draft, _| draft.legacy = true),
            (Bytes, |draft, random| draft.bytes.extend(vec![7; 1 + random.index(9)])),
        ],
    ),
    kind(
        "more bytes than a packet holds",
        &[(Instructions, |draft, _| {
            draft.case.memo = None;
            draft.instructions.truncate(3);
            draft.instructions.push(memo(&[b'm'; 1_100]));
        })],
    ),
    kind(
        "random bytes",
        &[(Bytes, |draft, random| {
            // As many signatures as nobody has bytes for.
            draft.bytes = (0..random.between(1, 400)).map(|_| small(random)).collect();
            draft.bytes[0] = 0x7f;
        })],
    ),
    kind(
        "transaction version 1",
        &[(Bytes, |draft, _| {
            let message = 1 + 64 * usize::from(draft.bytes[0]);
            if draft.bytes[message] & 0x80 == 0 {
                draft.bytes.insert(message, 0);
            }
            draft.bytes[message] = 0x81;
        })],
    ),
    kind(
        "an account index out of range",
        &[(Message, |draft, _| {
            draft.v0().instructions[2].accounts[0] = 200;
        })],
    ),
    kind(
        "a program index out of range",
        &[(Message, |draft, random| {
            let keys = u8::try_from(draft.v0().account_keys.len()).unwrap();
            let at = random.index(3);
            draft.v0().instructions[at].program_id_index = keys;
        })],
    ),
    kind(
        "the fee payer as a program",
        &[
            (Instructions, |draft, _| bare(draft).push(memo(b"program"))),
            (Message, |draft, _| draft.v0().instructions.last_mut().unwrap().program_id_index = 0),
        ],
    ),
    kind(
        "an account key twice",
        &[(Message, |draft, _| {
            let message = draft.v0();
            message.account_keys.push(*message.account_keys.last().unwrap());
        })],
    ),
    kind("no required signatures", &[(Message, |draft, _| draft.v0().header.num_required_signatures = 0)]),
    kind(
        "a fee payer that is read-only",
        &[(Message, |draft, _| {
            let header = &mut draft.v0().header;
            header.num_readonly_signed_accounts = header.num_required_signatures;
        })],
    ),
    kind(
        "more read-only accounts than there are",
        &[(Message, |draft, _| {
            draft.v0().header.num_readonly_unsigned_accounts = 100;
        })],
    ),
    kind(
        "a signature too many",
        &[(Transaction, |draft, _| draft.transaction.signatures.push(Signature::default()))],
    ),
    kind("a signature too few", &[(Transaction, |draft, _| draft.transaction.signatures.truncate(1))]),
    kind(
        "three signers",
        &[(Instructions, |draft, _| {
            let third = Keypair::new_from_array([30; 32]);
            draft.case.memo = None;
            let signs = AccountMeta::new_readonly(third.pubkey(), true);
            draft.instructions.truncate(3);
            draft.instructions.push(with_account(memo(b"three"), signs));
            draft.case.others.push(third);
        })],
    ),
    kind(
        "paid by the buyer",
        &[(Message, |draft, _| {
            let payer = draft.case.payer.pubkey();
            let message = solana_message::v0::Message::try_compile(
                &payer,
                &draft.instructions,
                &[],
                draft.case.blockhash,
            );
            draft.message = VersionedMessage::V0(message.unwrap());
        })],
    ),
    kind(
        "the buyer has not signed",
        &[(Transaction, |draft, _| {
            *draft.transaction.signatures.last_mut().unwrap() = Signature::default();
        })],
    ),
    kind(
        "a bit of the buyer's signature flipped",
        &[(Transaction, |draft, random| {
            let signature = draft.transaction.signatures.last_mut().unwrap();
            let mut bytes = <[u8; 64]>::from(*signature);
            bytes[random.index(64)] ^= 1 << random.index(8);
            *signature = Signature::from(bytes);
        })],
    ),
    kind(
        "signed by somebody else",
        &[(Transaction, |draft, _| {
            let signature = draft.scene.broke.sign_message(&draft.transaction.message.serialize());
            *draft.transaction.signatures.last_mut().unwrap() = signature;
        })],
    ),
    kind(
        "changed after it was signed",
        &[(Transaction, |draft, random| {
            let amount = draft.case.amount;
            if let VersionedMessage::V0(message) = &mut draft.transaction.message {
                message.recent_blockhash =
                    solana_hash::Hash::new_from_array([u8::try_from(amount % 251).unwrap(); 32]);
            } else if let VersionedMessage::Legacy(message) = &mut draft.transaction.message {
                message.account_keys[3] =
                    Pubkey::new_from_array([u8::try_from(random.below(256)).unwrap(); 32]);
            }
        })],
    ),
    kind(
        "an unknown lookup table",
        &[(Message, |draft, _| {
            let account_key = Pubkey::new_from_array([31; 32]);
            let (writable_indexes, readonly_indexes) = (vec![], vec![0]);
            draft.v0().address_table_lookups =
                vec![MessageAddressTableLookup { account_key, writable_indexes, readonly_indexes }];
        })],
    ),
    kind(
        "the destination from a lookup table",
        &[
            (Case, |draft, _| of_usdc(draft)),
            (Message, |draft, _| {
                let destination = draft.case.destination();
                let table = solana_message::AddressLookupTableAccount {
                    key: draft.scene.lookup_table,
                    addresses: vec![destination],
                };
                let (payer, blockhash) = (draft.case.fee_payer.pubkey(), draft.case.blockhash);
                let message = solana_message::v0::Message::try_compile(
                    &payer,
                    &draft.instructions,
                    &[table],
                    blockhash,
                )
                .unwrap();
                draft.message = VersionedMessage::V0(message);
            }),
        ],
    ),
];
