-- Which keys come from which, and the audit trail of keys whose rows are gone.

-- The keys that were made with a key.
CREATE INDEX api_key_events_by_actor ON api_key_events (actor) WHERE type = 'created';

-- What has ended, for removal.
CREATE INDEX api_keys_revoked ON api_keys (revoked_at_ms) WHERE revoked_at_ms IS NOT NULL;
CREATE INDEX api_keys_expiring ON api_keys (expires_at_ms) WHERE expires_at_ms IS NOT NULL;

-- Events move here when their key is removed, and take along what its row said.
CREATE TABLE past_api_key_events (
    id              TEXT    NOT NULL PRIMARY KEY,
    key_id          TEXT    NOT NULL,
    type            TEXT    NOT NULL,
    actor           TEXT    NOT NULL,
    occurred_at_ms  INTEGER NOT NULL,
    prefix          TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    user_id         TEXT    NOT NULL,
    permissions     TEXT    NOT NULL,
    expires_at_ms   INTEGER,
    replaced_by     TEXT,
    UNIQUE (key_id, type)
) STRICT;

CREATE INDEX past_api_key_events_by_actor ON past_api_key_events (actor) WHERE type = 'created';
CREATE INDEX past_api_key_events_by_user ON past_api_key_events (user_id, id DESC);
