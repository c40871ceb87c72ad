//! [`ServerSecretStore`] in SQLite.

use async_trait::async_trait;

use super::SqliteStore;
use crate::{
    server_secrets::{ServerSecret, ServerSecretStore},
    store::{
        rows::{SECRETS, secret},
        sql,
    },
    store_error::StoreError,
};

#[async_trait]
impl ServerSecretStore for SqliteStore {
    async fn find_secret(&self, name: &str) -> Result<Option<ServerSecret>, StoreError> {
        let select = sqlx::query_scalar(sql::FIND_SECRET).bind(name);
        self.read(SECRETS, async |reader| select.fetch_optional(reader).await).await?.map(secret).transpose()
    }

    async fn keep_secret(&self, name: &str, fresh: &ServerSecret) -> Result<ServerSecret, StoreError> {
        let insert = sqlx::query(sql::KEEP_SECRET).bind(name).bind(fresh.expose().as_slice());
        if self.execute("insert", SECRETS, insert).await? == 1 {
            return Ok(fresh.clone());
        }
        let select = sqlx::query_scalar(sql::FIND_SECRET).bind(name);
        secret(self.read(SECRETS, async |reader| select.fetch_one(reader).await).await?)
    }
}
