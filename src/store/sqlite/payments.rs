//! [`PaymentStore`] in SQLite.

use async_trait::async_trait;
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use sqlx::{FromRow, Sqlite, Transaction};

use super::{
    SqliteStore, corrupt,
    requirements::{amount, column, units},
};
use crate::{
    chain::assets::Network,
    clock::UnixMs,
    ids::{EventId, PaymentId},
    money::Currency,
    payments::{Payment, PaymentPage, PaymentState, PaymentStore, RecordOutcome, Used},
    store::sql,
    store_error::StoreError,
};

const TABLE: &str = "transactions";

#[derive(FromRow)]
struct Row {
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
}

impl TryFrom<Row> for Payment {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: PaymentId::from_stored(row.id),
            state: match row.state.as_str() {
                "settled" => PaymentState::Settled,
                other => return Err(corrupt(TABLE, &format!("state {other}"))),
            },
            owner: row.owner,
            transaction: column::<Signature>(TABLE, &row.signature)?,
            nonce: row.nonce,
            meets_requirement: row.requirement_nonce.is_some(),
            payer: column::<Pubkey>(TABLE, &row.payer)?,
            recipient: column::<Pubkey>(TABLE, &row.recipient)?,
            currency: column::<Currency>(TABLE, &row.currency)?,
            amount: amount(TABLE, row.amount)?,
            resource: row.resource,
            network: column::<Network>(TABLE, &row.network)?.as_str(),
            slot: u64::try_from(row.slot).map_err(|error| corrupt(TABLE, &error))?,
            block_time: UnixMs(row.block_time_ms),
            verified_at: UnixMs(row.verified_at_ms),
            request_tag: row.request_tag,
        })
    }
}

#[async_trait]
impl PaymentStore for SqliteStore {
    async fn used(&self, nonce: &str, transaction: &Signature) -> Result<Option<Used>, StoreError> {
        let select = sqlx::query_as::<_, (bool, bool)>(
            "SELECT EXISTS (SELECT 1 FROM transactions WHERE nonce = ?), \
             EXISTS (SELECT 1 FROM transactions WHERE signature = ?)",
        )
        .bind(nonce)
        .bind(transaction.to_string());
        Ok(match self.timed("select", TABLE, select.fetch_one(&self.readers)).await? {
            (true, _) => Some(Used::Nonce),
            (false, true) => Some(Used::Transaction),
            (false, false) => None,
        })
    }

    async fn record_all(&self, payments: &[Payment]) -> Result<Vec<RecordOutcome>, StoreError> {
        self.timed("record", TABLE, async {
            let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
            let mut outcomes = Vec::with_capacity(payments.len());
            for payment in payments {
                outcomes.push(write(&mut transaction, payment).await?);
            }
            transaction.commit().await?;
            Ok(outcomes)
        })
        .await
    }

    async fn find(&self, owner: &str, id_or_signature: &str) -> Result<Option<Payment>, StoreError> {
        let select = sqlx::query_as::<_, Row>(
            "SELECT * FROM transactions WHERE (id = ?1 OR signature = ?1) AND owner = ?2",
        )
        .bind(id_or_signature)
        .bind(owner);
        let row = self.timed("select", TABLE, select.fetch_optional(&self.readers)).await?;
        row.map(Payment::try_from).transpose()
    }

    async fn purge_nonces(&self, before: UnixMs, limit: u32) -> Result<u64, StoreError> {
        let delete = sqlx::query(sql::PURGE_NONCES).bind(before.0).bind(i64::from(limit));
        Ok(self.timed("delete", "nonces", delete.execute(&self.writer)).await?.rows_affected())
    }

    async fn find_by_nonce(&self, nonce: &str) -> Result<Option<Payment>, StoreError> {
        let select = sqlx::query_as::<_, Row>("SELECT * FROM transactions WHERE nonce = ?").bind(nonce);
        let row = self.timed("select", TABLE, select.fetch_optional(&self.readers)).await?;
        row.map(Payment::try_from).transpose()
    }

    async fn list(&self, owner: &str, limit: u32, offset: u32) -> Result<PaymentPage, StoreError> {
        let (rows, total) = self
            .timed("select", TABLE, async {
                let mut snapshot = self.readers.begin().await?;
                let rows = sqlx::query_as::<_, Row>(
                    "SELECT * FROM transactions WHERE owner = ? ORDER BY id DESC LIMIT ? OFFSET ?",
                )
                .bind(owner)
                .bind(limit)
                .bind(offset)
                .fetch_all(&mut *snapshot)
                .await?;
                let total: i64 = sqlx::query_scalar("SELECT count(*) FROM transactions WHERE owner = ?")
                    .bind(owner)
                    .fetch_one(&mut *snapshot)
                    .await?;
                Ok((rows, total))
            })
            .await?;
        Ok(PaymentPage {
            payments: rows.into_iter().map(Payment::try_from).collect::<Result<_, _>>()?,
            total: u64::try_from(total).map_err(|error| corrupt(TABLE, &error))?,
        })
    }
}

/// The unique constraints decide: a payment whose nonce or transaction is there already writes nothing.
async fn write(
    transaction: &mut Transaction<'_, Sqlite>,
    payment: &Payment,
) -> Result<RecordOutcome, sqlx::Error> {
    let row = sqlx::query(
        "INSERT INTO transactions (id, state, owner, signature, nonce, requirement_nonce, payer, recipient, \
         currency, amount, resource, network, slot, block_time_ms, verified_at_ms, request_tag) \
         VALUES (?, 'settled', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(payment.id.as_str())
    .bind(&payment.owner)
    .bind(payment.transaction.to_string())
    .bind(&payment.nonce)
    .bind(payment.meets_requirement.then_some(&payment.nonce))
    .bind(payment.payer.to_string())
    .bind(payment.recipient.to_string())
    .bind(payment.currency.as_str())
    .bind(units(payment.amount))
    .bind(&payment.resource)
    .bind(payment.network)
    .bind(i64::try_from(payment.slot).unwrap_or(i64::MAX))
    .bind(payment.block_time.0)
    .bind(payment.verified_at.0)
    .bind(&payment.request_tag)
    .execute(&mut **transaction)
    .await?;
    if row.rows_affected() == 0 {
        let nonce_used = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM transactions WHERE nonce = ?)")
            .bind(&payment.nonce)
            .fetch_one(&mut **transaction)
            .await?;
        return Ok(RecordOutcome::AlreadyUsed(if nonce_used { Used::Nonce } else { Used::Transaction }));
    }
    sqlx::query("INSERT INTO nonces (nonce, payment_id, used_at_ms) VALUES (?, ?, ?)")
        .bind(&payment.nonce)
        .bind(payment.id.as_str())
        .bind(payment.verified_at.0)
        .execute(&mut **transaction)
        .await?;
    sqlx::query(
        "INSERT INTO analytics_events (id, type, owner, payment_id, occurred_at_ms) \
         VALUES (?, 'payment.verified', ?, ?, ?)",
    )
    .bind(EventId::of_payment(&payment.id).as_str())
    .bind(&payment.owner)
    .bind(payment.id.as_str())
    .bind(payment.verified_at.0)
    .execute(&mut **transaction)
    .await?;
    Ok(RecordOutcome::Recorded)
}
