-- Answers kept for requests with an Idempotency-Key.

CREATE TABLE idempotency_keys (
    -- Who sent it.
    caller         TEXT    COLLATE "C" NOT NULL,
    key            TEXT    COLLATE "C" NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    -- SHA-256 of the request.
    fingerprint    BYTEA   NOT NULL CHECK (length(fingerprint) = 32),
    -- Whose turn it is while there is no answer; another request may take over when the lease has run out.
    holder         TEXT    NOT NULL,
    lease_until_ms BIGINT  NOT NULL,
    status         INTEGER CHECK (status BETWEEN 200 AND 499),
    body           BYTEA,
    created_at_ms  BIGINT  NOT NULL,
    PRIMARY KEY (caller, key),
    CHECK ((status IS NULL) = (body IS NULL))
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at_ms);
