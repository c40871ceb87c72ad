-- What agents have spent, what is held back for payments that are under way, and which of their payments were bad.

CREATE TABLE agent_spending (
    agent_id  TEXT    NOT NULL REFERENCES agents (id),
    -- UTC, in days since the epoch.
    day       INTEGER NOT NULL,
    -- Stablecoins together, at par, 6 digits after the point; or SOL, in lamports.
    unit      TEXT    NOT NULL CHECK (unit IN ('stable', 'sol')),
    spent     INTEGER NOT NULL CHECK (spent >= 0),
    PRIMARY KEY (agent_id, day, unit)
) STRICT, WITHOUT ROWID;

-- What is reserved of a day is the sum of its holds that have not run out.
CREATE TABLE agent_holds (
    -- SHA-256 of the transaction's message.
    message        BLOB    NOT NULL CHECK (length(message) = 32),
    agent_id       TEXT    NOT NULL REFERENCES agents (id),
    day            INTEGER NOT NULL,
    unit           TEXT    NOT NULL CHECK (unit IN ('stable', 'sol')),
    amount         INTEGER NOT NULL CHECK (amount > 0),
    -- Null: until the message's settlement ends.
    expires_at_ms  INTEGER,
    PRIMARY KEY (message, agent_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX agent_holds_by_day ON agent_holds (agent_id, day, unit);
CREATE INDEX agent_holds_by_end ON agent_holds (expires_at_ms) WHERE expires_at_ms IS NOT NULL;

-- A bad payment costs its agent once, however often it is shown.
CREATE TABLE agent_failures (
    agent_id      TEXT    NOT NULL REFERENCES agents (id),
    attempt       TEXT    NOT NULL CHECK (length(attempt) BETWEEN 1 AND 200),
    failed_at_ms  INTEGER NOT NULL,
    PRIMARY KEY (agent_id, attempt)
) STRICT, WITHOUT ROWID;

CREATE INDEX agent_failures_by_age ON agent_failures (failed_at_ms);

-- The agent whose limits a payment counted against.
ALTER TABLE transactions ADD COLUMN agent_id TEXT REFERENCES agents (id);
CREATE INDEX transactions_by_agent ON transactions (agent_id, id DESC) WHERE agent_id IS NOT NULL;

-- The agent that an event is about.
ALTER TABLE analytics_events ADD COLUMN agent_id TEXT REFERENCES agents (id);
