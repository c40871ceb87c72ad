//! Which path leads where, through which layers.

use std::{any::Any, fmt, ops::Deref, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef, Request},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use futures_util::future::join_all;
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    allowed::{KeysManage, Verify},
    error::ApiError,
    idempotency::{idempotent, idempotent_for_callers},
    middleware::observe,
    routes,
};
use crate::{
    api_keys::{Authenticator, Environment, service::ApiKeys},
    clock::Clock,
    idempotency::IdempotencyStore,
    ids::Entropy,
    metrics::Metrics,
    payments::{PaymentStore, proof::ProofVerifier},
    requirements::service::Requirements,
};

/// Largest body, in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// Longest time a request may take. More than its parts may take together (body 10 s, twin 10 s, judging 15 s, recording
/// 10 s), so that a verification's own end comes first.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
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
    pub payments: Arc<dyn PaymentStore>,
    pub requirements: Arc<Requirements>,
    pub keys: Arc<Authenticator>,
    pub api_keys: Arc<ApiKeys>,
    pub idempotency: Arc<dyn IdempotencyStore>,
    pub readiness: ReadinessBoard,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// `development` or `production`.
    pub environment: &'static str,
    /// Whether real money moves.
    pub key_environment: Environment,
    /// Work that goes on when its caller has gone, and that a shutdown waits for.
    pub tasks: TaskTracker,
    /// How many requests with an idempotency key may be handled at a time.
    pub attempts: Arc<Semaphore>,
    /// How many verifications may run at a time.
    pub verifications: Arc<Semaphore>,
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

impl FromRef<AppState> for Arc<Authenticator> {
    fn from_ref(state: &AppState) -> Self {
        Self::clone(&state.keys)
    }
}

impl FromRef<AppState> for Arc<ApiKeys> {
    fn from_ref(state: &AppState) -> Self {
        Self::clone(&state.api_keys)
    }
}

impl FromRef<AppState> for Environment {
    fn from_ref(state: &AppState) -> Self {
        state.key_environment
    }
}

impl FromRef<AppState> for Arc<Requirements> {
    fn from_ref(state: &AppState) -> Self {
        Self::clone(&state.requirements)
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

/// The whole service.
///
/// Layers from the outside in: the request's id and metrics see everything, panics included; a panic becomes an
/// answer; the deadline and the body limit hold for the handlers.
pub fn router(services: Services) -> Router {
    let state = AppState(Arc::new(services));
    let once = from_fn_with_state(state.clone(), idempotent::<Verify>);
    let once_for_callers = from_fn_with_state(state.clone(), idempotent_for_callers::<Verify>);
    let once_for_managers = from_fn_with_state(state.clone(), idempotent_for_callers::<KeysManage>);
    let make_key = post(routes::api_keys::create).layer(once_for_managers.clone());
    Router::new()
        .route("/health", get(routes::health::health))
        .route("/ready", get(routes::health::ready))
        .route("/metrics", get(routes::health::metrics))
        .route("/verify", post(routes::verify::verify).layer(once))
        .route("/requirements", post(routes::requirements::issue).layer(once_for_callers))
        .route("/requirements/{nonce}", get(routes::requirements::find))
        .route("/payments", get(routes::payments::list))
        .route("/payments/{id}", get(routes::payments::find))
        .route("/api-keys", get(routes::api_keys::list).merge(make_key))
        .route("/api-keys/{id}", delete(routes::api_keys::revoke))
        .route("/api-keys/{id}/rotate", post(routes::api_keys::rotate).layer(once_for_managers))
        .fallback(async || ApiError::not_found("this path"))
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(deadline))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(state.clone(), observe))
        .with_state(state)
}

async fn deadline(request: Request, next: Next) -> Response {
    timeout(REQUEST_TIMEOUT, next.run(request))
        .await
        .unwrap_or_else(|_| ApiError::timed_out().into_response())
}

/// The panic's own words are in the log already, by the panic hook.
fn panicked(_panic: Box<dyn Any + Send>) -> Response {
    ApiError::internal().into_response()
}
