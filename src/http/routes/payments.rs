//! `GET /payments`: the books of the calling key's user.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    chain::assets::Network,
    clock::UnixMs,
    http::{
        allowed::{Allowed, Verify},
        error::ApiError,
        extract::{Page, PathName},
    },
    money::Currency,
    payments::{Payment, PaymentState, PaymentStore},
};

/// A payment on the wire.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct PaymentView {
    id: String,
    state: PaymentState,
    amount: Box<RawValue>,
    currency: Currency,
    payer: String,
    recipient: String,
    nonce: String,
    transaction_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    network: &'static str,
    livemode: bool,
    slot: u64,
    block_time: UnixMs,
    verified_at: UnixMs,
}

impl From<Payment> for PaymentView {
    fn from(payment: Payment) -> Self {
        Self {
            id: payment.id.to_string(),
            state: payment.state,
            amount: payment.amount.to_json(payment.currency.decimals()),
            currency: payment.currency,
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

pub(in crate::http) async fn find(
    State(payments): State<Arc<dyn PaymentStore>>,
    Allowed { caller, .. }: Allowed<Verify>,
    PathName(id): PathName,
) -> Result<Json<PaymentView>, ApiError> {
    let payment = payments.find(&caller.user, &id).await?;
    payment.map(|payment| Json(payment.into())).ok_or_else(|| ApiError::not_found("this payment"))
}
