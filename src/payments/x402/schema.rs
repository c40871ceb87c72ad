//! Requests as the OpenAPI document describes them. `wire` reads them, and says what is wrong with them.

use utoipa::ToSchema;

use crate::schema;

/// An x402 request to verify or to settle a payment. `null` stands for an absent field, unknown fields are skipped.
#[derive(Debug, ToSchema)]
#[schema(as = X402Request)]
#[serde(untagged)]
pub enum X402Body {
    V2(RequestV2),
    V1(RequestV1),
    Header(RequestWithHeader),
}

/// Of version 2.
#[derive(Debug, ToSchema)]
#[schema(as = X402RequestV2)]
#[serde(rename_all = "camelCase")]
pub struct RequestV2 {
    pub payment_payload: PayloadV2,
    pub payment_requirements: RequirementsV2,
}

/// Of version 1.
#[derive(Debug, ToSchema)]
#[schema(as = X402RequestV1)]
#[serde(rename_all = "camelCase")]
pub struct RequestV1 {
    pub payment_payload: PayloadV1,
    pub payment_requirements: RequirementsV1,
}

/// As early clients send it.
#[derive(Debug, ToSchema)]
#[schema(as = X402RequestWithHeader)]
#[serde(rename_all = "camelCase")]
pub struct RequestWithHeader {
    /// The payment payload's JSON in base64.
    pub payment_header: String,
    pub payment_requirements: RequirementsV1,
}

/// What the buyer sent to the merchant.
#[derive(Debug, ToSchema)]
#[schema(as = X402PayloadV2)]
#[serde(rename_all = "camelCase")]
pub struct PayloadV2 {
    #[schema(minimum = 2, maximum = 2)]
    #[serde(rename = "x402Version")]
    pub x402_version: u8,
    /// What is paid for.
    pub resource: Option<ResourceV2>,
    pub accepted: Accepted,
    pub payload: Signed,
}

/// The requirements that the buyer chose. Whatever else is in there, the server's own decide.
#[derive(Debug, ToSchema)]
#[schema(as = X402Accepted)]
pub struct Accepted {
    #[schema(example = "exact", min_length = 1, max_length = 128)]
    pub scheme: String,
    #[schema(example = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", min_length = 1, max_length = 128)]
    pub network: String,
}

/// What is paid for.
#[derive(Debug, ToSchema)]
#[schema(as = X402Resource)]
pub struct ResourceV2 {
    pub url: Option<String>,
}

/// What the buyer sent to the merchant.
#[derive(Debug, ToSchema)]
#[schema(as = X402PayloadV1)]
#[serde(rename_all = "camelCase")]
pub struct PayloadV1 {
    #[schema(minimum = 1, maximum = 1)]
    #[serde(rename = "x402Version")]
    pub x402_version: u8,
    #[schema(example = "exact", min_length = 1, max_length = 128)]
    pub scheme: String,
    #[schema(example = "solana-devnet", min_length = 1, max_length = 128)]
    pub network: String,
    pub payload: Signed,
}

/// The payment.
#[derive(Debug, ToSchema)]
#[schema(as = X402SignedTransaction)]
pub struct Signed {
    /// In base64, signed by all but the fee payer.
    #[schema(min_length = 1)]
    pub transaction: String,
}

/// What the merchant asks for.
#[derive(Debug, ToSchema)]
#[schema(as = X402RequirementsV2)]
#[serde(rename_all = "camelCase")]
pub struct RequirementsV2 {
    #[schema(example = "exact", min_length = 1, max_length = 128)]
    pub scheme: String,
    /// CAIP-2.
    #[schema(example = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", min_length = 1, max_length = 128)]
    pub network: String,
    /// Atomic units.
    #[schema(example = "50000", pattern = "^(0|[1-9][0-9]{0,19})$")]
    pub amount: String,
    /// The mint.
    #[schema(value_type = schema::PublicKey)]
    pub asset: String,
    /// The wallet to be paid, which needs a token account for the mint.
    #[schema(value_type = schema::PublicKey)]
    pub pay_to: String,
    /// Anything: nothing depends on it.
    #[schema(value_type = Option<serde_json::Value>, example = 60)]
    pub max_timeout_seconds: Option<u32>,
    pub extra: Option<Extra>,
}

/// What the merchant asks for.
#[derive(Debug, ToSchema)]
#[schema(as = X402RequirementsV1)]
#[serde(rename_all = "camelCase")]
pub struct RequirementsV1 {
    #[schema(example = "exact", min_length = 1, max_length = 128)]
    pub scheme: String,
    #[schema(example = "solana-devnet", min_length = 1, max_length = 128)]
    pub network: String,
    /// Atomic units.
    #[schema(example = "50000", pattern = "^(0|[1-9][0-9]{0,19})$")]
    pub max_amount_required: String,
    /// The mint.
    #[schema(value_type = schema::PublicKey)]
    pub asset: String,
    /// The wallet to be paid, which needs a token account for the mint.
    #[schema(value_type = schema::PublicKey)]
    pub pay_to: String,
    /// Anything: nothing depends on it.
    #[schema(value_type = Option<serde_json::Value>, example = 60)]
    pub max_timeout_seconds: Option<u32>,
    /// What is paid for.
    pub resource: Option<String>,
    pub extra: Option<Extra>,
}

/// What only Solana needs.
#[derive(Debug, ToSchema)]
#[schema(as = X402Extra)]
#[serde(rename_all = "camelCase")]
pub struct Extra {
    /// The one that `/supported` names, as a string. Anything else is read, and refused by the rules.
    #[schema(value_type = Option<serde_json::Value>)]
    pub fee_payer: Option<String>,
    /// What the transaction's memo must say, byte for byte; at most 256 bytes.
    pub memo: Option<String>,
}
