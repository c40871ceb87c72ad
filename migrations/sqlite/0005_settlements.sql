-- Payments that the service makes final itself, and what their fees cost it.

-- The books take in what is under way. SQLite makes a table anew to change its columns, and those that refer to it with
-- it.
CREATE TABLE transactions_new (
    id                 TEXT    NOT NULL PRIMARY KEY,
    state              TEXT    NOT NULL CHECK (state IN ('pending', 'settled', 'failed', 'expired')),
    owner              TEXT,
    signature          TEXT    NOT NULL UNIQUE,
    nonce              TEXT    UNIQUE CHECK (length(nonce) BETWEEN 1 AND 128),
    -- The requirement that this payment met, named by its nonce.
    requirement_nonce  TEXT    UNIQUE REFERENCES payment_requirements (nonce),
    payer              TEXT    NOT NULL,
    recipient          TEXT    NOT NULL,
    -- Null where the asset is no currency that the service knows.
    currency           TEXT    CHECK (currency IN ('USDC', 'USDT', 'SOL', 'PYUSD')),
    amount             INTEGER NOT NULL CHECK (amount > 0),
    resource           TEXT,
    network            TEXT    NOT NULL,
    slot               INTEGER CHECK (slot >= 0),
    block_time_ms      INTEGER,
    verified_at_ms     INTEGER NOT NULL,
    -- Names the request with an Idempotency-Key that made it.
    request_tag        TEXT,
    -- How it came here: shown by a proof, or settled by the service.
    source             TEXT    NOT NULL DEFAULT 'proof' CHECK (source IN ('proof', 'x402')),
    -- The mint.
    asset              TEXT,
    -- It cannot land in a block higher than this.
    last_valid_height  INTEGER CHECK (last_valid_height >= 0),
    CHECK (requirement_nonce IS NULL OR requirement_nonce = nonce),
    CHECK (source <> 'proof' OR (state = 'settled' AND nonce IS NOT NULL AND currency IS NOT NULL
        AND slot IS NOT NULL AND block_time_ms IS NOT NULL)),
    CHECK (source <> 'x402' OR (nonce IS NULL AND asset IS NOT NULL AND last_valid_height IS NOT NULL
        AND (slot IS NOT NULL) = (state IN ('settled', 'failed'))))
) STRICT;

CREATE TABLE nonces_new (
    nonce       TEXT    NOT NULL PRIMARY KEY,
    payment_id  TEXT    NOT NULL UNIQUE REFERENCES transactions_new (id),
    used_at_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE analytics_events_new (
    id              TEXT    NOT NULL PRIMARY KEY,
    type            TEXT    NOT NULL,
    owner           TEXT,
    payment_id      TEXT    REFERENCES transactions_new (id),
    occurred_at_ms  INTEGER NOT NULL
) STRICT;

INSERT INTO transactions_new (id, state, owner, signature, nonce, requirement_nonce, payer, recipient, currency, amount,
    resource, network, slot, block_time_ms, verified_at_ms, request_tag)
SELECT id, state, owner, signature, nonce, requirement_nonce, payer, recipient, currency, amount,
    resource, network, slot, block_time_ms, verified_at_ms, request_tag FROM transactions;
INSERT INTO nonces_new (nonce, payment_id, used_at_ms) SELECT nonce, payment_id, used_at_ms FROM nonces;
INSERT INTO analytics_events_new (id, type, owner, payment_id, occurred_at_ms)
SELECT id, type, owner, payment_id, occurred_at_ms FROM analytics_events;

DROP TABLE nonces;
DROP TABLE analytics_events;
DROP TABLE transactions;
ALTER TABLE transactions_new RENAME TO transactions;
ALTER TABLE nonces_new RENAME TO nonces;
ALTER TABLE analytics_events_new RENAME TO analytics_events;

CREATE INDEX transactions_by_owner ON transactions (owner, id DESC);
CREATE INDEX nonces_by_age ON nonces (used_at_ms);
CREATE INDEX analytics_events_by_type ON analytics_events (owner, type, id DESC);

CREATE TABLE settlements (
    -- SHA-256 of the transaction's message.
    message            BLOB    NOT NULL PRIMARY KEY CHECK (length(message) = 32),
    -- Digest of the requirements it is settled for.
    terms              BLOB    NOT NULL CHECK (length(terms) = 32),
    state              TEXT    NOT NULL CHECK (state IN ('claimed', 'pending', 'settled', 'failed', 'expired')),
    -- Whose work it is; another instance may take it over when the lease has run out.
    holder             TEXT    NOT NULL,
    attempt            TEXT    NOT NULL,
    lease_until_ms     INTEGER NOT NULL,
    claimed_at_ms      INTEGER NOT NULL,
    -- From the journal entry on.
    payment_id         TEXT    UNIQUE REFERENCES transactions (id),
    signature          TEXT    UNIQUE,
    fee_payer          TEXT,
    x402_version       INTEGER,
    last_valid_height  INTEGER CHECK (last_valid_height >= 0),
    key_id             TEXT,
    -- The most that the fee can be.
    fee_lamports       INTEGER CHECK (fee_lamports >= 0),
    journalled_at_ms   INTEGER,
    -- As it is sent; kept for as long as it may have to be.
    bytes              BLOB,
    -- The chain's words.
    failure            TEXT,
    finished_at_ms     INTEGER,
    CHECK ((state = 'claimed') = (payment_id IS NULL)),
    CHECK ((payment_id IS NULL) = (signature IS NULL) AND (payment_id IS NULL) = (last_valid_height IS NULL)
        AND (payment_id IS NULL) = (fee_lamports IS NULL) AND (payment_id IS NULL) = (journalled_at_ms IS NULL)),
    CHECK ((state = 'pending') = (bytes IS NOT NULL)),
    CHECK ((state IN ('claimed', 'pending')) = (finished_at_ms IS NULL)),
    CHECK ((state = 'failed') = (failure IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- What may have been left behind.
CREATE INDEX settlements_pending ON settlements (lease_until_ms) WHERE state = 'pending';
CREATE INDEX settlements_claimed ON settlements (lease_until_ms) WHERE state = 'claimed';

-- Transaction fees of a UTC day, by the day they were reserved on. Key '' is all together.
CREATE TABLE sponsored_lamports (
    day       INTEGER NOT NULL,
    key_id    TEXT    NOT NULL,
    reserved  INTEGER NOT NULL CHECK (reserved >= 0),
    spent     INTEGER NOT NULL CHECK (spent >= 0),
    PRIMARY KEY (day, key_id)
) STRICT, WITHOUT ROWID;
