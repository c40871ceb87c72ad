//! The layer that says who may ask: where a request comes from, whose key it presents, and whether it is too many.

use std::net::{IpAddr, Ipv4Addr};

use axum::{
    body::HttpBody,
    extract::{MatchedPath, Request, State},
    http::{Extensions, HeaderName, HeaderValue, Method},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    authentication::{authenticate, presents_key},
    error::{ApiError, INVALID_KEY},
    idempotency::REPLAYED,
    load::{EXEMPT, ThereOnce},
    router::AppState,
};
use crate::{
    api_keys::Caller,
    rate_limit::{Action, Decision, Subject},
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const RATE_LIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// The address a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub IpAddr);

/// The address a request comes from, see [`TrustedProxies`](crate::client_address::TrustedProxies).
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientAddress(IpAddr);

impl ClientAddress {
    /// Every request has one; without a connection it is nobody's.
    pub(super) fn of(extensions: &Extensions) -> IpAddr {
        extensions.get::<Self>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.0)
    }
}

/// Runs before anything of the request but its head is read, and asks the limits' store once.
pub(super) async fn admission(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let address = client_address(&state, &request);
    request.extensions_mut().insert(ClientAddress(address));
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);

    let by_address = Subject::address(address);
    if presents_key(request.headers()) && keys_matter(route) && !state.keys.can_tell() {
        // No key can be told from an invented one yet, so each costs a look into the database: not for those who have had
        // their fill of that.
        if let Some(refusal) = state.rate_limits.standing_refusal(&by_address, Action::Public) {
            return refuse(&state, route, &refusal);
        }
    }
    let caller = if keys_matter(route) { authenticate(&state, request.headers()).await } else { Ok(None) };
    let (subject, action) = match &caller {
        Ok(caller) => (
            caller.as_ref().map_or_else(|| by_address.clone(), subject),
            action(request.method(), route, caller.is_some()),
        ),
        Err(_) => (by_address.clone(), Action::Public),
    };
    let (mut decision, mut caller) = (state.rate_limits.admit(&subject, action).await, caller);
    if decision.is_some_and(|decision| decision.ended) {
        // Its row could not be read since. It is told and counted as every key that opens nothing.
        decision = state.rate_limits.admit(&by_address, Action::Public).await;
        caller = Err(ApiError::unauthorized(INVALID_KEY));
    }

    let mut response = match (decision, caller) {
        (Some(decision), _) if !decision.admitted => return refuse(&state, route, &decision),
        (_, Err(error)) => error.into_response(),
        (_, Ok(_)) if action == Action::Operations => {
            operate(&state, address, request, next).await.into_response()
        }
        (_, Ok(caller)) => handle(&state, caller, address, request, next).await.into_response(),
    };
    if let Some(decision) = decision {
        tell(&mut response, &decision);
    }
    response
}

/// Hands a request of the operator's on. One that may have to wait takes a place of its address.
async fn operate(
    state: &AppState,
    address: IpAddr,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let waits = !EXEMPT.contains(&request.uri().path());
    let _share = waits.then(|| state.load.share(&party(None, address))).transpose()?;
    Ok(next.run(request).await)
}

/// Hands a request on, for which its caller must have room, and so for what is answered.
async fn handle(
    state: &AppState,
    caller: Option<Caller>,
    address: IpAddr,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (party, has_key) = (party(caller.as_ref(), address), caller.is_some());
    let _share = state.load.share(&party)?;
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    // What was done just now is told in any case; what is kept can be asked for again.
    let changes = !request.method().is_safe();
    let mut response = next.run(request).await;
    let changes = changes && !response.headers().contains_key(&REPLAYED.0);
    if response.extensions().get::<ThereOnce>().is_some() {
        return Ok(response);
    }
    let room = state.load.answer_room(&party, has_key, response.body().size_hint().lower());
    if let Some(room) = if changes { room.unwrap_or_default() } else { room? } {
        response.extensions_mut().insert(room);
    }
    Ok(response)
}

fn refuse(state: &AppState, route: Option<&str>, decision: &Decision) -> Response {
    state.metrics.rate_limit_exceeded(route.unwrap_or("unmatched"));
    let mut response = ApiError::rate_limited(decision.retry_after_secs()).into_response();
    tell(&mut response, decision);
    response
}

fn client_address(state: &AppState, request: &Request) -> IpAddr {
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
    // What a client sends may be no text, and a proxy appends to it in the same line: only that part is unreadable then.
    let lines = request.headers().get_all(X_FORWARDED_FOR).iter();
    let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    state.trusted_proxies.client(peer, lines.iter().map(AsRef::as_ref))
}

/// Probes must work whatever becomes of the keys, some answers are the same for all, and where nothing is there is nothing
/// to be let in to.
pub(super) fn keys_matter(route: Option<&str>) -> bool {
    route.is_some_and(|route| !is_operations(route) && !matches!(route, "/supported" | "/openapi.json"))
}

fn is_operations(route: &str) -> bool {
    matches!(route, "/health" | "/ready" | "/metrics")
}

fn action(method: &Method, route: Option<&str>, has_key: bool) -> Action {
    match route {
        Some("/verify" | "/settle") if method == Method::POST => Action::Verification,
        Some(route) if is_operations(route) => Action::Operations,
        Some("/supported") => Action::Supported,
        Some(_) if has_key => Action::Authenticated,
        _ => Action::Public,
    }
}

/// The one place that says what a caller's requests are counted by.
fn subject(caller: &Caller) -> Subject {
    Subject::key(&caller.key_id)
}

/// Names whose a request is: a user, or an address behind a character that no user's name holds.
pub(super) fn party(caller: Option<&Caller>, address: IpAddr) -> String {
    caller.map_or_else(|| format!("\u{1}{}", Subject::address(address)), |caller| caller.user.clone())
}

fn tell(response: &mut Response, decision: &Decision) {
    let headers = response.headers_mut();
    headers.insert(RATE_LIMIT_LIMIT, HeaderValue::from(decision.limit));
    headers.insert(RATE_LIMIT_REMAINING, HeaderValue::from(decision.remaining));
    headers.insert(RATE_LIMIT_RESET, HeaderValue::from(decision.reset_secs()));
}
