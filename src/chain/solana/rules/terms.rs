//! Rules 1 to 4: what the payload and the requirements say about each other.

use solana_pubkey::Pubkey;

use super::{Reason, Refusal, Rules, Version};

/// How a payment is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind<'a> {
    pub scheme: &'a str,
    pub network: &'a str,
}

/// A payment, and what is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub version: Version,
    /// What the payload says it is.
    pub paid: Kind<'a>,
    /// The transaction in base64, signed by all but the fee payer.
    pub transaction: &'a str,
    /// What the requirements ask for.
    pub asked: Kind<'a>,
    /// `extra.feePayer`, where it is a string.
    pub fee_payer: Option<&'a str>,
    /// The mint.
    pub asset: &'a str,
    pub pay_to: &'a str,
    /// Atomic units.
    pub amount: u64,
    /// `extra.memo`; an empty one is none.
    pub memo: Option<&'a str>,
}

const SCHEME: &str = "exact";

impl Rules {
    /// The fee payer that the requirements name.
    pub(super) fn check_terms(&self, terms: &Terms<'_>) -> Result<Pubkey, Refusal> {
        check_scheme(terms)?;
        self.check_network(terms)?;
        let text = terms.fee_payer.ok_or_else(|| {
            Refusal::new(
                Reason::MissingFeePayer,
                "paymentRequirements.extra.feePayer is missing: put in the one that /supported names",
            )
        })?;
        self.check_fee_payer(text)
    }

    /// Rule 2.
    fn check_network(&self, terms: &Terms<'_>) -> Result<(), Refusal> {
        let ours = terms.version.network_name(self.network);
        if terms.paid.network == ours && terms.asked.network == ours {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::NetworkMismatch,
            format!(
                "the payload is for network {:?}, the requirements are for {:?}: this service serves {ours:?}",
                terms.paid.network, terms.asked.network
            ),
        ))
    }

    /// Rule 4.
    fn check_fee_payer(&self, text: &str) -> Result<Pubkey, Refusal> {
        text.parse().ok().filter(|key| self.is_ours(key)).ok_or_else(|| {
            Refusal::new(
                Reason::FeePayerNotManaged,
                format!(
                    "the fee payer {text:?} is not one of this service: take paymentRequirements.extra.feePayer \
                     from /supported"
                ),
            )
        })
    }
}

/// Rule 1.
fn check_scheme(terms: &Terms<'_>) -> Result<(), Refusal> {
    if terms.paid.scheme == SCHEME && terms.asked.scheme == SCHEME {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::UnsupportedScheme,
        format!(
            "the payload's scheme is {:?}, the requirements' is {:?}: only \"exact\" is served",
            terms.paid.scheme, terms.asked.scheme
        ),
    ))
}
