//! The kinds of payments, each a good one with something done to it.

mod budget;
mod chain;
mod extras;
mod layout;
mod terms;
mod transfer;
mod wire;

use pay402::sandbox::USDC;
use solana_instruction::Instruction;
use solana_pubkey::Pubkey;

use super::draft::{Bend, Draft, Stage};
use crate::{
    settlement::random::Random,
    x402::kit::{limit, memo},
};

pub struct Kind {
    pub name: &'static str,
    pub bends: &'static [(Stage, Bend)],
}

const fn kind(name: &'static str, bends: &'static [(Stage, Bend)]) -> Kind {
    Kind { name, bends }
}

/// By what is bent, in the order of the rules.
const GROUPS: [&[Kind]; 7] =
    [terms::KINDS, wire::KINDS, layout::KINDS, budget::KINDS, transfer::KINDS, extras::KINDS, chain::KINDS];

/// The group of those that count on no instruction being where it was.
const LAYOUT: usize = 2;

pub fn all() -> impl Iterator<Item = &'static Kind> {
    GROUPS.into_iter().flatten()
}

/// Another kind for each that can be had beside it.
pub fn pairs(random: &mut Random, wanted: impl Fn(&Kind) -> bool) -> Vec<(&'static Kind, &'static Kind)> {
    let mut pairs = Vec::new();
    for (group, kinds) in GROUPS.into_iter().enumerate() {
        let beside = |other: usize| {
            let reordered =
                group == LAYOUT && !matches!(other, 0 | 6) || other == LAYOUT && !matches!(group, 0 | 6);
            other != group && !reordered
        };
        let others: Vec<&Kind> = GROUPS
            .into_iter()
            .enumerate()
            .filter(|(other, _)| beside(*other))
            .flat_map(|(_, kinds)| kinds)
            .filter(|kind| wanted(kind))
            .collect();
        for kind in kinds.iter().filter(|kind| wanted(kind)) {
            pairs.push((kind, others[random.index(others.len())]));
        }
    }
    pairs
}

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

fn of_usdc(draft: &mut Draft<'_>) {
    (draft.case.mint, draft.case.program) = (USDC, spl_token_interface::ID);
}

fn of_token_2022(draft: &mut Draft<'_>, mint: Pubkey) {
    (draft.case.mint, draft.case.program) = (mint, spl_token_2022_interface::ID);
}

fn small(random: &mut Random) -> u8 {
    u8::try_from(random.below(256)).unwrap()
}
