//! Rows as both databases give them, and what they mean.

use std::{fmt, str::FromStr};

use solana_pubkey::Pubkey;
use solana_signature::Signature;
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::agents::{AgentRow, unsigned};
use crate::{
    api_keys::{ActorNow, ApiKeyPage, ApiKeyRecord, KeyCounts, Scopes, StoredKey},
    chain::assets::Network,
    clock::UnixMs,
    ids::{AgentId, ApiKeyId, PaymentId, SubscriptionId},
    money::{Amount, Currency},
    payments::{Entry, OnRecord, PayingAgent, Payment, PaymentPage, PaymentState, Source, Used},
    requirements::{IssuedRequirement, Requirement, Scheme},
    server_secrets::ServerSecret,
    store_error::StoreError,
};

pub(super) const TRANSACTIONS: &str = "transactions";
pub(super) const REQUIREMENTS: &str = "payment_requirements";
pub(super) const API_KEYS: &str = "api_keys";
pub(super) const SECRETS: &str = "server_secrets";

#[derive(FromRow)]
pub(super) struct PaymentRow {
    id: String,
    state: String,
    owner: Option<String>,
    signature: String,
    nonce: String,
    requirement_nonce: Option<String>,
    payer: String,
    recipient: String,
    currency: String,
    amount: i64,
    resource: Option<String>,
    network: String,
    slot: i64,
    block_time_ms: i64,
    verified_at_ms: i64,
    request_tag: Option<String>,
    agent_id: Option<String>,
    subscription_id: Option<String>,
}

impl TryFrom<PaymentRow> for Payment {
    type Error = StoreError;

    fn try_from(row: PaymentRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: PaymentId::from_stored(row.id),
            state: match row.state.as_str() {
                "settled" => PaymentState::Settled,
                other => return Err(corrupt(TRANSACTIONS, &format!("state {other}"))),
            },
            owner: row.owner,
            transaction: column::<Signature>(TRANSACTIONS, &row.signature)?,
            nonce: row.nonce,
            meets_requirement: row.requirement_nonce.is_some(),
            payer: column::<Pubkey>(TRANSACTIONS, &row.payer)?,
            recipient: column::<Pubkey>(TRANSACTIONS, &row.recipient)?,
            currency: column::<Currency>(TRANSACTIONS, &row.currency)?,
            amount: amount(TRANSACTIONS, row.amount)?,
            resource: row.resource,
            network: column::<Network>(TRANSACTIONS, &row.network)?.as_str(),
            slot: u64::try_from(row.slot).map_err(|error| corrupt(TRANSACTIONS, &error))?,
            block_time: UnixMs(row.block_time_ms),
            verified_at: UnixMs(row.verified_at_ms),
            agent: row.agent_id.map(AgentId::from_stored),
            subscription: row.subscription_id.map(SubscriptionId::from_stored),
            request_tag: row.request_tag,
        })
    }
}

/// A line of the books, however it came there.
#[derive(FromRow)]
pub(super) struct EntryRow {
    id: String,
    state: String,
    source: String,
    owner: Option<String>,
    signature: String,
    nonce: Option<String>,
    payer: String,
    recipient: String,
    currency: Option<String>,
    asset: Option<String>,
    amount: i64,
    resource: Option<String>,
    network: String,
    slot: Option<i64>,
    block_time_ms: Option<i64>,
    verified_at_ms: i64,
    last_valid_height: Option<i64>,
    agent_id: Option<String>,
    subscription_id: Option<String>,
}

impl TryFrom<EntryRow> for Entry {
    type Error = StoreError;

    fn try_from(row: EntryRow) -> Result<Self, StoreError> {
        let height = |height| u64::try_from(height).map_err(|error| corrupt(TRANSACTIONS, &error));
        Ok(Self {
            id: PaymentId::from_stored(row.id),
            state: payment_state(&row.state)?,
            source: source(&row.source)?,
            owner: row.owner,
            transaction: column::<Signature>(TRANSACTIONS, &row.signature)?,
            nonce: row.nonce,
            payer: column::<Pubkey>(TRANSACTIONS, &row.payer)?,
            recipient: column::<Pubkey>(TRANSACTIONS, &row.recipient)?,
            currency: row.currency.map(|currency| column(TRANSACTIONS, &currency)).transpose()?,
            asset: row.asset.map(|asset| column(TRANSACTIONS, &asset)).transpose()?,
            amount: amount(TRANSACTIONS, row.amount)?,
            resource: row.resource,
            network: column::<Network>(TRANSACTIONS, &row.network)?.as_str(),
            slot: row.slot.map(height).transpose()?,
            block_time: row.block_time_ms.map(UnixMs),
            verified_at: UnixMs(row.verified_at_ms),
            agent: row.agent_id.map(AgentId::from_stored),
            subscription: row.subscription_id.map(SubscriptionId::from_stored),
            last_valid_block_height: row.last_valid_height.map(height).transpose()?,
        })
    }
}

pub(super) fn payment_state(text: &str) -> Result<PaymentState, StoreError> {
    Ok(match text {
        "pending" => PaymentState::Pending,
        "settled" => PaymentState::Settled,
        "failed" => PaymentState::Failed,
        "expired" => PaymentState::Expired,
        other => return Err(corrupt(TRANSACTIONS, &format!("state {other}"))),
    })
}

pub(super) fn source(text: &str) -> Result<Source, StoreError> {
    match text {
        "proof" => Ok(Source::Proof),
        "x402" => Ok(Source::X402),
        other => Err(corrupt(TRANSACTIONS, &format!("source {other}"))),
    }
}

/// A page of rows, and how many there are on all pages.
pub(super) fn page(rows: Vec<EntryRow>, total: i64) -> Result<PaymentPage, StoreError> {
    Ok(PaymentPage {
        payments: rows.into_iter().map(Entry::try_from).collect::<Result<_, _>>()?,
        total: u64::try_from(total).map_err(|error| corrupt(TRANSACTIONS, &error))?,
    })
}

/// Of what is used up, what a caller hears about. The nonce comes first: it is the caller's own.
pub(super) const fn used(nonce: bool, transaction: bool) -> Option<Used> {
    match (nonce, transaction) {
        (true, _) => Some(Used::Nonce),
        (false, true) => Some(Used::Transaction),
        (false, false) => None,
    }
}

#[derive(FromRow)]
pub(super) struct RequirementRow {
    nonce: String,
    owner: String,
    amount: i64,
    max_amount: Option<i64>,
    currency: String,
    recipient: String,
    scheme: String,
    resource: Option<String>,
    metadata: Option<String>,
    expires_at_ms: i64,
    created_at_ms: i64,
    payment_id: Option<String>,
}

impl TryFrom<RequirementRow> for IssuedRequirement {
    type Error = StoreError;

    fn try_from(row: RequirementRow) -> Result<Self, StoreError> {
        let max = row.max_amount.map(|units| amount(REQUIREMENTS, units)).transpose()?;
        let scheme = match (row.scheme.as_str(), max) {
            ("exact", None) => Scheme::Exact,
            ("minimum", None) => Scheme::Minimum,
            ("range", Some(max)) => Scheme::Range { max },
            (other, _) => return Err(corrupt(REQUIREMENTS, &format!("scheme {other}"))),
        };
        Ok(Self {
            nonce: row.nonce.clone(),
            owner: row.owner,
            requirement: Requirement {
                amount: amount(REQUIREMENTS, row.amount)?,
                currency: column(REQUIREMENTS, &row.currency)?,
                recipient: column::<Pubkey>(REQUIREMENTS, &row.recipient)?,
                scheme,
                resource: row.resource,
                nonce: Some(row.nonce),
                expires_at: Some(UnixMs(row.expires_at_ms)),
            },
            metadata: row.metadata,
            created_at: UnixMs(row.created_at_ms),
            payment_id: row.payment_id,
        })
    }
}

/// What is on record of a nonce, a transaction and a payer. The requirement's columns are all null where there is none, and
/// so are the agent's.
pub(super) struct OnRecordRow {
    nonce_used: bool,
    transaction_used: bool,
    issued: Option<RequirementRow>,
    agent: Option<(AgentRow, i64)>,
}

impl<'r, R> FromRow<'r, R> for OnRecordRow
where
    R: Row,
    for<'c> &'c str: ColumnIndex<R>,
    bool: Decode<'r, R::Database> + Type<R::Database>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    RequirementRow: FromRow<'r, R>,
    AgentRow: FromRow<'r, R>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let nonce: Option<String> = row.try_get("nonce")?;
        let agent: Option<String> = row.try_get("agent_id")?;
        let agent: Option<Result<_, sqlx::Error>> =
            agent.map(|_| Ok((AgentRow::from_row(row)?, row.try_get("agent_spent")?)));
        Ok(Self {
            nonce_used: row.try_get("nonce_used")?,
            transaction_used: row.try_get("transaction_used")?,
            issued: nonce.map(|_| RequirementRow::from_row(row)).transpose()?,
            agent: agent.transpose()?,
        })
    }
}

impl TryFrom<OnRecordRow> for OnRecord {
    type Error = StoreError;

    fn try_from(row: OnRecordRow) -> Result<Self, StoreError> {
        Ok(Self {
            used: used(row.nonce_used, row.transaction_used),
            issued: row.issued.map(IssuedRequirement::try_from).transpose()?,
            agent: row.agent.map(paying).transpose()?,
        })
    }
}

fn paying((row, spent): (AgentRow, i64)) -> Result<PayingAgent, StoreError> {
    Ok(PayingAgent { agent: row.try_into()?, spent: unsigned(spent)? })
}

#[derive(FromRow)]
pub(super) struct ApiKeyRow {
    id: String,
    prefix: String,
    environment: String,
    name: String,
    user_id: String,
    permissions: String,
    recipients: String,
    hash: String,
    created_at_ms: i64,
    expires_at_ms: Option<i64>,
    last_used_at_ms: Option<i64>,
    revoked_at_ms: Option<i64>,
    replaced_by: Option<String>,
    created_by: Option<String>,
}

impl TryFrom<ApiKeyRow> for StoredKey {
    type Error = StoreError;

    fn try_from(row: ApiKeyRow) -> Result<Self, StoreError> {
        let recipients = row.recipients.split_whitespace();
        let record = ApiKeyRecord {
            id: ApiKeyId::from_stored(row.id),
            prefix: row.prefix,
            environment: column(API_KEYS, &row.environment)?,
            name: row.name,
            user: row.user_id,
            scopes: Scopes::from_stored(&row.permissions),
            recipients: recipients.map(|text| column::<Pubkey>(API_KEYS, text)).collect::<Result<_, _>>()?,
            created_at: UnixMs(row.created_at_ms),
            expires_at: row.expires_at_ms.map(UnixMs),
            last_used_at: row.last_used_at_ms.map(UnixMs),
            revoked_at: row.revoked_at_ms.map(UnixMs),
            replaced_by: row.replaced_by.map(ApiKeyId::from_stored),
            created_by: row.created_by,
        };
        Ok(Self { record, hash: row.hash })
    }
}

/// Whether it was revoked, and its end.
pub(super) type ActorRow = (bool, Option<i64>);

pub(super) fn actor(row: ActorRow) -> ActorNow {
    ActorNow { revoked: row.0, expires_at: row.1.map(UnixMs) }
}

/// Active ones that were not rotated, those that were, and what was made lately.
pub(super) fn key_counts(counted: (i64, i64, i64)) -> KeyCounts {
    let count = |count| u64::try_from(count).unwrap_or(0);
    KeyCounts { standing: count(counted.0), replaced: count(counted.1), made: count(counted.2) }
}

/// The ids of keys, oldest first.
pub(super) fn key_ids(ids: Vec<String>) -> Vec<ApiKeyId> {
    let mut ids: Vec<_> = ids.into_iter().map(ApiKeyId::from_stored).collect();
    ids.sort();
    ids
}

/// A page of keys, and how many there are on all pages.
pub(super) fn key_page(rows: Vec<ApiKeyRow>, total: i64) -> Result<ApiKeyPage, StoreError> {
    let record = |row| StoredKey::try_from(row).map(|key| key.record);
    Ok(ApiKeyPage {
        keys: rows.into_iter().map(record).collect::<Result<_, _>>()?,
        total: u64::try_from(total).map_err(|error| corrupt(API_KEYS, &error))?,
    })
}

/// A key's wallets as a column holds them.
pub(super) fn wallets(key: &ApiKeyRecord) -> String {
    key.recipients.iter().map(Pubkey::to_string).collect::<Vec<_>>().join(" ")
}

pub(super) fn secret(value: Vec<u8>) -> Result<ServerSecret, StoreError> {
    value.try_into().map(ServerSecret::new).map_err(|_| corrupt(SECRETS, &"length"))
}

/// An amount as a column holds it. [`Amount::MAX`] is the largest number of such a column.
pub(super) fn units(amount: Amount) -> i64 {
    i64::try_from(amount.atomic()).unwrap_or(i64::MAX)
}

/// A slot as a column holds it; the last one it can hold is 10^11 years away.
pub(super) fn slot(slot: u64) -> i64 {
    i64::try_from(slot).unwrap_or(i64::MAX)
}

pub(super) fn amount(table: &'static str, units: i64) -> Result<Amount, StoreError> {
    u64::try_from(units)
        .ok()
        .and_then(|units| Amount::from_atomic(units).ok())
        .ok_or_else(|| corrupt(table, &format!("amount {units}")))
}

/// A value stored in its text form.
pub(super) fn column<T: FromStr>(table: &'static str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| corrupt(table, &text))
}

/// A column whose text or number is not what this version writes.
pub(super) fn corrupt(table: &'static str, problem: &dyn fmt::Display) -> StoreError {
    StoreError::Corrupt { table, problem: problem.to_string() }
}
