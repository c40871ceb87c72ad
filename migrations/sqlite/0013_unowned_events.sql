-- What is looked through when a payment finds its owner.
CREATE INDEX analytics_events_unowned ON analytics_events (payment_id) WHERE owner IS NULL;
