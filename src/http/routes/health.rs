//! `GET /health`, `/ready` and `/metrics`. Public.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};

use serde::Serialize;

use crate::{
    clock::UnixMs,
    http::{
        error::ApiError,
        router::{AppState, Readiness},
    },
    metrics::Metrics,
};

#[derive(Serialize)]
pub(in crate::http) struct Health {
    status: &'static str,
    service: &'static str,
    version: &'static str,
    timestamp: UnixMs,
    environment: &'static str,
}

/// Whether the process runs. Asks nobody else.
pub(in crate::http) async fn health(State(state): State<AppState>) -> Json<Health> {
    Json(Health {
        status: "ok",
        service: "402pay-facilitator",
        version: env!("CARGO_PKG_VERSION"),
        timestamp: state.clock.now(),
        environment: state.environment,
    })
}

#[derive(Serialize)]
pub(in crate::http) struct ReadyReport {
    status: &'static str,
    components: BTreeMap<&'static str, Component>,
    degraded: Vec<&'static str>,
}

#[derive(Serialize)]
struct Component {
    status: &'static str,
    detail: String,
}

/// Whether a payment could be handled now, and what would stand in its way.
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

pub(in crate::http) async fn metrics(
    State(metrics): State<Arc<Metrics>>,
) -> Result<impl IntoResponse, ApiError> {
    let text = metrics.render().map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "the metrics cannot be written");
        ApiError::internal()
    })?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}
