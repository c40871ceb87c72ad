-- What was settled for a user's agents by the hour, the day and eight days, so that who spent the most is found without a walk through
-- the books. Kept up by a name of its own in `rollups`: a version before this one, still running, moves the others on.

INSERT INTO rollups (name, rolled_until_ms) VALUES ('agents', 0);

CREATE TABLE agent_sums (
    owner        TEXT   COLLATE "C" NOT NULL,
    -- An hour, a UTC day, or eight of them.
    span_ms      BIGINT NOT NULL CHECK (span_ms IN (3600000, 86400000, 691200000)),
    start_ms     BIGINT NOT NULL,
    agent_id     TEXT   COLLATE "C" NOT NULL REFERENCES agents (id),
    -- '' for mints that are no known currency: their payments are counted, their amounts are not.
    currency     TEXT   NOT NULL,
    payments     BIGINT NOT NULL CHECK (payments > 0),
    -- As in payment_sums.
    amount_high  BIGINT NOT NULL CHECK (amount_high >= 0),
    amount_low   BIGINT NOT NULL CHECK (amount_low >= 0),
    -- Read from the index alone: rows of hours and days lie mixed in the table.
    PRIMARY KEY (owner, span_ms, start_ms, agent_id, currency) INCLUDE (payments, amount_high, amount_low)
);
