//! Keys that have ended, as the instances on one Redis tell each other.
//!
//! Who counts a key's requests here sees it in the same script, see [`RedisRateLimits`](super::RedisRateLimits).

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use deadpool_redis::redis::Script;

use super::Redis;
use crate::{api_keys::Herald, ids::ApiKeyId};

/// How long it is told after a key has ended: longer than a row stands that was read before.
const TOLD_FOR: Duration = Duration::from_mins(2);

/// Keys: what [`ended_key`] gives. Arguments: in how many milliseconds they end, and how long it is told after that, in
/// milliseconds.
///
/// What is told is the time by Redis' own clock, and 0 for a key that has ended whatever any clock says. Of several ends of
/// a key the first stands.
static END: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local ends = 0
        if ARGV[1] ~= '0' then
            local time = redis.call('TIME')
            ends = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
        end
        for _, key in ipairs(KEYS) do
            local told = tonumber(redis.call('GET', key))
            local told_for = math.max(ARGV[1] + ARGV[2], redis.call('PTTL', key))
            redis.call('SET', key, math.min(ends, told or ends), 'PX', told_for)
        end
        return 0",
    )
});

/// Key: what [`ended_key`] gives. Answers whether it has ended.
static HAS_ENDED: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local ends = tonumber(redis.call('GET', KEYS[1]))
        if not ends then return 0 end
        local time = redis.call('TIME')
        return ends <= time[1] * 1000 + math.floor(time[2] / 1000) and 1 or 0",
    )
});

/// Where it is told when a key ends.
pub(super) fn ended_key(id: &str) -> String {
    format!("ended:{id}")
}

/// Whether somebody has told that a key has ended. Nobody has, where Redis does not answer.
pub(super) async fn has_ended(redis: &Redis, id: &str) -> bool {
    redis.tell("key_ended", &HAS_ENDED.key(ended_key(id))).await.unwrap_or(false)
}

#[derive(Debug)]
pub struct RedisHerald(Arc<Redis>);

impl RedisHerald {
    #[must_use]
    pub const fn new(redis: Arc<Redis>) -> Self {
        Self(redis)
    }
}

#[async_trait]
impl Herald for RedisHerald {
    async fn ended(&self, keys: &[ApiKeyId], after: Duration) {
        let mut script = END.arg(after.as_millis());
        script.arg(TOLD_FOR.as_millis());
        for key in keys {
            script.key(ended_key(key.as_str()));
        }
        if self.0.tell::<u8>("end_keys", &script).await.is_none() {
            tracing::warn!(
                "the other instances could not be told that API keys have ended: they read it in the database"
            );
        }
    }
}
