-- Usage that reaches a limit is told once for each day and each period. No version before this one tells it.

-- When the last day ends whose limit was told to be reached.
ALTER TABLE subscriptions ADD COLUMN day_limit_told_ms INTEGER;
-- When the last period ends whose limit was.
ALTER TABLE subscriptions ADD COLUMN period_limit_told_ms INTEGER;
