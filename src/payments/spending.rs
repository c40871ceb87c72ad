//! What an agent's limits say of a payment, before the chain is asked and in words.

use super::{LimitFacts, Refusal, RefusalCode};
use crate::{
    agents::{Agent, AgentStore, DaySpending, NotAdmitted, Overspending, Purchase, SpendingUnit},
    calendar::Day,
    clock::UnixMs,
    money::decimal_text,
};

/// Whether the agent may make a payment, on a day that has come to at least so much: whoever is refused by that would be
/// refused by whatever comes on top. What is left then is told as the books have it, if they answer.
///
/// # Errors
/// What is in the way.
pub async fn admit_early(
    agents: &dyn AgentStore,
    agent: &Agent,
    purchase: &Purchase<'_>,
    so_far: DaySpending,
    at: UnixMs,
) -> Result<(), NotAdmitted> {
    let day = Day::of(at);
    let Err(why) = agent.admit(purchase, so_far, day) else { return Ok(()) };
    let (NotAdmitted::Overspending(_), Some(unit)) = (&why, purchase.unit) else { return Err(why) };
    let Ok(spending) = agents.spending(&agent.id, at).await else { return Err(why) };
    Err(agent.admit(purchase, spending.of(unit), day).err().unwrap_or(why))
}

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
        Overspending::PerTransaction { unit, most, left, resets_at } => {
            let most = tokens(most, unit);
            let day = resets_at.map(|at| format!(", and {} until {}", tokens(left, unit), midnight(at)));
            format!("the agent may spend at most {most} at once{}", day.unwrap_or_default())
        }
        Overspending::Daily { unit, daily, left, resets_at } => format!(
            "the agent may spend at most {} on a UTC day, of which {} is left until {}",
            tokens(daily, unit),
            decimal_text(left, unit.decimals()),
            midnight(resets_at)
        ),
        Overspending::NoSol => "the agent has limits, and none for SOL: it may not spend SOL".to_owned(),
        Overspending::UnknownToken => {
            "the agent has limits: it may spend USDC, USDT, PYUSD and SOL, and no other token".to_owned()
        }
    }
}

/// When a day begins.
fn midnight(at: UnixMs) -> String {
    format!("{}T00:00:00Z", Day::of(at).iso())
}

fn facts(overspending: Overspending) -> Option<LimitFacts> {
    let facts =
        |left, unit: SpendingUnit, resets_at| LimitFacts { left, decimals: unit.decimals(), resets_at };
    match overspending {
        Overspending::PerTransaction { unit, left, resets_at, .. } => Some(facts(left, unit, resets_at)),
        Overspending::Daily { unit, left, resets_at, .. } => Some(facts(left, unit, Some(resets_at))),
        Overspending::NoSol => Some(facts(0, SpendingUnit::Sol, None)),
        Overspending::UnknownToken => None,
    }
}
