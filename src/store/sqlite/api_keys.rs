//! [`ApiKeyStore`] in SQLite.

use async_trait::async_trait;
use sqlx::{Connection, Sqlite, SqliteConnection, Transaction};

use super::SqliteStore;
use crate::{
    api_keys::{
        ApiKeyPage, ApiKeyRecord, ApiKeyStore, Created, EndedKey, Environment, Guard, Hindrance, KeyCounts,
        KeyEvent, KeysOf, Kind, MADE_WITHIN, Rotation, RotationOutcome, StoredKey, Together,
    },
    clock::UnixMs,
    ids::ApiKeyId,
    store::{
        rows::{API_KEYS, ActorRow, ApiKeyRow, actor, key_counts, key_ids, key_page, wallets},
        sql::{self, ended_keys, past_events},
    },
    store_error::StoreError,
};

/// `$1` is a JSON list of pairs of id and time.
const NOTE_USE: &str = "\
    UPDATE api_keys SET last_used_at_ms = used.at \
    FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS at FROM json_each($1)) AS used \
    WHERE api_keys.id = used.id AND (last_used_at_ms IS NULL OR last_used_at_ms < used.at)";

const PUT_PAST_EVENTS: &str = concat!(past_events!(), " WHERE key.id = $1");
const REMOVE_EVENTS: &str = "DELETE FROM api_key_events WHERE key_id = $1";
const REMOVE_KEY: &str = "DELETE FROM api_keys WHERE id = $1";

#[async_trait]
impl ApiKeyStore for SqliteStore {
    async fn create_key(
        &self,
        key: &StoredKey,
        created: &KeyEvent,
        guard: &Guard,
    ) -> Result<Created, StoreError> {
        self.write("insert", API_KEYS, async |writer| create(writer, key, created, guard).await).await
    }

    async fn count_keys(
        &self,
        user: &str,
        environment: Environment,
        at: UnixMs,
    ) -> Result<KeyCounts, StoreError> {
        let count = sqlx::query_as(sql::COUNT_KEYS).bind(user).bind(environment.as_str());
        let count = count.bind(at.0).bind((at - MADE_WITHIN).0);
        self.read(API_KEYS, async |reader| count.fetch_one(reader).await).await.map(key_counts)
    }

    async fn key_by_prefix(&self, prefix: &str) -> Result<Option<StoredKey>, StoreError> {
        let select = sqlx::query_as::<_, ApiKeyRow>(sql::API_KEY_BY_PREFIX).bind(prefix);
        let row = self.read(API_KEYS, async |reader| select.fetch_optional(reader).await).await?;
        row.map(StoredKey::try_from).transpose()
    }

    async fn find_key(&self, id_or_prefix: &str) -> Result<Option<ApiKeyRecord>, StoreError> {
        let select = sqlx::query_as::<_, ApiKeyRow>(sql::FIND_API_KEY).bind(id_or_prefix);
        let row = self.read(API_KEYS, async |reader| select.fetch_optional(reader).await).await?;
        row.map(|row| StoredKey::try_from(row).map(|key| key.record)).transpose()
    }

    async fn list_keys(
        &self,
        of: Option<KeysOf<'_>>,
        limit: u32,
        offset: u32,
    ) -> Result<ApiKeyPage, StoreError> {
        let (rows, total) = self
            .read(API_KEYS, async |reader| {
                let mut snapshot = reader.begin().await?;
                let (rows, total) = match of {
                    Some(KeysOf { user, environment }) => {
                        let environment = environment.map(Environment::as_str);
                        (
                            sqlx::query_as(sql::LIST_API_KEYS).bind(user).bind(environment),
                            sqlx::query_scalar(sql::COUNT_API_KEYS).bind(user).bind(environment),
                        )
                    }
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
        self.write("update", API_KEYS, async |writer| rotate(writer, rotation).await).await
    }

    async fn revoke_key(&self, revoked: &KeyEvent) -> Result<bool, StoreError> {
        self.write("update", API_KEYS, async |writer| revoke(writer, revoked).await).await
    }

    async fn revoke_together(
        &self,
        user: &str,
        which: Together<'_>,
        at: UnixMs,
        revoked: &(dyn for<'k> Fn(&'k ApiKeyId) -> KeyEvent + Sync),
    ) -> Result<Vec<EndedKey>, StoreError> {
        self.write("update", API_KEYS, async |writer| revoke_together(writer, user, which, at, revoked).await)
            .await
    }

    async fn descendants(&self, key: &ApiKeyId, at: UnixMs) -> Result<Vec<ApiKeyId>, StoreError> {
        let ids = sqlx::query_scalar(sql::SQLITE_DESCENDANTS).bind(key.as_str()).bind(at.0);
        self.read(API_KEYS, async |reader| ids.fetch_all(reader).await).await.map(key_ids)
    }

    async fn purge_ended_keys(&self, before: UnixMs, limit: u32) -> Result<u64, StoreError> {
        self.write("delete", API_KEYS, async |writer| purge(writer, before, limit).await).await
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
    guard: &Guard,
) -> Result<Created, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if let Some(hindrance) = hindrance(&mut transaction, key, guard, Kind::New, created.at).await? {
        transaction.rollback().await?;
        return Ok(Created::Hindered(hindrance));
    }
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
    let (successor, guard) = (&rotation.successor, &rotation.guard);
    if let Some(hindrance) =
        hindrance(&mut transaction, successor, guard, Kind::Successor, rotation.at).await?
    {
        transaction.rollback().await?;
        return Ok(RotationOutcome::Hindered(hindrance));
    }
    if !insert(&mut transaction, successor).await? {
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
    let ended = end(&mut transaction, revoked).await?;
    transaction.commit().await?;
    Ok(ended.is_some())
}

async fn revoke_together(
    connection: &mut SqliteConnection,
    user: &str,
    which: Together<'_>,
    at: UnixMs,
    revoked: &(dyn for<'k> Fn(&'k ApiKeyId) -> KeyEvent + Sync),
) -> Result<Vec<EndedKey>, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let keys = match which {
        Together::Line(key) => sqlx::query_scalar(sql::SQLITE_DESCENDANTS).bind(key.as_str()),
        Together::All => sqlx::query_scalar(sql::ACTIVE_API_KEY_IDS).bind(user),
    };
    let mut keys: Vec<String> = keys.bind(at.0).fetch_all(&mut *transaction).await?;
    if let Together::Line(key) = which {
        keys.push(key.to_string());
    }
    let mut ended = Vec::new();
    for key in key_ids(keys) {
        ended.extend(end(&mut transaction, &revoked(&key)).await?);
    }
    transaction.commit().await?;
    Ok(ended)
}

async fn purge(connection: &mut SqliteConnection, before: UnixMs, limit: u32) -> Result<u64, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let ended = sqlx::query_scalar(ended_keys!()).bind(before.0).bind(limit);
    let ended: Vec<String> = ended.fetch_all(&mut *transaction).await?;
    for key in &ended {
        for statement in [PUT_PAST_EVENTS, REMOVE_EVENTS, REMOVE_KEY] {
            sqlx::query(statement).bind(key).execute(&mut *transaction).await?;
        }
    }
    transaction.commit().await?;
    Ok(ended.len() as u64)
}

/// What hinders the key from being made.
async fn hindrance(
    transaction: &mut Transaction<'_, Sqlite>,
    key: &StoredKey,
    guard: &Guard,
    kind: Kind,
    at: UnixMs,
) -> Result<Option<Hindrance>, sqlx::Error> {
    let row: Option<ActorRow> = match &guard.actor {
        Some(actor) => {
            let row = sqlx::query_as(sql::API_KEY_NOW).bind(actor.as_str());
            row.fetch_optional(&mut **transaction).await?
        }
        None => None,
    };
    let mut counts = KeyCounts::default();
    if guard.counts() {
        let ApiKeyRecord { user, environment, .. } = &key.record;
        let count = sqlx::query_as(sql::COUNT_KEYS).bind(user).bind(environment.as_str());
        let count = count.bind(at.0).bind((at - MADE_WITHIN).0);
        counts = key_counts(count.fetch_one(&mut **transaction).await?);
    }
    Ok(guard.hindrance(row.map(actor), key.record.expires_at, counts, kind, at))
}

/// `false` where it was revoked before.
async fn end(
    transaction: &mut Transaction<'_, Sqlite>,
    revoked: &KeyEvent,
) -> Result<Option<EndedKey>, sqlx::Error> {
    let update = sqlx::query_scalar(sql::REVOKE_API_KEY).bind(revoked.key.as_str()).bind(revoked.at.0);
    let prefix: Option<String> = update.fetch_optional(&mut **transaction).await?;
    if prefix.is_some() {
        tell(transaction, revoked).await?;
    }
    Ok(prefix.map(|prefix| EndedKey { id: revoked.key.clone(), prefix }))
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
