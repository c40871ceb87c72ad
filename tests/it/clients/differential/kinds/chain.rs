//! What only the chain knows: rule 20.

use solana_hash::Hash;
use solana_pubkey::Pubkey;
use solana_signer::Signer;

use super::{Kind, Stage::Case, kind, of_usdc};

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
        "a mint with a transfer fee",
        &[(Case, |draft, _| {
            (draft.case.mint, draft.case.program) = (draft.scene.fee_mint, spl_token_2022_interface::ID);
        })],
    ),
];
