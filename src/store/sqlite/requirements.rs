//! [`RequirementStore`] in SQLite.

use std::str::FromStr;

use async_trait::async_trait;
use solana_pubkey::Pubkey;
use sqlx::FromRow;

use super::{SqliteStore, corrupt};
use crate::{
    clock::UnixMs,
    money::Amount,
    requirements::{IssuedRequirement, Requirement, RequirementStore, Scheme},
    store_error::StoreError,
};

const TABLE: &str = "payment_requirements";

#[derive(FromRow)]
struct Row {
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

impl TryFrom<Row> for IssuedRequirement {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let max = row.max_amount.map(|units| amount(TABLE, units)).transpose()?;
        let scheme = match (row.scheme.as_str(), max) {
            ("exact", None) => Scheme::Exact,
            ("minimum", None) => Scheme::Minimum,
            ("range", Some(max)) => Scheme::Range { max },
            (other, _) => return Err(corrupt(TABLE, &format!("scheme {other}"))),
        };
        Ok(Self {
            nonce: row.nonce.clone(),
            owner: row.owner,
            requirement: Requirement {
                amount: amount(TABLE, row.amount)?,
                currency: column(TABLE, &row.currency)?,
                recipient: column::<Pubkey>(TABLE, &row.recipient)?,
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

#[async_trait]
impl RequirementStore for SqliteStore {
    async fn issue(&self, issued: &IssuedRequirement) -> Result<(), StoreError> {
        let requirement = &issued.requirement;
        let expires_at = requirement.expires_at.unwrap_or(issued.created_at);
        let insert = sqlx::query(
            "INSERT INTO payment_requirements (nonce, owner, amount, max_amount, currency, recipient, scheme, \
             resource, metadata, expires_at_ms, created_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&issued.nonce)
        .bind(&issued.owner)
        .bind(units(requirement.amount))
        .bind(requirement.scheme.max_amount().map(units))
        .bind(requirement.currency.as_str())
        .bind(requirement.recipient.to_string())
        .bind(requirement.scheme.as_str())
        .bind(&requirement.resource)
        .bind(&issued.metadata)
        .bind(expires_at.0)
        .bind(issued.created_at.0);
        self.timed("insert", TABLE, insert.execute(&self.writer)).await.map(drop)
    }

    async fn find(&self, nonce: &str) -> Result<Option<IssuedRequirement>, StoreError> {
        let select = sqlx::query_as::<_, Row>(
            "SELECT r.*, t.id AS payment_id FROM payment_requirements r \
             LEFT JOIN transactions t ON t.requirement_nonce = r.nonce WHERE r.nonce = ?",
        )
        .bind(nonce);
        let row = self.timed("select", TABLE, select.fetch_optional(&self.readers)).await?;
        row.map(IssuedRequirement::try_from).transpose()
    }
}

pub(super) fn units(amount: Amount) -> i64 {
    i64::try_from(amount.atomic()).unwrap_or(i64::MAX)
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
