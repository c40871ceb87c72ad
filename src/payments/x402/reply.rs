//! Answers, as they go out in JSON.

use serde::{Serialize, Serializer, ser::SerializeMap};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use utoipa::ToSchema;

use super::{Malformed, Reason, Version};
use crate::{
    chain::{assets::Network, solana::rules::Refusal},
    schema,
};

/// The answer to `/verify`: `payer` is always there when the payment is good, `invalidReason` when it is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = X402Verified)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReply {
    is_valid: bool,
    /// For programs.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    invalid_reason: Option<&'static str>,
    /// For people: what was found, and what is needed.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    invalid_message: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    payer: Option<String>,
}

impl VerifyReply {
    #[must_use]
    pub fn valid(payer: &Pubkey) -> Self {
        Self { is_valid: true, invalid_reason: None, invalid_message: None, payer: Some(payer.to_string()) }
    }

    #[must_use]
    pub fn invalid(version: Version, refusal: &Refusal) -> Self {
        Self {
            is_valid: false,
            invalid_reason: Some(refusal.reason.text(version)),
            invalid_message: Some(refusal.message.to_string()),
            payer: refusal.payer.map(|payer| payer.to_string()),
        }
    }

    #[must_use]
    pub fn malformed(malformed: &Malformed) -> Self {
        Self::undecided(Reason::InvalidPayload, malformed.message())
    }

    /// For what went wrong before or beside the rules, whatever the version.
    #[must_use]
    pub fn undecided(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            is_valid: false,
            invalid_reason: Some(reason.v2()),
            invalid_message: Some(message.into()),
            payer: None,
        }
    }
}

/// The answer to `/settle`: `transaction` and `network` are always there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = X402Settled)]
#[serde(rename_all = "camelCase")]
pub struct SettleReply {
    success: bool,
    /// For programs.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    error_reason: Option<&'static str>,
    /// For people: what was found, and what is needed.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    payer: Option<String>,
    /// Base58, or empty when nothing was broadcast.
    transaction: String,
    /// As the request spells it.
    network: String,
    /// Atomic units that were moved.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
}

impl SettleReply {
    #[must_use]
    pub fn settled(network: &str, transaction: &Signature, payer: &Pubkey, amount: u64) -> Self {
        Self {
            success: true,
            error_reason: None,
            error_message: None,
            payer: Some(payer.to_string()),
            transaction: transaction.to_string(),
            network: network.to_owned(),
            amount: Some(amount.to_string()),
        }
    }

    /// `transaction` where something was broadcast.
    #[must_use]
    pub fn failed(
        version: Version,
        network: &str,
        refusal: &Refusal,
        transaction: Option<&Signature>,
    ) -> Self {
        Self {
            payer: refusal.payer.map(|payer| payer.to_string()),
            transaction: transaction.map(Signature::to_string).unwrap_or_default(),
            ..Self::failure(network, refusal.reason.text(version), refusal.message.to_string())
        }
    }

    #[must_use]
    pub fn malformed(malformed: &Malformed) -> Self {
        Self::undecided(&malformed.network, Reason::InvalidPayload, malformed.message())
    }

    /// For what went wrong before or beside the rules, whatever the version.
    #[must_use]
    pub fn undecided(network: &str, reason: Reason, message: impl Into<String>) -> Self {
        Self::failure(network, reason.v2(), message.into())
    }

    fn failure(network: &str, reason: &'static str, message: String) -> Self {
        Self {
            success: false,
            error_reason: Some(reason),
            error_message: Some(message),
            payer: None,
            transaction: String::new(),
            network: network.to_owned(),
            amount: None,
        }
    }
}

/// The answer to `/supported`: `exact` on one network in both versions, advertised with one fee payer; `signers` are
/// all whose payments are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = X402Supported)]
pub struct Supported {
    kinds: Vec<SupportedKind>,
    #[schema(value_type = Vec<String>)]
    extensions: [&'static str; 0],
    /// By network: `solana:*`.
    #[schema(value_type = BTreeMap<String, Vec<schema::PublicKey>>)]
    signers: Signers,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = X402Kind)]
#[serde(rename_all = "camelCase")]
struct SupportedKind {
    #[serde(rename = "x402Version")]
    version: u8,
    scheme: &'static str,
    network: &'static str,
    extra: KindExtra,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = X402KindExtra)]
#[serde(rename_all = "camelCase")]
struct KindExtra {
    #[schema(value_type = schema::PublicKey)]
    fee_payer: String,
    /// `legacy` and 0.
    #[schema(value_type = Vec<serde_json::Value>)]
    transaction_versions: TransactionVersions,
}

/// `["legacy", 0]`, as Solana's wallets write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct TransactionVersions(&'static str, u8);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signers(Vec<String>);

impl Serialize for Signers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("solana:*", &self.0)?;
        map.end()
    }
}

impl Supported {
    /// `fee_payers` are all whose keys the service holds. Without one to advertise, nothing is served.
    #[must_use]
    pub fn new(network: Network, advertised: Option<&Pubkey>, fee_payers: &[Pubkey]) -> Self {
        let kind = |version: Version, fee_payer: &Pubkey| SupportedKind {
            version: version.number(),
            scheme: "exact",
            network: version.network_name(network),
            extra: KindExtra {
                fee_payer: fee_payer.to_string(),
                transaction_versions: TransactionVersions("legacy", 0),
            },
        };
        // Servers that take the first kind that fits know version 2 mostly.
        let kinds =
            advertised.map(|fee_payer| [Version::V2, Version::V1].map(|version| kind(version, fee_payer)));
        Self {
            kinds: kinds.into_iter().flatten().collect(),
            extensions: [],
            signers: Signers(fee_payers.iter().map(Pubkey::to_string).collect()),
        }
    }
}
