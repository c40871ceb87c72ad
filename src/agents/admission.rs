//! Whether an agent may make a payment: the one place that holds a payment against limits and services.

use super::{Agent, DaySpending, Overspending, SpendingUnit};
use crate::{calendar::Day, money::Amount};

/// What an agent is about to pay, or has paid and wants to have counted.
#[derive(Clone, Copy, Debug)]
pub struct Purchase<'a> {
    /// `None` for a token whose worth is not known.
    pub unit: Option<SpendingUnit>,
    pub amount: Amount,
    /// What is paid for.
    pub resource: Option<&'a str>,
}

/// Why an agent may not make a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// It may not pay for that.
    Service,
    Overspending(Overspending),
}

impl Agent {
    /// Whether it may make a payment on a day that has come to this so far.
    ///
    /// # Errors
    /// What is in the way.
    pub fn admit(&self, purchase: &Purchase<'_>, so_far: DaySpending, day: Day) -> Result<(), NotAdmitted> {
        if let Some(services) = &self.allowed_services
            && !services.allow(purchase.resource)
        {
            // Told where it may be the reason, not whenever the agent is read.
            let unreadable = services.unreadable();
            if unreadable > 0 {
                tracing::warn!(
                    agent = self.id.as_str(),
                    unreadable,
                    "a payment is refused to an agent some of whose services this version cannot read"
                );
            }
            return Err(NotAdmitted::Service);
        }
        let amount = purchase.amount.atomic();
        self.limits.check(purchase.unit, amount, so_far, day).map_err(NotAdmitted::Overspending)
    }
}
