//! What others have tried, or could, on a fee payer.

use pay402::chain::solana::rules::Reason;
use solana_instruction::{AccountMeta, Instruction};
use solana_message::VersionedMessage;
use solana_pubkey::Pubkey;
use solana_signer::Signer;
use spl_associated_token_account_interface::instruction as ata;
use spl_token_interface::instruction::{self as token, AuthorityType};

use super::kit::{Case, guard, lighthouse, limit, memo, price, transfer_data, with_account};

/// A stock payment with `extra` at its end.
fn plus(case: &Case, extra: Instruction) -> Vec<Instruction> {
    [case.stock(), vec![extra]].concat()
}

/// A stock payment with `instead` of the transfer.
fn instead(transfer: Instruction) -> Vec<Instruction> {
    vec![limit(20_000), price(1), transfer, memo(b"402")]
}

#[test]
fn fee_payer_as_authority() {
    let case = Case::new();
    let mut transfer = case.transfer();
    transfer.accounts[0] = AccountMeta::new(case.ata(&case.fee_payer.pubkey()), false);
    transfer.accounts[3] = AccountMeta::new_readonly(case.fee_payer.pubkey(), true);
    case.assert_refused(&instead(transfer), Reason::FeePayerTransferringFunds);
}

#[test]
fn fee_payer_as_source() {
    let case = Case::new();
    let mut transfer = case.transfer();
    transfer.accounts[0] = AccountMeta::new(case.fee_payer.pubkey(), true);
    case.assert_refused(&instead(transfer), Reason::FeePayerInInstructionAccounts);
}

#[test]
fn fee_payer_as_destination() {
    let case = Case::new();
    let mut transfer = case.transfer();
    transfer.accounts[2] = AccountMeta::new(case.fee_payer.pubkey(), true);
    case.assert_refused(&instead(transfer), Reason::FeePayerInInstructionAccounts);
}

#[test]
fn fee_payer_as_an_extra_account_of_the_transfer() {
    let case = Case::new();
    let ours = AccountMeta::new_readonly(case.fee_payer.pubkey(), true);
    let transfer = with_account(case.transfer(), ours);
    case.assert_refused(&instead(transfer), Reason::FeePayerInInstructionAccounts);
}

#[test]
fn fee_payer_as_a_member_of_a_multisig() {
    let case = Case::new();
    let mut transfer = case.transfer();
    transfer.accounts[3] = AccountMeta::new_readonly(Pubkey::new_from_array([70; 32]), false);
    let ours = AccountMeta::new_readonly(case.fee_payer.pubkey(), true);
    case.assert_refused(&instead(with_account(transfer, ours)), Reason::FeePayerInInstructionAccounts);
}

#[test]
fn fee_payer_lent_to_the_compute_budget() {
    let case = Case::new();
    for index in [0, 1] {
        let mut instructions = case.stock();
        instructions[index].accounts.push(AccountMeta::new(case.fee_payer.pubkey(), true));
        case.assert_refused(&instructions, Reason::FeePayerInInstructionAccounts);
    }
}

#[test]
fn retired_fee_payer_as_an_extra_account() {
    let mut case = Case::new();
    case.retired = vec![Pubkey::new_from_array([71; 32])];
    let transfer = with_account(case.transfer(), AccountMeta::new(case.retired[0], false));
    case.assert_refused(&instead(transfer), Reason::FeePayerInInstructionAccounts);
}

#[test]
fn fee_payer_funds_a_lighthouse_memory_write() {
    let case = Case::new();
    let write = with_account(lighthouse(0), AccountMeta::new(case.fee_payer.pubkey(), true));
    case.assert_refused(&plus(&case, write.clone()), Reason::UnknownInstruction(5));
    let before = [&[limit(20_000), price(1), write], &case.stock()[2..]].concat();
    case.assert_refused(&before, Reason::UnknownInstruction(3));
}

#[test]
fn lighthouse_memory_close() {
    let case = Case::new();
    let close = with_account(lighthouse(1), AccountMeta::new(case.fee_payer.pubkey(), true));
    case.assert_refused(&plus(&case, close), Reason::UnknownInstruction(5));
    case.assert_refused(&plus(&case, lighthouse(1)), Reason::UnknownInstruction(5));
}

#[test]
fn ata_creation_inside() {
    let case = Case::new();
    let create = |funder| {
        ata::create_associated_token_account_idempotent(&funder, &case.pay_to, &case.mint, &case.program)
    };
    for funder in [case.fee_payer.pubkey(), case.payer.pubkey()] {
        case.assert_refused(&plus(&case, create(funder)), Reason::UnknownInstruction(5));
        let before = [&[limit(20_000), price(1), create(funder)], &case.stock()[2..]].concat();
        case.assert_refused(&before, Reason::NoTransferInstruction);
    }
}

#[test]
fn closing_an_account() {
    let case = Case::new();
    let close = |authority: &Pubkey, to: &Pubkey| {
        token::close_account(&case.program, &case.source(), to, authority, &[]).unwrap()
    };
    let (payer, ours) = (case.payer.pubkey(), case.fee_payer.pubkey());
    for extra in [close(&payer, &payer), close(&payer, &ours), close(&ours, &payer)] {
        case.assert_refused(&plus(&case, extra.clone()), Reason::UnknownInstruction(5));
        case.assert_refused(&instead(extra), Reason::NoTransferInstruction);
    }
}

#[test]
fn set_authority() {
    let case = Case::new();
    let give = |owner: &Pubkey| {
        token::set_authority(
            &case.program,
            &case.destination(),
            Some(&case.payer.pubkey()),
            AuthorityType::AccountOwner,
            owner,
            &[],
        )
        .unwrap()
    };
    for owner in [case.fee_payer.pubkey(), case.payer.pubkey()] {
        case.assert_refused(&plus(&case, give(&owner)), Reason::UnknownInstruction(5));
    }
}

#[test]
fn approving_a_delegate() {
    let case = Case::new();
    let thief = Pubkey::new_from_array([72; 32]);
    let ours = case.ata(&case.fee_payer.pubkey());
    let approve =
        token::approve(&case.program, &ours, &thief, &case.fee_payer.pubkey(), &[], u64::MAX).unwrap();
    case.assert_refused(&plus(&case, approve), Reason::UnknownInstruction(5));
}

#[test]
fn an_extra_transfer() {
    let case = Case::new();
    case.assert_refused(&plus(&case, case.transfer()), Reason::UnknownInstruction(5));
    let plain = token::transfer(
        &case.program,
        &case.ata(&case.fee_payer.pubkey()),
        &case.source(),
        &case.fee_payer.pubkey(),
        &[],
        1,
    );
    case.assert_refused(&plus(&case, plain.unwrap()), Reason::UnknownInstruction(5));
}

#[test]
fn draining_by_the_system_program() {
    let case = Case::new();
    let (ours, thief) = (case.fee_payer.pubkey(), Pubkey::new_from_array([72; 32]));
    let drain = solana_system_interface::instruction::transfer(&ours, &thief, 1_000_000);
    case.assert_refused(&plus(&case, drain.clone()), Reason::UnknownInstruction(5));
    case.assert_refused(&instead(drain), Reason::NoTransferInstruction);
    let assign = solana_system_interface::instruction::assign(&ours, &thief);
    case.assert_refused(&plus(&case, assign), Reason::UnknownInstruction(5));
}

#[test]
fn durable_nonce_first() {
    let case = Case::new();
    let nonce = Pubkey::new_from_array([73; 32]);
    for authority in [case.payer.pubkey(), case.fee_payer.pubkey()] {
        let advance = solana_system_interface::instruction::advance_nonce_account(&nonce, &authority);
        let instructions = [vec![advance], case.stock()].concat();
        case.assert_refused(&instructions, Reason::ComputeLimitInstruction);
    }
}

#[test]
fn a_second_compute_budget() {
    let case = Case::new();
    case.assert_refused(&plus(&case, limit(1_400_000)), Reason::ComputeLimitInstruction);
    case.assert_refused(&plus(&case, price(u64::MAX)), Reason::ComputePriceInstruction);
    // Heap frame and loaded-accounts size are not for the buyer to ask for either.
    for kind in [1, 4] {
        let mut extra = limit(32 * 1024);
        extra.data[0] = kind;
        case.assert_refused(&plus(&case, extra), Reason::UnknownInstruction(5));
    }
}

#[test]
fn an_uncapped_compute_price() {
    let case = Case::new();
    let mut instructions = case.stock();
    instructions[1] = price(u64::MAX);
    case.assert_refused(&instructions, Reason::ComputePriceTooHigh);
    instructions[0] = limit(400_000);
    instructions[1] = price(5_000_000);
    case.assert_refused(&instructions, Reason::ComputePriceTooHigh);
}

#[test]
fn a_transfer_of_everything() {
    let case = Case::new();
    let mut transfer = case.transfer();
    transfer.data = transfer_data(u64::MAX, 6);
    case.assert_refused(&instead(transfer), Reason::AmountMismatch);
}

#[test]
fn accounts_named_twice_within_the_transfer() {
    let case = Case::new();
    let same = |from: usize, to: usize| {
        let mut transfer = case.transfer();
        transfer.accounts[to] = transfer.accounts[from].clone();
        case.check(&instead(transfer)).map(|_| ()).map_err(|refusal| refusal.reason)
    };
    assert_eq!(same(0, 2), Err(Reason::RecipientMismatch));
    assert_eq!(same(2, 0), Err(Reason::RecipientMismatch));
    assert_eq!(same(0, 1), Err(Reason::MintMismatch));
    assert_eq!(same(1, 2), Err(Reason::RecipientMismatch));
    assert_eq!(same(3, 2), Err(Reason::RecipientMismatch));
    // The payer for its own token account: the token program will not have it, and nothing of ours is touched.
    assert_eq!(same(3, 0), Ok(()));
}

/// Roles are in the header and in the order of the keys; none of them lets a fee payer be used.
#[test]
fn header_games() {
    let case = Case::new();
    let VersionedMessage::V0(good) = case.message(&case.stock()) else { unreachable!() };
    let ours = case.fee_payer.pubkey();
    let keys = u8::try_from(good.account_keys.len()).unwrap();
    for signed in 0..=keys {
        for readonly_signed in 0..=keys {
            for readonly in 0..=keys {
                let mut message = good.clone();
                message.header.num_required_signatures = signed;
                message.header.num_readonly_signed_accounts = readonly_signed;
                message.header.num_readonly_unsigned_accounts = readonly;
                if let Ok(payment) = case.check_message(VersionedMessage::V0(message)) {
                    assert_eq!((payment.fee_payer, payment.payer), (ours, case.payer.pubkey()));
                    assert_eq!(payment.signers.len(), 2, "the payer signs, and nobody else");
                    assert_eq!((payment.source, payment.amount), (case.source(), 50_000));
                }
            }
        }
    }
}

#[test]
fn rent_by_guards_alone() {
    let case = Case::new();
    let ours = AccountMeta::new(case.fee_payer.pubkey(), true);
    let many = vec![with_account(guard(), ours); 9];
    case.assert_refused(&[case.stock(), many].concat(), Reason::InstructionsLength);
}
