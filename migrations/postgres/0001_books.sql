-- The books. Amounts are atomic units, times Unix milliseconds. Texts are compared byte by byte: they are keys, and
-- their order is that of SQLite.

CREATE TABLE payment_requirements (
    nonce          TEXT   COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(nonce) BETWEEN 1 AND 128),
    owner          TEXT   COLLATE "C" NOT NULL,
    amount         BIGINT NOT NULL CHECK (amount > 0),
    max_amount     BIGINT CHECK (max_amount >= amount),
    currency       TEXT   NOT NULL CHECK (currency IN ('USDC', 'USDT', 'SOL', 'PYUSD')),
    recipient      TEXT   NOT NULL,
    scheme         TEXT   NOT NULL CHECK (scheme IN ('exact', 'minimum', 'range')),
    resource       TEXT,
    metadata       TEXT,
    expires_at_ms  BIGINT NOT NULL,
    created_at_ms  BIGINT NOT NULL,
    CHECK ((scheme = 'range') = (max_amount IS NOT NULL))
);

CREATE TABLE transactions (
    id                 TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    state              TEXT   NOT NULL CHECK (state IN ('settled')),
    owner              TEXT   COLLATE "C",
    signature          TEXT   COLLATE "C" NOT NULL UNIQUE,
    nonce              TEXT   COLLATE "C" NOT NULL UNIQUE CHECK (length(nonce) BETWEEN 1 AND 128),
    -- The requirement that this payment met, named by its nonce.
    requirement_nonce  TEXT   COLLATE "C" UNIQUE REFERENCES payment_requirements (nonce),
    payer              TEXT   NOT NULL,
    recipient          TEXT   NOT NULL,
    currency           TEXT   NOT NULL CHECK (currency IN ('USDC', 'USDT', 'SOL', 'PYUSD')),
    amount             BIGINT NOT NULL CHECK (amount > 0),
    resource           TEXT,
    network            TEXT   NOT NULL,
    slot               BIGINT NOT NULL CHECK (slot >= 0),
    block_time_ms      BIGINT NOT NULL,
    verified_at_ms     BIGINT NOT NULL,
    -- Names the request with an Idempotency-Key that made it.
    request_tag        TEXT,
    CHECK (requirement_nonce IS NULL OR requirement_nonce = nonce)
);

-- A user's payments, newest first.
CREATE INDEX transactions_by_owner ON transactions (owner, id DESC);

CREATE TABLE nonces (
    nonce       TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    payment_id  TEXT   COLLATE "C" NOT NULL UNIQUE REFERENCES transactions (id),
    used_at_ms  BIGINT NOT NULL
);

CREATE INDEX nonces_by_age ON nonces (used_at_ms);

CREATE TABLE analytics_events (
    id              TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    type            TEXT   NOT NULL,
    owner           TEXT   COLLATE "C",
    payment_id      TEXT   COLLATE "C" REFERENCES transactions (id),
    occurred_at_ms  BIGINT NOT NULL
);

CREATE INDEX analytics_events_by_type ON analytics_events (owner, type, id DESC);
