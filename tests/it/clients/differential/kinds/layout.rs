//! How many instructions there are, and in which order: rules 10 to 13.

use solana_pubkey::Pubkey;
use solana_signer::Signer;

use super::{Kind, Stage::Instructions, bare, kind, of_length};
use crate::x402::kit::{guard, limit, memo, price, unknown};

pub const KINDS: &[Kind] = &[
    kind("three instructions", &[(Instructions, |draft, _| bare(draft).truncate(3))]),
    kind("six instructions", &[(Instructions, |draft, _| of_length(draft, 6))]),
    kind("seven instructions", &[(Instructions, |draft, _| of_length(draft, 7))]),
    kind("eight instructions", &[(Instructions, |draft, _| of_length(draft, 8))]),
    kind(
        "too few instructions",
        &[(Instructions, |draft, random| {
            let length = random.index(3);
            bare(draft).truncate(length);
        })],
    ),
    kind(
        "guards around, as Phantom adds them",
        &[(Instructions, |draft, _| {
            let instructions = bare(draft);
            instructions.splice(2..2, vec![guard(); 3]);
            instructions.extend([memo(b"402"), guard()]);
        })],
    ),
    kind(
        "more guards than there may be instructions",
        &[(Instructions, |draft, _| {
            bare(draft).extend(vec![guard(); 5]);
        })],
    ),
    kind("more guards than are accepted", &[(Instructions, |draft, _| bare(draft).extend(vec![guard(); 9]))]),
    kind("no limit", &[(Instructions, |draft, _| draft.instructions[0] = memo(b"no limit"))]),
    kind("the price first", &[(Instructions, |draft, _| draft.instructions.swap(0, 1))]),
    kind("the transfer first", &[(Instructions, |draft, _| draft.instructions.swap(0, 2))]),
    kind("no price", &[(Instructions, |draft, _| draft.instructions[1] = memo(b"no price"))]),
    kind(
        "a memo before the transfer",
        &[(Instructions, |draft, _| draft.instructions.insert(2, memo(b"before")))],
    ),
    kind(
        "a stranger before the transfer",
        &[(Instructions, |draft, _| draft.instructions.insert(2, unknown()))],
    ),
    kind("no transfer", &[(Instructions, |draft, _| draft.instructions[2] = memo(b"no transfer"))]),
    kind(
        "a durable nonce",
        &[(Instructions, |draft, _| {
            let nonce = Pubkey::new_from_array([73; 32]);
            let payer = draft.case.payer.pubkey();
            draft
                .instructions
                .insert(0, solana_system_interface::instruction::advance_nonce_account(&nonce, &payer));
        })],
    ),
    // Here, because a higher limit would make it too high.
    kind(
        "the highest price",
        &[(Instructions, |draft, _| {
            draft.instructions[0] = limit(20_000);
            draft.instructions[1] = price(5_000_000);
        })],
    ),
];
