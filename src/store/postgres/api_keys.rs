//! [`ApiKeyStore`] in PostgreSQL.

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection, Postgres, Transaction};

use super::{Lease, PostgresStore, unstorable};
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

/// Rows are locked by id, so that instances that note the same keys wait for each other in the same order.
const NOTE_USE: &str = "\
    WITH used AS (SELECT * FROM unnest($1::text[], $2::bigint[]) AS used (id, at)), \
    turn AS (SELECT k.id, used.at FROM api_keys k JOIN used ON used.id = k.id ORDER BY k.id FOR NO KEY UPDATE OF k) \
    UPDATE api_keys SET last_used_at_ms = turn.at FROM turn \
    WHERE api_keys.id = turn.id AND (last_used_at_ms IS NULL OR last_used_at_ms < turn.at)";

/// The advisory locks of users whose keys are being made.
const USERS_KEYS: i32 = 4_020_006;
/// In the order of all others that lock rows.
const HOLD_KEYS: &str = "SELECT 1 FROM api_keys WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";

const PUT_PAST_EVENTS: &str = concat!(past_events!(), " WHERE key.id = ANY ($1)");
const REMOVE_EVENTS: &str = "DELETE FROM api_key_events WHERE key_id = ANY ($1)";
const REMOVE_KEYS: &str = "DELETE FROM api_keys WHERE id = ANY ($1)";

#[async_trait]
impl ApiKeyStore for PostgresStore {
    async fn create_key(
        &self,
        key: &StoredKey,
        created: &KeyEvent,
        guard: &Guard,
    ) -> Result<Created, StoreError> {
        self.timed("insert", API_KEYS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let done = create(&mut lease, key, created, guard).await;
            lease.end(done)
        })
        .await
    }

    async fn count_keys(
        &self,
        user: &str,
        environment: Environment,
        at: UnixMs,
    ) -> Result<KeyCounts, StoreError> {
        let count = sqlx::query_as(sql::COUNT_KEYS).bind(user).bind(environment.as_str());
        let count = count.bind(at.0).bind((at - MADE_WITHIN).0);
        Ok(key_counts(self.row(API_KEYS, count).await?.unwrap_or_default()))
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

    async fn list_keys(
        &self,
        of: Option<KeysOf<'_>>,
        limit: u32,
        offset: u32,
    ) -> Result<ApiKeyPage, StoreError> {
        let found = self.timed("select", API_KEYS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let found = list(&mut lease, of, limit, offset).await;
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

    async fn revoke_together(
        &self,
        user: &str,
        which: Together<'_>,
        at: UnixMs,
        revoked: &(dyn for<'k> Fn(&'k ApiKeyId) -> KeyEvent + Sync),
    ) -> Result<Vec<EndedKey>, StoreError> {
        self.timed("update", API_KEYS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let done = revoke_together(&mut lease, user, which, at, revoked).await;
            lease.end(done)
        })
        .await
    }

    async fn descendants(&self, key: &ApiKeyId, at: UnixMs) -> Result<Vec<ApiKeyId>, StoreError> {
        self.timed("select", API_KEYS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let found = descendants(&mut lease, key, at).await;
            lease.end(found)
        })
        .await
    }

    async fn purge_ended_keys(&self, before: UnixMs, limit: u32) -> Result<u64, StoreError> {
        self.timed("delete", API_KEYS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let done = purge(&mut lease, before, limit).await;
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
    of: Option<KeysOf<'_>>,
    limit: u32,
    offset: u32,
) -> Result<(Vec<ApiKeyRow>, i64), sqlx::Error> {
    let mut snapshot = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let (rows, total) = match of {
        Some(KeysOf { user, environment }) => {
            let environment = environment.map(Environment::as_str);
            (
                sqlx::query_as(sql::LIST_API_KEYS).bind(user).bind(environment),
                sqlx::query_scalar(sql::COUNT_API_KEYS).bind(user).bind(environment),
            )
        }
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
    guard: &Guard,
) -> Result<Created, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    lock(&mut transaction, &key.record.user, [guard.actor.as_ref(), None]).await?;
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

async fn rotate(connection: &mut PgConnection, rotation: &Rotation) -> Result<RotationOutcome, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let (successor, guard) = (&rotation.successor, &rotation.guard);
    lock(&mut transaction, &successor.record.user, [guard.actor.as_ref(), Some(&rotation.old)]).await?;
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

async fn revoke(connection: &mut PgConnection, revoked: &KeyEvent) -> Result<bool, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let ended = end(&mut transaction, revoked).await?;
    transaction.commit().await?;
    Ok(ended.is_some())
}

async fn revoke_together(
    connection: &mut PgConnection,
    user: &str,
    which: Together<'_>,
    at: UnixMs,
    revoked: &(dyn for<'k> Fn(&'k ApiKeyId) -> KeyEvent + Sync),
) -> Result<Vec<EndedKey>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    lock(&mut transaction, user, [None, None]).await?;
    let mut keys = match which {
        Together::Line(key) => {
            let mut line = descendants(&mut transaction, key, at).await?;
            line.push(key.clone());
            line
        }
        Together::All => {
            let ids = sqlx::query_scalar(sql::ACTIVE_API_KEY_IDS).bind(user).bind(at.0);
            key_ids(ids.fetch_all(&mut *transaction).await?)
        }
    };
    // As everybody locks them, so that nobody waits for each other.
    keys.sort();
    let mut ended = Vec::new();
    for key in keys {
        ended.extend(end(&mut transaction, &revoked(&key)).await?);
    }
    transaction.commit().await?;
    Ok(ended)
}

async fn descendants(
    connection: &mut PgConnection,
    key: &ApiKeyId,
    at: UnixMs,
) -> Result<Vec<ApiKeyId>, sqlx::Error> {
    let ids = sqlx::query_scalar(sql::POSTGRES_DESCENDANTS).bind(key.as_str()).bind(at.0);
    Ok(key_ids(ids.fetch_all(connection).await?))
}

async fn purge(connection: &mut PgConnection, before: UnixMs, limit: u32) -> Result<u64, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    // Rows that another instance removes just now are left to it.
    let ended = sqlx::query_scalar(concat!(ended_keys!(), " FOR UPDATE OF api_keys SKIP LOCKED"));
    let ended: Vec<String> = ended.bind(before.0).bind(i64::from(limit)).fetch_all(&mut *transaction).await?;
    for statement in [PUT_PAST_EVENTS, REMOVE_EVENTS, REMOVE_KEYS] {
        sqlx::query(statement).bind(&ended).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(ended.len() as u64)
}

/// Has everybody who makes keys of this user, or ends several, wait for the end of the transaction, and holds these keys
/// as they are.
async fn lock(
    transaction: &mut Transaction<'_, Postgres>,
    user: &str,
    keys: [Option<&ApiKeyId>; 2],
) -> Result<(), sqlx::Error> {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(user));
    let user = i32::from_be_bytes([a, b, c, d]);
    sqlx::query("SELECT pg_advisory_xact_lock($1, $2)")
        .bind(USERS_KEYS)
        .bind(user)
        .execute(&mut **transaction)
        .await?;
    let keys: Vec<&str> = keys.into_iter().flatten().map(ApiKeyId::as_str).collect();
    sqlx::query(HOLD_KEYS).bind(keys).execute(&mut **transaction).await.map(drop)
}

/// What hinders the key from being made.
async fn hindrance(
    transaction: &mut Transaction<'_, Postgres>,
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
    transaction: &mut Transaction<'_, Postgres>,
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
