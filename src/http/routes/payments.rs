//! `GET /payments`: the books of the calling key's user.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    chain::assets::Network,
    clock::UnixMs,
    http::{
        allowed::{Admitted, Allowed, Verify},
        error::ApiError,
        extract::{Page, PathName},
    },
    money::Currency,
    payments::{Entry, PaymentState, PaymentStore, Source},
    schema,
};

/// Money that moved from a payer to a recipient, and what for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Payment)]
pub(in crate::http) struct PaymentView {
    #[schema(example = "pay_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    id: String,
    state: PaymentState,
    source: Source,
    /// What the recipient got, where the currency is known.
    #[schema(value_type = Option<schema::AmountOut>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<Box<RawValue>>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<Currency>,
    /// The mint, of an x402 payment.
    #[schema(value_type = Option<schema::PublicKey>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    asset: Option<String>,
    /// In the asset's smallest unit, of an x402 payment.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    atomic_amount: Option<String>,
    #[schema(value_type = schema::PublicKey)]
    payer: String,
    #[schema(value_type = schema::PublicKey)]
    recipient: String,
    /// Of a proof.
    #[schema(value_type = Option<schema::Nonce>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    #[schema(value_type = schema::Signature)]
    transaction_id: String,
    #[schema(value_type = schema::Resource)]
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[schema(example = "mainnet-beta")]
    network: &'static str,
    /// Whether real money moves.
    livemode: bool,
    /// Of the block that holds the transaction.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<u64>,
    /// When that block was made; Solana tells whole seconds.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    block_time: Option<UnixMs>,
    verified_at: UnixMs,
    /// The agent whose limits it counts against.
    #[schema(nullable = false, example = "agent_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<String>,
    /// The subscription that it paid a period of.
    #[schema(nullable = false, example = "sub_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_valid_block_height: Option<u64>,
}

impl From<Entry> for PaymentView {
    fn from(payment: Entry) -> Self {
        let amount = payment.amount;
        Self {
            id: payment.id.to_string(),
            state: payment.state,
            source: payment.source,
            amount: payment.currency.map(|currency| amount.to_json(currency.decimals())),
            currency: payment.currency,
            atomic_amount: payment.asset.map(|_| amount.atomic().to_string()),
            asset: payment.asset.map(|asset| asset.to_string()),
            payer: payment.payer.to_string(),
            recipient: payment.recipient.to_string(),
            nonce: payment.nonce,
            transaction_id: payment.transaction.to_string(),
            resource: payment.resource,
            network: payment.network,
            livemode: payment.network == Network::MainnetBeta.as_str(),
            slot: payment.slot,
            block_time: payment.block_time,
            verified_at: payment.verified_at,
            agent_id: payment.agent.map(|agent| agent.to_string()),
            subscription_id: payment.subscription.map(|subscription| subscription.to_string()),
            last_valid_block_height: payment.last_valid_block_height,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PaymentList {
    payments: Vec<PaymentView>,
    /// How many there are on all pages.
    total: u64,
    limit: u32,
    offset: u32,
}

/// The payments of the key's user, newest first.
#[utoipa::path(
    get,
    path = "/payments",
    operation_id = "listPayments",
    tag = "Payments",
    params(Page),
    responses((status = 200, description = "One page of them.", body = PaymentList)),
    security(("bearer" = ["verify"]), ("apiKey" = ["verify"])),
)]
pub(in crate::http) async fn list(
    State(payments): State<Arc<dyn PaymentStore>>,
    Allowed { caller, .. }: Allowed<Verify>,
    page: Page,
) -> Result<Json<PaymentList>, ApiError> {
    let found = payments.list(&caller.user, page.limit, page.offset).await?;
    Ok(Json(PaymentList {
        payments: found.payments.into_iter().map(PaymentView::from).collect(),
        total: found.total,
        limit: page.limit,
        offset: page.offset,
    }))
}

/// One payment.
///
/// With a key, one of its user's. Besides, whoever asks, a settlement that was first asked for without a key, by its Solana
/// transaction: then without `resource`, which is not for everybody who can read the chain.
/// `pending` is not known yet: it cannot land in a block higher than `lastValidBlockHeight`. `expired` has not landed and
/// never will: it is safe to pay again.
#[utoipa::path(
    get,
    path = "/payments/{id}",
    operation_id = "getPayment",
    tag = "Payments",
    params(("id" = String, Path, description = "The payment's id, or its Solana transaction.")),
    responses((status = 200, description = "The payment.", body = PaymentView)),
    security((), ("bearer" = ["verify"]), ("apiKey" = ["verify"])),
)]
pub(in crate::http) async fn find(
    State(payments): State<Arc<dyn PaymentStore>>,
    Admitted { caller, .. }: Admitted<Verify>,
    PathName(id): PathName,
) -> Result<Json<PaymentView>, ApiError> {
    let own = match caller {
        Some(caller) => payments.find(&caller.user, &id).await?,
        None => None,
    };
    let found = match (own, id.parse()) {
        (None, Ok(signature)) => payments.find_anonymous(&signature).await?.map(Entry::for_anybody),
        (own, _) => own,
    };
    found.map(|payment| Json(payment.into())).ok_or_else(|| ApiError::not_found("this payment"))
}
