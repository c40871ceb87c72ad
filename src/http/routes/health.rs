//! `GET /health`, `/ready` and `/metrics`. Public.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    clock::UnixMs,
    http::{
        error::{ApiError, Envelope},
        router::{AppState, Readiness},
    },
    metrics::Metrics,
};

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Health {
    #[schema(example = "ok")]
    status: &'static str,
    #[schema(example = "402pay-facilitator")]
    service: &'static str,
    #[schema(example = "0.1.0")]
    version: &'static str,
    timestamp: UnixMs,
    /// `development` or `production`.
    #[schema(example = "production")]
    environment: &'static str,
}

/// Whether the process runs. Asks nobody else.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "getHealth",
    tag = "Operations",
    responses((status = 200, description = "It runs.", body = Health)),
)]
pub(in crate::http) async fn health(State(state): State<AppState>) -> Json<Health> {
    Json(Health {
        status: "ok",
        service: "402pay-facilitator",
        version: env!("CARGO_PKG_VERSION"),
        timestamp: state.clock.now(),
        environment: state.environment,
    })
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ReadyReport {
    /// `ready` or `not_ready`.
    #[schema(example = "ready")]
    status: &'static str,
    #[schema(value_type = BTreeMap<String, Component>)]
    components: BTreeMap<&'static str, Component>,
    /// The components that are not up.
    degraded: Vec<&'static str>,
}

/// A part that the service stands on.
#[derive(Serialize, ToSchema)]
struct Component {
    /// `up`, `degraded` or `down`.
    #[schema(example = "up")]
    status: &'static str,
    /// For a person.
    detail: String,
}

/// What a 503 of `/ready` holds.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Unready {
    Report(ReadyReport),
    Error(Envelope),
}

/// Whether a payment could be handled now, and what would stand in its way.
#[utoipa::path(
    get,
    path = "/ready",
    operation_id = "getReadiness",
    tag = "Operations",
    responses(
        (status = 200, description = "A payment could be handled now.", body = ReadyReport),
        (status = 503, description = "No payment could be handled now, or the answer took too long.", body = Unready),
    ),
)]
pub(in crate::http) async fn ready(State(state): State<AppState>) -> (StatusCode, Json<ReadyReport>) {
    let mut report = ReadyReport { status: "ready", components: BTreeMap::new(), degraded: Vec::new() };
    let mut code = StatusCode::OK;
    for (name, readiness) in state.readiness.findings().await {
        let (status, detail) = match readiness {
            Readiness::Ready(detail) => ("up", detail.to_owned()),
            Readiness::Degraded(detail) => ("degraded", detail),
            Readiness::Down(detail) => {
                report.status = "not_ready";
                code = StatusCode::SERVICE_UNAVAILABLE;
                ("down", detail)
            }
        };
        if status != "up" {
            report.degraded.push(name);
        }
        report.components.insert(name, Component { status, detail });
    }
    (code, Json(report))
}

/// Shared by those who are being sent it.
struct Text(Arc<String>);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Prometheus' text format.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "getMetrics",
    tag = "Operations",
    responses((status = 200, description = "Every metric.", body = String, content_type = "text/plain")),
)]
pub(in crate::http) async fn metrics(
    State(metrics): State<Arc<Metrics>>,
) -> Result<impl IntoResponse, ApiError> {
    let text = metrics.text().map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "the metrics cannot be written");
        ApiError::internal()
    })?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], Bytes::from_owner(Text(text))))
}
