//! [`SettlementStore`] in PostgreSQL.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use solana_signature::Signature;

use super::{Lease, PostgresStore};
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
    UPDATE settlements SET lease_until_ms = $3 \
    WHERE message = ANY ($1) AND holder = $2 AND state = 'pending' RETURNING message";

/// What another instance is just taking, or ending, is left to it.
const TAKE_OVER: &str = "\
    WITH lapsed AS MATERIALIZED (\
        SELECT message FROM settlements WHERE state = 'pending' AND lease_until_ms < $1 \
        ORDER BY lease_until_ms LIMIT $2 FOR UPDATE SKIP LOCKED) \
    UPDATE settlements s SET holder = $3, lease_until_ms = $4 FROM lapsed WHERE s.message = lapsed.message \
    RETURNING s.message, s.terms, s.signature, s.bytes, s.last_valid_height, s.journalled_at_ms";

mod transactions {
    use sqlx::PgConnection;

    use super::super::{
        analytics::transactions::add_adopted,
        decisions::{count_after_all, end_hold, hold, lock_agent, lock_wallet},
    };

    crate::store::settlements::settlement_transactions!(PgConnection, "BEGIN");
}

#[async_trait]
impl SettlementStore for PostgresStore {
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
        settlements::claimed(self.row(SETTLEMENTS, find).await?, *terms)
    }

    async fn abandon(&self, claim: &Claim) -> Result<bool, StoreError> {
        let delete = sqlx::query(settlements::ABANDON).bind(claim.message.0.as_slice()).bind(&claim.attempt);
        Ok(self.execute("delete", SETTLEMENTS, delete).await? == 1)
    }

    async fn journal(&self, journal: &Journal) -> Result<Journalled, StoreError> {
        let committing = AtomicBool::new(false);
        let journalled = self.timed("journal", SETTLEMENTS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let journalled = transactions::journal(&mut lease, journal, &committing).await;
            lease.end(journalled)
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
        let finished = self.timed("finish", SETTLEMENTS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let finished = transactions::finish(&mut lease, message, ending, at).await;
            lease.end(finished)
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
        let asked: Vec<&[u8]> = messages.iter().map(|message| message.0.as_slice()).collect();
        let renewed = self.timed("renew", SETTLEMENTS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let renewed = sqlx::query_scalar::<_, Vec<u8>>(RENEW)
                .bind(asked)
                .bind(holder)
                .bind(until.0)
                .fetch_all(&mut *lease)
                .await;
            lease.end(renewed)
        });
        settlements::messages(renewed.await?)
    }

    async fn take_over(
        &self,
        holder: &str,
        now: UnixMs,
        until: UnixMs,
        limit: u32,
    ) -> Result<Vec<InFlight>, StoreError> {
        let rows = self.timed("take_over", SETTLEMENTS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let rows = sqlx::query_as::<_, InFlightRow>(TAKE_OVER)
                .bind(now.0)
                .bind(i64::from(limit))
                .bind(holder)
                .bind(until.0)
                .fetch_all(&mut *lease)
                .await;
            lease.end(rows)
        });
        rows.await.map(settlements::in_flight)
    }

    async fn forget_claims(&self, now: UnixMs, limit: u32) -> Result<u64, StoreError> {
        let delete = sqlx::query(settlements::FORGET_CLAIMS).bind(now.0).bind(i64::from(limit));
        self.execute("delete", SETTLEMENTS, delete).await
    }

    async fn adopt(&self, message: &MessageHash, terms: &TermsHash, owner: &str) -> Result<bool, StoreError> {
        self.timed("adopt", SETTLEMENTS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let adopted = transactions::adopt(&mut lease, message, terms, owner).await;
            lease.end(adopted)
        })
        .await
    }

    async fn find(&self, signature: &Signature) -> Result<Option<Record>, StoreError> {
        let find = sqlx::query_as::<_, SettlementRow>(settlements::FIND_SETTLEMENT_BY_SIGNATURE)
            .bind(signature.to_string());
        settlements::record(self.row(SETTLEMENTS, find).await?)
    }

    async fn sponsored(&self, at: UnixMs, key_id: Option<&str>) -> Result<Sponsored, StoreError> {
        let find =
            sqlx::query_as::<_, (i64, i64)>(settlements::SPONSORED).bind(day(at)).bind(subject(key_id));
        settlements::sponsored(self.row(SPONSORED_LAMPORTS, find).await?)
    }
}
