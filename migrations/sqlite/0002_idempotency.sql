-- Answers kept for requests with an Idempotency-Key.

CREATE TABLE idempotency_keys (
    -- Who sent it.
    caller         TEXT    NOT NULL,
    key            TEXT    NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    -- SHA-256 of the request.
    fingerprint    BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    -- Whose turn it is while there is no answer; another request may take over when the lease has run out.
    holder         TEXT    NOT NULL,
    lease_until_ms INTEGER NOT NULL,
    status         INTEGER CHECK (status BETWEEN 200 AND 499),
    body           BLOB,
    created_at_ms  INTEGER NOT NULL,
    PRIMARY KEY (caller, key),
    CHECK ((status IS NULL) = (body IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at_ms);
