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
use crate::{api_keys::Herald, clock::UnixMs, ids::ApiKeyId};

/// How long it is told after a key has ended: longer than a row stands that was read before.
const TOLD_FOR: Duration = Duration::from_mins(2);

/// Keys: what [`ended_key`] gives. Arguments: when they end, and how long it is told after that, in milliseconds.
static END: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local at = tonumber(ARGV[1])
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        for _, key in ipairs(KEYS) do
            redis.call('SET', key, ARGV[1])
            redis.call('PEXPIREAT', key, math.max(at, now) + ARGV[2])
        end
        return 0",
    )
});

/// Where it is told when a key ends.
pub(super) fn ended_key(id: &str) -> String {
    format!("ended:{id}")
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
    async fn ended(&self, keys: &[ApiKeyId], at: UnixMs) {
        let mut script = END.arg(at.0);
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
