//! Requests about subscriptions as they arrive in JSON.

use serde::Deserialize;
use serde_json::value::RawValue;
use solana_pubkey::Pubkey;
use utoipa::ToSchema;

use super::When;
use crate::{
    input::{self, FieldErrors},
    schema,
};

/// Longest id of another object, in bytes.
const MAX_ID: usize = 64;

/// A subscription to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(
    as = NewSubscription,
    example = json!({
        "planId": "plan_01K0B9M2T8Q5W7Y3XN4VZC6RDE", "agentId": "agent_01K0B9M2T8Q5W7Y3XN4VZC6RDE",
        "requirePayment": true,
    }),
)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
pub struct CreateMembers<'a> {
    /// One of your plans.
    #[schema(value_type = schema::OtherId, required)]
    #[serde(borrow)]
    plan_id: Option<&'a RawValue>,
    /// One of your agents, by its id or public key.
    #[schema(value_type = schema::OtherId, required)]
    #[serde(borrow)]
    agent_id: Option<&'a RawValue>,
    /// The wallet that pays; the agent's where it is left out.
    #[schema(value_type = Option<schema::PublicKey>)]
    #[serde(borrow)]
    wallet_address: Option<&'a RawValue>,
    /// Whether the first period has to be paid before it can be used. Left out, or `false`, it is free of charge.
    #[schema(value_type = Option<bool>)]
    #[serde(borrow)]
    require_payment: Option<&'a RawValue>,
    /// Your own, given back as it came; at most 4096 bytes of JSON.
    #[schema(value_type = Option<Object>)]
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// How a subscription is to be cancelled.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CancelSubscription, example = json!({"atPeriodEnd": true}))]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
pub struct CancelMembers<'a> {
    /// Left out, or `true`: when the time that is paid is over. `false`: at once; nothing is paid back.
    #[schema(value_type = Option<bool>)]
    #[serde(borrow)]
    at_period_end: Option<&'a RawValue>,
}

/// What is asked for, before it is known what of it there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub plan_id: String,
    pub agent_id: String,
    pub wallet: Option<Pubkey>,
    pub require_payment: bool,
    pub metadata: Option<String>,
}

impl Wanted {
    pub(super) fn parse(body: &[u8]) -> Result<Self, FieldErrors> {
        let members: CreateMembers = input::object(body)?;
        let mut errors = FieldErrors::default();
        let plan_id = errors.required("planId", members.plan_id, |raw| input::text(raw, MAX_ID));
        let agent_id = errors.required("agentId", members.agent_id, |raw| input::text(raw, MAX_ID));
        let wallet = errors.optional("walletAddress", members.wallet_address, input::public_key);
        let require_payment = errors.optional("requirePayment", members.require_payment, input::boolean);
        let metadata = errors.optional("metadata", members.metadata, input::metadata);
        match (plan_id, agent_id) {
            (Some(plan_id), Some(agent_id)) if errors.is_empty() => Ok(Self {
                plan_id,
                agent_id,
                wallet,
                require_payment: require_payment.unwrap_or(false),
                metadata,
            }),
            _ => Err(errors),
        }
    }
}

pub(super) fn when(body: &[u8]) -> Result<When, FieldErrors> {
    let members: CancelMembers = input::object(body)?;
    let mut errors = FieldErrors::default();
    let at_period_end = errors.optional("atPeriodEnd", members.at_period_end, input::boolean);
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(if at_period_end.unwrap_or(true) { When::PeriodEnd } else { When::Now })
}
