//! What a merchant asks for, as it arrives in JSON. What decides nothing about the payment is not looked at.

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use solana_pubkey::Pubkey;

use super::{Version, section::Section};
use crate::input::{self, FieldErrors};

/// Longest name of a scheme or a network, and longest address, in bytes.
pub(super) const MAX_NAME: usize = 128;
/// Longest `extra.memo` that is read; the rules accept less.
const MAX_MEMO: usize = 4_096;

/// The terms of a payment. The rules judge what they mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirements {
    pub scheme: String,
    pub network: String,
    /// Atomic units: `maxAmountRequired` in version 1, `amount` in version 2.
    pub amount: u64,
    /// The mint; a public key where the network is one of Solana's.
    pub asset: String,
    /// A public key where the network is one of Solana's.
    pub pay_to: String,
    /// `extra.feePayer`; `None` also where it is no string or an empty one, which is for the rules to refuse.
    pub fee_payer: Option<String>,
    /// `extra.memo`; an empty one is none.
    pub memo: Option<String>,
    /// What is paid for, of any length; version 1 says it here, version 2 in the payload.
    pub resource: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
struct Members<'a> {
    #[serde(borrow)]
    scheme: Option<&'a RawValue>,
    #[serde(borrow)]
    network: Option<&'a RawValue>,
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    #[serde(borrow)]
    max_amount_required: Option<&'a RawValue>,
    #[serde(borrow)]
    asset: Option<&'a RawValue>,
    #[serde(borrow)]
    pay_to: Option<&'a RawValue>,
    #[serde(borrow)]
    extra: Option<&'a RawValue>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
struct Extra<'a> {
    #[serde(borrow)]
    fee_payer: Option<&'a RawValue>,
    #[serde(borrow)]
    memo: Option<&'a RawValue>,
}

impl Requirements {
    pub(super) fn read(
        version: Version,
        section: &Section,
        raw: Option<&RawValue>,
        errors: &mut FieldErrors,
    ) -> Option<Self> {
        let members: Members = section.required(raw, errors)?;
        let field = |name: &str| section.field(name);
        let scheme = errors.required(&field("scheme"), members.scheme, name);
        let network = errors.required(&field("network"), members.network, name);
        let (amount_name, amount_raw) = match version {
            Version::V1 => ("maxAmountRequired", members.max_amount_required),
            Version::V2 => ("amount", members.amount),
        };
        let amount = errors.required(&field(amount_name), amount_raw, atomic_units);
        let on_solana = network.as_deref().is_none_or(is_solana);
        let address = |raw: &RawValue| address(raw, on_solana);
        let asset = errors.required(&field("asset"), members.asset, address);
        let pay_to = errors.required(&field("payTo"), members.pay_to, address);
        // Version 2 leaves it to extensions what a `resource` here would be.
        let raw = members.resource.filter(|_| version == Version::V1);
        let resource = errors.optional(&field("resource"), raw, resource);
        let (fee_payer, memo) = read_extra(&section.inner("extra"), members.extra, errors);
        Some(Self {
            scheme: scheme?,
            network: network?,
            amount: amount?,
            asset: asset?,
            pay_to: pay_to?,
            fee_payer,
            memo,
            resource,
        })
    }

    /// SHA-256 over all that these requirements say about the payment: two settlements of one transaction for the
    /// same fingerprint are the same settlement.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let amount = self.amount.to_string();
        let texts = [
            Some(&self.scheme),
            Some(&self.network),
            Some(&amount),
            Some(&self.asset),
            Some(&self.pay_to),
            self.fee_payer.as_ref(),
            self.memo.as_ref(),
            self.resource.as_ref(),
        ];
        let mut digest = Sha256::new();
        for text in texts {
            // With its length before it, no text can run over into the next; none is different from an empty one.
            digest.update(text.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
            digest.update(text.map_or("", String::as_str));
        }
        digest.finalize().into()
    }
}

fn read_extra(
    section: &Section,
    raw: Option<&RawValue>,
    errors: &mut FieldErrors,
) -> (Option<String>, Option<String>) {
    let Some(extra) = section.optional::<Extra>(raw, errors) else { return (None, None) };
    let fee_payer = extra.fee_payer.filter(|raw| raw.get().starts_with('"') && raw.get() != r#""""#);
    let fee_payer = errors.optional(&section.field("feePayer"), fee_payer, name);
    let memo = errors.optional(&section.field("memo"), extra.memo, memo);
    (fee_payer, memo.filter(|memo| !memo.is_empty()))
}

pub(super) fn is_solana(network: &str) -> bool {
    network.starts_with("solana")
}

pub(super) fn name(raw: &RawValue) -> Result<String, String> {
    input::text(raw, MAX_NAME)
}

/// An address of another chain is let through, so that what is refused is the chain.
fn address(raw: &RawValue, on_solana: bool) -> Result<String, String> {
    if on_solana { Ok(input::public_key(raw).map(|key: Pubkey| key.to_string())?) } else { name(raw) }
}

/// Of any length: a URL has its query in it, and the body is bounded. Control characters are in no URL, and clients read
/// them differently.
pub(super) fn resource(raw: &RawValue) -> Result<String, &'static str> {
    let resource = string(raw)?;
    if resource.chars().any(char::is_control) {
        return Err("must not contain control characters");
    }
    Ok(resource)
}

fn string(raw: &RawValue) -> Result<String, &'static str> {
    serde_json::from_str(raw.get()).map_err(|_| "must be a string")
}

fn memo(raw: &RawValue) -> Result<String, &'static str> {
    let memo = string(raw)?;
    if memo.len() > MAX_MEMO { Err("must be at most 4096 bytes long") } else { Ok(memo) }
}

/// Digits without a sign, a point, or zeros in front: what has one spelling has one meaning.
fn atomic_units(raw: &RawValue) -> Result<u64, &'static str> {
    const RIGHT: &str =
        "must be a string of decimal digits: a whole number of atomic units, at most 18446744073709551615";
    let text: String = serde_json::from_str(raw.get()).map_err(|_| RIGHT)?;
    let units: u64 = text.parse().map_err(|_| RIGHT)?;
    if units.to_string() == text { Ok(units) } else { Err(RIGHT) }
}
