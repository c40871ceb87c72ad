//! Rules 18 and 19.

use pay402::chain::solana::rules::{MAX_MEMO_BYTES, Reason};
use solana_instruction::{AccountMeta, Instruction};
use solana_pubkey::Pubkey;
use solana_signer::Signer;

use super::kit::{Case, guard, lighthouse, limit, memo, price, unknown, with_account};

fn with_memo(text: &str) -> Case {
    Case { memo: Some(text.to_owned()), ..Case::new() }
}

/// `before`, the transfer, `after`, with the compute budget in front.
fn around(case: &Case, before: &[Instruction], after: &[Instruction]) -> Vec<Instruction> {
    [&[limit(20_000), price(1)], before, &[case.transfer()], after].concat()
}

#[test]
fn rule_18_guards_pass_before_and_after_the_transfer() {
    for case in Case::both() {
        for before in 0..=4 {
            for after in 0..=4 {
                let instructions = around(&case, &vec![guard(); before], &vec![guard(); after]);
                assert!(case.check(&instructions).is_ok(), "{before} before, {after} after");
            }
        }
    }
}

#[test]
fn rule_18_what_wallets_send_passes() {
    for case in Case::both() {
        let memo = memo(b"402");
        // Phantom since August 2026, Phantom and Solflare before.
        for instructions in [
            around(&case, &[guard(), guard(), guard()], &[memo.clone(), guard()]),
            around(&case, &[], &[guard(), memo.clone()]),
            around(&case, &[], &[memo.clone(), guard()]),
            around(&case, &[], &[guard(), guard(), memo]),
        ] {
            assert!(case.check(&instructions).is_ok(), "{} instructions", instructions.len());
        }
    }
}

#[test]
fn rule_18_only_lighthouse_discriminators_from_two_on_are_guards() {
    for case in Case::both() {
        for discriminator in [0, 1] {
            let after = around(&case, &[], &[lighthouse(discriminator)]);
            case.assert_refused(&after, Reason::UnknownInstruction(4));
            let before = around(&case, &[lighthouse(discriminator)], &[]);
            case.assert_refused(&before, Reason::UnknownInstruction(3));
        }
        for discriminator in [2, 17, 255] {
            assert!(case.check(&around(&case, &[], &[lighthouse(discriminator)])).is_ok());
        }
        let empty = Instruction { data: Vec::new(), ..guard() };
        case.assert_refused(&around(&case, &[], &[empty]), Reason::UnknownInstruction(4));
    }
}

#[test]
fn rule_18_an_unknown_program_is_refused_by_its_place() {
    for case in Case::both() {
        for place in 4..=6 {
            let mut instructions = case.stock();
            instructions.resize(place - 1, memo(b"402"));
            instructions.push(unknown());
            case.assert_refused(&instructions, Reason::UnknownInstruction(place));
        }
    }
    let case = Case::new();
    let mut instructions = case.stock();
    instructions.resize(6, memo(b"402"));
    instructions.push(unknown());
    case.assert_refused(&instructions, Reason::UnknownInstruction(7));
    // Guards do not count for the length, but they do for the place.
    let far = around(&case, &vec![guard(); 4], &[memo(b"402"), unknown()]);
    case.assert_refused(&far, Reason::UnknownInstruction(9));
}

#[test]
fn rule_18_the_first_memo_program_is_unknown() {
    let case = Case::new();
    let old = Instruction { program_id: spl_memo_interface::v1::ID, ..memo(b"402") };
    case.assert_refused(&around(&case, &[], &[old]), Reason::UnknownInstruction(4));
}

#[test]
fn rule_18_a_guard_may_look_at_the_fee_payer() {
    let case = Case::new();
    let look = [with_account(guard(), AccountMeta::new(case.fee_payer.pubkey(), true))];
    assert!(case.check(&around(&case, &look, &look)).is_ok());
}

#[test]
fn rule_18_a_memo_may_be_signed_by_the_payer_but_not_by_the_fee_payer() {
    let case = Case::new();
    let by = |key: Pubkey| with_account(memo(b"402"), AccountMeta::new_readonly(key, true));
    assert!(case.check(&around(&case, &[], &[by(case.payer.pubkey())])).is_ok());
    let ours = around(&case, &[], &[by(case.fee_payer.pubkey())]);
    case.assert_refused(&ours, Reason::FeePayerInInstructionAccounts);
}

#[test]
fn rule_19_the_memo_must_be_there_once() {
    let case = with_memo("order 7");
    let right = memo(b"order 7");
    case.assert_refused(&around(&case, &[], &[]), Reason::MemoCount);
    case.assert_refused(&around(&case, &[], &[guard()]), Reason::MemoCount);
    assert!(case.check(&around(&case, &[], std::slice::from_ref(&right))).is_ok());
    assert!(case.check(&around(&case, &[guard()], &[guard(), right.clone(), guard()])).is_ok());
    case.assert_refused(&around(&case, &[], &[right.clone(), right]), Reason::MemoCount);
}

#[test]
fn rule_19_the_memo_must_be_the_same_to_the_byte() {
    let case = with_memo("order 7");
    for text in ["order 8", "order 7 ", "order ", "", "ORDER 7", "order 7\0"] {
        case.assert_refused(&around(&case, &[], &[memo(text.as_bytes())]), Reason::MemoMismatch);
    }
    // The same letters, composed otherwise.
    let composed = with_memo("caf\u{e9}");
    let decomposed = around(&composed, &[], &[memo("cafe\u{301}".as_bytes())]);
    composed.assert_refused(&decomposed, Reason::MemoMismatch);
    composed.assert_refused(&around(&composed, &[], &[memo(b"caf\xe9")]), Reason::MemoMismatch);
}

#[test]
fn rule_19_a_memo_of_256_bytes_passes_and_one_of_257_does_not() {
    for (length, passes) in [(MAX_MEMO_BYTES, true), (MAX_MEMO_BYTES + 1, false)] {
        let text = "m".repeat(length);
        let case = with_memo(&text);
        let instructions = around(&case, &[], &[memo(text.as_bytes())]);
        if passes {
            assert!(case.check(&instructions).is_ok());
        } else {
            case.assert_refused(&instructions, Reason::MemoMismatch);
        }
    }
    // Two bytes each.
    let case = with_memo(&"é".repeat(129));
    case.assert_refused(&case.stock(), Reason::MemoMismatch);
}

#[test]
fn rule_19_an_empty_memo_asks_for_none() {
    let case = with_memo("");
    assert!(case.check(&case.stock()).is_ok());
    assert!(case.check(&around(&case, &[], &[])).is_ok());
}
