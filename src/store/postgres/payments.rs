//! [`PaymentStore`] in PostgreSQL.

use async_trait::async_trait;
use solana_signature::Signature;
use sqlx::{Connection, PgConnection};

use super::{Lease, PostgresStore, record::Kind, unstorable};
use crate::{
    calendar::Day,
    clock::UnixMs,
    payments::settlement::WITHOUT_KEY,
    payments::{Entry, OnRecord, Paying, Payment, PaymentPage, PaymentStore, RecordOutcome},
    store::{
        rows::{EntryRow, OnRecordRow, PaymentRow, TRANSACTIONS, page},
        sql,
    },
    store_error::StoreError,
};

#[async_trait]
impl PaymentStore for PostgresStore {
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
        let found = self.row(TRANSACTIONS, select).await?;
        found.map_or_else(|| Ok(OnRecord::default()), OnRecord::try_from)
    }

    async fn record_all(&self, payments: &[Payment]) -> Result<Vec<RecordOutcome>, StoreError> {
        let recorded = self.record_batch(Kind::Plain, payments);
        self.timed("record", TRANSACTIONS, recorded).await?.ok_or(StoreError::Unknown)
    }

    async fn record_with_consequences(&self, payments: &[Payment]) -> Result<Vec<RecordOutcome>, StoreError> {
        let recorded = self.record_batch(Kind::WithConsequences, payments);
        self.timed("record", TRANSACTIONS, recorded).await?.ok_or(StoreError::Unknown)
    }

    async fn purge_nonces(&self, before: UnixMs, limit: u32) -> Result<u64, StoreError> {
        let delete = sqlx::query(sql::PURGE_NONCES).bind(before.0).bind(i64::from(limit));
        self.execute("delete", "nonces", delete).await
    }

    async fn find_by_nonce(&self, nonce: &str) -> Result<Option<Payment>, StoreError> {
        if unstorable(nonce) {
            return Ok(None);
        }
        let select = sqlx::query_as::<_, PaymentRow>(sql::FIND_PAYMENT_BY_NONCE).bind(nonce);
        self.row(TRANSACTIONS, select).await?.map(Payment::try_from).transpose()
    }

    async fn find(&self, owner: &str, id_or_signature: &str) -> Result<Option<Entry>, StoreError> {
        if unstorable(id_or_signature) {
            return Ok(None);
        }
        let select = sqlx::query_as::<_, EntryRow>(sql::FIND_PAYMENT).bind(id_or_signature).bind(owner);
        self.row(TRANSACTIONS, select).await?.map(Entry::try_from).transpose()
    }

    async fn find_anonymous(&self, signature: &Signature) -> Result<Option<Entry>, StoreError> {
        let select = sqlx::query_as::<_, EntryRow>(sql::FIND_ANONYMOUS_SETTLEMENT)
            .bind(signature.to_string())
            .bind(WITHOUT_KEY);
        self.row(TRANSACTIONS, select).await?.map(Entry::try_from).transpose()
    }

    async fn list(&self, owner: &str, limit: u32, offset: u32) -> Result<PaymentPage, StoreError> {
        let found = self.timed("select", TRANSACTIONS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let found = list(&mut lease, owner, limit, offset).await;
            lease.end(found)
        });
        let (rows, total) = found.await?;
        page(rows, total)
    }
}

/// Rows and total of the same moment.
async fn list(
    connection: &mut PgConnection,
    owner: &str,
    limit: u32,
    offset: u32,
) -> Result<(Vec<EntryRow>, i64), sqlx::Error> {
    let mut snapshot = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let rows = sqlx::query_as(sql::LIST_PAYMENTS)
        .bind(owner)
        .bind(i64::from(limit))
        .bind(i64::from(offset))
        .fetch_all(&mut *snapshot)
        .await?;
    let total = sqlx::query_scalar(sql::COUNT_PAYMENTS).bind(owner).fetch_one(&mut *snapshot).await?;
    snapshot.commit().await?;
    Ok((rows, total))
}
