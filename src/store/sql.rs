//! Statements that both databases understand, and what their rows mean. Public, so that tests can have them explained.
//!
//! Columns are named one by one: with `*`, a migration that adds one would change the result under the prepared
//! statements of the version still running, which PostgreSQL answers with an error.

use crate::idempotency::{Attempt, Begun, StoredAnswer};

/// The subscription that a payment has paid a period of.
macro_rules! paid_subscription {
    () => {
        "(SELECT p.subscription_id FROM subscription_periods p WHERE p.payment_id = transactions.id) AS subscription_id"
    };
}

macro_rules! payment_columns {
    () => {
        concat!(
            "id, state, owner, signature, nonce, requirement_nonce, payer, recipient, currency, amount, resource, \
             network, slot, block_time_ms, verified_at_ms, request_tag, agent_id, ",
            paid_subscription!()
        )
    };
}

macro_rules! entry_columns {
    () => {
        concat!(
            "id, state, source, owner, signature, nonce, payer, recipient, currency, asset, amount, resource, \
             network, slot, block_time_ms, verified_at_ms, last_valid_height, agent_id, ",
            paid_subscription!()
        )
    };
}

/// Fails where nothing can be written.
pub const WRITE_NOTHING: &str =
    "INSERT INTO nonces (nonce, payment_id, used_at_ms) SELECT '', '', 0 WHERE false";

macro_rules! requirement_columns {
    () => {
        "r.nonce, r.owner, r.amount, r.max_amount, r.currency, r.recipient, r.scheme, r.resource, r.metadata, \
         r.expires_at_ms, r.created_at_ms, t.id AS payment_id"
    };
}

/// Whether a nonce, whether a signature is in the books; the requirement issued under the nonce, if any; the user's agent
/// with a wallet, if any, without a user the issuer's, and what it has spent of a unit on a day.
pub const ON_RECORD: &str = concat!(
    "SELECT EXISTS (SELECT 1 FROM transactions WHERE nonce = $1) AS nonce_used, \
     EXISTS (SELECT 1 FROM transactions WHERE signature = $2) AS transaction_used, ",
    requirement_columns!(),
    ", ",
    super::agents::agent_columns!(),
    ", coalesce((SELECT s.spent FROM agent_spending s \
         WHERE s.agent_id = a.id AND s.unit = $5 AND s.day = $6), 0) AS agent_spent \
     FROM (SELECT 1) one_row LEFT JOIN payment_requirements r ON r.nonce = $1 \
     LEFT JOIN transactions t ON t.requirement_nonce = r.nonce \
     LEFT JOIN agents a ON a.public_key = $3 AND a.owner = coalesce($4, r.owner) AND a.deleted_at_ms IS NULL"
);

pub(super) const USED: &str = "\
    SELECT EXISTS (SELECT 1 FROM transactions WHERE nonce = $1), \
        EXISTS (SELECT 1 FROM transactions WHERE signature = $2)";

pub(super) const IS_BOOKED: &str = "SELECT EXISTS (SELECT 1 FROM transactions WHERE id = $1)";

pub const FIND_PAYMENT: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM transactions WHERE (id = $1 OR signature = $1) AND owner = $2"
);

pub const FIND_ANONYMOUS_SETTLEMENT: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM transactions WHERE signature = $1 AND EXISTS (SELECT 1 FROM settlements s \
       WHERE s.payment_id = transactions.id AND (s.key_id IS NULL OR s.key_id = $2))"
);

pub const FIND_PAYMENT_BY_NONCE: &str =
    concat!("SELECT ", payment_columns!(), " FROM transactions WHERE nonce = $1");

pub const LIST_PAYMENTS: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM transactions WHERE owner = $1 ORDER BY id DESC LIMIT $2 OFFSET $3"
);

pub const COUNT_PAYMENTS: &str = "SELECT count(*) FROM transactions WHERE owner = $1";

pub(super) const ISSUE_REQUIREMENT: &str = "\
    INSERT INTO payment_requirements (nonce, owner, amount, max_amount, currency, recipient, scheme, resource, \
        metadata, expires_at_ms, created_at_ms) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

pub const FIND_REQUIREMENT: &str = concat!(
    "SELECT ",
    requirement_columns!(),
    " FROM payment_requirements r LEFT JOIN transactions t ON t.requirement_nonce = r.nonce WHERE r.nonce = $1"
);

/// Takes a key that is free, whose holder's lease has run out, or whose answer has.
pub(super) const BEGIN_ATTEMPT: &str = "\
    INSERT INTO idempotency_keys AS kept (caller, key, fingerprint, holder, lease_until_ms, created_at_ms) \
    VALUES ($1, $2, $3, $4, $5, $6) \
    ON CONFLICT (caller, key) DO UPDATE SET \
        fingerprint = excluded.fingerprint, holder = excluded.holder, lease_until_ms = excluded.lease_until_ms, \
        created_at_ms = excluded.created_at_ms, status = NULL, body = NULL \
    WHERE kept.created_at_ms < $7 \
        OR (kept.status IS NULL AND kept.lease_until_ms < $6 AND kept.fingerprint = excluded.fingerprint)";

pub(super) const FIND_ANSWER: &str =
    "SELECT fingerprint, status, body FROM idempotency_keys WHERE caller = $1 AND key = $2";

pub(super) const FINISH_ATTEMPT: &str = "\
    UPDATE idempotency_keys SET status = $4, body = $5 \
    WHERE caller = $1 AND key = $2 AND holder = $3 AND status IS NULL";

pub(super) const ABANDON_ATTEMPT: &str =
    "DELETE FROM idempotency_keys WHERE caller = $1 AND key = $2 AND holder = $3 AND status IS NULL";

macro_rules! api_key_columns {
    () => {
        "id, prefix, environment, name, user_id, permissions, recipients, hash, created_at_ms, expires_at_ms, \
         last_used_at_ms, revoked_at_ms, replaced_by, \
         (SELECT event.actor FROM api_key_events event \
         WHERE event.key_id = api_keys.id AND event.type = 'created') AS created_by"
    };
}

pub(super) const CREATE_API_KEY: &str = "\
    INSERT INTO api_keys (id, prefix, environment, name, user_id, permissions, recipients, hash, created_at_ms, \
        expires_at_ms) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (prefix) DO NOTHING";

pub(super) const ADD_API_KEY_EVENT: &str =
    "INSERT INTO api_key_events (id, key_id, type, actor, occurred_at_ms) VALUES ($1, $2, $3, $4, $5)";

pub const API_KEY_BY_PREFIX: &str =
    concat!("SELECT ", api_key_columns!(), " FROM api_keys WHERE prefix = $1");

pub const FIND_API_KEY: &str =
    concat!("SELECT ", api_key_columns!(), " FROM api_keys WHERE id = $1 OR prefix = $1");

pub const LIST_API_KEYS: &str = concat!(
    "SELECT ",
    api_key_columns!(),
    " FROM api_keys WHERE user_id = $1 AND environment = coalesce($2, environment) \
     ORDER BY id DESC LIMIT $3 OFFSET $4"
);

pub const COUNT_API_KEYS: &str =
    "SELECT count(*) FROM api_keys WHERE user_id = $1 AND environment = coalesce($2, environment)";

pub(super) const LIST_ALL_API_KEYS: &str =
    concat!("SELECT ", api_key_columns!(), " FROM api_keys ORDER BY id DESC LIMIT $1 OFFSET $2");

pub(super) const COUNT_ALL_API_KEYS: &str = "SELECT count(*) FROM api_keys";

/// Ends the old key at `$3`, if it has not ended by `$4` and was not rotated before.
pub(super) const ROTATE_API_KEY: &str = "\
    UPDATE api_keys SET replaced_by = $2, \
        expires_at_ms = CASE WHEN expires_at_ms < $3 THEN expires_at_ms ELSE $3 END \
    WHERE id = $1 AND revoked_at_ms IS NULL AND replaced_by IS NULL \
        AND (expires_at_ms IS NULL OR expires_at_ms > $4)";

pub(super) const REVOKE_API_KEY: &str =
    "UPDATE api_keys SET revoked_at_ms = $2 WHERE id = $1 AND revoked_at_ms IS NULL RETURNING prefix";

/// A user's keys that have not ended, in the words of the index that holds no others. It ends with what follows: a time.
macro_rules! active_keys {
    () => {
        "FROM api_keys WHERE user_id = $1 AND revoked_at_ms IS NULL \
            AND coalesce(expires_at_ms, 9223372036854775807) > "
    };
}

/// How many keys a user has in the environment `$2`: active ones at `$3` that were not rotated, and those that were; and
/// those made since `$4`.
pub const COUNT_KEYS: &str = concat!(
    "SELECT count(*) FILTER (WHERE replaced_by IS NULL), count(*) FILTER (WHERE replaced_by IS NOT NULL), \
        (SELECT count(*) FROM api_keys made \
            WHERE made.user_id = $1 AND made.created_at_ms > $4 AND made.environment = $2) ",
    active_keys!(),
    "$3 AND environment = $2"
);

/// Whether a key is revoked, and its end.
pub(super) const API_KEY_NOW: &str =
    "SELECT revoked_at_ms IS NOT NULL, expires_at_ms FROM api_keys WHERE id = $1";

/// A user's keys that are active at `$2`.
pub const ACTIVE_API_KEY_IDS: &str = concat!("SELECT id ", active_keys!(), "$2");

/// The keys that come from `$1` and are active at `$2`. Whatever the statistics say of the tables, each key of the line is
/// looked up by index: there is no bound on how long a line is, and the longest are somebody's who wants it to take long.
///
/// A key that was not rotated has no successor, which is in the line as NULL, and leads nowhere. The actors of the audit
/// trail that are keys are in indexes of their own. The collation is that of the other columns,
/// which the actor's is not.
pub const POSTGRES_DESCENDANTS: &str = "\
    WITH RECURSIVE line (id) AS (\
        SELECT id FROM api_keys WHERE id = $1 \
        UNION SELECT next.id FROM line, LATERAL (\
            SELECT key_id AS id FROM api_key_events \
                WHERE type = 'created' AND actor LIKE 'key@_%' ESCAPE '@' AND actor COLLATE \"C\" = line.id \
            UNION ALL SELECT replaced_by FROM api_keys WHERE api_keys.id = line.id \
            UNION ALL SELECT key_id FROM past_api_key_events \
                WHERE type = 'created' AND actor LIKE 'key@_%' ESCAPE '@' AND actor = line.id \
            UNION ALL SELECT replaced_by FROM past_api_key_events \
                WHERE type = 'rotated' AND key_id = line.id) next) \
    SELECT active.id FROM line, LATERAL (\
        SELECT id FROM api_keys WHERE api_keys.id = line.id AND revoked_at_ms IS NULL \
            AND (expires_at_ms IS NULL OR expires_at_ms > $2) LIMIT 1) active WHERE active.id <> $1";

/// The same. `CROSS JOIN` keeps the order.
pub const SQLITE_DESCENDANTS: &str = "\
    WITH RECURSIVE line (id) AS (\
        SELECT id FROM api_keys WHERE id = $1 \
        UNION SELECT made.key_id FROM line CROSS JOIN api_key_events made \
            ON made.actor = line.id AND made.type = 'created' \
        UNION SELECT old.replaced_by FROM line CROSS JOIN api_keys old \
            ON old.id = line.id \
        UNION SELECT made.key_id FROM line CROSS JOIN past_api_key_events made \
            ON made.actor = line.id AND made.type = 'created' \
        UNION SELECT old.replaced_by FROM line CROSS JOIN past_api_key_events old \
            ON old.key_id = line.id AND old.type = 'rotated') \
    SELECT api_keys.id FROM line CROSS JOIN api_keys ON api_keys.id = line.id \
    WHERE api_keys.id <> $1 AND revoked_at_ms IS NULL AND (expires_at_ms IS NULL OR expires_at_ms > $2)";

/// Keys that ended before `$1` and are nobody's successor.
macro_rules! ended_keys {
    () => {
        "SELECT id FROM api_keys WHERE (revoked_at_ms < $1 OR expires_at_ms < $1) \
            AND NOT EXISTS (SELECT 1 FROM api_keys before WHERE before.replaced_by = api_keys.id) LIMIT $2"
    };
}
pub(super) use ended_keys;

/// Keeps the events of keys that are about to be removed, with what their rows say.
macro_rules! past_events {
    () => {
        "INSERT INTO past_api_key_events (id, key_id, type, actor, occurred_at_ms, prefix, name, user_id, permissions, \
            expires_at_ms, replaced_by) \
        SELECT event.id, key_id, type, actor, occurred_at_ms, prefix, name, user_id, permissions, expires_at_ms, \
            replaced_by FROM api_keys key JOIN api_key_events event ON event.key_id = key.id"
    };
}
pub(super) use past_events;

pub(super) const FIND_SECRET: &str = "SELECT value FROM server_secrets WHERE name = $1";

pub(super) const KEEP_SECRET: &str =
    "INSERT INTO server_secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

pub(super) const PURGE_NONCES: &str = "\
    DELETE FROM nonces WHERE nonce IN (\
        SELECT nonce FROM nonces WHERE used_at_ms < $1 ORDER BY used_at_ms LIMIT $2)";

/// The outer condition holds off an attempt that takes a key anew while the batch is picked.
pub(super) const PURGE_ANSWERS: &str = "\
    DELETE FROM idempotency_keys WHERE created_at_ms < $1 AND (caller, key) IN (\
        SELECT caller, key FROM idempotency_keys WHERE created_at_ms < $1 ORDER BY created_at_ms LIMIT $2)";

/// Fingerprint, status, body.
pub(super) type AnswerRow = (Vec<u8>, Option<i32>, Option<Vec<u8>>);

/// What stands under a key that could not be taken. A row that is gone was given back a moment ago: the next try finds
/// the key free.
pub(super) fn not_fresh(attempt: &Attempt, row: Option<AnswerRow>) -> Begun {
    match row {
        Some((fingerprint, ..)) if fingerprint != attempt.fingerprint => Begun::Conflict,
        Some((_, Some(status), Some(body))) => {
            Begun::Answered(StoredAnswer { status: u16::try_from(status).unwrap_or(500), body })
        }
        _ => Begun::Running,
    }
}
