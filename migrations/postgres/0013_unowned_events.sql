-- What is looked through when a payment finds its owner.
-- In a file of its own: no lock on another table is held while the events are looked through.
CREATE INDEX analytics_events_unowned ON analytics_events (payment_id) WHERE owner IS NULL;
