//! Reading a request's body: JSON, whole, within bounds of size, time and memory.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{FromRef, FromRequest, Request},
    http::{HeaderMap, header},
};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::{
    error::ApiError,
    load::{Load, Room},
};

/// Largest body, in bytes.
pub(super) const MAX_BODY: usize = 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A body sent as JSON, not yet parsed. It keeps its room in the service's memory until the last clone is gone.
#[derive(Clone, Debug)]
pub(super) struct JsonBody(pub Bytes);

impl<S> FromRequest<S> for JsonBody
where
    S: Send + Sync,
    Arc<Load>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, ApiError> {
        // A layer around this handler may have read it.
        if let Some(read) = request.extensions_mut().remove::<Self>() {
            return Ok(read);
        }
        if !is_json(request.headers()) {
            return Err(ApiError::unsupported_media_type());
        }
        let announced = announced(request.headers()).unwrap_or_default();
        if announced > MAX_BODY {
            return Err(ApiError::body_too_large());
        }
        let room = Arc::<Load>::from_ref(state).room();
        let read = timeout(BODY_TIMEOUT, collect(request.into_body(), announced, room)).await;
        read.map_err(|_| ApiError::body_too_slow())?.map(Self)
    }
}

/// Bytes and the room they take.
struct Kept {
    bytes: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// `announced` is at most [`MAX_BODY`]. It is reserved at once: memory that nothing was written to costs nothing, and a
/// buffer that grows costs what it has outgrown as well.
async fn collect(body: Body, announced: usize, mut room: Room) -> Result<Bytes, ApiError> {
    let mut bytes = Vec::with_capacity(announced);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| ApiError::body_unreadable())?;
        let length = bytes.len() + chunk.len();
        if length > MAX_BODY {
            return Err(ApiError::body_too_large());
        }
        room.grow(length)?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(Bytes::from_owner(Kept { bytes, _room: room }))
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
}
