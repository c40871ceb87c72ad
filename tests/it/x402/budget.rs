//! Rules 10 to 12.

use pay402::chain::solana::rules::{Reason, RulePolicy, Version};
use solana_instruction::Instruction;

use super::kit::{COMPUTE_BUDGET, Case, guard, limit, memo, price, unknown};

/// Compute budget, transfer, and memos up to this many instructions.
fn of_length(case: &Case, length: usize) -> Vec<Instruction> {
    let mut instructions = case.stock();
    instructions.resize(length, memo(b"402"));
    instructions
}

#[test]
fn rule_10_three_to_seven_instructions_pass_and_in_version_1_three_to_six() {
    for case in Case::both() {
        let most = if case.version == Version::V1 { 6 } else { 7 };
        for length in 0..=9 {
            let instructions = of_length(&case, length);
            if (3..=most).contains(&length) {
                assert!(case.check(&instructions).is_ok(), "{length} instructions");
            } else {
                case.assert_refused(&instructions, Reason::InstructionsLength);
            }
        }
    }
}

#[test]
fn rule_10_guards_count_apart_up_to_eight() {
    for case in Case::both() {
        let most = if case.version == Version::V1 { 6 } else { 7 };
        let full = of_length(&case, most);
        for (guards, passes) in [(1, true), (8, true), (9, false)] {
            let instructions = [full.clone(), vec![guard(); guards]].concat();
            if passes {
                assert!(case.check(&instructions).is_ok(), "{guards} guards");
            } else {
                case.assert_refused(&instructions, Reason::InstructionsLength);
            }
        }
        // Guards do not make up for what is missing.
        case.assert_refused(
            &[vec![limit(1), price(1)], vec![guard(); 3]].concat(),
            Reason::InstructionsLength,
        );
    }
}

#[test]
fn rule_11_the_limit_comes_first() {
    let case = Case::new();
    let transfer = case.transfer();
    for instructions in [
        vec![price(1), limit(20_000), transfer.clone()],
        vec![guard(), limit(20_000), price(1), transfer.clone()],
        vec![unknown(), limit(20_000), price(1), transfer.clone()],
        vec![transfer.clone(), limit(20_000), price(1)],
        vec![price(1), price(1), transfer],
    ] {
        case.assert_refused(&instructions, Reason::ComputeLimitInstruction);
    }
}

#[test]
fn rule_11_a_second_limit_is_refused_wherever_it_stands() {
    let case = Case::new();
    for index in 0..=4 {
        let mut instructions = case.stock();
        instructions.insert(index, limit(20_000));
        case.assert_refused(&instructions, Reason::ComputeLimitInstruction);
    }
}

#[test]
fn rule_11_a_limit_that_is_cut_short_is_refused_and_what_is_behind_one_is_skipped() {
    let case = Case::new();
    let with = |data| {
        let mut instructions = case.stock();
        instructions[0].data = data;
        instructions
    };
    for data in [vec![2], vec![2, 1, 0, 0], vec![]] {
        case.assert_refused(&with(data), Reason::ComputeLimitInstruction);
    }
    assert_eq!(case.check(&with(vec![2, 1, 2, 0, 0, 9])).unwrap().compute_unit_limit, 0x201);
    // Nor does anything behind it hide how high it is.
    case.assert_refused(&with(vec![2, 0, 0, 0, 1, 0]), Reason::ComputeLimitTooHigh);
}

#[test]
fn rule_11_the_highest_limit_passes_and_one_more_does_not() {
    let mut case = Case::new();
    for most in [RulePolicy::default().max_compute_units, 20_000, 0] {
        case.policy = RulePolicy { max_compute_units: most, ..RulePolicy::default() };
        let with = |units| [vec![limit(units)], case.stock()[1..].to_vec()].concat();
        assert_eq!(case.check(&with(most)).unwrap().compute_unit_limit, most);
        case.assert_refused(&with(most + 1), Reason::ComputeLimitTooHigh);
        case.assert_refused(&with(u32::MAX), Reason::ComputeLimitTooHigh);
    }
}

#[test]
fn rule_12_the_price_comes_second() {
    let case = Case::new();
    let transfer = case.transfer();
    for instructions in [
        vec![limit(20_000), transfer.clone(), price(1)],
        vec![limit(20_000), guard(), price(1), transfer.clone()],
        vec![limit(20_000), memo(b"402"), transfer.clone()],
        vec![limit(20_000), unknown(), transfer],
    ] {
        case.assert_refused(&instructions, Reason::ComputePriceInstruction);
    }
}

#[test]
fn rule_12_a_second_price_is_refused_wherever_it_stands() {
    let case = Case::new();
    for index in 1..=4 {
        let mut instructions = case.stock();
        instructions.insert(index, price(1));
        case.assert_refused(&instructions, Reason::ComputePriceInstruction);
    }
}

#[test]
fn rule_12_a_price_that_is_cut_short_is_refused_and_what_is_behind_one_is_skipped() {
    let case = Case::new();
    let with = |data| {
        let mut instructions = case.stock();
        instructions[1].data = data;
        instructions
    };
    for data in [vec![3], vec![3, 1, 0, 0, 0], vec![]] {
        case.assert_refused(&with(data), Reason::ComputePriceInstruction);
    }
    let payment = case.check(&with(vec![3, 1, 2, 0, 0, 0, 0, 0, 0, 9])).unwrap();
    assert_eq!(payment.compute_unit_price, 0x201);
    case.assert_refused(&with(vec![3, 0, 0, 0, 0, 0, 0, 0, 1, 0]), Reason::ComputePriceTooHigh);
}

#[test]
fn rule_12_other_compute_budget_instructions_are_no_price() {
    let case = Case::new();
    for kind in [0, 1, 4, 5] {
        let mut instructions = case.stock();
        let data = [&[kind][..], &[0; 4]].concat();
        instructions[1] = Instruction { program_id: COMPUTE_BUDGET, accounts: Vec::new(), data };
        case.assert_refused(&instructions, Reason::ComputePriceInstruction);
    }
}

#[test]
fn rule_12_five_lamports_per_unit_pass_and_one_micro_lamport_more_does_not() {
    let case = Case::new();
    let with = |micro| vec![limit(20_000), price(micro), case.transfer()];
    let payment = case.check(&with(5_000_000)).unwrap();
    assert_eq!((payment.compute_unit_price, payment.priority_fee_lamports), (5_000_000, 100_000));
    case.assert_refused(&with(5_000_001), Reason::ComputePriceTooHigh);
    case.assert_refused(&with(u64::MAX), Reason::ComputePriceTooHigh);
}

#[test]
fn rule_12_the_product_is_capped_rounded_up() {
    let mut case = Case::new();
    case.policy = RulePolicy { max_priority_fee_lamports: 7, ..RulePolicy::default() };
    let with = |units, micro| vec![limit(units), price(micro), case.transfer()];
    assert_eq!(case.check(&with(7_000, 1_000)).unwrap().priority_fee_lamports, 7);
    assert_eq!(case.check(&with(6_001, 1_000)).unwrap().priority_fee_lamports, 7);
    case.assert_refused(&with(7_001, 1_000), Reason::ComputePriceTooHigh);
    case.assert_refused(&with(20_000, 5_000_000), Reason::ComputePriceTooHigh);
    assert_eq!(case.check(&with(0, 5_000_000)).unwrap().priority_fee_lamports, 0);
}

#[test]
fn rule_12_the_product_does_not_wrap() {
    let mut case = Case::new();
    case.policy =
        RulePolicy { max_compute_units: u32::MAX, max_compute_unit_price: u64::MAX, ..RulePolicy::default() };
    case.assert_refused(&[limit(u32::MAX), price(u64::MAX), case.transfer()], Reason::ComputePriceTooHigh);
}
