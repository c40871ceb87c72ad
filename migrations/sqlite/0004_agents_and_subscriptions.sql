-- Agents, plans, subscriptions and metered usage. Amounts are atomic units, times Unix milliseconds, lists and metadata
-- JSON texts.

CREATE TABLE agents (
    id                         TEXT    NOT NULL PRIMARY KEY,
    owner                      TEXT    NOT NULL,
    name                       TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    -- The wallet it pays from.
    public_key                 TEXT    NOT NULL CHECK (length(public_key) BETWEEN 32 AND 44),
    -- USDC, USDT and PYUSD together, at par.
    daily_limit                INTEGER CHECK (daily_limit >= 0),
    per_transaction_limit      INTEGER CHECK (per_transaction_limit >= 0),
    sol_daily_limit            INTEGER CHECK (sol_daily_limit >= 0),
    sol_per_transaction_limit  INTEGER CHECK (sol_per_transaction_limit >= 0),
    -- Null: all.
    allowed_services           TEXT,
    reputation_score           INTEGER NOT NULL DEFAULT 0 CHECK (reputation_score BETWEEN 0 AND 1000),
    transaction_count          INTEGER NOT NULL DEFAULT 0 CHECK (transaction_count >= 0),
    metadata                   TEXT,
    created_at_ms              INTEGER NOT NULL,
    updated_at_ms              INTEGER NOT NULL,
    -- A deleted agent stays for its history.
    deleted_at_ms              INTEGER CHECK (deleted_at_ms >= created_at_ms)
) STRICT;

-- A user registers a wallet once at a time.
CREATE UNIQUE INDEX agents_by_wallet ON agents (public_key, owner) WHERE deleted_at_ms IS NULL;
CREATE INDEX agents_by_owner ON agents (owner, id DESC) WHERE deleted_at_ms IS NULL;

CREATE TABLE subscription_plans (
    id                  TEXT    NOT NULL PRIMARY KEY,
    owner               TEXT    NOT NULL,
    name                TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    description         TEXT,
    price_per_month     INTEGER NOT NULL CHECK (price_per_month > 0),
    currency            TEXT    NOT NULL CHECK (currency IN ('USDC', 'USDT', 'SOL', 'PYUSD')),
    features            TEXT,
    requests_per_month  INTEGER CHECK (requests_per_month > 0),
    requests_per_day    INTEGER CHECK (requests_per_day > 0),
    metadata            TEXT,
    created_at_ms       INTEGER NOT NULL,
    updated_at_ms       INTEGER NOT NULL,
    -- A retired plan takes no new subscriptions.
    retired_at_ms       INTEGER CHECK (retired_at_ms >= created_at_ms)
) STRICT;

CREATE INDEX subscription_plans_on_offer ON subscription_plans (id DESC) WHERE retired_at_ms IS NULL;

CREATE TABLE subscriptions (
    id                       TEXT    NOT NULL PRIMARY KEY,
    owner                    TEXT    NOT NULL,
    plan_id                  TEXT    NOT NULL REFERENCES subscription_plans (id),
    agent_id                 TEXT    NOT NULL REFERENCES agents (id),
    wallet_address           TEXT    NOT NULL CHECK (length(wallet_address) BETWEEN 32 AND 44),
    status                   TEXT    NOT NULL CHECK (status IN ('active', 'past_due', 'cancelled', 'expired')),
    -- Day of the month on which periods begin, where the month has it.
    anchor_day               INTEGER NOT NULL CHECK (anchor_day BETWEEN 1 AND 31),
    current_period_start_ms  INTEGER NOT NULL,
    current_period_end_ms    INTEGER NOT NULL CHECK (current_period_end_ms > current_period_start_ms),
    cancel_at_period_end     INTEGER NOT NULL DEFAULT 0 CHECK (cancel_at_period_end IN (0, 1)),
    metadata                 TEXT,
    created_at_ms            INTEGER NOT NULL,
    updated_at_ms            INTEGER NOT NULL
) STRICT;

CREATE INDEX subscriptions_by_owner ON subscriptions (owner, id DESC);
CREATE INDEX subscriptions_by_plan ON subscriptions (plan_id);
CREATE INDEX subscriptions_by_agent ON subscriptions (agent_id);
-- What the worker has to look after, the most overdue first.
CREATE INDEX subscriptions_due ON subscriptions (current_period_end_ms) WHERE status IN ('active', 'past_due');

CREATE TABLE usage_records (
    id               TEXT    NOT NULL PRIMARY KEY,
    subscription_id  TEXT    NOT NULL REFERENCES subscriptions (id),
    quantity         INTEGER NOT NULL CHECK (quantity > 0),
    resource         TEXT,
    used_at_ms       INTEGER NOT NULL,
    recorded_at_ms   INTEGER NOT NULL,
    idempotency_key  TEXT    CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    metadata         TEXT
) STRICT;

-- Counted once.
CREATE UNIQUE INDEX usage_records_once ON usage_records (subscription_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX usage_records_by_time ON usage_records (subscription_id, used_at_ms);
