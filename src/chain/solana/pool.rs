//! All RPC endpoints: whom to ask first, and whom next.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use serde::de::DeserializeOwned;
use serde_json::Value;
use solana_rpc_client_api::request::RpcRequest;
use tokio::time::Instant;

use super::{
    endpoint::{Answer, Call, CallError, Endpoint, REQUEST_TIMEOUT},
    health::Standing,
    slots::{MAX_LAG, Slots},
};
use crate::{
    chain::{ChainError, assets::Network},
    metrics::Metrics,
};

/// How long an endpoint may take that was put behind and is tried again: a payment waits for it.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Pool {
    endpoints: Vec<Arc<Endpoint>>,
    slots: Arc<Slots>,
}

impl Pool {
    pub fn new(network: Network, urls: &[String], metrics: &Arc<Metrics>) -> Self {
        let slots = Arc::new(Slots::new(urls.len()));
        let endpoints = urls.iter().enumerate().map(|(index, url)| {
            Arc::new(Endpoint::new(index, url, network, Arc::clone(&slots), Arc::clone(metrics)))
        });
        Self { endpoints: endpoints.collect(), slots }
    }

    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    pub fn highest_slot(&self) -> u64 {
        self.slots.highest()
    }

    /// Whether what an endpoint said as of `slot` is too old, compared with what the others have said.
    pub fn is_behind(&self, endpoint: &Endpoint, slot: u64) -> bool {
        self.slots.lag(endpoint.index(), slot) > MAX_LAG
    }

    /// Every endpoint once, the best first, within `budget` together.
    pub fn attempts(&self, budget: Duration) -> Attempts {
        let now = Instant::now();
        let mut order: Vec<_> = self
            .endpoints
            .iter()
            .map(|endpoint| {
                let trial = endpoint.take_trial(now);
                let standing = if trial { Standing::Front } else { endpoint.standing(now) };
                (standing, trial, Arc::clone(endpoint))
            })
            .collect();
        // Stable: among equals, the operator's order.
        order.sort_by_key(|(standing, ..)| *standing);
        order.reverse();
        Attempts { left: order, deadline: now + budget, failure: None }
    }

    /// The first answer that makes sense.
    pub async fn first<T: DeserializeOwned, R>(
        &self,
        request: RpcRequest,
        params: &Value,
        budget: Duration,
        read: impl Fn(T) -> Result<Answer<R>, &'static str> + Send + Sync,
    ) -> Result<R, ChainError> {
        let mut attempts = self.attempts(budget);
        while let Some(Attempt { endpoint, limit, trial }) = attempts.next() {
            match endpoint.ask(Call { request, params, limit, trial }, &read).await {
                Ok(answer) => return Ok(answer),
                Err(error) => attempts.failed(error),
            }
        }
        Err(attempts.into_failure())
    }

    /// Every endpoint's answer, in their order.
    pub async fn all<T: DeserializeOwned, R>(
        &self,
        request: RpcRequest,
        params: &Value,
        limit: Duration,
        read: impl Fn(T) -> Result<Answer<R>, &'static str> + Send + Sync,
    ) -> Vec<Result<R, CallError>> {
        let call = Call { request, params, limit, trial: false };
        join_all(self.endpoints.iter().map(|endpoint| endpoint.ask(call, &read))).await
    }
}

/// Whom to ask now.
pub(super) struct Attempt {
    pub endpoint: Arc<Endpoint>,
    pub limit: Duration,
    pub trial: bool,
}

/// Whom to ask, one after the other.
pub(super) struct Attempts {
    /// The next one last.
    left: Vec<(Standing, bool, Arc<Endpoint>)>,
    deadline: Instant,
    failure: Option<ChainError>,
}

impl Attempts {
    /// The next endpoint, with its share of the time that is left.
    pub fn next(&mut self) -> Option<Attempt> {
        let shares = u32::try_from(self.left.len()).unwrap_or(u32::MAX);
        let (_, trial, endpoint) = self.left.pop()?;
        let share = self.deadline.saturating_duration_since(Instant::now()) / shares;
        let limit = share.min(if trial && shares > 1 { TRIAL_TIMEOUT } else { REQUEST_TIMEOUT });
        Some(Attempt { endpoint, limit, trial })
    }

    pub fn failed(&mut self, error: impl Into<ChainError>) {
        self.failure = Some(error.into());
    }

    /// Why the last one failed.
    pub fn into_failure(self) -> ChainError {
        self.failure.unwrap_or(ChainError::BadResponse("no RPC endpoint is configured"))
    }
}
