//! The transfer: rules 13 to 17.

use pay402::{
    money::Amount,
    sandbox::{USDC, USDT},
};
use solana_instruction::AccountMeta;
use solana_signer::Signer;

use super::{
    Kind,
    Stage::{Case, Instructions},
    kind, of_token_2022, of_usdc, small,
};
use crate::{
    clients::differential::draft::Draft,
    x402::kit::{limit, transfer_data},
};

fn by_multisig(draft: &mut Draft<'_>) {
    let (multisig, member) = (draft.scene.multisig, draft.case.payer.pubkey());
    draft.instructions[0] = limit(100_000);
    let accounts = &mut draft.instructions[2].accounts;
    accounts.truncate(3);
    accounts[0].pubkey = draft.case.ata(&multisig);
    accounts.extend([AccountMeta::new_readonly(multisig, false), AccountMeta::new_readonly(member, true)]);
}

pub const KINDS: &[Kind] = &[
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
        &[
            (Case, |draft, _| of_usdc(draft)),
            (Instructions, |draft, random| draft.instructions[2].data.push(small(random))),
        ],
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
        "to the token account of the other token program",
        &[(Instructions, |draft, _| {
            let program = draft.case.program;
            let (one, other) = (spl_token_interface::ID, spl_token_2022_interface::ID);
            draft.case.program = if program == one { other } else { one };
            draft.instructions[2].accounts[2].pubkey = draft.case.destination();
            draft.case.program = program;
        })],
    ),
    kind(
        "other decimals of a mint that nobody knows",
        &[
            (Case, |draft, _| of_token_2022(draft, draft.scene.plain_mint)),
            (Instructions, |draft, random| {
                let decimals = [0, 5, 7, 9, 255];
                *draft.instructions[2].data.last_mut().unwrap() = decimals[random.index(5)];
            }),
        ],
    ),
    kind(
        "by a delegate",
        &[
            (Case, |draft, _| {
                of_usdc(draft);
                draft.case.payer = draft.scene.delegate.insecure_clone();
            }),
            (Instructions, |draft, _| {
                let owner = draft.scene.app.agent().pubkey();
                draft.instructions[2].accounts[0].pubkey = draft.case.ata(&owner);
            }),
        ],
    ),
    kind(
        "by a delegate beyond what it may spend",
        &[
            (Case, |draft, _| {
                of_usdc(draft);
                draft.case.payer = draft.scene.delegate.insecure_clone();
                draft.case.amount = 10_000_001;
            }),
            (Instructions, |draft, _| {
                let owner = draft.scene.app.agent().pubkey();
                draft.instructions[2].accounts[0].pubkey = draft.case.ata(&owner);
            }),
        ],
    ),
    kind(
        "by somebody who may not spend it",
        &[
            (Case, |draft, _| {
                of_usdc(draft);
                draft.case.payer = draft.scene.broke.insecure_clone();
            }),
            (Instructions, |draft, _| {
                let owner = draft.scene.app.agent().pubkey();
                draft.instructions[2].accounts[0].pubkey = draft.case.ata(&owner);
            }),
        ],
    ),
    kind(
        "the recipient's own money",
        &[
            (Case, |draft, _| {
                of_usdc(draft);
                draft.case.payer = draft.scene.delegate.insecure_clone();
            }),
            (Instructions, |draft, _| {
                draft.instructions[2].accounts[0].pubkey = draft.scene.merchants_other;
            }),
        ],
    ),
    kind(
        "by a multisig",
        &[(Case, |draft, _| of_usdc(draft)), (Instructions, |draft, _| by_multisig(draft))],
    ),
    kind(
        "by a multisig whose members do not sign",
        &[
            (Case, |draft, _| of_usdc(draft)),
            (Instructions, |draft, _| {
                by_multisig(draft);
                draft.instructions[2].accounts[4].is_signer = false;
            }),
        ],
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
        &[(Instructions, |draft, _| {
            draft.instructions[2].data = transfer_data(Amount::MAX, 6);
        })],
    ),
    kind("more than the books can hold", &[(Case, |draft, _| draft.case.amount = Amount::MAX + 1)]),
    kind("nothing for nothing", &[(Case, |draft, _| draft.case.amount = 0)]),
];
