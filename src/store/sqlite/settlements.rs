//! [`SettlementStore`] in SQLite.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use solana_signature::Signature;
use sqlx::{Connection, SqliteConnection};

use super::SqliteStore;
use crate::{
    clock::UnixMs,
    payments::settlement::{
        Claim, Claimed, Ending, Finished, InFlight, Journal, Journalled, MessageHash, Record,
        SettlementStore, Sponsored, TermsHash,
    },
    store::settlements::{self, InFlightRow, SETTLEMENTS, SPONSORED_LAMPORTS, SettlementRow, day, subject},
    store_error::StoreError,
};

const RENEW: &str = "\
    UPDATE settlements SET lease_until_ms = $3 WHERE message = $1 AND holder = $2 AND state = 'pending'";

/// One writer at a time: nobody else picks the same.
const TAKE_OVER: &str = "\
    UPDATE settlements SET holder = $3, lease_until_ms = $4 WHERE message IN (\
        SELECT message FROM settlements WHERE state = 'pending' AND lease_until_ms < $1 \
        ORDER BY lease_until_ms LIMIT $2) \
    RETURNING message, terms, signature, bytes, last_valid_height, journalled_at_ms";

mod transactions {
    use sqlx::SqliteConnection;

    use super::super::{
        analytics::transactions::add_adopted,
        decisions::{count_after_all, end_hold, hold, lock_agent, lock_wallet},
    };

    crate::store::settlements::settlement_transactions!(SqliteConnection, "BEGIN IMMEDIATE");
}

#[async_trait]
impl SettlementStore for SqliteStore {
    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        let take = sqlx::query(settlements::CLAIM)
            .bind(claim.message.0.as_slice())
            .bind(claim.terms.0.as_slice())
            .bind(&claim.holder)
            .bind(&claim.attempt)
            .bind(claim.lease_until.0)
            .bind(claim.at.0);
        if self.execute("claim", SETTLEMENTS, take).await? == 1 {
            return Ok(Claimed::Fresh);
        }
        self.look_up(&claim.message, &claim.terms).await
    }

    async fn look_up(&self, message: &MessageHash, terms: &TermsHash) -> Result<Claimed, StoreError> {
        let find =
            sqlx::query_as::<_, SettlementRow>(settlements::FIND_SETTLEMENT).bind(message.0.as_slice());
        settlements::claimed(
            self.read(SETTLEMENTS, async |reader| find.fetch_optional(reader).await).await?,
            *terms,
        )
    }

    async fn abandon(&self, claim: &Claim) -> Result<bool, StoreError> {
        let delete = sqlx::query(settlements::ABANDON).bind(claim.message.0.as_slice()).bind(&claim.attempt);
        Ok(self.execute("delete", SETTLEMENTS, delete).await? == 1)
    }

    async fn journal(&self, journal: &Journal) -> Result<Journalled, StoreError> {
        let committing = AtomicBool::new(false);
        let journalled = self.write("journal", SETTLEMENTS, async |writer| {
            transactions::journal(writer, journal, &committing).await
        });
        let journalled = journalled.await;
        journalled.map_err(
            |error| {
                if committing.load(Ordering::Relaxed) { StoreError::Unknown } else { error }
            },
        )
    }

    async fn finish(
        &self,
        message: &MessageHash,
        ending: &Ending,
        at: UnixMs,
    ) -> Result<Option<Finished>, StoreError> {
        let finished = self.write("finish", SETTLEMENTS, async |writer| {
            transactions::finish(writer, message, ending, at).await
        });
        let (row, first) = finished.await?;
        settlements::finished(row, first)
    }

    async fn renew(
        &self,
        holder: &str,
        messages: &[MessageHash],
        until: UnixMs,
    ) -> Result<Vec<MessageHash>, StoreError> {
        let renewed =
            self.write("renew", SETTLEMENTS, async |writer| renew(writer, holder, messages, until).await);
        renewed.await
    }

    async fn take_over(
        &self,
        holder: &str,
        now: UnixMs,
        until: UnixMs,
        limit: u32,
    ) -> Result<Vec<InFlight>, StoreError> {
        // The writer is not taken for what is mostly nothing.
        let lapsed = sqlx::query_scalar::<_, Vec<u8>>(settlements::LAPSED_SETTLEMENTS)
            .bind(now.0)
            .bind(i64::from(limit));
        if self.read(SETTLEMENTS, async |reader| lapsed.fetch_all(reader).await).await?.is_empty() {
            return Ok(Vec::new());
        }
        let take_over = sqlx::query_as::<_, InFlightRow>(TAKE_OVER)
            .bind(now.0)
            .bind(i64::from(limit))
            .bind(holder)
            .bind(until.0);
        let rows = self.write("take_over", SETTLEMENTS, async |writer| take_over.fetch_all(writer).await);
        rows.await.map(settlements::in_flight)
    }

    async fn forget_claims(&self, now: UnixMs, limit: u32) -> Result<u64, StoreError> {
        let delete = sqlx::query(settlements::FORGET_CLAIMS).bind(now.0).bind(i64::from(limit));
        self.execute("delete", SETTLEMENTS, delete).await
    }

    async fn adopt(&self, message: &MessageHash, terms: &TermsHash, owner: &str) -> Result<bool, StoreError> {
        self.write("adopt", SETTLEMENTS, async |writer| {
            transactions::adopt(writer, message, terms, owner).await
        })
        .await
    }

    async fn find(&self, signature: &Signature) -> Result<Option<Record>, StoreError> {
        let find = sqlx::query_as::<_, SettlementRow>(settlements::FIND_SETTLEMENT_BY_SIGNATURE)
            .bind(signature.to_string());
        settlements::record(self.read(SETTLEMENTS, async |reader| find.fetch_optional(reader).await).await?)
    }

    async fn sponsored(&self, at: UnixMs, key_id: Option<&str>) -> Result<Sponsored, StoreError> {
        let find =
            sqlx::query_as::<_, (i64, i64)>(settlements::SPONSORED).bind(day(at)).bind(subject(key_id));
        settlements::sponsored(
            self.read(SPONSORED_LAMPORTS, async |reader| find.fetch_optional(reader).await).await?,
        )
    }
}

async fn renew(
    connection: &mut SqliteConnection,
    holder: &str,
    messages: &[MessageHash],
    until: UnixMs,
) -> Result<Vec<MessageHash>, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut held = Vec::with_capacity(messages.len());
    for message in messages {
        let renewed = sqlx::query(RENEW)
            .bind(message.0.as_slice())
            .bind(holder)
            .bind(until.0)
            .execute(&mut *transaction)
            .await?;
        if renewed.rows_affected() == 1 {
            held.push(*message);
        }
    }
    transaction.commit().await?;
    Ok(held)
}
