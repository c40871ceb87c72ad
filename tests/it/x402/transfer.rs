//! Rules 13 to 17.

use pay402::{
    chain::solana::rules::{Reason, Terms},
    sandbox::{PYUSD, USDT},
};
use solana_instruction::{AccountMeta, Instruction};
use solana_keypair::Keypair;
use solana_pubkey::Pubkey;
use solana_signer::Signer;

use super::kit::{Case, assert_reason, guard, limit, memo, price, transfer_data, unknown};

const NONE: Reason = Reason::NoTransferInstruction;

/// A stock payment with another transfer.
#[track_caller]
fn refused(change: impl Fn(&Case, &mut Instruction), reason: Reason) {
    for case in Case::both() {
        let mut instructions = case.stock();
        change(&case, &mut instructions[2]);
        case.assert_refused(&instructions, reason);
    }
}

#[test]
fn rule_13_something_else_in_the_transfers_place_is_refused() {
    for case in Case::both() {
        for third in [memo(b"402"), unknown()] {
            case.assert_refused(&[limit(20_000), price(1), third, case.transfer()], NONE);
        }
        case.assert_refused(&[limit(20_000), price(1), guard(), memo(b"402"), case.transfer()], NONE);
        case.assert_refused(&[limit(20_000), price(1), guard(), memo(b"402"), memo(b"402")], NONE);
    }
}

#[test]
fn rule_13_no_other_token_instruction_is_a_transfer() {
    for kind in (0..=255).filter(|kind| *kind != 12) {
        refused(|_, transfer| transfer.data[0] = kind, NONE);
    }
}

#[test]
fn rule_13_a_transfer_that_is_cut_short_is_refused_and_what_is_behind_one_is_skipped() {
    refused(|_, transfer| transfer.data.truncate(9), NONE);
    refused(|_, transfer| transfer.data.clear(), NONE);
    for case in Case::both() {
        let mut instructions = case.stock();
        instructions[2].data.extend([7; 20]);
        let payment = case.check(&instructions).unwrap();
        assert_eq!((payment.amount, payment.decimals), (case.amount, 6));
    }
}

#[test]
fn rule_13_three_accounts_are_too_few() {
    refused(|_, transfer| transfer.accounts.truncate(3), NONE);
}

#[test]
fn rule_13_another_program_with_the_same_bytes_is_refused() {
    refused(|_, transfer| transfer.program_id = Pubkey::new_from_array([9; 32]), NONE);
    refused(|_, transfer| transfer.program_id = spl_memo_interface::v3::ID, NONE);
}

#[test]
fn rule_13_token_2022_passes() {
    for mut case in Case::both() {
        case.mint = PYUSD;
        case.program = spl_token_2022_interface::ID;
        let payment = case.check(&case.stock()).unwrap();
        assert_eq!((payment.mint, payment.token_program), (PYUSD, spl_token_2022_interface::ID));
    }
}

#[test]
fn rule_14_our_own_authority_is_refused() {
    refused(
        |case, transfer| transfer.accounts[3] = AccountMeta::new_readonly(case.fee_payer.pubkey(), true),
        Reason::FeePayerTransferringFunds,
    );
}

#[test]
fn rule_14_a_retired_fee_payers_authority_is_refused() {
    let mut case = Case::new();
    case.retired = vec![case.payer.pubkey()];
    case.assert_refused(&case.stock(), Reason::FeePayerTransferringFunds);
}

/// The reason is the one that a simulation would give, and so is the place.
#[test]
fn rule_20_an_authority_that_does_not_sign_is_foreseen() {
    let unsigned = |case: &Case, transfer: &mut Instruction| {
        transfer.accounts[3] = AccountMeta::new_readonly(case.payer.pubkey(), false);
    };
    refused(unsigned, Reason::SimulationFailed);
    refused(
        |case, transfer| {
            unsigned(case, transfer);
            transfer.data = transfer_data(case.amount + 1, 6);
        },
        Reason::AmountMismatch,
    );
}

#[test]
fn rule_14_a_multisig_pays_when_its_members_sign() {
    let case = Case::new();
    let mut instructions = case.stock();
    let multisig = Pubkey::new_from_array([70; 32]);
    instructions[2].accounts[3] = AccountMeta::new_readonly(multisig, false);
    instructions[2].accounts.push(AccountMeta::new_readonly(case.payer.pubkey(), true));
    assert_eq!(case.check(&instructions).unwrap().payer, multisig);
}

#[test]
fn rule_15_another_mint_is_refused() {
    refused(
        |_, transfer| transfer.accounts[1] = AccountMeta::new_readonly(USDT, false),
        Reason::MintMismatch,
    );
    for case in Case::both() {
        for asset in ["EJwZgeZrdC8TXTQbQBoL6bfuAnFUUy1PVCMB4DYPzVaS", "USDC", ""] {
            let checked = case.check_with(&case.stock_text(), |terms| Terms { asset, ..terms });
            assert_reason(checked, Reason::MintMismatch);
        }
    }
}

#[test]
fn rule_20_a_known_mints_decimals_are_foreseen() {
    for decimals in [0, 5, 7, 255] {
        refused(
            |case, transfer| transfer.data = transfer_data(case.amount, decimals),
            Reason::SimulationFailed,
        );
        let other = |case: &Case, transfer: &mut Instruction| {
            transfer.data = transfer_data(case.amount + 1, decimals);
        };
        refused(other, Reason::AmountMismatch);
    }
}

#[test]
fn rule_20_an_unknown_mints_decimals_are_the_chains_to_judge() {
    let mut case = Case::new();
    case.mint = Pubkey::new_from_array([71; 32]);
    let mut instructions = case.stock();
    instructions[2].data = transfer_data(case.amount, 9);
    let payment = case.check(&instructions).unwrap();
    assert_eq!((payment.mint, payment.decimals), (case.mint, 9));
}

#[test]
fn rule_16_another_recipient_is_refused() {
    let stranger = Keypair::new_from_array([72; 32]).pubkey();
    refused(
        |case, transfer| transfer.accounts[2] = AccountMeta::new(case.ata(&stranger), false),
        Reason::RecipientMismatch,
    );
    for case in Case::both() {
        for pay_to in ["4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T", "merchant", ""] {
            let checked = case.check_with(&case.stock_text(), |terms| Terms { pay_to, ..terms });
            assert_reason(checked, Reason::RecipientMismatch);
        }
    }
}

#[test]
fn rule_16_the_wallet_itself_or_another_programs_account_is_refused() {
    refused(
        |case, transfer| transfer.accounts[2] = AccountMeta::new(case.pay_to, false),
        Reason::RecipientMismatch,
    );
    refused(
        |case, transfer| {
            let other = Case { program: spl_token_2022_interface::ID, ..Case::new() };
            transfer.accounts[2] = AccountMeta::new(other.ata(&case.pay_to), false);
        },
        Reason::RecipientMismatch,
    );
}

#[test]
fn rule_16_a_transfer_to_itself_is_refused() {
    // A delegate of payTo could name payTo's own account as the source.
    refused(
        |case, transfer| transfer.accounts[0] = AccountMeta::new(case.destination(), false),
        Reason::RecipientMismatch,
    );
}

#[test]
fn rule_17_one_unit_less_or_more_is_refused() {
    for amount in [0, 49_999, 50_001, u64::MAX] {
        refused(|_, transfer| transfer.data = transfer_data(amount, 6), Reason::AmountMismatch);
    }
}

#[test]
fn rule_17_the_largest_and_the_smallest_amount_pass_when_asked_for() {
    for amount in [u64::MAX, 1, 0] {
        let case = Case { amount, ..Case::new() };
        assert_eq!(case.check(&case.stock()).unwrap().amount, amount);
    }
}

#[test]
fn what_is_wrong_is_said_in_whole_tokens() {
    let case = Case::new();
    let mut instructions = case.stock();
    instructions[2].data = transfer_data(1_200_000, 6);
    let refusal = case.check(&instructions).unwrap_err();
    assert_eq!(
        refusal.message,
        "the transfer moves 1.20 USDC (1200000 atomic units), exactly 0.05 USDC (50000) is required"
    );
}

#[test]
fn a_refusal_names_the_payer_once_there_is_one() {
    let case = Case::new();
    let mut instructions = case.stock();
    instructions[2].data = transfer_data(1, 6);
    assert_eq!(case.check(&instructions).unwrap_err().payer, Some(case.payer.pubkey()));
    instructions[2] = memo(b"402");
    assert_eq!(case.check(&instructions).unwrap_err().payer, None);
}
