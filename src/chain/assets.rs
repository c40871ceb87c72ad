//! Networks, and what each currency is on them.

use std::{collections::BTreeMap, fmt, str::FromStr};

use solana_pubkey::Pubkey;

use crate::money::Currency;

/// The Solana cluster the service works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    MainnetBeta,
    Devnet,
    Testnet,
    /// The local chain of `pay402 sandbox`, with devnet's mint addresses.
    Sandbox,
}

impl Network {
    pub const ALL: [Self; 4] = [Self::MainnetBeta, Self::Devnet, Self::Testnet, Self::Sandbox];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MainnetBeta => "mainnet-beta",
            Self::Devnet => "devnet",
            Self::Testnet => "testnet",
            Self::Sandbox => "sandbox",
        }
    }

    #[must_use]
    pub const fn default_rpc_url(self) -> &'static str {
        match self {
            Self::MainnetBeta => "https://api.mainnet-beta.solana.com",
            Self::Devnet => "https://api.devnet.solana.com",
            Self::Testnet => "https://api.testnet.solana.com",
            Self::Sandbox => "http://127.0.0.1:8899",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A network the service does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of mainnet-beta, devnet, testnet, sandbox")]
pub struct UnknownNetwork;

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(text: &str) -> Result<Self, UnknownNetwork> {
        Self::ALL.into_iter().find(|network| network.as_str() == text).ok_or(UnknownNetwork)
    }
}

/// What moves when a currency is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asset {
    /// Lamports.
    Sol,
    /// Tokens of this mint.
    Token(Pubkey),
}

/// The assets of one network, by currency. A currency without one cannot be paid there.
#[derive(Clone, Debug)]
pub struct Assets(BTreeMap<Currency, Asset>);

impl Assets {
    /// The issuers' published mints.
    #[must_use]
    pub fn of(network: Network) -> Self {
        let mints: &[(Currency, Pubkey)] = match network {
            Network::MainnetBeta => &[
                (Currency::Usdc, Pubkey::from_str_const("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")),
                (Currency::Usdt, Pubkey::from_str_const("Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB")),
                (Currency::Pyusd, Pubkey::from_str_const("2b1kV6DkPAnxd5ixfnxCpjxmKwqjjaYmCZfHsFu24GXo")),
            ],
            Network::Devnet | Network::Sandbox => &[
                (Currency::Usdc, Pubkey::from_str_const("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU")),
                (Currency::Usdt, Pubkey::from_str_const("EJwZgeZrdC8TXTQbQBoL6bfuAnFUUy1PVCMB4DYPzVaS")),
                (Currency::Pyusd, Pubkey::from_str_const("CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM")),
            ],
            Network::Testnet => &[],
        };
        let mut assets = Self(BTreeMap::from([(Currency::Sol, Asset::Sol)]));
        for (currency, mint) in mints {
            assets.set_mint(*currency, *mint);
        }
        assets
    }

    /// Names the mint a token currency is paid in, in place of the published one.
    pub fn set_mint(&mut self, currency: Currency, mint: Pubkey) {
        self.0.insert(currency, Asset::Token(mint));
    }

    #[must_use]
    pub fn get(&self, currency: Currency) -> Option<Asset> {
        self.0.get(&currency).copied()
    }

    /// The currencies that can be paid, with their assets.
    pub fn iter(&self) -> impl Iterator<Item = (Currency, Asset)> {
        self.0.iter().map(|(currency, asset)| (*currency, *asset))
    }
}
