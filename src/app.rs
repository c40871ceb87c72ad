//! The composition root: the one place that names concrete backends.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

use crate::{
    api_keys::{KeyRing, KeyRingError},
    chain::{Chain, solana::SolanaRpc},
    clock::{Clock, SystemClock},
    config::{Config, DatabaseConfig},
    housekeeping::Housekeeping,
    http::{self, Readiness, ReadinessBoard, ReadinessCheck, Services},
    ids::{Entropy, OsEntropy},
    metrics::Metrics,
    payments::{
        Recorder,
        proof::{ProofPolicy, ProofVerifier},
    },
    requirements::service::Requirements,
    shutdown::Shutdown,
    store::{Books, Database, memory::MemoryClaims, sqlite::SqliteStore},
    store_error::StoreError,
};

/// How long a component may take to say how it is.
const READINESS_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(4);

/// How many verifications may run at a time; further ones are told to come back.
const MAX_VERIFICATIONS: usize = 1024;

/// How many requests with an idempotency key may be handled at a time. Each writes to the database twice besides what it
/// is for.
const MAX_ATTEMPTS: usize = 256;

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the database cannot be opened")]
    Database(#[source] StoreError),
    #[error("the database cannot be migrated")]
    Migration(#[source] StoreError),
    #[error(transparent)]
    Keys(KeyRingError),
    #[error("cannot listen on {address}")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("signals cannot be listened to")]
    Signals(#[source] std::io::Error),
}

/// Opens the configured database.
///
/// # Errors
/// When it cannot be reached.
pub async fn open_books(config: &DatabaseConfig, metrics: &Arc<Metrics>) -> Result<Books, StartError> {
    let store = SqliteStore::open(&config.path, Arc::clone(metrics)).await.map_err(StartError::Database)?;
    Ok(Books::new(store))
}

/// The service, ready to be served.
pub struct App {
    services: Services,
    database: Arc<dyn Database>,
    shutdown: Shutdown,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl App {
    /// # Errors
    /// When the database cannot be opened or migrated, or the keys cannot be hashed.
    pub async fn new(config: &Config) -> Result<Self, StartError> {
        Self::with_clock(config, Arc::new(SystemClock)).await
    }

    /// The service with another clock than the system's.
    ///
    /// # Errors
    /// When the database cannot be opened or migrated, or the keys cannot be hashed.
    pub async fn with_clock(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
        let metrics = Arc::new(Metrics::new());
        let keys = Arc::new(
            KeyRing::hash(config.api_keys.clone(), entropy.as_ref()).await.map_err(StartError::Keys)?,
        );
        let books = open_books(&config.database, &metrics).await?;
        if config.database.auto_migrate {
            books.database.migrate().await.map_err(StartError::Migration)?;
        }
        let solana = &config.solana;
        let chain: Arc<dyn Chain> =
            Arc::new(SolanaRpc::new(solana.network, &solana.rpc_urls, Arc::clone(&metrics)));
        let shutdown = Shutdown::default();

        let recorder = Recorder::start(Arc::clone(&books.payments));
        let verifier = ProofVerifier {
            policy: ProofPolicy {
                network: solana.network,
                assets: solana.assets.clone(),
                merchant_wallets: config.merchant_wallets.clone(),
            },
            chain: Arc::clone(&chain),
            payments: Arc::clone(&books.payments),
            recorder: recorder.clone(),
            requirements: Arc::clone(&books.requirements),
            claims: Arc::new(MemoryClaims::new(Arc::clone(&clock))),
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
        let services = Services {
            verifier: Arc::new(verifier),
            payments: Arc::clone(&books.payments),
            requirements: Arc::new(requirements),
            keys,
            idempotency: Arc::clone(&books.idempotency),
            readiness: ReadinessBoard::new(vec![
                Box::new(DatabaseCheck { database: Arc::clone(&books.database), recorder: recorder.clone() }),
                Box::new(RedisCheck),
                Box::new(SolanaCheck(chain)),
            ]),
            metrics,
            clock,
            entropy,
            environment: config.app_env.as_str(),
            tasks: shutdown.tasks.clone(),
            attempts: Arc::new(Semaphore::new(MAX_ATTEMPTS)),
            verifications: Arc::new(Semaphore::new(MAX_VERIFICATIONS)),
        };
        Housekeeping {
            payments: Arc::clone(&books.payments),
            idempotency: Arc::clone(&books.idempotency),
            clock: Arc::clone(&services.clock),
        }
        .start(shutdown.clone());
        Ok(Self { services, database: books.database, shutdown })
    }

    /// What ends the service when it is told to begin.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Serves until the shutdown begins, then drains and closes the database.
    pub async fn serve(self, listener: TcpListener) {
        let metrics = Arc::clone(&self.services.metrics);
        http::serve(listener, http::router(self.services), metrics, self.shutdown.clone()).await;

        self.database.close().await;
    }
}

#[derive(Debug)]
struct DatabaseCheck {
    database: Arc<dyn Database>,
    recorder: Recorder,
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
        match timeout(READINESS_TIMEOUT, self.database.check_writable()).await {
            Ok(Ok(())) => Readiness::Ready(self.database.name()),
            Ok(Err(_)) => Readiness::Down("the database cannot be written to".to_owned()),
            Err(_) => Readiness::Down("the database does not answer".to_owned()),
        }
    }
}

/// There is no Redis to be out of reach: fast state is in memory, on purpose.
#[derive(Debug)]
struct RedisCheck;

#[async_trait]
impl ReadinessCheck for RedisCheck {
    fn component(&self) -> &'static str {
        "redis"
    }

    async fn check(&self) -> Readiness {
        Readiness::Ready("not configured: in memory")
    }
}

#[derive(Debug)]
struct SolanaCheck(Arc<dyn Chain>);

#[async_trait]
impl ReadinessCheck for SolanaCheck {
    fn component(&self) -> &'static str {
        "solana"
    }

    async fn check(&self) -> Readiness {
        match timeout(READINESS_TIMEOUT, self.0.slot()).await {
            Ok(Ok(_)) => Readiness::Ready("the RPC endpoint answers"),
            Ok(Err(_)) => Readiness::Down("no RPC endpoint answers".to_owned()),
            Err(_) => Readiness::Down("no RPC endpoint answers in time".to_owned()),
        }
    }
}
