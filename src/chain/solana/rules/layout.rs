//! Rules 10 to 12: how many instructions there are, and the compute budget they begin with.

use solana_compute_budget_interface as compute_budget;

use super::{Reason, Refusal, Rules, Version, instruction::Instruction};

/// Compute limit, compute price, transfer.
const MIN_INSTRUCTIONS: usize = 3;

/// Wallet guards in one transaction. Phantom adds four.
const MAX_GUARDS: usize = 8;

const SET_COMPUTE_UNIT_LIMIT: u8 = 2;
const SET_COMPUTE_UNIT_PRICE: u8 = 3;

const MICRO_LAMPORTS_PER_LAMPORT: u128 = 1_000_000;

/// What the transaction may use, and what the fee payer pays for it beside the fee per signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    pub compute_unit_limit: u32,
    pub compute_unit_price: u64,
    pub priority_fee_lamports: u64,
}

const fn max_instructions(version: Version) -> usize {
    match version {
        Version::V1 => 6,
        Version::V2 => 7,
    }
}

impl Rules {
    pub(super) fn check_layout(
        &self,
        version: Version,
        instructions: &[Instruction<'_>],
    ) -> Result<Budget, Refusal> {
        check_length(version, instructions)?;
        let compute_unit_limit = self.check_limit(instructions)?;
        let compute_unit_price = self.check_price(instructions)?;
        let priority_fee_lamports = self.check_priority_fee(compute_unit_limit, compute_unit_price)?;
        Ok(Budget { compute_unit_limit, compute_unit_price, priority_fee_lamports })
    }

    /// Rule 11.
    fn check_limit(&self, instructions: &[Instruction<'_>]) -> Result<u32, Refusal> {
        let units = budget_argument(instructions, 0, SET_COMPUTE_UNIT_LIMIT).map(u32::from_le_bytes);
        let units = units.ok_or_else(|| {
            Refusal::new(
                Reason::ComputeLimitInstruction,
                "the first instruction must be SetComputeUnitLimit, and the only one of its kind",
            )
        })?;
        let most = self.policy.max_compute_units;
        if units <= most {
            return Ok(units);
        }
        Err(Refusal::new(
            Reason::ComputeLimitTooHigh,
            format!("the transaction asks for {units} compute units: at most {most} are paid for"),
        ))
    }

    /// Rule 12.
    fn check_price(&self, instructions: &[Instruction<'_>]) -> Result<u64, Refusal> {
        let price = budget_argument(instructions, 1, SET_COMPUTE_UNIT_PRICE).map(u64::from_le_bytes);
        let price = price.ok_or_else(|| {
            Refusal::new(
                Reason::ComputePriceInstruction,
                "the second instruction must be SetComputeUnitPrice, and the only one of its kind",
            )
        })?;
        let most = self.policy.max_compute_unit_price;
        if price <= most {
            return Ok(price);
        }
        Err(Refusal::new(
            Reason::ComputePriceTooHigh,
            format!(
                "the transaction offers {price} micro-lamports per compute unit: at most {most} are paid"
            ),
        ))
    }

    /// Rule 12: limit and price together.
    fn check_priority_fee(&self, units: u32, price: u64) -> Result<u64, Refusal> {
        let lamports = (u128::from(units) * u128::from(price)).div_ceil(MICRO_LAMPORTS_PER_LAMPORT);
        let most = self.policy.max_priority_fee_lamports;
        match u64::try_from(lamports) {
            Ok(lamports) if lamports <= most => Ok(lamports),
            _ => Err(Refusal::new(
                Reason::ComputePriceTooHigh,
                format!(
                    "{units} compute units at {price} micro-lamports are {lamports} lamports of priority fee: at \
                     most {most} are paid"
                ),
            )),
        }
    }
}

/// Rule 10.
fn check_length(version: Version, instructions: &[Instruction<'_>]) -> Result<(), Refusal> {
    let guards = instructions.iter().filter(|instruction| instruction.is_guard()).count();
    let others = instructions.len() - guards;
    let most = max_instructions(version);
    if (MIN_INSTRUCTIONS..=most).contains(&others) && guards <= MAX_GUARDS {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::InstructionsLength,
        format!(
            "the transaction has {others} instructions and {guards} Lighthouse guards: {MIN_INSTRUCTIONS} to {most} \
             instructions and up to {MAX_GUARDS} guards are accepted"
        ),
    ))
}

/// The argument of the only compute budget instruction of this kind, if it stands at `index`. What is behind the argument
/// is skipped, as the chain does.
fn budget_argument<const LENGTH: usize>(
    instructions: &[Instruction<'_>],
    index: usize,
    kind: u8,
) -> Option<[u8; LENGTH]> {
    let is_kind = |instruction: &&Instruction<'_>| {
        instruction.program == compute_budget::ID && instruction.data.first() == Some(&kind)
    };
    let only = instructions.iter().filter(is_kind).count() == 1;
    let (_, argument) = instructions.get(index).filter(is_kind).filter(|_| only)?.data.split_first()?;
    argument.first_chunk().copied()
}
