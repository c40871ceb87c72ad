//! `GET /payments`: the books of the calling key's user.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    api_keys::Caller,
    clock::UnixMs,
    http::{
        error::ApiError,
        extract::{Page, PathName},
    },
    money::Currency,
    payments::{Entry, PaymentState, PaymentStore, Source},
};

/// A payment on the wire.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct PaymentView {
    id: String,
    state: PaymentState,
    source: Source,
    /// In whole tokens, where the currency is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<Currency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asset: Option<String>,
    /// In the asset's smallest unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    atomic_amount: Option<String>,
    payer: String,
    recipient: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    transaction_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    network: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_time: Option<UnixMs>,
    verified_at: UnixMs,
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
            slot: payment.slot,
            block_time: payment.block_time,
            verified_at: payment.verified_at,
            last_valid_block_height: payment.last_valid_block_height,
        }
    }
}

#[derive(Serialize)]
pub(in crate::http) struct PaymentList {
    payments: Vec<PaymentView>,
    total: u64,
    limit: u32,
    offset: u32,
}

pub(in crate::http) async fn list(
    State(payments): State<Arc<dyn PaymentStore>>,
    caller: Caller,
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

pub(in crate::http) async fn find(
    State(payments): State<Arc<dyn PaymentStore>>,
    caller: Caller,
    PathName(id): PathName,
) -> Result<Json<PaymentView>, ApiError> {
    let payment = payments.find(&caller.user, &id).await?;
    payment.map(|payment| Json(payment.into())).ok_or_else(|| ApiError::not_found("this payment"))
}
