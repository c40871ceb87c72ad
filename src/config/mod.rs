//! The configuration: read once from the environment, typed, and checked as a whole, so that an operator hears of
//! every mistake at once. Nothing else reads the environment.

mod environment;
mod fee_payer;
mod http;
mod log;
mod rate_limit;
mod x402;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use secrecy::SecretString;
use solana_pubkey::Pubkey;
use url::Url;

pub use environment::Environment;
pub use fee_payer::FeePayerConfig;
pub use http::HttpConfig;
pub use log::{LogConfig, LogFormat};
pub use rate_limit::RateLimitConfig;
pub use x402::X402Config;

use crate::{
    api_keys::{BootstrapKey, Environment as KeyEnvironment},
    chain::assets::{Assets, Network},
    money::Currency,
};

const DEFAULT_PORT: u16 = 3001;
const DEFAULT_DATABASE: &str = "data/pay402.db";

/// Where the service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppEnv {
    Development,
    Production,
}

impl AppEnv {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}

/// Everything the operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    pub app_env: AppEnv,
    pub listen: SocketAddr,
    pub database: DatabaseConfig,
    /// `None`: fast state is in memory, on purpose.
    pub redis: Option<SecretString>,
    pub solana: SolanaConfig,
    pub fee_payer: FeePayerConfig,
    pub x402: X402Config,
    pub merchant_wallets: Vec<Pubkey>,
    pub api_keys: Vec<BootstrapKey>,
    pub rate_limit: RateLimitConfig,
    pub http: HttpConfig,
    pub log: LogConfig,
}

/// Where the books are.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// A file.
    Sqlite(PathBuf),
    /// A `postgres://` URL, which may hold a password.
    Postgres(SecretString),
}

/// Silent about the URL.
impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.debug_tuple("Postgres").finish_non_exhaustive(),
        }
    }
}

#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    pub url: DatabaseUrl,
    /// Apply missing migrations at start.
    pub auto_migrate: bool,
}

/// Providers put access tokens into URLs.
#[derive(Clone)]
pub struct SolanaConfig {
    pub network: Network,
    /// In the order they are tried.
    pub rpc_urls: Vec<SecretString>,
    /// In the order they are tried. Empty: no hints.
    pub ws_urls: Vec<SecretString>,
    pub assets: Assets,
}

/// Silent about URLs.
impl fmt::Debug for SolanaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SolanaConfig").field("network", &self.network).finish_non_exhaustive()
    }
}

/// Everything that is wrong with the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is wrong:")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads and checks the environment.
    ///
    /// # Errors
    /// Every variable that is wrong, with what would be right. Never the value of one that may be secret.
    pub fn read(mut environment: Environment) -> Result<Self, ConfigError> {
        let env = &mut environment;
        let app_env = env.parsed("APP_ENV", AppEnv::Development, |text| match text {
            "development" => Ok(AppEnv::Development),
            "production" => Ok(AppEnv::Production),
            _ => Err("must be development or production"),
        });
        let host = env.parsed("HOST", IpAddr::V4(Ipv4Addr::LOCALHOST), |text| {
            text.parse().map_err(|_| "must be an IP address, such as 0.0.0.0")
        });
        let port = env.parsed("PORT", DEFAULT_PORT, |text| {
            text.parse().map_err(|_| "must be a port number from 0 to 65535")
        });
        let database = read_database(env);
        let redis = env.parsed("REDIS_URL", None, |text| match text.split_once("://") {
            Some(("redis" | "rediss", rest)) if !rest.is_empty() => Ok(Some(text.into())),
            _ => Err("must be a redis:// or rediss:// URL"),
        });
        let solana = read_solana(env, app_env);
        let fee_payer = FeePayerConfig::read(env);
        let x402 = X402Config::read(env);
        let merchant_wallets = env.list("MERCHANT_WALLETS", |text| {
            text.parse::<Pubkey>().map_err(|_| "must be Solana public keys, separated by commas")
        });
        let key_environment = KeyEnvironment::of(solana.network);
        let api_keys = env.list("VALID_API_KEYS", |text| BootstrapKey::new(text, key_environment));
        let rate_limit = RateLimitConfig::read(env);
        let http = HttpConfig::read(env);
        let log = LogConfig::read(env, app_env);
        environment.finish(Self {
            app_env,
            listen: SocketAddr::new(host, port),
            database,
            redis,
            solana,
            fee_payer,
            x402,
            merchant_wallets,
            api_keys,
            rate_limit,
            http,
            log,
        })
    }
}

fn read_database(env: &mut Environment) -> DatabaseConfig {
    let default = DatabaseUrl::Sqlite(PathBuf::from(DEFAULT_DATABASE));
    let url = env.parsed("DATABASE_URL", default, database_url);
    let auto_migrate = env.parsed("AUTO_MIGRATE", true, |text| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false"),
    });
    DatabaseConfig { url, auto_migrate }
}

fn database_url(url: &str) -> Result<DatabaseUrl, &'static str> {
    match url.split_once("://") {
        Some(("sqlite", path)) if !path.is_empty() && !path.contains('?') => {
            Ok(DatabaseUrl::Sqlite(path.into()))
        }
        Some(("postgres" | "postgresql", rest)) if !rest.is_empty() => Ok(DatabaseUrl::Postgres(url.into())),
        _ => Err("must be postgres://user:password@host/name, or sqlite:// and a file's path"),
    }
}

fn read_solana(env: &mut Environment, app_env: AppEnv) -> SolanaConfig {
    if app_env == AppEnv::Production {
        env.require("SOLANA_NETWORK", "in production the network must be named");
        env.require("SOLANA_RPC_URL", "in production the public endpoints will not do: name your own");
    }
    let network = env.parsed("SOLANA_NETWORK", Network::Devnet, |text| {
        text.parse().map_err(|_| "must be one of mainnet-beta, devnet, testnet, sandbox")
    });
    let mut rpc_urls = env.list("SOLANA_RPC_URL", |text| {
        url_of(text, ["http", "https"]).ok_or("must be http:// or https:// URLs, separated by commas")
    });
    let ws_urls = env.list("SOLANA_WS_URL", |text| {
        url_of(text, ["ws", "wss"]).ok_or("must be ws:// or wss:// URLs, separated by commas")
    });
    if rpc_urls.is_empty() {
        rpc_urls.push(network.default_rpc_url().into());
    }
    let mut assets = Assets::of(network);
    for currency in [Currency::Usdc, Currency::Usdt, Currency::Pyusd] {
        let mint = env.parsed(&format!("SOLANA_{currency}_MINT"), None, |text| {
            text.parse::<Pubkey>().map(Some).map_err(|_| "must be the mint's address")
        });
        if let Some(mint) = mint {
            assets.set_mint(currency, mint);
        }
    }
    SolanaConfig { network, rpc_urls, ws_urls, assets }
}

fn url_of(text: &str, schemes: [&str; 2]) -> Option<SecretString> {
    let url = Url::parse(text).ok()?;
    (schemes.contains(&url.scheme()) && url.has_host()).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::{Config, Environment};

    #[test]
    fn access_tokens_in_urls_are_not_told() {
        let (rpc, ws) = ("https://rpc.example/?api-key=token-1", "wss://rpc.example/token-2");
        let environment = Environment::default().with("SOLANA_RPC_URL", rpc).with("SOLANA_WS_URL", ws);
        let config = Config::read(environment).unwrap();
        let solana = &config.solana;
        let told = format!("{config:?} {solana:?} {:?} {:?}", solana.rpc_urls, solana.ws_urls);
        assert!(!told.contains("token") && !told.contains("rpc.example"), "{told}");
        assert_eq!((solana.rpc_urls[0].expose_secret(), solana.ws_urls[0].expose_secret()), (rpc, ws));
        let wrong = Environment::default().with("SOLANA_RPC_URL", "ftp://rpc.example/token-3");
        let problems = Config::read(wrong).unwrap_err();
        assert!(!format!("{problems} {problems:?}").contains("token"), "{problems}");
    }
}
