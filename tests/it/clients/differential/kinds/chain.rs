//! What only the chain knows: rule 20.

use solana_hash::Hash;
use solana_pubkey::Pubkey;
use solana_signer::Signer;

use super::{Kind, Stage::Case, kind, of_token_2022, of_usdc};

pub const KINDS: &[Kind] = &[
    kind(
        "a broke buyer",
        &[(Case, |draft, _| {
            of_usdc(draft);
            draft.case.payer = draft.scene.broke.insecure_clone();
            draft.case.amount = 11;
        })],
    ),
    kind(
        "a buyer's last units",
        &[(Case, |draft, _| {
            of_usdc(draft);
            draft.case.payer = draft.scene.broke.insecure_clone();
            draft.case.amount = 10;
        })],
    ),
    kind(
        "a buyer without a token account",
        &[(Case, |draft, _| draft.case.payer = draft.scene.nobody.insecure_clone())],
    ),
    kind(
        "a recipient without a token account",
        &[(Case, |draft, _| draft.case.pay_to = draft.scene.nobody.pubkey())],
    ),
    kind("a blockhash that has expired", &[(Case, |draft, _| draft.case.blockhash = draft.scene.expired)]),
    kind(
        "a blockhash that never was",
        &[(Case, |draft, _| draft.case.blockhash = Hash::new_from_array([44; 32]))],
    ),
    kind(
        "a mint that does not exist",
        &[(Case, |draft, _| draft.case.mint = Pubkey::new_from_array([45; 32]))],
    ),
    kind(
        "a frozen buyer",
        &[(Case, |draft, _| {
            of_usdc(draft);
            draft.case.payer = draft.scene.frozen.insecure_clone();
        })],
    ),
    kind(
        "a frozen recipient",
        &[(Case, |draft, _| {
            of_usdc(draft);
            draft.case.pay_to = draft.scene.frozen.pubkey();
        })],
    ),
    kind(
        "a recipient whose token account is not initialised",
        &[(Case, |draft, _| {
            of_usdc(draft);
            draft.case.pay_to = draft.scene.blank;
        })],
    ),
    kind(
        "a mint of the other token program",
        &[(Case, |draft, _| {
            let (one, other) = (spl_token_interface::ID, spl_token_2022_interface::ID);
            draft.case.program = if draft.case.program == one { other } else { one };
        })],
    ),
    kind("a mint that nobody knows", &[(Case, |draft, _| of_token_2022(draft, draft.scene.plain_mint))]),
    kind("a mint with a transfer fee", &[(Case, |draft, _| of_token_2022(draft, draft.scene.fee_mint))]),
    kind("a mint with a transfer hook", &[(Case, |draft, _| of_token_2022(draft, draft.scene.hook_mint))]),
    kind(
        "a mint that cannot be transferred",
        &[(Case, |draft, _| of_token_2022(draft, draft.scene.soulbound_mint))],
    ),
    kind("a mint that is paused", &[(Case, |draft, _| of_token_2022(draft, draft.scene.paused_mint))]),
];
