//! Statements that both databases understand, and what their rows mean.

use crate::idempotency::{Attempt, Begun, StoredAnswer};

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
