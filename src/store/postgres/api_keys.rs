//! [`ApiKeyStore`] in PostgreSQL.

use async_trait::async_trait;
use sqlx::{Connection, PgConnection, Postgres, Transaction};

use super::{Lease, PostgresStore, unstorable};
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

/// Rows are locked by id, so that instances that note the same keys wait for each other in the same order.
const NOTE_USE: &str = "\
    WITH used AS (SELECT * FROM unnest($1::text[], $2::bigint[]) AS used (id, at)), \
    turn AS (SELECT k.id, used.at FROM api_keys k JOIN used ON used.id = k.id ORDER BY k.id FOR NO KEY UPDATE OF k) \
    UPDATE api_keys SET last_used_at_ms = turn.at FROM turn \
    WHERE api_keys.id = turn.id AND (last_used_at_ms IS NULL OR last_used_at_ms < turn.at)";

#[async_trait]
impl ApiKeyStore for PostgresStore {
    async fn create_key(&self, key: &StoredKey, created: &KeyEvent) -> Result<Created, StoreError> {
        self.timed("insert", API_KEYS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let done = create(&mut lease, key, created).await;
            lease.end(done)
        })
        .await
    }

    async fn key_by_prefix(&self, prefix: &str) -> Result<Option<StoredKey>, StoreError> {
        let select = sqlx::query_as::<_, ApiKeyRow>(sql::API_KEY_BY_PREFIX).bind(prefix);
        self.row(API_KEYS, select).await?.map(StoredKey::try_from).transpose()
    }

    async fn find_key(&self, id_or_prefix: &str) -> Result<Option<ApiKeyRecord>, StoreError> {
        if unstorable(id_or_prefix) {
            return Ok(None);
        }
        let select = sqlx::query_as::<_, ApiKeyRow>(sql::FIND_API_KEY).bind(id_or_prefix);
        let row = self.row(API_KEYS, select).await?;
        row.map(|row| StoredKey::try_from(row).map(|key| key.record)).transpose()
    }

    async fn list_keys(&self, user: Option<&str>, limit: u32, offset: u32) -> Result<ApiKeyPage, StoreError> {
        let found = self.timed("select", API_KEYS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let found = list(&mut lease, user, limit, offset).await;
            lease.end(found)
        });
        let (rows, total) = found.await?;
        key_page(rows, total)
    }

    async fn rotate_key(&self, rotation: &Rotation) -> Result<RotationOutcome, StoreError> {
        self.timed("update", API_KEYS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let done = rotate(&mut lease, rotation).await;
            lease.end(done)
        })
        .await
    }

    async fn revoke_key(&self, revoked: &KeyEvent) -> Result<bool, StoreError> {
        self.timed("update", API_KEYS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let done = revoke(&mut lease, revoked).await;
            lease.end(done)
        })
        .await
    }

    async fn note_use(&self, used: &[(ApiKeyId, UnixMs)]) -> Result<(), StoreError> {
        let (keys, times): (Vec<&str>, Vec<i64>) = used.iter().map(|(key, at)| (key.as_str(), at.0)).unzip();
        let update = sqlx::query(NOTE_USE).bind(keys).bind(times);
        self.execute("update", API_KEYS, update).await.map(drop)
    }
}

/// Rows and total of the same moment.
async fn list(
    connection: &mut PgConnection,
    user: Option<&str>,
    limit: u32,
    offset: u32,
) -> Result<(Vec<ApiKeyRow>, i64), sqlx::Error> {
    let mut snapshot = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let (rows, total) = match user {
        Some(user) => (
            sqlx::query_as(sql::LIST_API_KEYS).bind(user),
            sqlx::query_scalar(sql::COUNT_API_KEYS).bind(user),
        ),
        None => (sqlx::query_as(sql::LIST_ALL_API_KEYS), sqlx::query_scalar(sql::COUNT_ALL_API_KEYS)),
    };
    let rows = rows.bind(i64::from(limit)).bind(i64::from(offset)).fetch_all(&mut *snapshot).await?;
    let total = total.fetch_one(&mut *snapshot).await?;
    snapshot.commit().await?;
    Ok((rows, total))
}

async fn create(
    connection: &mut PgConnection,
    key: &StoredKey,
    created: &KeyEvent,
) -> Result<Created, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    if !insert(&mut transaction, key).await? {
        transaction.rollback().await?;
        return Ok(Created::PrefixTaken);
    }
    tell(&mut transaction, created).await?;
    transaction.commit().await?;
    Ok(Created::Kept)
}

async fn rotate(connection: &mut PgConnection, rotation: &Rotation) -> Result<RotationOutcome, sqlx::Error> {
    let mut transaction = connection.begin().await?;
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

async fn revoke(connection: &mut PgConnection, revoked: &KeyEvent) -> Result<bool, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let update = sqlx::query(sql::REVOKE_API_KEY).bind(revoked.key.as_str()).bind(revoked.at.0);
    let changed = update.execute(&mut *transaction).await?.rows_affected() == 1;
    if changed {
        tell(&mut transaction, revoked).await?;
    }
    transaction.commit().await?;
    Ok(changed)
}

/// `false` where another key has the prefix.
async fn insert(transaction: &mut Transaction<'_, Postgres>, key: &StoredKey) -> Result<bool, sqlx::Error> {
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

async fn tell(transaction: &mut Transaction<'_, Postgres>, event: &KeyEvent) -> Result<(), sqlx::Error> {
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
