//! [`ServerSecretStore`] in PostgreSQL.

use async_trait::async_trait;

use super::PostgresStore;
use crate::{
    server_secrets::{ServerSecret, ServerSecretStore},
    store::{
        rows::{SECRETS, secret},
        sql,
    },
    store_error::StoreError,
};

#[async_trait]
impl ServerSecretStore for PostgresStore {
    async fn find_secret(&self, name: &str) -> Result<Option<ServerSecret>, StoreError> {
        let select = sqlx::query_as::<_, (Vec<u8>,)>(sql::FIND_SECRET).bind(name);
        self.row(SECRETS, select).await?.map(|(value,)| secret(value)).transpose()
    }

    async fn keep_secret(&self, name: &str, fresh: &ServerSecret) -> Result<ServerSecret, StoreError> {
        let insert = sqlx::query(sql::KEEP_SECRET).bind(name).bind(fresh.expose().as_slice());
        if self.execute("insert", SECRETS, insert).await? == 1 {
            return Ok(fresh.clone());
        }
        let kept = self.find_secret(name).await?;
        kept.ok_or_else(|| StoreError::Unavailable("the secret was removed meanwhile".into()))
    }
}
