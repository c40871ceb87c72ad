//! [`RequirementStore`] in SQLite.

use async_trait::async_trait;

use super::SqliteStore;
use crate::{
    requirements::{IssuedRequirement, RequirementStore},
    store::{
        rows::{REQUIREMENTS, RequirementRow, units},
        sql,
    },
    store_error::StoreError,
};

#[async_trait]
impl RequirementStore for SqliteStore {
    async fn issue(&self, issued: &IssuedRequirement) -> Result<(), StoreError> {
        let requirement = &issued.requirement;
        let expires_at = requirement.expires_at.unwrap_or(issued.created_at);
        let insert = sqlx::query(sql::ISSUE_REQUIREMENT)
            .bind(&issued.nonce)
            .bind(&issued.owner)
            .bind(units(requirement.amount))
            .bind(requirement.scheme.max_amount().map(units))
            .bind(requirement.currency.as_str())
            .bind(requirement.recipient.to_string())
            .bind(requirement.scheme.as_str())
            .bind(&requirement.resource)
            .bind(&issued.metadata)
            .bind(expires_at.0)
            .bind(issued.created_at.0);
        self.execute("insert", REQUIREMENTS, insert).await.map(drop)
    }

    async fn find(&self, nonce: &str) -> Result<Option<IssuedRequirement>, StoreError> {
        let select = sqlx::query_as::<_, RequirementRow>(sql::FIND_REQUIREMENT).bind(nonce);
        let row = self.read(REQUIREMENTS, async |reader| select.fetch_optional(reader).await).await?;
        row.map(IssuedRequirement::try_from).transpose()
    }
}
