-- The books. Amounts are atomic units, times Unix milliseconds.

CREATE TABLE payment_requirements (
    nonce          TEXT    NOT NULL PRIMARY KEY CHECK (length(nonce) BETWEEN 1 AND 128),
    owner          TEXT    NOT NULL,
    amount         INTEGER NOT NULL CHECK (amount > 0),
    max_amount     INTEGER CHECK (max_amount >= amount),
    currency       TEXT    NOT NULL CHECK (currency IN ('USDC', 'USDT', 'SOL', 'PYUSD')),
    recipient      TEXT    NOT NULL,
    scheme         TEXT    NOT NULL CHECK (scheme IN ('exact', 'minimum', 'range')),
    resource       TEXT,
    metadata       TEXT,
    expires_at_ms  INTEGER NOT NULL,
    created_at_ms  INTEGER NOT NULL,
    CHECK ((scheme = 'range') = (max_amount IS NOT NULL))
) STRICT;

CREATE TABLE transactions (
    id                 TEXT    NOT NULL PRIMARY KEY,
    state              TEXT    NOT NULL CHECK (state IN ('settled')),
    owner              TEXT,
    signature          TEXT    NOT NULL UNIQUE,
    nonce              TEXT    NOT NULL UNIQUE CHECK (length(nonce) BETWEEN 1 AND 128),
    -- The requirement that this payment met, named by its nonce.
    requirement_nonce  TEXT    UNIQUE REFERENCES payment_requirements (nonce),
    payer              TEXT    NOT NULL,
    recipient          TEXT    NOT NULL,
    currency           TEXT    NOT NULL CHECK (currency IN ('USDC', 'USDT', 'SOL', 'PYUSD')),
    amount             INTEGER NOT NULL CHECK (amount > 0),
    resource           TEXT,
    network            TEXT    NOT NULL,
    slot               INTEGER NOT NULL CHECK (slot >= 0),
    block_time_ms      INTEGER NOT NULL,
    verified_at_ms     INTEGER NOT NULL,
    -- Names the request with an Idempotency-Key that made it.
    request_tag        TEXT,
    CHECK (requirement_nonce IS NULL OR requirement_nonce = nonce)
) STRICT;

-- A user's payments, newest first.
CREATE INDEX transactions_by_owner ON transactions (owner, id DESC);

CREATE TABLE nonces (
    nonce       TEXT    NOT NULL PRIMARY KEY,
    payment_id  TEXT    NOT NULL UNIQUE REFERENCES transactions (id),
    used_at_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX nonces_by_age ON nonces (used_at_ms);

CREATE TABLE analytics_events (
    id              TEXT    NOT NULL PRIMARY KEY,
    type            TEXT    NOT NULL,
    owner           TEXT,
    payment_id      TEXT    REFERENCES transactions (id),
    occurred_at_ms  INTEGER NOT NULL
) STRICT;

CREATE INDEX analytics_events_by_type ON analytics_events (owner, type, id DESC);
