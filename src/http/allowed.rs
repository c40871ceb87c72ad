//! What a handler's signature says about who may call it.

use std::marker::PhantomData;

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::request::Parts,
};

use super::error::ApiError;
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
    AgentsRead,
    AgentsWrite,
    SubscriptionsRead,
    SubscriptionsWrite,
    PlansWrite,
    UsageWrite,
    KeysManage
);

/// A caller whose key has the scope. A handler that takes an `Option` of it is open to those without a key; a key without
/// the scope is refused all the same.
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

impl<S, R> OptionalFromRequestParts<S> for Allowed<R>
where
    S: Send + Sync,
    R: RequiredScope,
    Caller: OptionalFromRequestParts<S, Rejection = ApiError>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, ApiError> {
        let caller = <Caller as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
        caller.map(Self::of).transpose()
    }
}
