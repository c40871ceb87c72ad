-- API keys, what happened to them, and the secrets that the service makes for itself.

CREATE TABLE api_keys (
    id               TEXT    NOT NULL PRIMARY KEY,
    -- How the plain key begins: public, and enough to find it by.
    prefix           TEXT    NOT NULL UNIQUE CHECK (length(prefix) = 16),
    environment      TEXT    NOT NULL CHECK (environment IN ('test', 'live')),
    name             TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    user_id          TEXT    NOT NULL CHECK (user_id <> ''),
    -- Names of scopes, or *, with spaces between them.
    permissions      TEXT    NOT NULL CHECK (permissions <> ''),
    -- Wallets, with spaces between them.
    recipients       TEXT    NOT NULL,
    -- Never the key itself.
    hash             TEXT    NOT NULL CHECK (length(hash) = 60 AND substr(hash, 1, 7) = '$2b$12$'),
    created_at_ms    INTEGER NOT NULL,
    expires_at_ms    INTEGER,
    last_used_at_ms  INTEGER,
    revoked_at_ms    INTEGER,
    -- The key that it was rotated to.
    replaced_by      TEXT    UNIQUE REFERENCES api_keys (id) CHECK (replaced_by <> id),
    CHECK (substr(prefix, 1, 8) = 'sk_' || environment || '_'),
    -- A rotated key has an end.
    CHECK (replaced_by IS NULL OR expires_at_ms IS NOT NULL)
) STRICT;

-- A user's keys, newest first.
CREATE INDEX api_keys_by_user ON api_keys (user_id, id DESC);

CREATE TABLE api_key_events (
    id              TEXT    NOT NULL PRIMARY KEY,
    key_id          TEXT    NOT NULL REFERENCES api_keys (id),
    type            TEXT    NOT NULL CHECK (type IN ('created', 'rotated', 'revoked')),
    -- The id or prefix of the key it was done with, or 'operator'.
    actor           TEXT    NOT NULL,
    occurred_at_ms  INTEGER NOT NULL,
    -- Each happens once.
    UNIQUE (key_id, type)
) STRICT;

CREATE TABLE server_secrets (
    name   TEXT  NOT NULL PRIMARY KEY,
    value  BLOB  NOT NULL CHECK (length(value) = 32)
) STRICT, WITHOUT ROWID;
