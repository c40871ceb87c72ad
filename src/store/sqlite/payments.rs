//! [`PaymentStore`] in SQLite.

use async_trait::async_trait;
use solana_signature::Signature;
use sqlx::{Connection, SqliteConnection};

use super::SqliteStore;
use crate::{
    calendar::Day,
    clock::UnixMs,
    ids::{AgentId, EventId},
    payments::settlement::WITHOUT_KEY,
    payments::{Entry, OnRecord, Paying, Payment, PaymentPage, PaymentStore, RecordOutcome, Used},
    store::{
        rows::{EntryRow, OnRecordRow, PaymentRow, TRANSACTIONS, page, slot, units},
        sql,
    },
    store_error::StoreError,
};

mod transactions {
    use sqlx::SqliteConnection;

    use super::super::decisions::{capture, lock_agent, so_far};

    crate::store::consequences::consequential_transactions!(
        SqliteConnection,
        "BEGIN IMMEDIATE",
        super::write,
        crate::store::sqlite::subscriptions::transactions
    );
}

#[async_trait]
impl PaymentStore for SqliteStore {
    async fn on_record(
        &self,
        nonce: &str,
        transaction: &Signature,
        paying: Option<Paying<'_>>,
    ) -> Result<OnRecord, StoreError> {
        let select = sqlx::query_as::<_, OnRecordRow>(sql::ON_RECORD)
            .bind(nonce)
            .bind(transaction.to_string())
            .bind(paying.map(|paying| paying.wallet.to_string()))
            .bind(paying.and_then(|paying| paying.user))
            .bind(paying.map(|paying| paying.unit.as_str()))
            .bind(paying.map(|paying| Day::of(paying.at).0));
        self.read(TRANSACTIONS, async |reader| select.fetch_one(reader).await).await?.try_into()
    }

    async fn record_all(&self, payments: &[Payment]) -> Result<Vec<RecordOutcome>, StoreError> {
        self.write("record", TRANSACTIONS, async |writer| record(writer, payments).await).await
    }

    async fn record_with_consequences(&self, payments: &[Payment]) -> Result<Vec<RecordOutcome>, StoreError> {
        self.write("record", TRANSACTIONS, async |writer| transactions::record(writer, payments, false).await)
            .await
    }

    async fn find(&self, owner: &str, id_or_signature: &str) -> Result<Option<Entry>, StoreError> {
        let select = sqlx::query_as::<_, EntryRow>(sql::FIND_PAYMENT).bind(id_or_signature).bind(owner);
        let row = self.read(TRANSACTIONS, async |reader| select.fetch_optional(reader).await).await?;
        row.map(Entry::try_from).transpose()
    }

    async fn purge_nonces(&self, before: UnixMs, limit: u32) -> Result<u64, StoreError> {
        let delete = sqlx::query(sql::PURGE_NONCES).bind(before.0).bind(i64::from(limit));
        self.execute("delete", "nonces", delete).await
    }

    async fn find_by_nonce(&self, nonce: &str) -> Result<Option<Payment>, StoreError> {
        let select = sqlx::query_as::<_, PaymentRow>(sql::FIND_PAYMENT_BY_NONCE).bind(nonce);
        let row = self.read(TRANSACTIONS, async |reader| select.fetch_optional(reader).await).await?;
        row.map(Payment::try_from).transpose()
    }

    async fn find_anonymous(&self, signature: &Signature) -> Result<Option<Entry>, StoreError> {
        let select = sqlx::query_as::<_, EntryRow>(sql::FIND_ANONYMOUS_SETTLEMENT)
            .bind(signature.to_string())
            .bind(WITHOUT_KEY);
        let row = self.read(TRANSACTIONS, async |reader| select.fetch_optional(reader).await).await?;
        row.map(Entry::try_from).transpose()
    }

    async fn list(&self, owner: &str, limit: u32, offset: u32) -> Result<PaymentPage, StoreError> {
        let (rows, total) = self
            .read(TRANSACTIONS, async |reader| {
                let mut snapshot = reader.begin().await?;
                let rows = sqlx::query_as::<_, EntryRow>(sql::LIST_PAYMENTS)
                    .bind(owner)
                    .bind(limit)
                    .bind(offset)
                    .fetch_all(&mut *snapshot)
                    .await?;
                let total: i64 =
                    sqlx::query_scalar(sql::COUNT_PAYMENTS).bind(owner).fetch_one(&mut *snapshot).await?;
                Ok((rows, total))
            })
            .await?;
        page(rows, total)
    }
}

async fn record(
    connection: &mut SqliteConnection,
    payments: &[Payment],
) -> Result<Vec<RecordOutcome>, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut outcomes = Vec::with_capacity(payments.len());
    for payment in payments {
        outcomes.push(write(&mut transaction, payment).await?);
    }
    transaction.commit().await?;
    Ok(outcomes)
}

/// The unique constraints decide: a payment whose nonce or transaction is there already writes nothing.
async fn write(transaction: &mut SqliteConnection, payment: &Payment) -> Result<RecordOutcome, sqlx::Error> {
    let row = sqlx::query(
        "INSERT INTO transactions (id, state, owner, signature, nonce, requirement_nonce, payer, recipient, \
         currency, amount, resource, network, slot, block_time_ms, verified_at_ms, request_tag, agent_id) \
         VALUES (?, 'settled', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
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
    .bind(slot(payment.slot))
    .bind(payment.block_time.0)
    .bind(payment.verified_at.0)
    .bind(&payment.request_tag)
    .bind(payment.agent.as_ref().map(AgentId::as_str))
    .execute(&mut *transaction)
    .await?;
    if row.rows_affected() == 0 {
        let nonce_used = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM transactions WHERE nonce = ?)")
            .bind(&payment.nonce)
            .fetch_one(&mut *transaction)
            .await?;
        return Ok(RecordOutcome::AlreadyUsed(if nonce_used { Used::Nonce } else { Used::Transaction }));
    }
    sqlx::query("INSERT INTO nonces (nonce, payment_id, used_at_ms) VALUES (?, ?, ?)")
        .bind(&payment.nonce)
        .bind(payment.id.as_str())
        .bind(payment.verified_at.0)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "INSERT INTO analytics_events (id, type, owner, payment_id, occurred_at_ms, agent_id) \
         VALUES (?, 'payment.verified', ?, ?, ?, ?)",
    )
    .bind(EventId::of_payment(&payment.id).as_str())
    .bind(&payment.owner)
    .bind(payment.id.as_str())
    .bind(payment.verified_at.0)
    .bind(payment.agent.as_ref().map(AgentId::as_str))
    .execute(&mut *transaction)
    .await?;
    Ok(RecordOutcome::Recorded)
}
