-- Usage that reaches a limit is told once for each day and each period. No version before this one tells it.
ALTER TABLE subscriptions
    -- When the last day ends whose limit was told to be reached.
    ADD COLUMN day_limit_told_ms BIGINT,
    -- When the last period ends whose limit was.
    ADD COLUMN period_limit_told_ms BIGINT;
