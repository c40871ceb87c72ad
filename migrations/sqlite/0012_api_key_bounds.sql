-- What making and ending keys costs does not grow with how many there were.

-- A user's keys that have not ended. The number is the last moment there is: a key without an end comes after all ends.
CREATE INDEX api_keys_active ON api_keys (user_id, coalesce(expires_at_ms, 9223372036854775807))
    WHERE revoked_at_ms IS NULL;

-- What was made for a user lately.
CREATE INDEX api_keys_made ON api_keys (user_id, created_at_ms);
