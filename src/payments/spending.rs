//! What an agent's limits say of a payment, in words.

use super::{LimitFacts, Refusal, RefusalCode};
use crate::{
    agents::{NotAdmitted, Overspending, SpendingUnit},
    money::decimal_text,
};

/// Why an agent's payment is not good.
#[must_use]
pub fn not_admitted(why: NotAdmitted) -> Refusal {
    match why {
        NotAdmitted::Service => Refusal::new(
            RefusalCode::ServiceNotAllowed,
            "the agent may not pay for this: none of its allowedServices matches the resource",
        ),
        NotAdmitted::Overspending(overspending) => {
            let refusal = Refusal::new(RefusalCode::SpendingLimitExceeded, words(overspending));
            Refusal { limit: facts(overspending), ..refusal }
        }
    }
}

fn words(overspending: Overspending) -> String {
    let tokens =
        |units, unit: SpendingUnit| format!("{} {}", decimal_text(units, unit.decimals()), unit.name());
    match overspending {
        Overspending::PerTransaction { unit, most } => {
            format!("the agent may spend at most {} at once", tokens(most, unit))
        }
        Overspending::Daily { unit, daily, left, .. } => format!(
            "the agent may spend at most {} on a UTC day, of which {} is left",
            tokens(daily, unit),
            decimal_text(left, unit.decimals())
        ),
        Overspending::NoSol => "the agent has limits, and none for SOL: it may not spend SOL".to_owned(),
        Overspending::UnknownToken => {
            "the agent has limits: it may spend USDC, USDT, PYUSD and SOL, and no other token".to_owned()
        }
    }
}

fn facts(overspending: Overspending) -> Option<LimitFacts> {
    let facts =
        |left, unit: SpendingUnit, resets_at| LimitFacts { left, decimals: unit.decimals(), resets_at };
    match overspending {
        Overspending::PerTransaction { unit, most } => Some(facts(most, unit, None)),
        Overspending::Daily { unit, left, resets_at, .. } => Some(facts(left, unit, Some(resets_at))),
        Overspending::NoSol => Some(facts(0, SpendingUnit::Sol, None)),
        Overspending::UnknownToken => None,
    }
}
