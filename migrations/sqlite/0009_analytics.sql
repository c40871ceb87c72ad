-- What payments and events come to by the hour and the day, so that nobody has to count a million lines.

-- A payment counts when it was verified; one that the service settles, when it ended.
ALTER TABLE transactions ADD COLUMN ended_at_ms INTEGER
    CHECK (ended_at_ms IS NULL OR (source = 'x402' AND state <> 'pending'));

UPDATE transactions SET ended_at_ms = (SELECT s.finished_at_ms FROM settlements s WHERE s.payment_id = transactions.id)
WHERE source = 'x402' AND state <> 'pending';

-- None of these holds what was proved: that is found by its id, which begins with the time.
CREATE INDEX transactions_ended ON transactions (ended_at_ms) WHERE ended_at_ms IS NOT NULL;
CREATE INDEX transactions_ended_by_owner ON transactions (owner, ended_at_ms) WHERE ended_at_ms IS NOT NULL;
CREATE INDEX transactions_pending ON transactions (owner) WHERE state = 'pending';
-- Ended by the version before this one, which does not say when.
CREATE INDEX transactions_end_unsaid ON transactions (id)
    WHERE source = 'x402' AND state <> 'pending' AND ended_at_ms IS NULL;

-- Up to which time what is in the books is summed up. From there on it is counted where it stands.
CREATE TABLE rollups (
    name             TEXT    NOT NULL PRIMARY KEY,
    rolled_until_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO rollups (name, rolled_until_ms) VALUES ('payments', 0), ('events', 0);

CREATE TABLE payment_sums (
    owner        TEXT    NOT NULL,
    -- An hour or a UTC day.
    span_ms      INTEGER NOT NULL CHECK (span_ms IN (3600000, 86400000)),
    start_ms     INTEGER NOT NULL,
    state        TEXT    NOT NULL,
    source       TEXT    NOT NULL,
    -- '' for mints that are no known currency: their payments are counted, their amounts are not.
    currency     TEXT    NOT NULL,
    payments     INTEGER NOT NULL CHECK (payments > 0),
    -- The sums of the upper and of the lower 32 bits of the amounts, as the sum of the amounts may not fit.
    amount_high  INTEGER NOT NULL CHECK (amount_high >= 0),
    amount_low   INTEGER NOT NULL CHECK (amount_low >= 0),
    PRIMARY KEY (owner, span_ms, start_ms, state, source, currency)
) STRICT, WITHOUT ROWID;

CREATE TABLE event_sums (
    owner     TEXT    NOT NULL,
    span_ms   INTEGER NOT NULL CHECK (span_ms IN (3600000, 86400000)),
    start_ms  INTEGER NOT NULL,
    type      TEXT    NOT NULL,
    events    INTEGER NOT NULL CHECK (events > 0),
    PRIMARY KEY (owner, span_ms, start_ms, type)
) STRICT, WITHOUT ROWID;
