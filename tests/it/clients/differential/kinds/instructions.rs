//! What the transaction does: rules 10 to 19.

use pay402::sandbox::{USDC, USDT};
use solana_instruction::{AccountMeta, Instruction};
use solana_pubkey::Pubkey;
use solana_signer::Signer;
use spl_associated_token_account_interface::instruction::create_associated_token_account_idempotent;

use super::{
    Kind,
    Stage::{Case, Instructions},
    kind,
};
use crate::{
    clients::differential::draft::Draft,
    settlement::random::Random,
    x402::kit::{guard, lighthouse, limit, memo, price, transfer_data, unknown, with_account},
};

/// Limit, price and transfer, with nothing behind.
fn bare<'d>(draft: &'d mut Draft<'_>) -> &'d mut Vec<Instruction> {
    draft.case.memo = None;
    draft.instructions.truncate(3);
    &mut draft.instructions
}

/// `count` instructions that are all allowed.
fn of_length(draft: &mut Draft<'_>, count: usize) {
    let instructions = bare(draft);
    while instructions.len() < count {
        instructions.push(memo(format!("memo {}", instructions.len()).as_bytes()));
    }
    instructions[0] = limit(200_000);
}

/// An instruction that is not allowed, at this place, counted from 1.
fn stranger_at(draft: &mut Draft<'_>, place: usize) {
    of_length(draft, place - 1);
    draft.instructions.push(unknown());
}

fn small(random: &mut Random) -> u8 {
    u8::try_from(random.below(256)).unwrap()
}

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
        "guards after the transfer",
        &[(Instructions, |draft, random| {
            let guards = 1 + random.index(3);
            bare(draft).extend(vec![guard(); guards]);
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
    kind("no limit", &[(Instructions, |draft, _| draft.instructions[0] = memo(b"no limit"))]),
    kind("the price first", &[(Instructions, |draft, _| draft.instructions.swap(0, 1))]),
    kind("the transfer first", &[(Instructions, |draft, _| draft.instructions.swap(0, 2))]),
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
    kind("the limit twice", &[(Instructions, |draft, _| bare(draft).push(limit(30_000)))]),
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
    kind("no price", &[(Instructions, |draft, _| draft.instructions[1] = memo(b"no price"))]),
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
    kind("the price twice", &[(Instructions, |draft, _| bare(draft).push(price(1)))]),
    kind(
        "another compute budget instruction for the price",
        &[(Instructions, |draft, random| {
            let others = [0, 1, 4, 5];
            draft.instructions[1].data[0] = others[random.index(4)];
        })],
    ),
    kind(
        "a heap request behind",
        &[(Instructions, |draft, _| {
            let mut heap = limit(64 * 1024);
            heap.data[0] = 1;
            bare(draft).push(heap);
        })],
    ),
    kind(
        "the highest price",
        &[(Instructions, |draft, _| {
            draft.instructions[0] = limit(20_000);
            draft.instructions[1] = price(5_000_000);
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
    kind("no transfer", &[(Instructions, |draft, _| draft.instructions[2] = memo(b"no transfer"))]),
    kind(
        "a memo before the transfer",
        &[(Instructions, |draft, _| draft.instructions.insert(2, memo(b"before")))],
    ),
    kind(
        "a stranger before the transfer",
        &[(Instructions, |draft, _| draft.instructions.insert(2, unknown()))],
    ),
    kind(
        "a plain transfer",
        &[(Instructions, |draft, _| {
            draft.instructions[2].data = [&[3][..], &draft.case.amount.to_le_bytes()].concat();
            draft.instructions[2].accounts.remove(1);
        })],
    ),
    kind(
        "another token instruction",
        &[(Instructions, |draft, random| {
            // Mint, burn, approve, checked.
            let others = [13, 14, 15];
            draft.instructions[2].data[0] = others[random.index(3)];
        })],
    ),
    kind(
        "the transfer by another program",
        &[(Instructions, |draft, _| {
            draft.instructions[2].program_id = spl_memo_interface::v3::ID;
        })],
    ),
    kind(
        "the transfer cut short",
        &[(Instructions, |draft, random| {
            let length = random.index(10);
            draft.instructions[2].data.truncate(length);
        })],
    ),
    kind(
        "the transfer with bytes behind",
        &[(Instructions, |draft, random| {
            draft.instructions[2].data.push(small(random));
        })],
    ),
    kind(
        "the transfer without its authority",
        &[(Instructions, |draft, _| {
            draft.instructions[2].accounts.truncate(3);
        })],
    ),
    kind(
        "an authority that does not sign",
        &[(Instructions, |draft, _| {
            draft.instructions[2].accounts[3].is_signer = false;
        })],
    ),
    kind(
        "the fee payer as the authority",
        &[(Instructions, |draft, _| {
            let ours = draft.case.fee_payer.pubkey();
            draft.instructions[2].accounts[0] = AccountMeta::new(draft.case.ata(&ours), false);
            draft.instructions[2].accounts[3] = AccountMeta::new_readonly(ours, true);
        })],
    ),
    kind(
        "the fee payer's tokens",
        &[(Instructions, |draft, _| {
            draft.instructions[2].accounts[0].pubkey = draft.case.ata(&draft.case.fee_payer.pubkey());
        })],
    ),
    kind(
        "the fee payer as the source",
        &[(Instructions, |draft, _| {
            draft.instructions[2].accounts[0] = AccountMeta::new(draft.case.fee_payer.pubkey(), true);
        })],
    ),
    kind(
        "the fee payer behind the transfer's accounts",
        &[(Instructions, |draft, _| {
            let ours = AccountMeta::new_readonly(draft.case.fee_payer.pubkey(), true);
            draft.instructions[2].accounts.push(ours);
        })],
    ),
    kind(
        "the fee payer signs a memo",
        &[(Instructions, |draft, _| {
            let ours = AccountMeta::new_readonly(draft.case.fee_payer.pubkey(), true);
            bare(draft).push(with_account(memo(b"ours"), ours));
        })],
    ),
    kind(
        "the fee payer lent to the compute budget",
        &[(Instructions, |draft, random| {
            let ours = AccountMeta::new_readonly(draft.case.fee_payer.pubkey(), true);
            draft.instructions[random.index(2)].accounts.push(ours);
        })],
    ),
    kind(
        "another token",
        &[(Instructions, |draft, _| {
            let (mint, program) = (draft.case.mint, draft.case.program);
            (draft.case.mint, draft.case.program) =
                (if mint == USDT { USDC } else { USDT }, spl_token_interface::ID);
            draft.instructions[2] = draft.case.transfer();
            (draft.case.mint, draft.case.program) = (mint, program);
        })],
    ),
    kind(
        "other decimals",
        &[(Instructions, |draft, random| {
            let decimals = [0, 5, 7, 9, 255];
            *draft.instructions[2].data.last_mut().unwrap() = decimals[random.index(5)];
        })],
    ),
    kind(
        "to the wallet itself",
        &[(Instructions, |draft, _| {
            draft.instructions[2].accounts[2].pubkey = draft.case.pay_to;
        })],
    ),
    kind(
        "to somebody else",
        &[(Instructions, |draft, _| {
            draft.instructions[2].accounts[2].pubkey = draft.case.ata(&draft.scene.broke.pubkey());
        })],
    ),
    kind(
        "back to the buyer",
        &[(Instructions, |draft, _| {
            draft.instructions[2].accounts[2].pubkey = draft.case.source();
        })],
    ),
    kind("to oneself", &[(Case, |draft, _| draft.case.pay_to = draft.case.payer.pubkey())]),
    kind(
        "the other token program",
        &[(Instructions, |draft, _| {
            let (one, other) = (spl_token_interface::ID, spl_token_2022_interface::ID);
            draft.instructions[2].program_id = if draft.case.program == one { other } else { one };
        })],
    ),
    kind(
        "one unit too few",
        &[(Instructions, |draft, _| {
            draft.instructions[2].data = transfer_data(draft.case.amount - 1, 6);
        })],
    ),
    kind(
        "one unit too many",
        &[(Instructions, |draft, _| {
            draft.instructions[2].data = transfer_data(draft.case.amount + 1, 6);
        })],
    ),
    kind(
        "everything there is",
        &[(Instructions, |draft, _| draft.instructions[2].data = transfer_data(u64::MAX, 6))],
    ),
    kind("nothing for nothing", &[(Case, |draft, _| draft.case.amount = 0)]),
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
        "a durable nonce",
        &[(Instructions, |draft, _| {
            let nonce = Pubkey::new_from_array([73; 32]);
            let payer = draft.case.payer.pubkey();
            draft
                .instructions
                .insert(0, solana_system_interface::instruction::advance_nonce_account(&nonce, &payer));
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
