-- Periods that are paid, when time changes a subscription next, and counts of what was used. No version before this one
-- writes subscriptions or usage.

ALTER TABLE subscriptions
    -- What the current period costs.
    ADD COLUMN period_price BIGINT NOT NULL DEFAULT 1 CHECK (period_price > 0),
    -- The start of the first period that is not paid.
    ADD COLUMN paid_until_ms BIGINT NOT NULL DEFAULT 0,
    -- When time alone changes it next: the end of its period, or of its grace. Null: never again.
    ADD COLUMN due_at_ms BIGINT,
    ADD COLUMN ended_at_ms BIGINT,
    ADD CONSTRAINT subscriptions_end_check
        CHECK ((status IN ('cancelled', 'expired')) = (ended_at_ms IS NOT NULL)
            AND (ended_at_ms IS NULL) = (due_at_ms IS NOT NULL)),
    ADD CONSTRAINT subscriptions_paid_check
        CHECK (CASE status
            WHEN 'active' THEN paid_until_ms >= current_period_end_ms AND due_at_ms = current_period_end_ms
            WHEN 'past_due' THEN paid_until_ms = current_period_start_ms AND due_at_ms < current_period_end_ms
                AND NOT cancel_at_period_end
            ELSE true END);

-- What the worker has to look after, in the place of an index on the period's end.
DROP INDEX subscriptions_due;
CREATE INDEX subscriptions_due ON subscriptions (due_at_ms) WHERE due_at_ms IS NOT NULL;

-- A period is paid once, and a payment pays one period.
CREATE TABLE subscription_periods (
    subscription_id  TEXT COLLATE "C" NOT NULL REFERENCES subscriptions (id),
    start_ms         BIGINT NOT NULL,
    end_ms           BIGINT NOT NULL CHECK (end_ms > start_ms),
    price            BIGINT NOT NULL CHECK (price > 0),
    payment_id       TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES transactions (id),
    paid_at_ms       BIGINT NOT NULL,
    PRIMARY KEY (subscription_id, start_ms)
);

-- The subscription that an event is about.
ALTER TABLE analytics_events ADD COLUMN subscription_id TEXT COLLATE "C" REFERENCES subscriptions (id);

-- SHA-256 of what was said under the idempotency key.
ALTER TABLE usage_records
    ADD COLUMN fingerprint BYTEA CHECK (length(fingerprint) = 32),
    ADD CONSTRAINT usage_records_keyed_check CHECK ((fingerprint IS NULL) = (idempotency_key IS NULL));

-- Usage by UTC day, in days since the epoch; a day on which a period begins belongs to two.
CREATE TABLE usage_days (
    subscription_id  TEXT COLLATE "C" NOT NULL REFERENCES subscriptions (id),
    day              BIGINT NOT NULL,
    period_start_ms  BIGINT NOT NULL,
    quantity         BIGINT NOT NULL CHECK (quantity > 0),
    records          BIGINT NOT NULL CHECK (records > 0),
    PRIMARY KEY (subscription_id, day, period_start_ms)
);

-- Usage by what was used; '' where that was not said.
CREATE TABLE usage_resources (
    subscription_id  TEXT COLLATE "C" NOT NULL REFERENCES subscriptions (id),
    period_start_ms  BIGINT NOT NULL,
    resource         TEXT COLLATE "C" NOT NULL,
    quantity         BIGINT NOT NULL CHECK (quantity > 0),
    records          BIGINT NOT NULL CHECK (records > 0),
    PRIMARY KEY (subscription_id, period_start_ms, resource)
);

CREATE INDEX usage_resources_by_quantity
    ON usage_resources (subscription_id, period_start_ms, quantity DESC, resource);

-- Records of a period, newest first.
DROP INDEX usage_records_by_time;
CREATE INDEX usage_records_by_time ON usage_records (subscription_id, used_at_ms DESC, id DESC);
