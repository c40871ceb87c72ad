//! [`AgentStore`] in SQLite.

use async_trait::async_trait;

use super::{Lease, SqliteStore, decisions};
use crate::{
    agents::{Agent, AgentPage, AgentPatch, AgentStore, Created, Failure, Held, Hold, Spending, Updated},
    calendar::Day,
    clock::UnixMs,
    ids::{AgentId, EventId},
    store::agents::{self, AGENTS, AgentRow, FAILURES, HOLDS, SPENDING, SpendingRow},
    store_error::StoreError,
};

mod transactions {
    use sqlx::SqliteConnection;

    // One writer at a time: its lock is all that is needed.
    crate::store::agents::agent_transactions!(SqliteConnection, "BEGIN IMMEDIATE", "");
}

#[async_trait]
impl AgentStore for SqliteStore {
    async fn create(&self, agent: &Agent, event: &EventId) -> Result<Created, StoreError> {
        self.timed("insert", AGENTS, async {
            let mut lease = Lease::from(&self.writer).await?;
            let created = transactions::create(&mut lease, agent, event).await;
            lease.end(created)
        })
        .await
    }

    async fn find(&self, owner: &str, id_or_public_key: &str) -> Result<Option<Agent>, StoreError> {
        let select = sqlx::query_as::<_, AgentRow>(agents::FIND_AGENT).bind(id_or_public_key).bind(owner);
        let row = self.timed("select", AGENTS, select.fetch_optional(&self.readers)).await?;
        row.map(Agent::try_from).transpose()
    }

    async fn list(&self, owner: &str, limit: u32, offset: u32) -> Result<AgentPage, StoreError> {
        let found = self.timed("select", AGENTS, async {
            let mut snapshot = self.readers.begin().await?;
            let rows = sqlx::query_as(agents::LIST_AGENTS).bind(owner).bind(limit).bind(offset);
            let rows = rows.fetch_all(&mut *snapshot).await?;
            let total = sqlx::query_scalar(agents::COUNT_AGENTS).bind(owner);
            Ok((rows, total.fetch_one(&mut *snapshot).await?))
        });
        let (rows, total) = found.await?;
        agents::page(rows, total)
    }

    async fn update(
        &self,
        owner: &str,
        id_or_public_key: &str,
        patch: &AgentPatch,
        at: UnixMs,
        event: &EventId,
    ) -> Result<Updated, StoreError> {
        let updated = self.timed("update", AGENTS, async {
            let mut lease = Lease::from(&self.writer).await?;
            let updated = transactions::update(&mut lease, owner, id_or_public_key, patch, at, event).await;
            lease.end(updated)
        });
        updated.await?
    }

    async fn delete(
        &self,
        owner: &str,
        id_or_public_key: &str,
        at: UnixMs,
        event: &EventId,
    ) -> Result<Option<Agent>, StoreError> {
        let deleted = self.timed("update", AGENTS, async {
            let mut lease = Lease::from(&self.writer).await?;
            let deleted = transactions::delete(&mut lease, owner, id_or_public_key, at, event).await;
            lease.end(deleted)
        });
        deleted.await?
    }

    async fn spending(&self, agent: &AgentId, at: UnixMs) -> Result<Spending, StoreError> {
        let select = sqlx::query_as::<_, SpendingRow>(agents::SPENDING_OF_DAY)
            .bind(agent.as_str())
            .bind(Day::of(at).0)
            .bind(at.0);
        agents::spending(self.timed("select", SPENDING, select.fetch_one(&self.readers)).await?)
    }

    async fn hold(&self, wanted: &Hold, until: UnixMs) -> Result<Held, StoreError> {
        self.timed("hold", HOLDS, async {
            let mut lease = Lease::from(&self.writer).await?;
            let held = decisions::hold_until(&mut lease, wanted, until).await;
            lease.end(held)
        })
        .await
    }

    async fn note_failure(&self, failure: &Failure) -> Result<bool, StoreError> {
        self.timed("insert", FAILURES, async {
            let mut lease = Lease::from(&self.writer).await?;
            let noted = transactions::note_failure(&mut lease, failure).await;
            lease.end(noted)
        })
        .await
    }

    async fn forget(&self, now: UnixMs, failed_before: UnixMs, limit: u32) -> Result<u64, StoreError> {
        let holds = sqlx::query(agents::FORGET_HOLDS).bind(now.0).bind(i64::from(limit));
        let failures = sqlx::query(agents::FORGET_FAILURES).bind(failed_before.0).bind(i64::from(limit));
        let holds = self.execute("delete", HOLDS, holds).await?;
        Ok(holds + self.execute("delete", FAILURES, failures).await?)
    }
}
