//! All RPC endpoints: whom to ask first, and whom next.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, Stream, StreamExt, future::join_all, stream::FuturesUnordered};
use serde::de::DeserializeOwned;
use serde_json::Value;
use solana_rpc_client_api::request::RpcRequest;
use tokio::time::Instant;

use super::{
    endpoint::{Answer, Call, Endpoint, REQUEST_TIMEOUT},
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

    /// How far `slot` is behind the newest that was heard of.
    pub fn lag_of(&self, slot: u64) -> u64 {
        self.slots.highest(Instant::now()).saturating_sub(slot)
    }

    /// Whether what an endpoint said as of `slot` is too old, compared with what the others have said.
    pub fn is_behind(&self, endpoint: &Endpoint, slot: u64) -> bool {
        self.slots.lag(endpoint.index(), slot, Instant::now()) > MAX_LAG
    }

    /// Whether an endpoint that has just answered hears of no new slot.
    pub fn is_stuck(&self, endpoint: usize) -> bool {
        self.slots.is_stuck(endpoint, Instant::now())
    }

    /// Every endpoint once, the best first, within `budget` together. One that was put behind long enough ago is tried
    /// before the others, by this call alone and for a moment only: else it would not be heard of again.
    pub fn attempts(&self, budget: Duration) -> Attempts {
        self.attempts_at(Instant::now(), budget)
    }

    fn attempts_at(&self, now: Instant, budget: Duration) -> Attempts {
        let mut tried = false;
        let mut order: Vec<_> = self
            .endpoints
            .iter()
            .map(|endpoint| {
                let trial = !tried && endpoint.take_trial(now);
                tried |= trial;
                let standing = match endpoint.standing(now) {
                    _ if trial => Standing::Due,
                    // Not by this call.
                    Standing::Due => Standing::BehindUntil(now),
                    standing => standing,
                };
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
        self.first_by(request, params, budget, read).await.map(|(_, answer)| answer)
    }

    /// The first answer that makes sense, and whose it is.
    pub async fn first_by<T: DeserializeOwned, R>(
        &self,
        request: RpcRequest,
        params: &Value,
        budget: Duration,
        read: impl Fn(T) -> Result<Answer<R>, &'static str> + Send + Sync,
    ) -> Result<(usize, R), ChainError> {
        let mut attempts = self.attempts(budget);
        while let Some(Attempt { endpoint, limit, trial }) = attempts.next() {
            match endpoint.ask(Call { request, params, limit, trial }, &read).await {
                Ok(answer) => return Ok((endpoint.index(), answer)),
                Err(error) => attempts.failed(error),
            }
        }
        Err(attempts.into_failure())
    }

    /// The answers of those besides one endpoint that can be expected to give one, and whose they are, as they come. Who
    /// has failed is not waited for.
    pub fn besides<'a, T: DeserializeOwned + 'a, R: Send + 'a>(
        &'a self,
        endpoint: usize,
        request: RpcRequest,
        params: &'a Value,
        limit: Duration,
        read: impl Fn(T) -> Result<Answer<R>, &'static str> + Copy + Send + Sync + 'a,
    ) -> impl Stream<Item = (usize, R)> + Unpin + Send + 'a {
        let (now, call) = (Instant::now(), Call { request, params, limit, trial: false });
        let others = self.endpoints.iter().filter(move |it| it.index() != endpoint && it.answers(now));
        let asked = others.map(|it| {
            let answer = it.ask(call, read);
            async move { answer.await.ok().map(|answer| (it.index(), answer)) }.boxed()
        });
        asked.collect::<FuturesUnordered<_>>().filter_map(std::future::ready)
    }

    /// The answers of all endpoints that can be expected to give one, at least one: for what a single endpoint had better
    /// not decide. Those that lag are heard too: who is ahead of all others may be the one that is wrong.
    pub async fn panel<T: DeserializeOwned, R>(
        &self,
        request: RpcRequest,
        params: &Value,
        limit: Duration,
        read: impl Fn(T) -> Result<Answer<R>, &'static str> + Send + Sync,
    ) -> Result<Vec<R>, ChainError> {
        let (now, call) = (Instant::now(), Call { request, params, limit, trial: false });
        let (expected, others): (Vec<_>, Vec<_>) =
            self.endpoints.iter().partition(|endpoint| endpoint.answers(now));
        let mut failure = ChainError::BadResponse("no RPC endpoint is configured");
        for endpoints in [expected, others] {
            let asked = endpoints.iter().map(|endpoint| endpoint.ask(call, &read));
            let mut heard = Vec::new();
            for answer in join_all(asked).await {
                match answer {
                    Ok(answer) => heard.push(answer),
                    Err(error) => failure = error.into(),
                }
            }
            if !heard.is_empty() {
                return Ok(heard);
            }
        }
        Err(failure)
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

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::time::Instant;

    use super::Pool;
    use crate::{
        chain::{assets::Network, solana::health::Fault},
        metrics::Metrics,
    };

    fn order(pool: &Pool, now: Instant) -> Vec<(usize, bool)> {
        let mut attempts = pool.attempts_at(now, Duration::from_secs(1));
        let next = || attempts.next().map(|attempt| (attempt.endpoint.index(), attempt.trial));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn who_fails_is_asked_last_then_tried_by_one_call_and_back_with_a_success() {
        let urls = vec!["http://127.0.0.1:1".to_owned(); 3];
        let pool = Pool::new(Network::Sandbox, &urls, &Arc::new(Metrics::new()));
        let now = Instant::now();
        let calm = [(0, false), (1, false), (2, false)];
        assert_eq!(order(&pool, now), calm);
        pool.endpoints[0].judge(Some(Fault::NoAnswer), false, now);
        pool.endpoints[1].judge(Some(Fault::NoAnswer), false, now + Duration::from_secs(1));
        assert_eq!(order(&pool, now), [(2, false), (0, false), (1, false)]);
        let later = now + Duration::from_millis(5500);
        assert_eq!(order(&pool, later), [(0, true), (2, false), (1, false)]);
        assert_eq!(order(&pool, later), [(2, false), (1, false), (0, false)], "one call tries it");
        pool.endpoints[0].judge(Some(Fault::NoAnswer), true, later);
        let still = later + Duration::from_secs(9);
        assert_eq!(order(&pool, still), [(1, true), (2, false), (0, false)], "the penalty has grown");
        pool.endpoints[0].judge(None, false, still);
        pool.endpoints[1].judge(None, true, still);
        assert_eq!(order(&pool, still), calm);
    }

    #[test]
    fn the_last_in_the_list_is_tried_too_and_one_at_a_time() {
        let urls = vec!["http://127.0.0.1:1".to_owned(); 3];
        let pool = Pool::new(Network::Sandbox, &urls, &Arc::new(Metrics::new()));
        let now = Instant::now();
        for endpoint in &pool.endpoints[1..] {
            endpoint.judge(Some(Fault::NoAnswer), false, now);
        }
        let later = now + Duration::from_secs(6);
        assert_eq!(order(&pool, later), [(1, true), (0, false), (2, false)]);
        assert_eq!(order(&pool, later), [(2, true), (0, false), (1, false)]);
        assert_eq!(order(&pool, later), [(0, false), (1, false), (2, false)]);
    }
}
