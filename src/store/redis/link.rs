//! The way to Redis: a bounded pool, one short timeout for all that a call does, and the breaker before both.

use std::{fmt, sync::Arc, time::Duration};

use deadpool::{
    Runtime,
    managed::{self, Object, Pool, PoolError, QueueMode, RecycleResult, TimeoutType},
};
use deadpool_redis::redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, RedisError, RedisResult, ScriptInvocation,
    aio::MultiplexedConnection,
};
use tokio::time::{Instant, timeout_at};

use super::breaker::{Breaker, Severity};
use crate::metrics::Metrics;

/// How long a call may take, waiting for a connection and making one included.
pub const CALL_TIMEOUT: Duration = Duration::from_millis(100);
/// How long Redis is left alone after it failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How many connections there are at most.
const MAX_CONNECTIONS: usize = 16;
/// A connection unused for so long is tried before it is used.
const IDLE: Duration = Duration::from_millis(500);

/// How patient a [`Redis`] is.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub call_timeout: Duration,
    /// How long Redis is left alone after it failed.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { call_timeout: CALL_TIMEOUT, pause: PAUSE }
    }
}

/// The text is no address of a Redis. It may hold a password, so it is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a Redis address: expected redis[s]://[[user]:password@]host[:port][/database]")]
pub struct InvalidRedisUrl;

/// A Redis, reachable or not. What several stores share.
pub struct Redis {
    pool: Pool<Connections>,
    breaker: Breaker,
    metrics: Arc<Metrics>,
    call_timeout: Duration,
}

impl Redis {
    /// Connects when it is first called, so a Redis that is down now does not matter.
    ///
    /// # Errors
    /// When `url` is not one.
    pub fn open(url: &str, metrics: Arc<Metrics>) -> Result<Self, InvalidRedisUrl> {
        Self::with_limits(url, Limits::default(), metrics)
    }

    /// Like [`open`](Self::open), more or less patient than usual.
    ///
    /// # Errors
    /// When `url` is not one.
    pub fn with_limits(url: &str, limits: Limits, metrics: Arc<Metrics>) -> Result<Self, InvalidRedisUrl> {
        // The client's own timeouts would otherwise cut a patient caller short.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limits.call_timeout))
            .set_response_timeout(Some(limits.call_timeout));
        let manager = deadpool_redis::Manager::new_with_config(url, config).map_err(|_| InvalidRedisUrl)?;
        let pool = Pool::builder(Connections(manager))
            .max_size(MAX_CONNECTIONS)
            // Half of a call's time: whoever then gets a connection has some left to use it.
            .wait_timeout(Some(limits.call_timeout / 2))
            .runtime(Runtime::Tokio1)
            // The one used last is the one that need not be tried first.
            .queue_mode(QueueMode::Lifo)
            .build()
            .map_err(|_| InvalidRedisUrl)?;
        let breaker = Breaker::new(limits.pause, metrics.clone());
        Ok(Self { pool, breaker, metrics, call_timeout: limits.call_timeout })
    }

    /// Whether Redis answers. Asks it at most once, and not at all while it is left alone after a failure.
    pub async fn health(&self) -> bool {
        self.call::<String>("ping", Request::Command(&Cmd::ping())).await.is_some()
    }

    /// What the script answered. `None`: Redis has no answer now, and the caller's memory has to do.
    pub(super) async fn decide<T: FromRedisValue>(
        &self,
        operation: &'static str,
        script: &ScriptInvocation<'_>,
    ) -> Option<T> {
        let answer = self.tell(operation, script).await;
        if answer.is_none() {
            self.metrics.redis_fallback(operation);
        }
        answer
    }

    /// As [`decide`](Self::decide), where nothing has to do in Redis' stead.
    pub(super) async fn tell<T: FromRedisValue>(
        &self,
        operation: &'static str,
        script: &ScriptInvocation<'_>,
    ) -> Option<T> {
        self.call(operation, Request::Script(script)).await
    }

    async fn call<T: FromRedisValue>(&self, operation: &'static str, request: Request<'_>) -> Option<T> {
        let started = Instant::now();
        let permit = self.breaker.permit(started)?;
        let answer = self.attempt(request, started + self.call_timeout).await;
        self.metrics.redis_operation(operation, started.elapsed());
        match answer {
            Ok(answer) => {
                if permit.succeeded() {
                    tracing::info!("Redis answers again");
                }
                Some(answer)
            }
            Err(error) => {
                if permit.failed(error.severity(), Instant::now()) {
                    // They may all be broken, and none of them is needed now.
                    self.pool.retain(|_, _| false);
                    tracing::warn!(
                        operation,
                        error = &error as &dyn std::error::Error,
                        "Redis does not answer: using memory until it does"
                    );
                }
                None
            }
        }
    }

    async fn attempt<T: FromRedisValue>(
        &self,
        request: Request<'_>,
        deadline: Instant,
    ) -> Result<T, Failure> {
        let mut connection = timeout_at(deadline, self.pool.get())
            .await
            .map_err(|_| Failure::TimedOut)?
            .map_err(|error| match error {
                PoolError::Timeout(TimeoutType::Wait) => Failure::Busy,
                error => Failure::NoConnection(error),
            })?;
        let answer = match timeout_at(deadline, request.send(&mut connection)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if error.is_io_error() => Failure::Broken(error),
            Ok(Err(error)) => Failure::Refused(error),
            Err(_) => Failure::TimedOut,
        };
        // Not back to the pool: after a failure nobody knows what state it is in.
        drop(Object::take(connection));
        Err(answer)
    }
}

impl fmt::Debug for Redis {
    /// Without the address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

/// What is sent.
#[derive(Clone, Copy)]
enum Request<'a> {
    Script(&'a ScriptInvocation<'a>),
    Command(&'a Cmd),
}

impl Request<'_> {
    async fn send<T: FromRedisValue>(self, connection: &mut MultiplexedConnection) -> RedisResult<T> {
        match self {
            // By its digest. Where Redis does not know it, it is loaded first.
            Self::Script(script) => script.invoke_async(connection).await,
            Self::Command(command) => command.query_async(connection).await,
        }
    }
}

/// Why Redis gave no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it took too long")]
    TimedOut,
    #[error("all connections are in use")]
    Busy,
    #[error("no connection")]
    NoConnection(#[source] PoolError<RedisError>),
    #[error("the connection broke")]
    Broken(#[source] RedisError),
    #[error("it answered with an error")]
    Refused(#[source] RedisError),
}

impl Failure {
    fn severity(&self) -> Severity {
        match self {
            // Those who use the connections will tell if Redis is away.
            Self::Busy | Self::Refused(_) => Severity::Error,
            Self::Broken(_) | Self::NoConnection(_) | Self::TimedOut => Severity::Outage,
        }
    }
}

/// Makes connections, and tries those again that were not used for a while. Trying every one before every use, which
/// is the pool's own way, would double the round trips.
#[derive(Debug)]
struct Connections(deadpool_redis::Manager);

impl managed::Manager for Connections {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    async fn create(&self) -> RedisResult<MultiplexedConnection> {
        managed::Manager::create(&self.0).await
    }

    async fn recycle(
        &self,
        connection: &mut MultiplexedConnection,
        metrics: &managed::Metrics,
    ) -> RecycleResult<RedisError> {
        if metrics.last_used() < IDLE {
            return Ok(());
        }
        managed::Manager::recycle(&self.0, connection, metrics).await
    }
}
