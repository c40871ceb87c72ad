//! [`ApiKeyStore`] in SQLite.

use async_trait::async_trait;
use sqlx::{Connection, Sqlite, SqliteConnection, Transaction};

use super::{Lease, SqliteStore};
use crate::{
    api_keys::{
        ApiKeyPage, ApiKeyRecord, ApiKeyStore, Created, KeyEvent, Rotation, RotationOutcome, StoredKey,
    },
    clock::UnixMs,
    ids::ApiKeyId,
    store::{
        rows::{API_KEYS, ApiKeyRow, key_page, wallets},
        sql,
    },
    store_error::StoreError,
};

/// `$1` is a JSON list of pairs of id and time.
const NOTE_USE: &str = "\
    UPDATE api_keys SET last_used_at_ms = used.at \
    FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS at FROM json_each($1)) AS used \
    WHERE api_keys.id = used.id AND (last_used_at_ms IS NULL OR last_used_at_ms < used.at)";

#[async_trait]
impl ApiKeyStore for SqliteStore {
    async fn create_key(&self, key: &StoredKey, created: &KeyEvent) -> Result<Created, StoreError> {
        self.timed("insert", API_KEYS, async {
            let mut lease = Lease::from(&self.writer).await?;
            let done = create(&mut lease, key, created).await;
            lease.end(done)
        })
        .await
    }

    async fn key_by_prefix(&self, prefix: &str) -> Result<Option<StoredKey>, StoreError> {
        let select = sqlx::query_as::<_, ApiKeyRow>(sql::API_KEY_BY_PREFIX).bind(prefix);
        let row = self.timed("select", API_KEYS, select.fetch_optional(&self.readers)).await?;
        row.map(StoredKey::try_from).transpose()
    }

    async fn find_key(&self, id_or_prefix: &str) -> Result<Option<ApiKeyRecord>, StoreError> {
        let select = sqlx::query_as::<_, ApiKeyRow>(sql::FIND_API_KEY).bind(id_or_prefix);
        let row = self.timed("select", API_KEYS, select.fetch_optional(&self.readers)).await?;
        row.map(|row| StoredKey::try_from(row).map(|key| key.record)).transpose()
    }

    async fn list_keys(&self, user: Option<&str>, limit: u32, offset: u32) -> Result<ApiKeyPage, StoreError> {
        let (rows, total) = self
            .timed("select", API_KEYS, async {
                let mut snapshot = self.readers.begin().await?;
                let (rows, total) = match user {
                    Some(user) => (
                        sqlx::query_as(sql::LIST_API_KEYS).bind(user),
                        sqlx::query_scalar(sql::COUNT_API_KEYS).bind(user),
                    ),
                    None => {
                        (sqlx::query_as(sql::LIST_ALL_API_KEYS), sqlx::query_scalar(sql::COUNT_ALL_API_KEYS))
                    }
                };
                let rows = rows.bind(limit).bind(offset).fetch_all(&mut *snapshot).await?;
                Ok((rows, total.fetch_one(&mut *snapshot).await?))
            })
            .await?;
        key_page(rows, total)
    }

    async fn rotate_key(&self, rotation: &Rotation) -> Result<RotationOutcome, StoreError> {
        self.timed("update", API_KEYS, async {
            let mut lease = Lease::from(&self.writer).await?;
            let done = rotate(&mut lease, rotation).await;
            lease.end(done)
        })
        .await
    }

    async fn revoke_key(&self, revoked: &KeyEvent) -> Result<bool, StoreError> {
        self.timed("update", API_KEYS, async {
            let mut lease = Lease::from(&self.writer).await?;
            let done = revoke(&mut lease, revoked).await;
            lease.end(done)
        })
        .await
    }

    async fn note_use(&self, used: &[(ApiKeyId, UnixMs)]) -> Result<(), StoreError> {
        let used = serde_json::to_string(used).map_err(|error| StoreError::Rejected(error.into()))?;
        self.execute("update", API_KEYS, sqlx::query(NOTE_USE).bind(used)).await.map(drop)
    }
}

async fn create(
    connection: &mut SqliteConnection,
    key: &StoredKey,
    created: &KeyEvent,
) -> Result<Created, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if !insert(&mut transaction, key).await? {
        transaction.rollback().await?;
        return Ok(Created::PrefixTaken);
    }
    tell(&mut transaction, created).await?;
    transaction.commit().await?;
    Ok(Created::Kept)
}

async fn rotate(
    connection: &mut SqliteConnection,
    rotation: &Rotation,
) -> Result<RotationOutcome, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if !insert(&mut transaction, &rotation.successor).await? {
        transaction.rollback().await?;
        return Ok(RotationOutcome::PrefixTaken);
    }
    let rotated = sqlx::query(sql::ROTATE_API_KEY)
        .bind(rotation.old.as_str())
        .bind(rotation.successor.record.id.as_str())
        .bind(rotation.old_ends_at.0)
        .bind(rotation.at.0)
        .execute(&mut *transaction)
        .await?;
    if rotated.rows_affected() == 0 {
        transaction.rollback().await?;
        return Ok(RotationOutcome::Over);
    }
    for event in &rotation.events {
        tell(&mut transaction, event).await?;
    }
    transaction.commit().await?;
    Ok(RotationOutcome::Rotated)
}

async fn revoke(connection: &mut SqliteConnection, revoked: &KeyEvent) -> Result<bool, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let update = sqlx::query(sql::REVOKE_API_KEY).bind(revoked.key.as_str()).bind(revoked.at.0);
    let changed = update.execute(&mut *transaction).await?.rows_affected() == 1;
    if changed {
        tell(&mut transaction, revoked).await?;
    }
    transaction.commit().await?;
    Ok(changed)
}

/// `false` where another key has the prefix.
async fn insert(transaction: &mut Transaction<'_, Sqlite>, key: &StoredKey) -> Result<bool, sqlx::Error> {
    let record = &key.record;
    let inserted = sqlx::query(sql::CREATE_API_KEY)
        .bind(record.id.as_str())
        .bind(&record.prefix)
        .bind(record.environment.as_str())
        .bind(&record.name)
        .bind(&record.user)
        .bind(record.scopes.to_stored())
        .bind(wallets(record))
        .bind(&key.hash)
        .bind(record.created_at.0)
        .bind(record.expires_at.map(|at| at.0))
        .execute(&mut **transaction)
        .await?;
    Ok(inserted.rows_affected() == 1)
}

async fn tell(transaction: &mut Transaction<'_, Sqlite>, event: &KeyEvent) -> Result<(), sqlx::Error> {
    sqlx::query(sql::ADD_API_KEY_EVENT)
        .bind(event.id.as_str())
        .bind(event.key.as_str())
        .bind(event.kind.as_str())
        .bind(&event.actor)
        .bind(event.at.0)
        .execute(&mut **transaction)
        .await
        .map(drop)
}
