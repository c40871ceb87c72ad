//! Which path leads where, through which layers.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef},
    middleware::{from_fn, from_fn_with_state},
    routing::get,
};
use futures_util::future::join_all;
use tokio::{sync::Mutex, time::Instant};
use tokio_util::task::TaskTracker;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    admission::admission,
    allowed::{AgentsWrite, KeysManage, PlansWrite, SubscriptionsWrite, UsageWrite, Verify},
    attempts::Attempts,
    body::MAX_BODY,
    cors::{cors, rules},
    deadline::{keep_deadline, set_deadline},
    error::ApiError,
    headers::add_headers,
    idempotency::{idempotent, idempotent_for_callers},
    load::{Load, shed},
    message::refuse_ambiguous,
    middleware::observe,
    openapi,
    panics::catch_panics,
    routes,
    verifications::Verifications,
    x402::add_shape,
};
use crate::{
    agents::service::Agents,
    analytics::service::Analytics,
    api_keys::{Authenticator, Environment, service::ApiKeys},
    client_address::TrustedProxies,
    clock::Clock,
    idempotency::IdempotencyStore,
    ids::Entropy,
    metrics::Metrics,
    payments::{PaymentStore, proof::ProofVerifier, x402::Facilitator},
    plans::service::Plans,
    rate_limit::RateLimiter,
    requirements::service::Requirements,
    subscriptions::service::Subscriptions,
    usage::service::Usage,
};

/// How long a readiness check's finding stands.
const READINESS_LIFETIME: Duration = Duration::from_secs(1);

/// How a part of the service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready(&'static str),
    /// Worse than it should be, but payments can be handled.
    Degraded(String),
    /// No payment can be handled.
    Down(String),
}

/// A part of the service that says how it is.
#[async_trait]
pub trait ReadinessCheck: fmt::Debug + Send + Sync {
    fn component(&self) -> &'static str;
    async fn check(&self) -> Readiness;
}

/// The checks, and what they found a moment ago: asking often must not keep the database and the chain busy.
#[derive(Debug)]
pub struct ReadinessBoard {
    checks: Vec<Box<dyn ReadinessCheck>>,
    found: Mutex<Option<(Instant, Findings)>>,
}

type Findings = Vec<(&'static str, Readiness)>;

impl ReadinessBoard {
    #[must_use]
    pub fn new(checks: Vec<Box<dyn ReadinessCheck>>) -> Self {
        Self { checks, found: Mutex::new(None) }
    }

    /// Every component and how it is, found at most a second ago. Those who ask meanwhile wait for one answer.
    pub(super) async fn findings(&self) -> Findings {
        let mut found = self.found.lock().await;
        if let Some((_, findings)) = found.as_ref().filter(|(when, _)| when.elapsed() < READINESS_LIFETIME) {
            return findings.clone();
        }
        let checks = self.checks.iter().map(async |check| (check.component(), check.check().await));
        let findings = join_all(checks).await;
        *found = Some((Instant::now(), findings.clone()));
        findings
    }
}

/// What the handlers call.
#[derive(Debug)]
pub struct Services {
    pub verifier: Arc<ProofVerifier>,
    pub facilitator: Facilitator,
    pub payments: Arc<dyn PaymentStore>,
    pub requirements: Arc<Requirements>,
    pub analytics: Arc<Analytics>,
    pub plans: Arc<Plans>,
    pub subscriptions: Arc<Subscriptions>,
    pub usage: Arc<Usage>,
    pub keys: Arc<Authenticator>,
    pub api_keys: Arc<ApiKeys>,
    pub agents: Arc<Agents>,
    pub rate_limits: RateLimiter,
    pub trusted_proxies: TrustedProxies,
    pub idempotency: Arc<dyn IdempotencyStore>,
    pub readiness: ReadinessBoard,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// `development` or `production`.
    pub environment: &'static str,
    /// Pages of these origins may call from a browser; `*` for all.
    pub allowed_origins: Vec<String>,
    /// Whether payments are verified and settled for callers with an API key only.
    pub require_api_key: bool,
    /// How long a request may take, from its head to its answer's head.
    pub request_timeout: Duration,
    /// What bounds the requests in flight and their bodies.
    pub load: Arc<Load>,
    /// Whether real money moves.
    pub key_environment: Environment,
    /// Work that goes on when its caller has gone, and that a shutdown waits for.
    pub tasks: TaskTracker,
    /// Room for requests with an idempotency key.
    pub attempts: Attempts,
    /// Room for verifications.
    pub verifications: Verifications,
}

/// [`Services`], shared.
#[derive(Clone, Debug)]
pub(super) struct AppState(Arc<Services>);

impl Deref for AppState {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

impl FromRef<AppState> for Arc<ApiKeys> {
    fn from_ref(state: &AppState) -> Self {
        Self::clone(&state.api_keys)
    }
}

impl FromRef<AppState> for Facilitator {
    fn from_ref(state: &AppState) -> Self {
        state.facilitator.clone()
    }
}

impl FromRef<AppState> for Arc<Agents> {
    fn from_ref(state: &AppState) -> Self {
        Self::clone(&state.agents)
    }
}

impl FromRef<AppState> for Arc<Requirements> {
    fn from_ref(state: &AppState) -> Self {
        Self::clone(&state.requirements)
    }
}

impl FromRef<AppState> for Arc<Analytics> {
    fn from_ref(state: &AppState) -> Self {
        Self::clone(&state.analytics)
    }
}

impl FromRef<AppState> for Arc<Plans> {
    fn from_ref(state: &AppState) -> Self {
        Self::clone(&state.plans)
    }
}

impl FromRef<AppState> for Arc<Subscriptions> {
    fn from_ref(state: &AppState) -> Self {
        Self::clone(&state.subscriptions)
    }
}

impl FromRef<AppState> for Arc<Usage> {
    fn from_ref(state: &AppState) -> Self {
        Self::clone(&state.usage)
    }
}

impl FromRef<AppState> for Arc<dyn PaymentStore> {
    fn from_ref(state: &AppState) -> Self {
        Self::clone(&state.payments)
    }
}

impl FromRef<AppState> for Arc<dyn Clock> {
    fn from_ref(state: &AppState) -> Self {
        Self::clone(&state.clock)
    }
}

impl FromRef<AppState> for Arc<Metrics> {
    fn from_ref(state: &AppState) -> Self {
        Self::clone(&state.metrics)
    }
}

impl FromRef<AppState> for Arc<Load> {
    fn from_ref(state: &AppState) -> Self {
        Self::clone(&state.load)
    }
}

/// Operations whose answers are not kept.
fn plain() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(routes::health::health))
        .routes(routes!(routes::health::ready))
        .routes(routes!(routes::health::metrics))
        .routes(routes!(routes::docs::openapi))
        .routes(routes!(routes::x402::supported))
        .routes(routes!(routes::x402::settle))
        .routes(routes!(routes::requirements::find))
        .routes(routes!(routes::payments::list))
        .routes(routes!(routes::payments::find))
        .routes(routes!(routes::agents::list))
        .routes(routes!(routes::agents::find, routes::agents::change, routes::agents::delete))
        .routes(routes!(routes::agents::reputation))
        .routes(routes!(routes::agents::spending))
        .routes(routes!(routes::analytics::transactions))
        .routes(routes!(routes::analytics::revenue))
        .routes(routes!(routes::analytics::top_agents))
        .routes(routes!(routes::analytics::events))
        .routes(routes!(routes::subscriptions::list))
        .routes(routes!(routes::subscriptions::find))
        .routes(routes!(routes::usage::report))
        .routes(routes!(routes::plans::list))
        .routes(routes!(routes::plans::find, routes::plans::change, routes::plans::remove))
        .routes(routes!(routes::plans::list_below_subscriptions))
        .routes(routes!(routes::plans::find_below_subscriptions))
        .routes(routes!(routes::api_keys::list))
        .routes(routes!(routes::api_keys::revoke))
}

/// Operations that take an `Idempotency-Key`, open to all.
fn once() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::head()).routes(routes!(routes::verify::verify))
}

/// Operations that take an `Idempotency-Key` and need an API key.
fn once_for_callers() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::head()).routes(routes!(routes::requirements::issue))
}

/// Operations that take an `Idempotency-Key` and need an API key that may write agents.
fn once_for_agents() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::head()).routes(routes!(routes::agents::register))
}

/// Operations that take an `Idempotency-Key` and need an API key that may write plans.
fn once_for_plans() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::head()).routes(routes!(routes::plans::create))
}

/// Operations that take an `Idempotency-Key` and need an API key that may write subscriptions.
fn once_for_subscriptions() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(routes::subscriptions::create))
        .routes(routes!(routes::subscriptions::cancel))
}

/// Operations that take an `Idempotency-Key` and need an API key that may write usage.
fn once_for_usage() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(routes::usage::record))
        .routes(routes!(routes::usage::record_below_subscriptions))
}

/// Operations that take an `Idempotency-Key` and need an API key that may manage keys.
fn once_for_managers() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(routes::api_keys::create))
        .routes(routes!(routes::api_keys::rotate))
}

/// Every operation, with what it says of itself.
pub(super) fn operations() -> OpenApiRouter<AppState> {
    plain()
        .merge(once())
        .merge(once_for_callers())
        .merge(once_for_agents())
        .merge(once_for_plans())
        .merge(once_for_subscriptions())
        .merge(once_for_usage())
        .merge(once_for_managers())
}

/// The whole service.
///
/// Layers from the outside in: the request's id and metrics see everything, panics included; every answer gets the
/// security headers; preflights need no key and cost nothing; what goes wrong on x402's routes is told in its shape too; a
/// panic becomes an answer; what is ambiguous or too much is turned away; who may not ask is turned away before anything
/// is read; the deadline holds for all that is waited for, the body limit for the handlers. Deadline and panics are minded
/// inside as well, so that their answers tell the rate limit.
pub fn router(services: Services) -> Router {
    let state = AppState(Arc::new(services));
    let cors_rules = rules(&state.allowed_origins);
    let keep = from_fn_with_state(state.clone(), idempotent::<Verify>);
    let keep_for_callers = from_fn_with_state(state.clone(), idempotent_for_callers::<Verify>);
    let keep_for_agents = from_fn_with_state(state.clone(), idempotent_for_callers::<AgentsWrite>);
    let keep_for_plans = from_fn_with_state(state.clone(), idempotent_for_callers::<PlansWrite>);
    let keep_for_subscriptions =
        from_fn_with_state(state.clone(), idempotent_for_callers::<SubscriptionsWrite>);
    let keep_for_usage = from_fn_with_state(state.clone(), idempotent_for_callers::<UsageWrite>);
    let keep_for_managers = from_fn_with_state(state.clone(), idempotent_for_callers::<KeysManage>);
    let routes = Router::new()
        .merge(plain())
        .merge(once().route_layer(keep))
        .merge(once_for_callers().route_layer(keep_for_callers))
        .merge(once_for_agents().route_layer(keep_for_agents))
        .merge(once_for_plans().route_layer(keep_for_plans))
        .merge(once_for_subscriptions().route_layer(keep_for_subscriptions))
        .merge(once_for_usage().route_layer(keep_for_usage))
        .merge(once_for_managers().route_layer(keep_for_managers))
        .route("/docs", get(routes::docs::docs))
        .route("/docs/", get(routes::docs::docs_page))
        .route("/docs/{file}", get(routes::docs::docs_file))
        .fallback(async || ApiError::not_found("this path"))
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(catch_panics(Arc::clone(&state.metrics)))
        .layer(from_fn(keep_deadline))
        .layer(from_fn_with_state(state.clone(), admission))
        .layer(from_fn_with_state(state.request_timeout, set_deadline))
        .layer(from_fn_with_state(Arc::clone(&state.load), shed))
        .layer(from_fn(refuse_ambiguous))
        .layer(catch_panics(Arc::clone(&state.metrics)))
        .layer(from_fn(add_shape));
    let routes = match cors_rules {
        Some(rules) => routes.layer(from_fn_with_state(rules, cors)),
        None => routes,
    };
    routes.layer(from_fn(add_headers)).layer(from_fn_with_state(state.clone(), observe)).with_state(state)
}
