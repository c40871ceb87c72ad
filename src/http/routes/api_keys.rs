//! `/api-keys`: the keys of the calling key's user.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    api_keys::{
        ApiKeyRecord, Environment,
        service::{Actor, ApiKeys, NewlyMade},
    },
    clock::UnixMs,
    http::{
        allowed::{Allowed, KeysManage},
        error::ApiError,
        extract::{JsonBody, Page, PathName},
        idempotency::KeptInstead,
    },
};

/// A key on the wire. The plain key is never part of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyView {
    id: String,
    key_prefix: String,
    name: String,
    user_id: String,
    environment: Environment,
    livemode: bool,
    permissions: Vec<&'static str>,
    recipients: Vec<String>,
    created_at: UnixMs,
    expires_at: Option<UnixMs>,
    last_used_at: Option<UnixMs>,
    revoked_at: Option<UnixMs>,
    replaced_by: Option<String>,
}

impl From<ApiKeyRecord> for KeyView {
    fn from(key: ApiKeyRecord) -> Self {
        Self {
            id: key.id.to_string(),
            key_prefix: key.prefix,
            name: key.name,
            user_id: key.user,
            environment: key.environment,
            livemode: key.environment.livemode(),
            permissions: key.scopes.names(),
            recipients: key.recipients.iter().map(ToString::to_string).collect(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
            replaced_by: key.replaced_by.map(|id| id.to_string()),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct KeyList {
    api_keys: Vec<KeyView>,
    total: u64,
    limit: u32,
    offset: u32,
}

/// A key that has just been made. Only this answer, the first time, has it in plain text.
#[derive(Serialize)]
struct NewKeyView {
    #[serde(flatten)]
    record: KeyView,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The key it replaces, as that is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<KeyView>,
}

/// The answer that shows a key. No cache keeps it; under an `Idempotency-Key` it is kept without the key.
fn shown_once(status: StatusCode, made: NewlyMade, old: Option<ApiKeyRecord>) -> Result<Response, ApiError> {
    let (record, replaces) = (made.record.into(), old.map(KeyView::from));
    let mut view = NewKeyView { record, key: None, replaces };
    let kept = KeptInstead::json(&view)?;
    view.key = Some(made.key.expose().to_owned());
    let mut response = (status, Json(view)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(kept);
    Ok(response)
}

pub(in crate::http) async fn create(
    State(keys): State<Arc<ApiKeys>>,
    Allowed { caller, .. }: Allowed<KeysManage>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    shown_once(StatusCode::CREATED, keys.create(&caller, &body).await?, None)
}

pub(in crate::http) async fn list(
    State(keys): State<Arc<ApiKeys>>,
    Allowed { caller, .. }: Allowed<KeysManage>,
    page: Page,
) -> Result<Json<KeyList>, ApiError> {
    let found = keys.list(Actor::Caller(&caller), None, page.limit, page.offset).await?;
    Ok(Json(KeyList {
        api_keys: found.keys.into_iter().map(KeyView::from).collect(),
        total: found.total,
        limit: page.limit,
        offset: page.offset,
    }))
}

pub(in crate::http) async fn revoke(
    State(keys): State<Arc<ApiKeys>>,
    Allowed { caller, .. }: Allowed<KeysManage>,
    PathName(id): PathName,
) -> Result<Json<impl Serialize>, ApiError> {
    Ok(Json(KeyView::from(keys.revoke(Actor::Caller(&caller), &id).await?)))
}

pub(in crate::http) async fn rotate(
    State(keys): State<Arc<ApiKeys>>,
    Allowed { caller, .. }: Allowed<KeysManage>,
    PathName(id): PathName,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let (made, old) = keys.rotate(&caller, &id, &body).await?;
    shown_once(StatusCode::OK, made, Some(old))
}
