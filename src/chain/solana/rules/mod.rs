//! The rules of x402's `exact` scheme on Solana: what the service's fee payer may be asked to sign.
//!
//! Everything here is pure: a transaction, the terms it is to meet and the service's own fee payers go in, and either
//! a [`CheckedPayment`] or a [`Refusal`] comes out. The rules are numbered, and apply in the order of their numbers:
//!
//! | rules | file |
//! |---|---|
//! | 1 to 4: scheme, network, fee payer | `terms` |
//! | 5, before it the version | `decode` |
//! | 6 to 9: signers, signatures, lookup tables | `signers` |
//! | 10 to 12: how many instructions, compute budget | `layout` |
//! | 13 to 17: the transfer | `transfer` |
//! | 18 and 19: what else there is, memo | `extras` |
//!
//! Rule 20 needs the chain, but for what is foreseeable in the transfer, which `transfer` asks last. What can be said about
//! the accounts that it finds there is in `mint` and `holdings`.

mod decode;
mod extras;
mod holdings;
mod instruction;
mod layout;
mod mint;
mod payment;
mod reason;
mod signers;
mod terms;
mod transfer;
mod version;

use solana_pubkey::Pubkey;

use crate::{
    chain::assets::{Asset, Assets, Network},
    money::{Currency, decimal_text},
};

pub use decode::{MAX_TRANSACTION_BYTES, message_sha256};
pub use extras::{LIGHTHOUSE, MAX_MEMO_BYTES};
pub use holdings::Holdings;
pub use payment::CheckedPayment;
pub use reason::{Reason, Refusal};
pub use terms::{Kind, Terms};
pub use version::Version;

/// What an operator may set about the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePolicy {
    /// Signatures a transaction may require, the fee payer's included. Each costs the fee payer 5,000 lamports.
    pub max_signers: u8,
    /// Compute units a transaction may ask for.
    pub max_compute_units: u32,
    /// Micro-lamports a transaction may offer for a compute unit.
    pub max_compute_unit_price: u64,
    /// Lamports the two may come to together.
    pub max_priority_fee_lamports: u64,
    /// Token-2022 mints that are taken whatever their extensions do to a transfer.
    pub trusted_mints: Vec<Pubkey>,
}

impl Default for RulePolicy {
    /// The prioritization fee is what a stock client's 20,000 compute units cost at the highest price.
    fn default() -> Self {
        Self {
            max_signers: 2,
            max_compute_units: 400_000,
            max_compute_unit_price: 5_000_000,
            max_priority_fee_lamports: 100_000,
            trusted_mints: Vec::new(),
        }
    }
}

/// The rules as they stand for one service.
#[derive(Clone, Debug)]
pub struct Rules {
    network: Network,
    assets: Assets,
    fee_payers: Vec<Pubkey>,
    policy: RulePolicy,
}

impl Rules {
    /// `fee_payers` are all whose keys the service holds, retired ones included.
    #[must_use]
    pub const fn new(network: Network, assets: Assets, fee_payers: Vec<Pubkey>, policy: RulePolicy) -> Self {
        Self { network, assets, fee_payers, policy }
    }

    /// Rules 1 to 19.
    ///
    /// # Errors
    /// The first rule that the payment breaks.
    pub fn check(&self, terms: &Terms<'_>) -> Result<CheckedPayment, Refusal> {
        let bytes = decode::bytes(terms.transaction);
        if let Ok(bytes) = &bytes {
            decode::check_version(bytes)?;
        }
        let fee_payer = self.check_terms(terms)?;
        let decoded = decode::decode(bytes?)?;
        self.check_signers(&decoded, &fee_payer)?;
        let instructions = instruction::all(&decoded);
        let budget = self.check_layout(terms.version, &instructions)?;
        let (position, transfer, pay_to) = self.check_transfer(terms, &instructions)?;
        self.check_extras(terms, &instructions, position)
            .and_then(|()| self.check_foreseeable(&decoded, &instructions[position], &transfer))
            .map_err(|refusal| refusal.by(transfer.authority))?;
        Ok(CheckedPayment::new(decoded, fee_payer, budget, transfer, pay_to))
    }

    fn is_ours(&self, key: &Pubkey) -> bool {
        self.fee_payers.contains(key)
    }

    /// The currency whose mint it is.
    #[must_use]
    pub fn currency_of(&self, mint: &Pubkey) -> Option<Currency> {
        self.assets.iter().find(|(_, asset)| *asset == Asset::Token(*mint)).map(|(currency, _)| currency)
    }

    /// A mint as a person knows it.
    fn name(&self, mint: &Pubkey) -> String {
        self.currency_of(mint).map_or_else(|| mint.to_string(), |currency| currency.to_string())
    }

    /// An amount of a mint's tokens as a person would write it.
    fn sum(&self, units: u64, decimals: u8, mint: &Pubkey) -> String {
        format!("{} {}", number(units, decimals), self.name(mint))
    }
}

/// In whole tokens, with two digits after the point at least, as for money.
fn number(units: u64, decimals: u8) -> String {
    let mut number = decimal_text(units, decimals);
    let fraction = number.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    if fraction == 0 {
        number.push('.');
    }
    number.extend(std::iter::repeat_n('0', 2_usize.saturating_sub(fraction)));
    number
}
