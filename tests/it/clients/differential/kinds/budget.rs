//! The compute budget: rules 11 and 12.

use solana_instruction::AccountMeta;
use solana_signer::Signer;

use super::{Kind, Stage::Instructions, kind, small};
use crate::x402::kit::{limit, price};

pub const KINDS: &[Kind] = &[
    kind(
        "the limit cut short",
        &[(Instructions, |draft, random| {
            let length = 1 + random.index(4);
            draft.instructions[0].data.truncate(length);
        })],
    ),
    kind("an empty limit", &[(Instructions, |draft, _| draft.instructions[0].data.clear())]),
    kind(
        "the limit with bytes behind",
        &[(Instructions, |draft, random| {
            draft.instructions[0].data.push(small(random));
        })],
    ),
    kind("the highest limit", &[(Instructions, |draft, _| draft.instructions[0] = limit(400_000))]),
    kind(
        "more than the highest limit",
        &[(Instructions, |draft, random| {
            let limits = [400_001, 1_400_000, u32::MAX];
            draft.instructions[0] = limit(limits[random.index(3)]);
        })],
    ),
    kind(
        "a limit that is too low",
        &[(Instructions, |draft, random| {
            draft.instructions[0] = limit(u32::try_from(random.between(0, 20)).unwrap());
        })],
    ),
    kind(
        "the price cut short",
        &[(Instructions, |draft, random| {
            let length = 1 + random.index(8);
            draft.instructions[1].data.truncate(length);
        })],
    ),
    kind(
        "the price with bytes behind",
        &[(Instructions, |draft, random| {
            draft.instructions[1].data.push(small(random));
        })],
    ),
    kind(
        "another compute budget instruction for the price",
        &[(Instructions, |draft, random| {
            let others = [0, 1, 4, 5];
            draft.instructions[1].data[0] = others[random.index(4)];
        })],
    ),
    kind(
        "more than the highest price",
        &[(Instructions, |draft, random| {
            let prices = [5_000_001, u64::MAX];
            draft.instructions[1] = price(prices[random.index(2)]);
        })],
    ),
    kind(
        "a priority fee that is too high",
        &[(Instructions, |draft, random| {
            draft.instructions[0] = limit(u32::try_from(random.between(20_001, 400_000)).unwrap());
            draft.instructions[1] = price(5_000_000);
        })],
    ),
    kind(
        "the fee payer lent to the compute budget",
        &[(Instructions, |draft, random| {
            let ours = AccountMeta::new_readonly(draft.case.fee_payer.pubkey(), true);
            draft.instructions[random.index(2)].accounts.push(ours);
        })],
    ),
];
