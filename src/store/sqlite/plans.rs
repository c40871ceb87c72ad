//! [`PlanStore`] in SQLite.

use async_trait::async_trait;

use super::SqliteStore;
use crate::{
    clock::UnixMs,
    ids::PlanId,
    plans::{Changed, Plan, PlanChange, PlanPage, PlanStore, Removed},
    store::plans::{self, PLANS, PlanRow, plan_page},
    store_error::StoreError,
};

mod transactions {
    use sqlx::SqliteConnection;

    crate::store::plans::plan_transactions!(
        SqliteConnection,
        "BEGIN IMMEDIATE",
        "",
        "BEGIN",
        crate::store::sqlite::subscriptions::transactions
    );
}

#[async_trait]
impl PlanStore for SqliteStore {
    async fn create_plan(&self, plan: &Plan) -> Result<(), StoreError> {
        self.write("insert", PLANS, async |writer| transactions::create(writer, plan).await).await
    }

    async fn find_plan(&self, id: &str) -> Result<Option<Plan>, StoreError> {
        let select = sqlx::query_as::<_, PlanRow>(plans::FIND_PLAN).bind(id);
        let row = self.read(PLANS, async |reader| select.fetch_optional(reader).await).await?;
        row.map(Plan::try_from).transpose()
    }

    async fn plans_on_offer(&self, limit: u32, offset: u32) -> Result<PlanPage, StoreError> {
        let found = self.read(PLANS, async |reader| transactions::on_offer(reader, limit, offset).await);
        let (rows, total) = found.await?;
        plan_page(rows, total)
    }

    async fn change_plan(
        &self,
        owner: &str,
        id: &PlanId,
        change: &PlanChange,
        at: UnixMs,
    ) -> Result<Changed, StoreError> {
        self.write("update", PLANS, async |writer| transactions::change(writer, owner, id, change, at).await)
            .await?
    }

    async fn remove_plan(&self, owner: &str, id: &PlanId, at: UnixMs) -> Result<Removed, StoreError> {
        self.write("delete", PLANS, async |writer| transactions::remove(writer, owner, id, at).await).await?
    }
}
