//! The versions of x402, and how each spells the networks.

use crate::chain::assets::Network;

/// The version of x402 that a payment is made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

impl Version {
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];

    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// The network's name on the wire: in version 2 CAIP-2, `solana:` and the start of the genesis hash. The sandbox
    /// goes by devnet's, because clients know no other name for a chain with devnet's mints.
    #[must_use]
    pub const fn network_name(self, network: Network) -> &'static str {
        match (self, network) {
            (Self::V1, Network::MainnetBeta) => "solana",
            (Self::V1, Network::Devnet | Network::Sandbox) => "solana-devnet",
            (Self::V1, Network::Testnet) => "solana-testnet",
            (Self::V2, Network::MainnetBeta) => "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
            (Self::V2, Network::Devnet | Network::Sandbox) => "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
            (Self::V2, Network::Testnet) => "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z",
        }
    }

    /// The public network of that name; never the sandbox, which goes by devnet's.
    #[must_use]
    pub fn network_named(self, name: &str) -> Option<Network> {
        [Network::MainnetBeta, Network::Devnet, Network::Testnet]
            .into_iter()
            .find(|network| self.network_name(*network) == name)
    }
}
