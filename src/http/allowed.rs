//! What a handler's signature says about who may call it.

use std::{marker::PhantomData, net::IpAddr};

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::request::Parts,
};

use super::{admission::ClientAddress, error::ApiError, router::AppState};
use crate::api_keys::{Caller, Scope};

/// A scope as a type.
pub(super) trait RequiredScope {
    const SCOPE: Scope;
}

macro_rules! required_scopes {
    ($($name:ident),+) => {
        $(
            #[derive(Clone, Copy, Debug)]
            pub(super) struct $name;

            impl RequiredScope for $name {
                const SCOPE: Scope = Scope::$name;
            }
        )+
    };
}

required_scopes!(
    Verify,
    Settle,
    AgentsRead,
    AgentsWrite,
    SubscriptionsRead,
    SubscriptionsWrite,
    PlansWrite,
    UsageWrite,
    AnalyticsRead,
    KeysManage
);

/// A caller whose key has the scope.
#[derive(Debug)]
pub(super) struct Allowed<R> {
    pub caller: Caller,
    scope: PhantomData<R>,
}

impl<R: RequiredScope> Allowed<R> {
    fn of(caller: Caller) -> Result<Self, ApiError> {
        if caller.scopes.allow(R::SCOPE) {
            Ok(Self { caller, scope: PhantomData })
        } else {
            Err(ApiError::insufficient_scope(R::SCOPE.as_str()))
        }
    }
}

impl<S, R> FromRequestParts<S> for Allowed<R>
where
    S: Send + Sync,
    R: RequiredScope,
    Caller: FromRequestParts<S, Rejection = ApiError>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Self::of(<Caller as FromRequestParts<S>>::from_request_parts(parts, state).await?)
    }
}

/// A caller whose key has the scope, or one without a key, unless the operator demands keys (`REQUIRE_API_KEY`). A key
/// without the scope is refused in any case.
#[derive(Debug)]
pub(super) struct Admitted<R> {
    pub caller: Option<Caller>,
    /// Where the request comes from.
    pub address: IpAddr,
    scope: PhantomData<R>,
}

impl<R: RequiredScope> FromRequestParts<AppState> for Admitted<R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let caller = <Caller as OptionalFromRequestParts<AppState>>::from_request_parts(parts, state).await?;
        let caller = match caller {
            None if !state.require_api_key => None,
            _ => Some(Allowed::<R>::from_request_parts(parts, state).await?.caller),
        };
        Ok(Self { caller, address: ClientAddress::of(&parts.extensions), scope: PhantomData })
    }
}
