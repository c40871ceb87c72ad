//! What stands behind the transfer: rules 18 and 19.

use solana_instruction::AccountMeta;
use solana_pubkey::Pubkey;
use solana_signer::Signer;
use spl_associated_token_account_interface::instruction::create_associated_token_account_idempotent;

use super::{
    Kind,
    Stage::{Case, Instructions},
    bare, kind, of_length,
};
use crate::{
    clients::differential::draft::Draft,
    x402::kit::{guard, lighthouse, limit, memo, price, unknown, with_account},
};

/// An instruction that is not allowed, at this place, counted from 1.
fn stranger_at(draft: &mut Draft<'_>, place: usize) {
    of_length(draft, place - 1);
    draft.instructions.push(unknown());
}

pub const KINDS: &[Kind] = &[
    kind(
        "guards after the transfer",
        &[(Instructions, |draft, random| {
            let guards = 1 + random.index(3);
            bare(draft).extend(vec![guard(); guards]);
        })],
    ),
    kind(
        "a guard that looks at the fee payer",
        &[(Instructions, |draft, _| {
            let ours = AccountMeta::new_readonly(draft.case.fee_payer.pubkey(), false);
            bare(draft).push(with_account(guard(), ours));
        })],
    ),
    kind("two memos", &[(Instructions, |draft, _| bare(draft).extend([memo(b"one"), memo(b"two")]))]),
    kind(
        "a memo signed by the buyer",
        &[(Instructions, |draft, _| {
            let payer = AccountMeta::new_readonly(draft.case.payer.pubkey(), true);
            bare(draft).push(with_account(memo(b"signed"), payer));
        })],
    ),
    kind("the limit twice", &[(Instructions, |draft, _| bare(draft).push(limit(30_000)))]),
    kind("the price twice", &[(Instructions, |draft, _| bare(draft).push(price(1)))]),
    kind(
        "a heap request behind",
        &[(Instructions, |draft, _| {
            let mut heap = limit(64 * 1024);
            heap.data[0] = 1;
            bare(draft).push(heap);
        })],
    ),
    kind(
        "the fee payer signs a memo",
        &[(Instructions, |draft, _| {
            let ours = AccountMeta::new_readonly(draft.case.fee_payer.pubkey(), true);
            bare(draft).push(with_account(memo(b"ours"), ours));
        })],
    ),
    kind("a stranger fourth", &[(Instructions, |draft, _| stranger_at(draft, 4))]),
    kind("a stranger fifth", &[(Instructions, |draft, _| stranger_at(draft, 5))]),
    kind("a stranger sixth", &[(Instructions, |draft, _| stranger_at(draft, 6))]),
    kind("a stranger seventh", &[(Instructions, |draft, _| stranger_at(draft, 7))]),
    kind("a stranger behind a guard", &[(Instructions, |draft, _| bare(draft).extend([guard(), unknown()]))]),
    kind(
        "a second transfer",
        &[(Instructions, |draft, _| {
            let again = draft.case.transfer();
            bare(draft).push(again);
        })],
    ),
    kind(
        "a transfer of SOL",
        &[(Instructions, |draft, _| {
            let (ours, thief) = (draft.case.fee_payer.pubkey(), Pubkey::new_from_array([80; 32]));
            bare(draft).push(solana_system_interface::instruction::transfer(&ours, &thief, 1_000_000));
        })],
    ),
    kind(
        "the creation of a token account",
        &[(Instructions, |draft, random| {
            let case = &draft.case;
            let funder = if random.percent(50) { case.fee_payer.pubkey() } else { case.payer.pubkey() };
            let create =
                create_associated_token_account_idempotent(&funder, &case.pay_to, &case.mint, &case.program);
            bare(draft).push(create);
        })],
    ),
    kind(
        "Lighthouse writes memory",
        &[(Instructions, |draft, random| {
            let write = lighthouse(u8::from(random.percent(50)));
            bare(draft).push(write);
        })],
    ),
    kind(
        "the memo that is expected",
        &[
            (Case, |draft, random| {
                draft.case.memo = Some(format!("order {} ü€😀", random.next()));
            }),
            (Instructions, |draft, _| draft.instructions[0] = limit(200_000)),
        ],
    ),
    kind(
        "the longest memo",
        &[
            (Case, |draft, _| draft.case.memo = Some("m".repeat(256))),
            (Instructions, |draft, _| {
                draft.instructions[0] = limit(400_000);
            }),
        ],
    ),
    kind(
        "a memo that is too long",
        &[
            (Case, |draft, _| draft.case.memo = Some("m".repeat(257))),
            (Instructions, |draft, _| {
                draft.instructions[0] = limit(400_000);
            }),
        ],
    ),
    kind(
        "no memo where one is expected",
        &[
            (Case, |draft, _| draft.case.memo = Some("order".to_owned())),
            (Instructions, |draft, _| {
                draft.instructions.retain(|instruction| instruction.program_id != spl_memo_interface::v3::ID);
            }),
        ],
    ),
    kind(
        "the expected memo twice",
        &[
            (Case, |draft, _| draft.case.memo = Some("order".to_owned())),
            (Instructions, |draft, _| {
                draft.instructions[0] = limit(200_000);
                draft.instructions.push(memo(b"order"));
            }),
        ],
    ),
    kind(
        "nearly the expected memo",
        &[
            (Case, |draft, _| draft.case.memo = Some("order".to_owned())),
            (Instructions, |draft, random| {
                let texts: [&[u8]; 4] = [b"order ", b"Order", b"orde", b"order\0"];
                draft.instructions[3] = memo(texts[random.index(4)]);
            }),
        ],
    ),
    kind(
        "a byte order mark before the expected memo",
        &[
            (Case, |draft, _| draft.case.memo = Some("order".to_owned())),
            (Instructions, |draft, _| {
                draft.instructions[0] = limit(200_000);
                draft.instructions[3] = memo("\u{feff}order".as_bytes());
            }),
        ],
    ),
    kind(
        "a memo that is no text",
        &[
            (Case, |draft, _| draft.case.memo = Some("\u{fffd}".to_owned())),
            (Instructions, |draft, _| {
                draft.instructions[0] = limit(200_000);
                draft.instructions[3] = memo(&[0xff]);
            }),
        ],
    ),
];
