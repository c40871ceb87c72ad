//! The composition root: the one place that names concrete backends.

mod settling;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use tokio::{net::TcpListener, time::timeout};

use settling::{FeePayerCheck, Parts};

use crate::{
    agents::service::Agents,
    analytics::{Rollup, service::Analytics},
    api_keys::{
        Authenticator, Environment, Foundations, Hasher, Herald, LastUsed, SharedPrefix, Tags,
        service::ApiKeys,
    },
    chain::{Chain, assets::Network, solana::SolanaRpc},
    clock::{Clock, SystemClock},
    config::{Config, DatabaseUrl, HttpConfig},
    housekeeping::Housekeeping,
    http::{
        self, Attempts, ConnectionLimits, Readiness, ReadinessBoard, ReadinessCheck, Services, Slots,
        Verifications,
    },
    ids::{Entropy, OsEntropy},
    metrics::Metrics,
    open_files::room_for_connections,
    payments::{
        ClaimStore, Recorder,
        proof::{ProofPolicy, ProofVerifier},
        settlement::Settlements,
    },
    plans::service::Plans,
    rate_limit::{RateLimitStore, RateLimiter},
    requirements::service::Requirements,
    server_secrets::{ServerSecret, server_secret},
    shutdown::{CLOSE_TIMEOUT, Shutdown},
    store::{
        Books, Database,
        memory::{MemoryClaims, MemoryRateLimits},
        postgres::PostgresStore,
        redis::{InvalidRedisUrl, Redis, RedisClaims, RedisHerald, RedisRateLimits},
        sqlite::SqliteStore,
    },
    store_error::StoreError,
    subscriptions::{service::Subscriptions, worker::Worker},
    usage::service::Usage,
};

/// How long a component may take to say how it is.
const READINESS_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(4);

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the database cannot be opened")]
    Database(#[source] StoreError),
    #[error("the database cannot be migrated")]
    Migration(#[source] StoreError),
    #[error("REDIS_URL cannot be used")]
    Redis(#[from] InvalidRedisUrl),
    #[error(transparent)]
    Keys(#[from] SharedPrefix),
}

/// Opens the configured database.
///
/// # Errors
/// When it cannot be reached.
pub async fn open_books(url: &DatabaseUrl, metrics: &Arc<Metrics>) -> Result<Books, StartError> {
    let metrics = Arc::clone(metrics);
    let opened = match url {
        DatabaseUrl::Sqlite(path) => SqliteStore::open(path, metrics).await.map(Books::new),
        DatabaseUrl::Postgres(url) => PostgresStore::open(url.expose_secret(), metrics).await.map(Books::new),
    };
    opened.map_err(StartError::Database)
}

/// URLs as the clients that connect to them want them.
fn exposed(urls: &[SecretString]) -> Vec<String> {
    urls.iter().map(|url| url.expose_secret().to_owned()).collect()
}

/// What keys are made and checked with, by the service and the command line alike.
#[must_use]
pub fn key_foundations(
    books: &Books,
    network: Network,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    metrics: &Arc<Metrics>,
) -> Foundations {
    Foundations {
        store: Arc::clone(&books.api_keys),
        tags: Arc::new(Tags::new(Arc::clone(&books.secrets), Arc::clone(entropy))),
        hasher: Arc::new(Hasher::new(Arc::clone(metrics))),
        environment: Environment::of(network),
        clock: Arc::clone(clock),
        metrics: Arc::clone(metrics),
    }
}

/// What the instances seal what they share with. Where the database has none to give now, this instance's own: it then
/// neither believes the others nor is believed.
///
/// Each network has its own, as a database may have seen several: what one chain said must not pass for another's word.
/// The number is that of the sealed form.
async fn cache_secret(books: &Books, network: Network, entropy: &dyn Entropy) -> ServerSecret {
    let name = format!("transaction_cache_1_{network}");
    server_secret(books.secrets.as_ref(), &name, entropy).await.unwrap_or_else(|error| {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "look-ups are not shared with other instances"
        );
        ServerSecret::fresh(entropy)
    })
}

/// Who tells the other instances which keys the command line has ended, where there is a Redis.
///
/// # Errors
/// When its address is none.
pub fn herald(
    redis: Option<&SecretString>,
    metrics: &Arc<Metrics>,
) -> Result<Option<Arc<dyn Herald>>, InvalidRedisUrl> {
    let redis = redis.map(|url| Redis::open(url.expose_secret(), Arc::clone(metrics))).transpose()?;
    Ok(redis.map(|redis| herald_on(&Arc::new(redis))))
}

fn herald_on(redis: &Arc<Redis>) -> Arc<dyn Herald> {
    Arc::new(RedisHerald::new(Arc::clone(redis)))
}

/// What is quick to answer and may be lost: in Redis where there is one, else in memory.
struct FastState {
    redis: Option<Arc<Redis>>,
    claims: Arc<dyn ClaimStore>,
    counts: Arc<dyn RateLimitStore>,
}

impl FastState {
    async fn open(
        config: &Config,
        books: &Books,
        clock: &Arc<dyn Clock>,
        entropy: &dyn Entropy,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let redis = match &config.redis {
            Some(url) => {
                let redis = Redis::open(url.expose_secret(), Arc::clone(metrics))?;
                Some(Arc::new(redis))
            }
            None => None,
        };
        let claims: Arc<dyn ClaimStore> = match &redis {
            Some(redis) => Arc::new(RedisClaims::new(
                Arc::clone(redis),
                Arc::clone(clock),
                entropy,
                cache_secret(books, config.solana.network, entropy).await.expose(),
                Arc::clone(metrics),
            )),
            None => Arc::new(MemoryClaims::new(Arc::clone(clock))),
        };
        let counts: Arc<dyn RateLimitStore> = match &redis {
            Some(redis) => Arc::new(RedisRateLimits::new(Arc::clone(redis), Arc::clone(clock))),
            None => Arc::new(MemoryRateLimits::new(Arc::clone(clock))),
        };
        if let Some(redis) = redis.clone() {
            // Shows in the metrics and the log from the start, and keeps nobody waiting.
            tokio::spawn(async move { redis.health().await });
        }
        Ok(Self { redis, claims, counts })
    }
}

/// Work that nobody asks for, until the shutdown begins.
fn start_background(
    books: &Books,
    clock: &Arc<dyn Clock>,
    tags: Arc<Tags>,
    last_used: &Arc<LastUsed>,
    shutdown: &Shutdown,
) {
    let housekeeping = Housekeeping {
        payments: Arc::clone(&books.payments),
        idempotency: Arc::clone(&books.idempotency),
        agents: Arc::clone(&books.agents),
        api_keys: Arc::clone(&books.api_keys),
        clock: Arc::clone(clock),
    };
    shutdown.keep_going(housekeeping, Housekeeping::run);
    let worker = Worker { store: Arc::clone(&books.subscriptions), clock: Arc::clone(clock) };
    shutdown.keep_going(worker, Worker::run);
    let rollup = Rollup::new(Arc::clone(&books.analytics), Arc::clone(clock));
    shutdown.keep_going(rollup, Rollup::run);
    shutdown.keep_going(Arc::clone(last_used), LastUsed::run);
    let until = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = tags.prime() => {}
            () = until.begun() => {}
        }
    });
}

/// What can be subscribed to, and what is used of it.
struct Offers {
    plans: Arc<Plans>,
    subscriptions: Arc<Subscriptions>,
    usage: Arc<Usage>,
}

impl Offers {
    fn new(books: &Books, clock: &Arc<dyn Clock>, entropy: &Arc<dyn Entropy>) -> Self {
        let ground = || (Arc::clone(clock), Arc::clone(entropy));
        let (store, (clock, entropy)) = (Arc::clone(&books.subscriptions), ground());
        let subscriptions = Subscriptions::new(store, Arc::clone(&books.agents), clock, entropy);
        let (store, (clock, entropy)) = (Arc::clone(&books.usage), ground());
        let usage = Usage::new(store, Arc::clone(&books.subscriptions), clock, entropy);
        let (clock, entropy) = ground();
        Self {
            plans: Arc::new(Plans::new(Arc::clone(&books.plans), clock, entropy)),
            subscriptions: Arc::new(subscriptions),
            usage: Arc::new(usage),
        }
    }
}

/// The service, ready to be served.
pub struct App {
    services: Services,
    database: Arc<dyn Database>,
    last_used: Arc<LastUsed>,
    http: HttpConfig,
    shutdown: Shutdown,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl App {
    /// # Errors
    /// When the database cannot be opened or migrated, or two configured keys share a prefix.
    pub async fn new(config: &Config) -> Result<Self, StartError> {
        Self::with_clock(config, Arc::new(SystemClock)).await
    }

    /// The service with another clock than the system's.
    ///
    /// # Errors
    /// When the database cannot be opened or migrated, or two configured keys share a prefix.
    pub async fn with_clock(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
        let metrics = Arc::new(Metrics::new());
        let books = open_books(&config.database.url, &metrics).await?;
        if config.database.auto_migrate {
            books.database.migrate().await.map_err(StartError::Migration)?;
        }
        let solana = &config.solana;
        let last_used = Arc::new(LastUsed::new(Arc::clone(&books.api_keys)));
        let foundations = key_foundations(&books, solana.network, &clock, &entropy, &metrics);
        let keys = Authenticator::new(
            foundations.clone(),
            &config.api_keys,
            Arc::clone(&last_used),
            entropy.as_ref(),
        )?;
        let keys = Arc::new(keys);
        let tags = Arc::clone(&foundations.tags);
        let FastState { redis, claims, counts } =
            FastState::open(config, &books, &clock, entropy.as_ref(), &metrics).await?;
        let herald = redis.as_ref().map(herald_on);
        let api_keys = ApiKeys::new(foundations, Arc::clone(&entropy), Some(Arc::clone(&keys)), herald);
        let rpc = SolanaRpc::new(solana.network, &exposed(&solana.rpc_urls), &metrics);
        let chain: Arc<dyn Chain> = Arc::new(rpc.clone());
        let shutdown = Shutdown::default();
        let (facilitator, settlements, funds) = Parts {
            config,
            rpc: &rpc,
            store: Arc::clone(&books.settlements),
            agents: Arc::clone(&books.agents),
            clock: &clock,
            entropy: &entropy,
            metrics: &metrics,
            shutdown: &shutdown,
        }
        .start();

        let recorder = Recorder::start(&books.payments);
        let verifier = ProofVerifier {
            policy: ProofPolicy {
                network: solana.network,
                assets: solana.assets.clone(),
                merchant_wallets: config.merchant_wallets.clone(),
            },
            chain: Arc::clone(&chain),
            payments: Arc::clone(&books.payments),
            recorder: recorder.clone(),
            agents: Arc::clone(&books.agents),
            subscriptions: Arc::clone(&books.subscriptions),
            claims,
            tasks: shutdown.tasks.clone(),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            metrics: Arc::clone(&metrics),
        };
        let requirements = Requirements::new(
            Arc::clone(&books.requirements),
            config.merchant_wallets.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
        );
        let agents = Agents::new(Arc::clone(&books.agents), Arc::clone(&clock), Arc::clone(&entropy));
        let Offers { plans, subscriptions, usage } = Offers::new(&books, &clock, &entropy);
        let services = Services {
            verifier: Arc::new(verifier),
            facilitator,
            payments: Arc::clone(&books.payments),
            requirements: Arc::new(requirements),
            analytics: Arc::new(Analytics::new(Arc::clone(&books.analytics), Arc::clone(&clock))),
            plans,
            subscriptions,
            usage,
            keys,
            rate_limits: RateLimiter { limits: config.rate_limit.limits, store: counts },
            trusted_proxies: config.rate_limit.trusted_proxies.clone(),
            api_keys: Arc::new(api_keys),
            agents: Arc::new(agents),
            idempotency: Arc::clone(&books.idempotency),
            readiness: ReadinessBoard::new(vec![
                Box::new(DatabaseCheck { database: Arc::clone(&books.database), recorder, settlements }),
                Box::new(RedisCheck(redis)),
                Box::new(SolanaCheck(rpc)),
                Box::new(FeePayerCheck(funds)),
            ]),
            metrics,
            clock,
            entropy,
            environment: config.app_env.as_str(),
            allowed_origins: config.http.allowed_origins.clone(),
            require_api_key: config.http.require_api_key,
            request_timeout: config.http.request_timeout,
            load: Arc::default(),
            key_environment: Environment::of(solana.network),
            tasks: shutdown.tasks.clone(),
            attempts: Attempts::default(),
            verifications: Verifications::default(),
        };
        start_background(&books, &services.clock, tags, &last_used, &shutdown);
        Ok(Self { services, database: books.database, last_used, http: config.http.clone(), shutdown })
    }

    /// What ends the service when it is told to begin.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Serves until the shutdown begins, then drains and closes the database.
    pub async fn serve(self, listener: TcpListener) {
        let metrics = Arc::clone(&self.services.metrics);
        let slots = Slots::new(
            room_for_connections(self.http.max_connections),
            self.http.max_connections_per_address,
            self.services.trusted_proxies.clone(),
        );
        let limits = ConnectionLimits { idle: self.http.idle_timeout, ..ConnectionLimits::default() };
        let (app, shutdown) = (http::router(self.services), self.shutdown.clone());
        http::serve(listener, app, metrics, shutdown, limits, slots).await;
        let closed = async {
            self.last_used.finish().await;
            self.database.close().await;
        };
        if self.shutdown.within(CLOSE_TIMEOUT, closed).await.is_err() {
            tracing::warn!("the database did not close in time");
        }
    }
}

#[derive(Debug)]
struct DatabaseCheck {
    database: Arc<dyn Database>,
    recorder: Recorder,
    settlements: Settlements,
}

#[async_trait]
impl ReadinessCheck for DatabaseCheck {
    fn component(&self) -> &'static str {
        "database"
    }

    async fn check(&self) -> Readiness {
        if !self.recorder.is_running() {
            return Readiness::Down("payments cannot be recorded until a restart".to_owned());
        }
        if !self.settlements.is_running() {
            return Readiness::Down("payments cannot be settled until a restart".to_owned());
        }
        match timeout(READINESS_TIMEOUT, self.database.check_writable()).await {
            Ok(Ok(())) => Readiness::Ready(self.database.name()),
            Ok(Err(_)) => Readiness::Down("the database cannot be written to".to_owned()),
            Err(_) => Readiness::Down("the database does not answer".to_owned()),
        }
    }
}

/// Without one configured, fast state is in memory, on purpose.
#[derive(Debug)]
struct RedisCheck(Option<Arc<Redis>>);

#[async_trait]
impl ReadinessCheck for RedisCheck {
    fn component(&self) -> &'static str {
        "redis"
    }

    async fn check(&self) -> Readiness {
        match &self.0 {
            None => Readiness::Ready("not configured: in memory"),
            Some(redis) if redis.health().await => Readiness::Ready("redis"),
            Some(_) => Readiness::Degraded("out of reach: in memory".to_owned()),
        }
    }
}

#[derive(Debug)]
struct SolanaCheck(SolanaRpc);

#[async_trait]
impl ReadinessCheck for SolanaCheck {
    fn component(&self) -> &'static str {
        "solana"
    }

    async fn check(&self) -> Readiness {
        match timeout(READINESS_TIMEOUT, self.0.slot()).await {
            Ok(Ok(_)) => match self.0.lack_of_history() {
                Some(lack) => Readiness::Degraded(lack.to_owned()),
                None => Readiness::Ready("the RPC endpoint answers"),
            },
            Ok(Err(_)) => Readiness::Down("no RPC endpoint answers".to_owned()),
            Err(_) => Readiness::Down("no RPC endpoint answers in time".to_owned()),
        }
    }
}
