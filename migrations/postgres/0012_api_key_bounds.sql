-- What making and ending keys costs does not grow with how many there were.

-- A user's keys that have not ended. The number is the last moment there is: a key without an end comes after all ends.
CREATE INDEX api_keys_active ON api_keys (user_id, coalesce(expires_at_ms, 9223372036854775807))
    WHERE revoked_at_ms IS NULL;

-- What was made for a user lately.
CREATE INDEX api_keys_made ON api_keys (user_id, created_at_ms);

-- The keys that were made with a key. Most are made by few others, who are not in here: so an index of their own says how
-- few of these there are.
CREATE INDEX api_key_events_by_key ON api_key_events ((actor COLLATE "C"))
    WHERE type = 'created' AND actor LIKE 'key@_%' ESCAPE '@';
CREATE INDEX past_api_key_events_by_key ON past_api_key_events (actor)
    WHERE type = 'created' AND actor LIKE 'key@_%' ESCAPE '@';
