//! [`IdempotencyStore`] in SQLite.

use async_trait::async_trait;

use super::SqliteStore;
use crate::{
    clock::UnixMs,
    idempotency::{Attempt, Begun, IdempotencyStore, LEASE, LIFETIME, StoredAnswer},
    store::sql,
    store_error::StoreError,
};

const TABLE: &str = "idempotency_keys";

#[async_trait]
impl IdempotencyStore for SqliteStore {
    async fn begin(&self, attempt: &Attempt) -> Result<Begun, StoreError> {
        let take = sqlx::query(sql::BEGIN_ATTEMPT)
            .bind(&attempt.caller)
            .bind(&attempt.key)
            .bind(attempt.fingerprint.as_slice())
            .bind(&attempt.holder)
            .bind((attempt.at + LEASE).0)
            .bind(attempt.at.0)
            .bind((attempt.at - LIFETIME).0);
        if self.execute("insert", TABLE, take).await? == 1 {
            return Ok(Begun::Fresh);
        }
        let find =
            sqlx::query_as::<_, sql::AnswerRow>(sql::FIND_ANSWER).bind(&attempt.caller).bind(&attempt.key);
        let row = self.read(TABLE, async |reader| find.fetch_optional(reader).await).await?;
        Ok(sql::not_fresh(attempt, row))
    }

    async fn finish(&self, attempt: &Attempt, answer: &StoredAnswer) -> Result<(), StoreError> {
        let update = sqlx::query(sql::FINISH_ATTEMPT)
            .bind(&attempt.caller)
            .bind(&attempt.key)
            .bind(&attempt.holder)
            .bind(i32::from(answer.status))
            .bind(&answer.body);
        self.execute("update", TABLE, update).await.map(drop)
    }

    async fn abandon(&self, attempt: &Attempt) -> Result<(), StoreError> {
        let delete =
            sqlx::query(sql::ABANDON_ATTEMPT).bind(&attempt.caller).bind(&attempt.key).bind(&attempt.holder);
        self.execute("delete", TABLE, delete).await.map(drop)
    }

    async fn purge(&self, before: UnixMs, limit: u32) -> Result<u64, StoreError> {
        let delete = sqlx::query(sql::PURGE_ANSWERS).bind(before.0).bind(i64::from(limit));
        self.execute("delete", TABLE, delete).await
    }
}
