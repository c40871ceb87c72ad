//! Every metric the service exposes. Names and labels are a contract with the dashboards built on them; the table in
//! `docs/metrics.md` says the same in prose.

pub mod agents;
pub mod settlement;
mod snapshot;
pub mod solana;
pub mod x402;

use std::time::Duration;

use prometheus::{
    CounterVec, Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector, process_collector::ProcessCollector, proto::MetricFamily,
};

use crate::money::{Amount, Currency};

/// From half a millisecond to ten seconds.
const DURATION_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How a verification ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerificationStatus {
    Success,
    Failure,
    Expired,
    Replay,
}

impl VerificationStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Expired => "expired",
            Self::Replay => "replay",
        }
    }
}

/// What became of a presented API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyCheck {
    Accepted,
    /// It was made here, and opens nothing: revoked, expired, or gone.
    Refused,
    /// It was not made here. Nothing was looked up for it.
    Invented,
    /// It could not be told.
    Unavailable,
}

impl KeyCheck {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Invented => "invented",
            Self::Unavailable => "unavailable",
        }
    }
}

/// The registry and its instruments.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    http_requests: IntCounterVec,
    http_duration: HistogramVec,
    http_panics: IntCounter,
    active_connections: IntGauge,
    connections_refused: IntCounter,
    verifications: IntCounterVec,
    verification_duration: HistogramVec,
    payment_amount: CounterVec,
    pub settlements: settlement::SettlementMetrics,
    pub agents: agents::AgentMetrics,
    pub x402: x402::X402Metrics,
    blockchain_requests: IntCounterVec,
    blockchain_duration: HistogramVec,
    database_queries: IntCounterVec,
    database_duration: HistogramVec,
    payment_cache: IntCounterVec,
    redis_hits: IntCounter,
    redis_misses: IntCounter,
    redis_duration: HistogramVec,
    redis_fallbacks: IntCounterVec,
    /// Without labels, and still a vector: it does not show before it is first set, so a service without Redis has none.
    redis_up: IntGaugeVec,
    rate_limited: IntCounterVec,
    api_key_checks: IntCounterVec,
    api_key_bcrypt: HistogramVec,
    errors: IntCounterVec,
    pub solana: solana::SolanaMetrics,
    last_text: snapshot::LastText,
}

impl Metrics {
    /// # Panics
    /// When two metrics share a name, which is a mistake in this file.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a list")]
    pub fn new() -> Self {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self())).expect("metric names are unique");
        Self {
            http_requests: counter(
                &registry,
                "http_requests_total",
                "HTTP requests answered",
                &["method", "route", "status_code"],
            ),
            http_duration: histogram(
                &registry,
                "http_request_duration_seconds",
                "Time from a request's head to its answer's head",
                &["method", "route", "status_code"],
            ),
            http_panics: register(
                &registry,
                IntCounter::new("http_panics_total", "Panics while a request was handled")
                    .expect("the metric is well formed"),
            ),
            active_connections: gauge(&registry, "active_connections", "Open HTTP connections"),
            connections_refused: total(
                &registry,
                "connections_refused_total",
                "Connections closed at once because their client had too many",
            ),
            verifications: counter(
                &registry,
                "payment_verification_total",
                "Payment proofs judged",
                &["status", "currency"],
            ),
            verification_duration: histogram(
                &registry,
                "payment_verification_duration_seconds",
                "Time to judge a payment proof",
                &["currency"],
            ),
            payment_amount: register(
                &registry,
                CounterVec::new(
                    Opts::new("payment_amount_total", "Whole tokens of accepted payments, for display only"),
                    &["currency"],
                )
                .expect("the metric is well formed"),
            ),
            settlements: settlement::SettlementMetrics::new(&registry),
            agents: agents::AgentMetrics::new(&registry),
            x402: x402::X402Metrics::new(&registry),
            blockchain_requests: counter(
                &registry,
                "blockchain_request_total",
                "RPC requests",
                &["network", "method", "status"],
            ),
            blockchain_duration: histogram(
                &registry,
                "blockchain_request_duration_seconds",
                "Time of an RPC request",
                &["network", "method"],
            ),
            database_queries: counter(
                &registry,
                "database_query_total",
                "Database operations",
                &["operation", "table"],
            ),
            database_duration: histogram(
                &registry,
                "database_query_duration_seconds",
                "Time of a database operation, waiting for a connection included",
                &["operation", "table"],
            ),
            payment_cache: counter(
                &registry,
                "payment_cache_total",
                "Transactions that had to be looked up, known from before or not",
                &["result"],
            ),
            redis_hits: total(&registry, "redis_cache_hits_total", "Claims for which Redis knew a used key"),
            redis_misses: total(
                &registry,
                "redis_cache_misses_total",
                "Claims for which Redis knew no used key",
            ),
            redis_duration: histogram(
                &registry,
                "redis_operation_duration_seconds",
                "Time of a call to Redis, failed ones and waiting for a connection included",
                &["operation"],
            ),
            redis_fallbacks: counter(
                &registry,
                "redis_fallback_total",
                "Operations that memory had to answer in Redis' stead",
                &["operation"],
            ),
            redis_up: register(
                &registry,
                IntGaugeVec::new(Opts::new("redis_up", "Whether Redis answers: 1 or 0"), &[])
                    .expect("the metric is well formed"),
            ),
            rate_limited: counter(
                &registry,
                "rate_limit_exceeded_total",
                "Requests refused by a rate limit",
                &["endpoint"],
            ),
            api_key_checks: counter(
                &registry,
                "api_key_checks_total",
                "API keys presented, by what became of them",
                &["result"],
            ),
            api_key_bcrypt: histogram(
                &registry,
                "api_key_bcrypt_duration_seconds",
                "Time of a bcrypt run, without waiting for its turn",
                &["operation"],
            ),
            errors: counter(&registry, "errors_total", "Requests answered with an error", &["type", "code"]),
            solana: solana::SolanaMetrics::new(&registry),
            last_text: snapshot::LastText::default(),
            registry,
        }
    }

    /// `route` is the matched pattern, never the path.
    pub fn http_request(&self, method: &str, route: &str, status: u16, elapsed: Duration) {
        let status = status.to_string();
        self.http_requests.with_label_values(&[method, route, &status]).inc();
        self.http_duration.with_label_values(&[method, route, &status]).observe(elapsed.as_secs_f64());
    }

    /// A panic was caught while a request was handled.
    pub fn http_panic(&self) {
        self.http_panics.inc();
    }

    pub fn connection_opened(&self) {
        self.active_connections.inc();
    }

    pub fn connection_closed(&self) {
        self.active_connections.dec();
    }

    /// A client had too many.
    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    pub fn verification(&self, status: VerificationStatus, currency: Currency, elapsed: Duration) {
        self.verifications.with_label_values(&[status.as_str(), currency.as_str()]).inc();
        self.verification_duration.with_label_values(&[currency.as_str()]).observe(elapsed.as_secs_f64());
    }

    pub fn payment_accepted(&self, amount: Amount, currency: Currency) {
        self.payment_amount.with_label_values(&[currency.as_str()]).inc_by(tokens(amount, currency));
    }

    /// `method` is an RPC method's name.
    pub fn blockchain_request(&self, network: &str, method: &str, ok: bool, elapsed: Duration) {
        let status = if ok { "success" } else { "error" };
        self.blockchain_requests.with_label_values(&[network, method, status]).inc();
        self.blockchain_duration.with_label_values(&[network, method]).observe(elapsed.as_secs_f64());
    }

    pub fn database_query(&self, operation: &str, table: &str, elapsed: Duration) {
        self.database_queries.with_label_values(&[operation, table]).inc();
        self.database_duration.with_label_values(&[operation, table]).observe(elapsed.as_secs_f64());
    }

    /// A transaction was looked up, and was known from before or not.
    pub fn payment_cache(&self, hit: bool) {
        self.payment_cache.with_label_values(&[if hit { "hit" } else { "miss" }]).inc();
    }

    /// Redis was asked whether a key is used, and knew one or did not.
    pub fn redis_cache(&self, hit: bool) {
        if hit { &self.redis_hits } else { &self.redis_misses }.inc();
    }

    /// One call to Redis, however it ended.
    pub fn redis_operation(&self, operation: &str, elapsed: Duration) {
        self.redis_duration.with_label_values(&[operation]).observe(elapsed.as_secs_f64());
    }

    /// Memory answered in Redis' stead.
    pub fn redis_fallback(&self, operation: &str) {
        self.redis_fallbacks.with_label_values(&[operation]).inc();
    }

    pub fn redis_up(&self, up: bool) {
        self.redis_up.with_label_values::<&str>(&[]).set(i64::from(up));
    }

    /// `endpoint` is the matched pattern, never the path.
    pub fn rate_limit_exceeded(&self, endpoint: &str) {
        self.rate_limited.with_label_values(&[endpoint]).inc();
    }

    pub fn api_key_check(&self, check: KeyCheck) {
        self.api_key_checks.with_label_values(&[check.as_str()]).inc();
    }

    /// `operation` is `hash` or `verify`.
    pub fn api_key_bcrypt(&self, operation: &str, elapsed: Duration) {
        self.api_key_bcrypt.with_label_values(&[operation]).observe(elapsed.as_secs_f64());
    }

    /// `kind` is `client` or `server`; `code` one of the published error codes.
    pub fn error(&self, kind: &str, code: &str) {
        self.errors.with_label_values(&[kind, code]).inc();
    }

    /// Everything, in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let families: Vec<MetricFamily> = self.registry.gather();
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The one place where an amount becomes a float: Prometheus knows no other number, and nothing reads it back.
fn tokens(amount: Amount, currency: Currency) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for display only")]
    let units = amount.atomic() as f64;
    units / 10_f64.powi(i32::from(currency.decimals()))
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect("metric names are unique");
    collector
}

fn counter(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels).expect("the metric is well formed"))
}

fn total(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help).expect("the metric is well formed"))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help).expect("the metric is well formed"))
}

fn histogram(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
    let opts = HistogramOpts::new(name, help).buckets(DURATION_BUCKETS.to_vec());
    register(registry, HistogramVec::new(opts, labels).expect("the metric is well formed"))
}
