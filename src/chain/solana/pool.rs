//! All RPC endpoints: whom to ask first, and whom next.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{FutureExt, Stream, StreamExt, future::join_all, stream::FuturesUnordered};
use serde::de::DeserializeOwned;
use serde_json::Value;
use solana_rpc_client_api::request::RpcRequest;
use tokio::time::{Instant, sleep};

use super::{
    endpoint::{Answer, Call, CallError, Endpoint, REQUEST_TIMEOUT},
    health::Standing,
    silence::Silence,
    slots::{MAX_LAG, Slots},
};
use crate::{
    chain::{ChainError, assets::Network},
    metrics::Metrics,
};

/// How long an endpoint may take that was put behind and is tried again: a payment waits for it.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Before those who may have failed in passing are asked once more.
const PAUSE: Duration = Duration::from_millis(100);
const NO_ENDPOINT: ChainError = ChainError::BadResponse("no RPC endpoint is configured");

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

    /// Every endpoint once, the best first, then once more those whose failure may have passed, within `budget` together. One
    /// that was put behind long enough ago is tried before the others, by this call alone and for a moment only: else it would
    /// not be heard of again.
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
        let left = order.into_iter().map(|(_, trial, endpoint)| (trial, endpoint)).collect();
        Attempts { left, again: Some(VecDeque::new()), deadline: now + budget, failure: None }
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
        while let Some(attempt) = attempts.next().await {
            match attempt.endpoint.ask(attempt.call(request, params), &read).await {
                Ok(answer) => return Ok((attempt.endpoint.index(), answer)),
                Err(error) => attempts.failed(attempt, error),
            }
        }
        Err(attempts.into_failure())
    }

    /// What those besides one endpoint say became of transactions, and who it is, as it comes; see [`voice_of`]. Who has been
    /// silent for long is not waited for.
    pub fn besides<'a, T: DeserializeOwned + 'a, R: Send + 'a>(
        &'a self,
        endpoint: usize,
        params: &'a Value,
        limit: Duration,
        read: impl Fn(T) -> Result<Answer<R>, &'static str> + Copy + Send + Sync + 'a,
    ) -> impl Stream<Item = (usize, Option<R>)> + Unpin + Send + 'a {
        let now = Instant::now();
        let is_heard = move |it: &&Arc<Endpoint>| it.recent_silence.is_waited_for(now) || it.answers(now);
        let others = self.endpoints.iter().filter(move |it| it.index() != endpoint).filter(is_heard);
        let asked = others.map(|it| {
            async move {
                let voice = voice_of(it, &it.recent_silence, params, limit, read).await;
                voice.ok().map(|voice| (it.index(), voice))
            }
            .boxed()
        });
        asked.collect::<FuturesUnordered<_>>().filter_map(std::future::ready)
    }

    /// The answers of all endpoints that can be expected to give one, at least one: for what a single endpoint had better
    /// not decide. Those that lag are heard too: who is ahead of all others may be the one that is wrong. The others are asked
    /// where none of these answers, and then once more those whose failure may have passed, all within twice the limit.
    pub async fn panel<T: DeserializeOwned, R>(
        &self,
        request: RpcRequest,
        params: &Value,
        limit: Duration,
        read: impl Fn(T) -> Result<Answer<R>, &'static str> + Send + Sync,
    ) -> Result<Vec<R>, ChainError> {
        let now = Instant::now();
        let deadline = now + 2 * limit;
        let call = Call { request, params, limit, trial: false };
        let (expected, others): (Vec<_>, Vec<_>) =
            self.endpoints.iter().partition(|endpoint| endpoint.answers(now));
        let mut failed = Vec::new();
        for endpoints in [expected, others] {
            let heard = ask_all(&endpoints, call, &read, &mut failed).await;
            if !heard.is_empty() {
                return Ok(heard);
            }
        }
        let again = failed.iter().filter(|(endpoint, error)| endpoint.is_worth_asking_again(error));
        let again: Vec<_> = again.map(|(endpoint, _)| *endpoint).collect();
        if !again.is_empty() && pause_before(deadline).await {
            let limit = limit.min(deadline.saturating_duration_since(Instant::now()));
            let heard = ask_all(&again, Call { limit, ..call }, &read, &mut failed).await;
            if !heard.is_empty() {
                return Ok(heard);
            }
        }
        Err(failed.pop().map_or(NO_ENDPOINT, |(_, error)| error.into()))
    }
}

/// What an endpoint says became of transactions, asked once more where its failure may have passed. `None` where it says
/// nothing now and may do so soon: until then, nobody else is to be believed alone.
///
/// # Errors
/// When it says that it does not tell, or has said nothing for long.
pub(super) async fn voice_of<T: DeserializeOwned, R>(
    endpoint: &Endpoint,
    silence: &Silence,
    params: &Value,
    limit: Duration,
    read: impl Fn(T) -> Result<Answer<R>, &'static str> + Send + Sync,
) -> Result<Option<R>, CallError> {
    let deadline = Instant::now() + limit;
    let call = Call { request: RpcRequest::GetSignatureStatuses, params, limit, trial: false };
    let mut answer = endpoint.ask(call, &read).await;
    let fails = answer.as_ref().is_err_and(|error| endpoint.is_worth_asking_again(error));
    if fails && pause_before(deadline).await {
        let limit = deadline.saturating_duration_since(Instant::now());
        answer = endpoint.ask(Call { limit, ..call }, &read).await;
    }
    let now = Instant::now();
    if let Err(error) = &answer
        && error.is_no_answer_for_good()
    {
        return answer.map(Some);
    }
    silence.note(answer.is_ok(), now);
    match answer {
        Err(error) if !silence.is_waited_for(now) => Err(error),
        answer => Ok(answer.ok()),
    }
}

/// All at the same time. Who fails is put down with the reason.
async fn ask_all<'a, T: DeserializeOwned, R>(
    endpoints: &[&'a Arc<Endpoint>],
    call: Call<'_>,
    read: impl Fn(T) -> Result<Answer<R>, &'static str> + Send + Sync,
    failed: &mut Vec<(&'a Arc<Endpoint>, CallError)>,
) -> Vec<R> {
    let answers = join_all(endpoints.iter().map(|endpoint| endpoint.ask(call, &read))).await;
    let mut heard = Vec::new();
    for (endpoint, answer) in endpoints.iter().zip(answers) {
        match answer {
            Ok(answer) => heard.push(answer),
            Err(error) => failed.push((*endpoint, error)),
        }
    }
    heard
}

/// Waits a moment, where that leaves time for another question.
async fn pause_before(deadline: Instant) -> bool {
    let is_time = Instant::now() + 2 * PAUSE <= deadline;
    if is_time {
        sleep(PAUSE).await;
    }
    is_time
}

/// Whom to ask now.
pub(super) struct Attempt {
    pub endpoint: Arc<Endpoint>,
    limit: Duration,
    trial: bool,
}

impl Attempt {
    pub const fn call<'a>(&self, request: RpcRequest, params: &'a Value) -> Call<'a> {
        Call { request, params, limit: self.limit, trial: self.trial }
    }
}

/// Whom to ask, one after the other. An endpoint, and whether that tries it.
pub(super) struct Attempts {
    left: VecDeque<(bool, Arc<Endpoint>)>,
    /// Whom to ask a second time; `None` when that has begun.
    again: Option<VecDeque<(bool, Arc<Endpoint>)>>,
    deadline: Instant,
    failure: Option<ChainError>,
}

impl Attempts {
    /// The next endpoint, with its share of the time that is left.
    pub async fn next(&mut self) -> Option<Attempt> {
        if self.left.is_empty() {
            let again = self.again.take().filter(|again| !again.is_empty())?;
            if pause_before(self.deadline).await {
                self.left = again;
            }
        }
        let shares = u32::try_from(self.left.len()).unwrap_or(u32::MAX);
        let (trial, endpoint) = self.left.pop_front()?;
        let share = self.deadline.saturating_duration_since(Instant::now()) / shares;
        let limit = share.min(if trial && shares > 1 { TRIAL_TIMEOUT } else { REQUEST_TIMEOUT });
        Some(Attempt { endpoint, limit, trial })
    }

    pub fn failed(&mut self, Attempt { endpoint, .. }: Attempt, error: CallError) {
        if let Some(again) = &mut self.again
            && endpoint.is_worth_asking_again(&error)
        {
            // Not for a trial any more: what failed then has failed.
            again.push_back((false, endpoint));
        }
        self.failure = Some(error.into());
    }

    /// Why the last one failed.
    pub fn into_failure(self) -> ChainError {
        self.failure.unwrap_or(NO_ENDPOINT)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use futures_util::FutureExt;
    use solana_rpc_client_api::{
        client_error::ErrorKind,
        request::{RpcError, RpcResponseErrorData},
    };
    use tokio::time::Instant;

    use super::{PAUSE, Pool};
    use crate::{
        chain::{
            assets::Network,
            solana::{endpoint::CallError, health::Fault},
        },
        metrics::Metrics,
    };

    fn order(pool: &Pool, now: Instant) -> Vec<(usize, bool)> {
        let mut attempts = pool.attempts_at(now, Duration::from_secs(1));
        let next = || attempts.next().now_or_never().flatten();
        std::iter::from_fn(next).map(|attempt| (attempt.endpoint.index(), attempt.trial)).collect()
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

    fn answered(code: i64) -> CallError {
        let (message, data) = (String::new(), RpcResponseErrorData::Empty);
        CallError::Client(ErrorKind::RpcError(RpcError::RpcResponseError { code, message, data }).into())
    }

    /// Whom a call asks that always fails like this, and how long it takes.
    async fn asked(
        pool: &Pool,
        budget: Duration,
        failure: impl Fn(usize) -> CallError,
    ) -> (Vec<usize>, Duration) {
        let started = Instant::now();
        let (mut attempts, mut asked) = (pool.attempts(budget), Vec::new());
        while let Some(attempt) = attempts.next().await {
            let index = attempt.endpoint.index();
            asked.push(index);
            let error = failure(index);
            attempt.endpoint.judge(Some(Fault::NoAnswer), attempt.trial, Instant::now());
            attempts.failed(attempt, error);
        }
        (asked, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn whose_failure_may_have_passed_is_asked_once_more_after_all_others() {
        let urls = vec!["http://127.0.0.1:1".to_owned(); 3];
        let fresh = || Pool::new(Network::Sandbox, &urls, &Arc::new(Metrics::new()));
        let (node_behind, internal, not_there_yet) = (-32005, -32603, -32016);
        for code in [node_behind, internal, not_there_yet] {
            let told = asked(&fresh(), Duration::from_secs(8), |_| answered(code)).await;
            assert_eq!(told, (vec![0, 1, 2, 0, 1, 2], PAUSE), "{code}");
        }
        let definite = [-32700, -32600, -32601, -32602, -32002, -32003, -32011, -32015];
        for code in definite {
            let one = |index| if index == 1 { answered(internal) } else { answered(code) };
            assert_eq!(
                asked(&fresh(), Duration::from_secs(8), one).await,
                (vec![0, 1, 2, 1], PAUSE),
                "{code}"
            );
        }
        let lasting: [fn(usize) -> CallError; 4] = [
            |_| CallError::TimedOut,
            |_| CallError::Nonsense("nothing"),
            |_| CallError::Behind,
            |_| answered(-32601),
        ];
        for failure in lasting {
            let told = asked(&fresh(), Duration::from_secs(8), failure).await;
            assert_eq!(told, (vec![0, 1, 2], Duration::ZERO));
        }
        let told = asked(&fresh(), PAUSE, |_| answered(internal)).await;
        assert_eq!(told, (vec![0, 1, 2], Duration::ZERO), "no time is left");
    }

    /// Both of a call's failures count once; an endpoint that goes on failing is asked once by each call, until it is back.
    #[tokio::test(start_paused = true)]
    async fn an_outage_has_nobody_asked_twice_for_long() {
        let pool = Pool::new(Network::Sandbox, &["http://127.0.0.1:1".to_owned()], &Arc::new(Metrics::new()));
        let budget = Duration::from_secs(8);
        for _ in 0..20 {
            assert_eq!(asked(&pool, budget, |_| answered(-32603)).await.0, [0, 0]);
        }
        tokio::time::advance(Duration::from_secs(5)).await;
        for _ in 0..20 {
            assert_eq!(asked(&pool, budget, |_| answered(-32603)).await.0, [0]);
        }
        pool.endpoints[0].judge(None, false, Instant::now());
        assert_eq!(asked(&pool, budget, |_| answered(-32603)).await.0, [0, 0]);
    }
}
