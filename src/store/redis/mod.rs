//! Fast state that the instances of a service share, in one Redis.
//!
//! Whatever happens to Redis, nobody who calls these stores hears of it: in-memory state answers in its stead, within
//! [`CALL_TIMEOUT`]. What Redis holds are hints; the database stays the judge.
//!
//! A decision is one script and its keys have no common hash tag, so this is for a single Redis with or without
//! replicas, not for Redis Cluster.

mod breaker;
mod claims;
mod debts;
mod ended;
mod link;
mod rate_limit;
mod seal;

pub use claims::RedisClaims;
pub use ended::RedisHerald;
pub use link::{CALL_TIMEOUT, InvalidRedisUrl, Limits, Redis};
pub use rate_limit::RedisRateLimits;
