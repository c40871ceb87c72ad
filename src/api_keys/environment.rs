//! Whether a key is for play money or for real money.

use std::{fmt, str::FromStr};

use serde::Serialize;
use utoipa::ToSchema;

use crate::chain::assets::Network;

/// A key works in its own environment only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = KeyEnvironment)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Sandbox, devnet and testnet.
    Test,
    /// Mainnet.
    Live,
}

impl Environment {
    pub const ALL: [Self; 2] = [Self::Test, Self::Live];

    #[must_use]
    pub const fn of(network: Network) -> Self {
        match network {
            Network::MainnetBeta => Self::Live,
            Network::Devnet | Network::Testnet | Network::Sandbox => Self::Test,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Live => "live",
        }
    }

    /// How the keys of this environment begin.
    #[must_use]
    pub const fn key_start(self) -> &'static str {
        match self {
            Self::Test => "sk_test_",
            Self::Live => "sk_live_",
        }
    }

    /// Whether real money moves.
    #[must_use]
    pub const fn livemode(self) -> bool {
        matches!(self, Self::Live)
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Environment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        Self::ALL.into_iter().find(|environment| environment.as_str() == text).ok_or("must be test or live")
    }
}

#[cfg(test)]
mod tests {
    use super::{Environment, Network};

    #[test]
    fn only_mainnet_is_live() {
        for (network, environment) in [
            (Network::MainnetBeta, Environment::Live),
            (Network::Devnet, Environment::Test),
            (Network::Testnet, Environment::Test),
            (Network::Sandbox, Environment::Test),
        ] {
            assert_eq!(Environment::of(network), environment, "{network}");
        }
    }
}
