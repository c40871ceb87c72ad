//! What an agent may spend: of stablecoins together, and of SOL, each a day and at once.

use crate::{calendar::Day, clock::UnixMs, money::Currency};

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpendingUnit {
    /// USDC, USDT and PYUSD, at par.
    Stable,
    Sol,
}

impl SpendingUnit {
    pub const ALL: [Self; 2] = [Self::Stable, Self::Sol];

    #[must_use]
    pub const fn of(currency: Currency) -> Self {
        match currency {
            Currency::Usdc | Currency::Usdt | Currency::Pyusd => Self::Stable,
            Currency::Sol => Self::Sol,
        }
    }

    /// Digits after the decimal point of one whole token.
    #[must_use]
    pub const fn decimals(self) -> u8 {
        match self {
            Self::Stable => Currency::Usdc.decimals(),
            Self::Sol => Currency::Sol.decimals(),
        }
    }

    /// As the database spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Sol => "sol",
        }
    }

    /// What it is called in a sentence.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stable => "USDC, USDT and PYUSD together",
            Self::Sol => "SOL",
        }
    }
}

/// Limits in atomic units; `None` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitLimits {
    pub daily: Option<u64>,
    pub per_transaction: Option<u64>,
}

impl UnitLimits {
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.daily.is_none() && self.per_transaction.is_none()
    }
}

/// What an agent may spend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub stable: UnitLimits,
    pub sol: UnitLimits,
}

/// What a day comes to, in atomic units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DaySpending {
    pub spent: u64,
    /// For payments that are under way.
    pub reserved: u64,
}

impl DaySpending {
    #[must_use]
    pub const fn total(self) -> u64 {
        self.spent.saturating_add(self.reserved)
    }
}

/// Why an amount may not be spent. Amounts are atomic units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overspending {
    /// More than this at once. Less may be left of the day, which ends then.
    PerTransaction { unit: SpendingUnit, most: u64, left: u64, resets_at: Option<UnixMs> },
    /// More than is left of the day, which ends then.
    Daily { unit: SpendingUnit, daily: u64, left: u64, resets_at: UnixMs },
    /// An agent with limits spends no SOL unless there is a limit for it.
    NoSol,
    /// An agent with limits spends nothing whose worth is not known.
    UnknownToken,
}

impl Limits {
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.stable.is_none() && self.sol.is_none()
    }

    /// Of one unit. `None`: nothing of it may be spent.
    #[must_use]
    pub const fn of(&self, unit: SpendingUnit) -> Option<UnitLimits> {
        match unit {
            SpendingUnit::Stable => Some(self.stable),
            SpendingUnit::Sol if self.sol.is_none() && !self.stable.is_none() => None,
            SpendingUnit::Sol => Some(self.sol),
        }
    }

    /// How much more may be spent on a day that has come to this. `None`: there is no limit.
    #[must_use]
    pub fn left(&self, unit: SpendingUnit, day: DaySpending) -> Option<u64> {
        match self.of(unit) {
            None => Some(0),
            Some(limits) => limits.daily.map(|daily| daily.saturating_sub(day.total())),
        }
    }

    /// Whether an amount may be spent on a day that has come to this so far. `unit` is `None` for a token whose worth is
    /// not known.
    ///
    /// # Errors
    /// The limit that is in the way.
    pub fn check(
        &self,
        unit: Option<SpendingUnit>,
        amount: u64,
        so_far: DaySpending,
        day: Day,
    ) -> Result<(), Overspending> {
        let Some(unit) = unit else {
            return if self.is_none() { Ok(()) } else { Err(Overspending::UnknownToken) };
        };
        let Some(limits) = self.of(unit) else { return Err(Overspending::NoSol) };
        let (of_day, resets_at) = (self.left(unit, so_far), day.next().start());
        if let Some(most) = limits.per_transaction.filter(|most| amount > *most) {
            let less = of_day.filter(|left| *left < most);
            let (left, resets_at) = (less.unwrap_or(most), less.map(|_| resets_at));
            return Err(Overspending::PerTransaction { unit, most, left, resets_at });
        }
        match (limits.daily, of_day) {
            (Some(daily), Some(left)) if amount > left => {
                Err(Overspending::Daily { unit, daily, left, resets_at })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DaySpending, Limits, Overspending, SpendingUnit, UnitLimits};
    use crate::calendar::Day;

    const STABLE: Option<SpendingUnit> = Some(SpendingUnit::Stable);
    const SOL: Option<SpendingUnit> = Some(SpendingUnit::Sol);

    fn limited(daily: Option<u64>, per_transaction: Option<u64>) -> Limits {
        Limits { stable: UnitLimits { daily, per_transaction }, sol: UnitLimits::default() }
    }

    #[test]
    fn without_limits_everything_may_be_spent() {
        let limits = Limits::default();
        for unit in [STABLE, SOL, None] {
            let day = DaySpending { spent: u64::MAX, reserved: u64::MAX };
            assert_eq!(limits.check(unit, u64::MAX, day, Day(1)), Ok(()));
        }
        assert_eq!(limits.left(SpendingUnit::Sol, DaySpending::default()), None);
    }

    #[test]
    fn sol_needs_a_limit_of_its_own_once_there_are_any() {
        let limits = limited(None, Some(5));
        let nothing = DaySpending::default();
        assert_eq!(limits.check(SOL, 1, nothing, Day(1)), Err(Overspending::NoSol));
        assert_eq!(limits.left(SpendingUnit::Sol, nothing), Some(0));
        assert_eq!(limits.check(None, 1, nothing, Day(1)), Err(Overspending::UnknownToken));
        let sol = UnitLimits { daily: Some(1), per_transaction: None };
        let both = Limits { sol, ..limits };
        assert_eq!(both.check(SOL, 1, nothing, Day(1)), Ok(()));
        let only_sol = Limits { sol, ..Limits::default() };
        assert_eq!(only_sol.check(STABLE, u64::MAX, nothing, Day(1)), Ok(()));
    }

    proptest! {
        /// What passes fits into what is left, and what is left always passes.
        #[test]
        fn no_more_than_is_left(daily: u32, spent: u32, reserved: u32, amount: u32, most: Option<u32>) {
            let limits = limited(Some(daily.into()), most.map(u64::from));
            let day = DaySpending { spent: spent.into(), reserved: reserved.into() };
            let left = limits.left(SpendingUnit::Stable, day).unwrap();
            let passes = limits.check(STABLE, amount.into(), day, Day(9)).is_ok();
            prop_assert_eq!(passes, u64::from(amount) <= left && most.is_none_or(|most| amount <= most));
            if passes {
                prop_assert!(day.total() + u64::from(amount) <= u64::from(daily));
            }
        }
    }
}
