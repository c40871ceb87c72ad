//! [`AgentStore`] in SQLite.

use async_trait::async_trait;
use sqlx::Connection;

use super::{SqliteStore, decisions};
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
        self.write("insert", AGENTS, async |writer| transactions::create(writer, agent, event).await).await
    }

    async fn find(&self, owner: &str, id_or_public_key: &str) -> Result<Option<Agent>, StoreError> {
        let select = sqlx::query_as::<_, AgentRow>(agents::FIND_AGENT).bind(id_or_public_key).bind(owner);
        let row = self.read(AGENTS, async |reader| select.fetch_optional(reader).await).await?;
        row.map(Agent::try_from).transpose()
    }

    async fn list(&self, owner: &str, limit: u32, offset: u32) -> Result<AgentPage, StoreError> {
        let found = self.read(AGENTS, async |reader| {
            let mut snapshot = reader.begin().await?;
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
        let updated = self.write("update", AGENTS, async |writer| {
            transactions::update(writer, owner, id_or_public_key, patch, at, event).await
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
        let deleted = self.write("update", AGENTS, async |writer| {
            transactions::delete(writer, owner, id_or_public_key, at, event).await
        });
        deleted.await?
    }

    async fn spending(&self, agent: &AgentId, at: UnixMs) -> Result<Spending, StoreError> {
        let select = sqlx::query_as::<_, SpendingRow>(agents::SPENDING_OF_DAY)
            .bind(agent.as_str())
            .bind(Day::of(at).0)
            .bind(at.0);
        agents::spending(self.read(SPENDING, async |reader| select.fetch_one(reader).await).await?)
    }

    async fn hold(&self, wanted: &Hold, until: UnixMs) -> Result<Held, StoreError> {
        self.write("hold", HOLDS, async |writer| decisions::hold_until(writer, wanted, until).await).await
    }

    async fn note_failure(&self, failure: &Failure) -> Result<bool, StoreError> {
        self.write("insert", FAILURES, async |writer| transactions::note_failure(writer, failure).await).await
    }

    async fn forget(&self, now: UnixMs, failed_before: UnixMs, limit: u32) -> Result<u64, StoreError> {
        let holds = sqlx::query(agents::FORGET_HOLDS).bind(now.0).bind(i64::from(limit));
        let failures = sqlx::query(agents::FORGET_FAILURES).bind(failed_before.0).bind(i64::from(limit));
        let holds = self.execute("delete", HOLDS, holds).await?;
        Ok(holds + self.execute("delete", FAILURES, failures).await?)
    }
}
