//! [`RateLimitStore`] in Redis, on top of the one in memory.
//!
//! Redis decides while it answers, and memory counts what was admitted here, whoever decided: so it can count on where Redis
//! left off, and repeat a refusal without asking again. Where its own count is full it refuses though Redis would not: a
//! Redis that forgot, or was away, doubles nothing on one instance.

use std::{
    num::NonZeroU32,
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use deadpool_redis::redis::Script;

use super::{
    Redis,
    ended::{ended_key, has_ended},
};
use crate::{
    clock::Clock,
    rate_limit::{Action, Decision, RateLimitStore, Subject, WINDOW},
    store::memory::MemoryRateLimits,
};

/// The window of `rate_limit::Window`, by Redis' own clock, which all instances share.
///
/// A hash with a field a second: the number of requests admitted in it, times 1000, plus the millisecond of the last.
/// Keys: the hash, and for an API key where it is told that it has ended. Arguments: the limit, the window in
/// milliseconds. Answers whether the request is admitted (2: not looked at, the key has ended), how many count now, and in
/// how many milliseconds the quota is whole and the next request would be admitted. Every admitted request makes the hash
/// last for one more window, after which nothing in it counts.
static ADMIT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local ends = KEYS[2] and redis.call('GET', KEYS[2])
        if ends and tonumber(ends) <= now then return { 2, 0, 0, 0 } end
        local stored = redis.call('HGETALL', KEYS[1])
        local buckets, latest, counted = {}, 0, 0
        for i = 1, #stored, 2 do
            local packed = tonumber(stored[i + 1])
            local last = stored[i] * 1000 + packed % 1000
            if last > now - window and last <= now + window then
                local count = math.floor(packed / 1000)
                buckets[#buckets + 1] = { last = last, count = count }
                latest = math.max(latest, last)
                counted = counted + count
            else
                redis.call('HDEL', KEYS[1], stored[i])
            end
        end
        if counted < limit then
            local last, count = math.max(now, latest), 1
            local second = math.floor(last / 1000)
            for _, bucket in ipairs(buckets) do
                if math.floor(bucket.last / 1000) == second then count = bucket.count + 1 end
            end
            redis.call('HSET', KEYS[1], second, count * 1000 + last % 1000)
            redis.call('PEXPIREAT', KEYS[1], last + window)
            return { 1, counted + 1, last + window - now, 0 }
        end
        table.sort(buckets, function(one, other) return one.last < other.last end)
        local left, retry = counted, 0
        for _, bucket in ipairs(buckets) do
            left = left - bucket.count
            if left < limit then
                retry = bucket.last + window - now
                break
            end
        end
        return { 0, counted, latest + window - now, retry }",
    )
});

const ADMITTED: u8 = 1;
const ENDED: u8 = 2;

/// How much later a request may be out of the one count than of the other: Redis and memory have seconds of their own.
const APART: Duration = Duration::from_secs(1);

/// Counts that the instances on one Redis share.
#[derive(Debug)]
pub struct RedisRateLimits {
    redis: Arc<Redis>,
    memory: MemoryRateLimits,
}

impl RedisRateLimits {
    #[must_use]
    pub fn new(redis: Arc<Redis>, clock: Arc<dyn Clock>) -> Self {
        Self { redis, memory: MemoryRateLimits::new(clock) }
    }

    async fn decide(&self, subject: &Subject, action: Action, limit: NonZeroU32) -> Decision {
        if let Some(refusal) = self.memory.refusal(subject, action, limit) {
            return refusal;
        }
        let mut script = ADMIT.key(format!("ratelimit:{subject}:{}", action.as_str()));
        if let Subject::Key(name) = subject {
            script.key(ended_key(name));
        }
        script.arg(limit.get()).arg(WINDOW.as_millis());
        let answer = self.redis.decide::<(u8, u32, u64, u64)>("rate_limit", &script).await;
        let Some((outcome, counted, reset_ms, retry_ms)) = answer else {
            return self.memory.admit(subject, action, limit).await;
        };
        if outcome == ENDED {
            return Decision::ended();
        }
        let (reset, retry_after) = (Duration::from_millis(reset_ms), Duration::from_millis(retry_ms));
        if outcome != ADMITTED {
            let refusal = Decision::refused(limit, reset, retry_after);
            self.memory.learn_refusal(subject, action, &refusal);
            return refusal;
        }
        let shared = Decision::admitted(limit, counted, reset);
        let own = self.memory.admit(subject, action, limit).await;
        // Others may have been admitted meanwhile, and Redis may know less than memory does.
        if own.admitted && shared.remaining <= own.remaining { shared } else { own }
    }
}

#[async_trait]
impl RateLimitStore for RedisRateLimits {
    async fn admit(&self, subject: &Subject, action: Action, limit: NonZeroU32) -> Decision {
        if action.is_shared() {
            told(self.decide(subject, action, limit).await)
        } else {
            self.memory.admit(subject, action, limit).await
        }
    }

    async fn has_ended(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Key(name) => has_ended(&self.redis, name).await,
            Subject::Address(_) => false,
        }
    }

    fn standing_refusal(&self, subject: &Subject, action: Action, limit: NonZeroU32) -> Option<Decision> {
        let refusal = self.memory.standing_refusal(subject, action, limit)?;
        Some(if action.is_shared() { told(refusal) } else { refusal })
    }
}

/// Whoever is refused waits for both counts, whichever it was.
fn told(decision: Decision) -> Decision {
    if decision.retry_after.is_zero() {
        return decision;
    }
    let retry_after = decision.retry_after + APART;
    Decision { retry_after, reset: decision.reset.max(retry_after), ..decision }
}
