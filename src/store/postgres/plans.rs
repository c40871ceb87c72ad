//! [`PlanStore`] in PostgreSQL.

use async_trait::async_trait;

use super::{Lease, PostgresStore, unstorable};
use crate::{
    clock::UnixMs,
    ids::PlanId,
    plans::{Changed, Plan, PlanChange, PlanPage, PlanStore, Removed},
    store::plans::{self, PLANS, PlanRow, plan_page},
    store_error::StoreError,
};

mod transactions {
    use sqlx::PgConnection;

    crate::store::plans::plan_transactions!(
        PgConnection,
        "BEGIN",
        " FOR UPDATE",
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        crate::store::postgres::subscriptions::transactions
    );
}

#[async_trait]
impl PlanStore for PostgresStore {
    async fn create_plan(&self, plan: &Plan) -> Result<(), StoreError> {
        self.timed("insert", PLANS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let created = transactions::create(&mut lease, plan).await;
            lease.end(created)
        })
        .await
    }

    async fn find_plan(&self, id: &str) -> Result<Option<Plan>, StoreError> {
        if unstorable(id) {
            return Ok(None);
        }
        let select = sqlx::query_as::<_, PlanRow>(plans::FIND_PLAN).bind(id);
        self.row(PLANS, select).await?.map(Plan::try_from).transpose()
    }

    async fn plans_on_offer(&self, limit: u32, offset: u32) -> Result<PlanPage, StoreError> {
        let found = self.timed("select", PLANS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let found = transactions::on_offer(&mut lease, limit, offset).await;
            lease.end(found)
        });
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
        self.timed("update", PLANS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let changed = transactions::change(&mut lease, owner, id, change, at).await;
            lease.end(changed)
        })
        .await?
    }

    async fn remove_plan(&self, owner: &str, id: &PlanId, at: UnixMs) -> Result<Removed, StoreError> {
        self.timed("delete", PLANS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let removed = transactions::remove(&mut lease, owner, id, at).await;
            lease.end(removed)
        })
        .await?
    }
}
