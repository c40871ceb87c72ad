//! `/api-keys`: the keys of the calling key's user.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, Query, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    api_keys::{
        ApiKeyRecord, CreateMembers, Environment, RotateMembers,
        service::{Actor, ApiKeys, NewlyMade},
    },
    clock::UnixMs,
    http::{
        allowed::{Allowed, KeysManage},
        error::{ApiError, Envelope},
        extract::{JsonBody, Page, PathName},
        idempotency::{IdempotencyKey, KeptInstead},
    },
    input::FieldErrors,
    schema,
};

/// A key on the wire. The plain key is never part of it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApiKey)]
pub(in crate::http) struct KeyView {
    #[schema(example = "key_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    id: String,
    /// The public beginning of the key.
    #[schema(example = "sk_test_3mJr7AoU")]
    key_prefix: String,
    name: String,
    user_id: String,
    environment: Environment,
    /// Whether real money moves.
    livemode: bool,
    /// Scopes, or `*` for all.
    permissions: Vec<&'static str>,
    /// Wallets that payments verified with this key must go to, where no requirement says otherwise.
    #[schema(value_type = Vec<schema::PublicKey>)]
    recipients: Vec<String>,
    created_at: UnixMs,
    expires_at: Option<UnixMs>,
    last_used_at: Option<UnixMs>,
    revoked_at: Option<UnixMs>,
    /// The key that it was rotated to.
    replaced_by: Option<String>,
    /// The id of the key that it was made with, the beginning of one from `VALID_API_KEYS`, or `operator`.
    #[schema(example = "operator")]
    created_by: Option<String>,
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
            created_by: key.created_by,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApiKeyList)]
pub(in crate::http) struct KeyList {
    api_keys: Vec<KeyView>,
    total: u64,
    limit: u32,
    offset: u32,
}

/// A key that was revoked, and what comes from it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RevokedApiKey)]
pub(in crate::http) struct RevokedView {
    #[serde(flatten)]
    record: KeyView,
    /// The ids of those that were revoked with it.
    revoked_descendants: Vec<String>,
    /// The ids of those that still work. Missing where they could not be read; the key is revoked all the same.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    active_descendants: Option<Vec<String>>,
}

/// What is to end besides the key.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Revocation {
    /// `true`: also every key that comes from it: those that were made with it, its successor, and what comes from these.
    #[param(default = false)]
    #[serde(default)]
    descendants: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Revocation {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let query = Query::<Self>::try_from_uri(&parts.uri);
        let Query(revocation) =
            query.map_err(|_| FieldErrors::one("descendants", "must be true or false"))?;
        Ok(revocation)
    }
}

/// A key that has just been made. Only this answer, the first time, has it in plain text.
#[derive(Serialize, ToSchema)]
#[schema(as = NewApiKey)]
pub(in crate::http) struct NewKeyView {
    #[serde(flatten)]
    record: KeyView,
    /// In plain text. Missing where the answer is given again under an `Idempotency-Key`.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The key it replaces, as that is now.
    #[schema(nullable = false)]
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

/// A new key of the same user, with no more rights than the calling one. It is shown once.
#[utoipa::path(
    post,
    path = "/api-keys",
    operation_id = "createApiKey",
    tag = "Keys",
    params(IdempotencyKey),
    request_body = CreateMembers,
    responses(
        (status = 201, description = "Made.", body = NewKeyView),
        (status = 409, description = "`API_KEY_LIMIT_REACHED`: the user has 100 active keys, or 1000 were made within a day; or see `Idempotency-Key`.", body = Envelope),
    ),
    security(("bearer" = ["keys:manage"]), ("apiKey" = ["keys:manage"])),
)]
pub(in crate::http) async fn create(
    State(keys): State<Arc<ApiKeys>>,
    Allowed { caller, .. }: Allowed<KeysManage>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    shown_once(StatusCode::CREATED, keys.create(&caller, &body).await?, None)
}

/// The keys of the key's user in its environment, newest first.
#[utoipa::path(
    get,
    path = "/api-keys",
    operation_id = "listApiKeys",
    tag = "Keys",
    params(Page),
    responses((status = 200, description = "One page of them.", body = KeyList)),
    security(("bearer" = ["keys:manage"]), ("apiKey" = ["keys:manage"])),
)]
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

/// Ends a key at once, and on request every key that comes from it. Ending it again changes nothing.
///
/// By default other keys work on, and `activeDescendants` names those that come from this one: a key that was replaced in
/// order must not take its successor with it. Of a key that somebody else may have had, `descendants=true` leaves nothing.
#[utoipa::path(
    delete,
    path = "/api-keys/{id}",
    operation_id = "revokeApiKey",
    tag = "Keys",
    params(("id" = String, Path, description = "The key's id or public prefix."), Revocation),
    responses((status = 200, description = "The key, revoked.", body = RevokedView)),
    security(("bearer" = ["keys:manage"]), ("apiKey" = ["keys:manage"])),
)]
pub(in crate::http) async fn revoke(
    State(keys): State<Arc<ApiKeys>>,
    Allowed { caller, .. }: Allowed<KeysManage>,
    PathName(id): PathName,
    Revocation { descendants }: Revocation,
) -> Result<Json<RevokedView>, ApiError> {
    let actor = Actor::Caller(&caller);
    let (key, revoked) = if descendants {
        keys.revoke_line(actor, &id).await?
    } else {
        (keys.revoke(actor, &id).await?, Vec::new())
    };
    let active = keys.active_descendants(&key).await;
    // It is done, and must not look as if it were not.
    let active = active.inspect_err(|error| {
        tracing::error!(
            error = error as &dyn std::error::Error,
            "what comes from a revoked key is not known"
        );
    });
    Ok(Json(RevokedView {
        record: key.into(),
        revoked_descendants: revoked.iter().map(|key| key.id.to_string()).collect(),
        active_descendants: active.ok().map(|keys| keys.iter().map(ToString::to_string).collect()),
    }))
}

/// A new key in the place of another, which goes on working for a while.
#[utoipa::path(
    post,
    path = "/api-keys/{id}/rotate",
    operation_id = "rotateApiKey",
    tag = "Keys",
    params(("id" = String, Path, description = "The key's id or public prefix."), IdempotencyKey),
    request_body = RotateMembers,
    responses(
        (status = 200, description = "The new key, and the old one with its end.", body = NewKeyView),
        (status = 409, description = "The key was rotated, revoked or expired before, too many rotated keys still work or too many keys were made within a day, or see `Idempotency-Key`.", body = Envelope),
    ),
    security(("bearer" = ["keys:manage"]), ("apiKey" = ["keys:manage"])),
)]
pub(in crate::http) async fn rotate(
    State(keys): State<Arc<ApiKeys>>,
    Allowed { caller, .. }: Allowed<KeysManage>,
    PathName(id): PathName,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let (made, old) = keys.rotate(&caller, &id, &body).await?;
    shown_once(StatusCode::OK, made, Some(old))
}
