//! The agents of a user by what they have spent.

use std::str::FromStr;

use serde::Serialize;
use solana_pubkey::Pubkey;
use utoipa::ToSchema;

use super::Tally;
use crate::{
    agents::{Reputation, SpendingUnit},
    clock::UnixMs,
    ids::AgentId,
    money::{Currency, Sum},
};

/// What agents are ranked by. Of those that are equal, the one with more payments comes first, and then the older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ranking {
    /// USDC, USDT and PYUSD together, at par.
    Stablecoins,
    /// How many payments they made, in whatever currency.
    Transactions,
    #[serde(rename = "USDC")]
    Usdc,
    #[serde(rename = "USDT")]
    Usdt,
    #[serde(rename = "SOL")]
    Sol,
    #[serde(rename = "PYUSD")]
    Pyusd,
}

/// A ranking there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be stablecoins, transactions, USDC, USDT, SOL or PYUSD")]
pub struct UnknownRanking;

impl FromStr for Ranking {
    type Err = UnknownRanking;

    fn from_str(text: &str) -> Result<Self, UnknownRanking> {
        Self::ALL.into_iter().find(|ranking| ranking.as_str() == text).ok_or(UnknownRanking)
    }
}

impl Ranking {
    pub const ALL: [Self; 6] =
        [Self::Stablecoins, Self::Transactions, Self::Usdc, Self::Usdt, Self::Sol, Self::Pyusd];

    /// As on the wire, and as the database is asked.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stablecoins => "stablecoins",
            Self::Transactions => "transactions",
            Self::Usdc => Currency::Usdc.as_str(),
            Self::Usdt => Currency::Usdt.as_str(),
            Self::Sol => Currency::Sol.as_str(),
            Self::Pyusd => Currency::Pyusd.as_str(),
        }
    }
}

/// What an agent has spent in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// `None` for mints that are no known currency.
    pub currency: Option<Currency>,
    pub tally: Tally,
}

/// An agent that made payments which were settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopAgent {
    pub id: AgentId,
    pub name: String,
    pub public_key: Pubkey,
    /// As it is now.
    pub reputation: Reputation,
    /// It is gone, and what it spent stays.
    pub deleted_at: Option<UnixMs>,
    /// Each currency once, in no order.
    pub spent: Vec<Spent>,
}

impl TopAgent {
    /// How many payments it made, in whatever currency.
    #[must_use]
    pub fn payments(&self) -> u64 {
        self.spent.iter().map(|spent| spent.tally.payments).sum()
    }

    /// What it spent in a currency; `None` asks for mints that are no known one.
    #[must_use]
    pub fn spent_in(&self, currency: Option<Currency>) -> Option<Tally> {
        self.spent.iter().find(|spent| spent.currency == currency).map(|spent| spent.tally)
    }

    /// USDC, USDT and PYUSD together, at par, in their atomic units.
    #[must_use]
    pub fn stablecoins(&self) -> Sum {
        let mut sum = Sum::default();
        for spent in &self.spent {
            if spent.currency.map(SpendingUnit::of) == Some(SpendingUnit::Stable) {
                sum += spent.tally.amount;
            }
        }
        sum
    }
}

/// One page of a user's agents, those that spent the most first, and how many spent anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentPage {
    pub agents: Vec<TopAgent>,
    pub total: u64,
}

#[cfg(test)]
mod tests {
    use super::{Ranking, Spent, TopAgent};
    use crate::{
        agents::Reputation,
        analytics::Tally,
        ids::AgentId,
        money::{Currency, Sum},
    };

    #[test]
    fn rankings_are_told_by_their_names() {
        for ranking in Ranking::ALL {
            assert_eq!(ranking.as_str().parse(), Ok(ranking));
            assert_eq!(serde_json::to_value(ranking).unwrap(), ranking.as_str());
        }
        for currency in Currency::ALL {
            assert!(currency.as_str().parse::<Ranking>().is_ok(), "{currency}");
        }
        assert!("usdc".parse::<Ranking>().is_err() && "".parse::<Ranking>().is_err());
    }

    #[test]
    fn only_stablecoins_are_added_up() {
        let spent =
            [Some(Currency::Usdc), Some(Currency::Sol), None, Some(Currency::Usdt), Some(Currency::Pyusd)];
        let spent = (0..).zip(spent).map(|(number, currency)| {
            let amount = Sum::from_atomic(if currency.is_some() { 10_u128.pow(number) } else { 0 });
            Spent { currency, tally: Tally { payments: 1, amount } }
        });
        let agent = TopAgent {
            id: AgentId::from_stored("agent_1".to_owned()),
            name: "agent".to_owned(),
            public_key: solana_pubkey::Pubkey::new_from_array([1; 32]),
            reputation: Reputation::default(),
            deleted_at: None,
            spent: spent.collect(),
        };
        assert_eq!((agent.payments(), agent.stablecoins().atomic()), (5, 11_001));
        assert_eq!(agent.spent_in(Some(Currency::Sol)).map(|tally| tally.amount.atomic()), Some(10));
        assert_eq!(agent.spent_in(None).map(|tally| tally.payments), Some(1));
    }
}
