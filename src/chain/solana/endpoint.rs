//! One RPC endpoint: asking it, and keeping count of how it does.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::Value;
use solana_commitment_config::CommitmentConfig;
use solana_rpc_client::nonblocking::rpc_client::RpcClient;
use solana_rpc_client_api::{
    client_error::{Error as ClientError, ErrorKind},
    custom_error::{
        JSON_RPC_SERVER_ERROR_NODE_UNHEALTHY, JSON_RPC_SERVER_ERROR_SEND_TRANSACTION_PREFLIGHT_FAILURE,
        JSON_RPC_SERVER_ERROR_TRANSACTION_HISTORY_NOT_AVAILABLE,
        JSON_RPC_SERVER_ERROR_TRANSACTION_SIGNATURE_VERIFICATION_FAILURE,
        JSON_RPC_SERVER_ERROR_UNSUPPORTED_TRANSACTION_VERSION,
    },
    request::{RpcError, RpcRequest},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

use super::{
    health::{Fault, Health, Standing},
    silence::Silence,
    slots::{MAX_LAG, MAX_SLOT, Slots},
};
use crate::{
    chain::{ChainError, assets::Network},
    metrics::Metrics,
};

/// How long one endpoint may take to answer, at most.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one is waited for that does not say what became of recent transactions.
const RECENT_PATIENCE: Duration = Duration::from_secs(5);
/// The same of its history, for which it is asked every few seconds.
const HISTORY_PATIENCE: Duration = Duration::from_secs(20);

/// How many transactions may be on their way to one endpoint.
const MAX_SENDS: usize = 256;

/// JSON-RPC's own codes for a request that is wrong.
const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;

/// How long an endpoint may take to say whether it is well.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);

/// Why one endpoint did not give an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error(transparent)]
    Client(ClientError),
    #[error("it took too long")]
    TimedOut,
    #[error("the answer makes no sense: {0}")]
    Nonsense(&'static str),
    #[error("it is too far behind the other endpoints")]
    Behind,
    #[error("too many requests are waiting for it")]
    Busy,
}

impl CallError {
    /// The JSON-RPC error code, where the endpoint answered with one.
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Client(error) => match error.kind() {
                ErrorKind::RpcError(RpcError::RpcResponseError { code, .. }) => Some(*code),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it says something about the request and nothing about the endpoint.
    fn is_about_the_request(&self) -> bool {
        matches!(
            self.code(),
            Some(
                INVALID_PARAMS
                    | JSON_RPC_SERVER_ERROR_SEND_TRANSACTION_PREFLIGHT_FAILURE
                    | JSON_RPC_SERVER_ERROR_TRANSACTION_HISTORY_NOT_AVAILABLE
                    | JSON_RPC_SERVER_ERROR_TRANSACTION_SIGNATURE_VERIFICATION_FAILURE
                    | JSON_RPC_SERVER_ERROR_UNSUPPORTED_TRANSACTION_VERSION
            )
        )
    }

    /// Whether the same question may be answered a moment later. Who took too long has used up the time for that, and the
    /// client has asked again already whoever has had too many requests.
    fn may_pass(&self) -> bool {
        let Self::Client(error) = self else { return false };
        match error.kind() {
            ErrorKind::Reqwest(error) => {
                !error.is_timeout() && error.status().is_none_or(|status| status.is_server_error())
            }
            ErrorKind::RpcError(RpcError::RpcResponseError { code, .. }) => {
                let is_refused = matches!(*code, PARSE_ERROR | INVALID_REQUEST | METHOD_NOT_FOUND);
                !is_refused && !self.is_about_the_request()
            }
            _ => false,
        }
    }

    /// Whether it says itself that it never answers such questions.
    pub fn is_no_answer_for_good(&self) -> bool {
        let codes = [METHOD_NOT_FOUND, JSON_RPC_SERVER_ERROR_TRANSACTION_HISTORY_NOT_AVAILABLE];
        self.code().is_some_and(|code| codes.contains(&code))
    }
}

impl From<CallError> for ChainError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Nonsense(what) => Self::BadResponse(what),
            error => Self::Unreachable(Box::new(error)),
        }
    }
}

/// An answer, and the newest slot the endpoint knew when it gave it, where it says so.
pub(super) struct Answer<R> {
    pub value: R,
    pub slot: Option<u64>,
}

impl<R> Answer<R> {
    pub const fn at(slot: u64, value: R) -> Self {
        Self { value, slot: Some(slot) }
    }

    fn plausible(self) -> Result<Self, &'static str> {
        let is_reached = self.slot.is_none_or(|slot| slot <= MAX_SLOT);
        if is_reached { Ok(self) } else { Err("a slot that no chain has reached") }
    }
}

/// A question.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub request: RpcRequest,
    pub params: &'a Value,
    /// How long the answer may take.
    pub limit: Duration,
    /// It is asked to see whether it is well again.
    pub trial: bool,
}

/// What an endpoint keeps of history, the most last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum History {
    /// It has not been asked, or does not answer.
    #[default]
    Unknown,
    None,
    /// Some, and it does not tell since when.
    Untold,
    Told,
}

pub(super) struct Endpoint {
    index: usize,
    /// Its place in the list; never its URL.
    label: String,
    network: Network,
    client: RpcClient,
    health: Mutex<Health>,
    sends: Semaphore,
    history: Mutex<History>,
    /// Whether it says what became of transactions: in the recent past, and in its history.
    pub recent_silence: Silence,
    pub history_silence: Silence,
    slots: Arc<Slots>,
    metrics: Arc<Metrics>,
}

/// Silent about the URL: providers put access tokens into it.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Endpoint {
    pub fn new(index: usize, url: &str, network: Network, slots: Arc<Slots>, metrics: Arc<Metrics>) -> Self {
        let client = RpcClient::new_with_timeout_and_commitment(
            url.to_owned(),
            REQUEST_TIMEOUT,
            CommitmentConfig::confirmed(),
        );
        let label = index.to_string();
        metrics.solana.endpoint_up(&label, true);
        let (health, sends) = (Mutex::default(), Semaphore::new(MAX_SENDS));
        Self {
            index,
            label,
            network,
            client,
            health,
            sends,
            history: Mutex::default(),
            recent_silence: Silence::new(RECENT_PATIENCE),
            history_silence: Silence::new(HISTORY_PATIENCE),
            slots,
            metrics,
        }
    }

    pub const fn index(&self) -> usize {
        self.index
    }

    pub fn standing(&self, now: Instant) -> Standing {
        self.with_health(|health| health.standing(now))
    }

    pub fn answers(&self, now: Instant) -> bool {
        self.with_health(|health| health.answers(now))
    }

    pub fn take_trial(&self, now: Instant) -> bool {
        self.with_health(|health| health.take_trial(now))
    }

    /// Whether to ask it a second time, after it has failed like this.
    pub fn is_worth_asking_again(&self, error: &CallError) -> bool {
        error.may_pass() && !self.with_health(|health| health.is_down())
    }

    /// `None` while too many transactions are on their way.
    pub fn send_permit(&self) -> Option<SemaphorePermit<'_>> {
        self.sends.try_acquire().ok()
    }

    /// What it keeps of history, for all that it has said.
    pub fn history(&self) -> History {
        *self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_history(&self, history: History) {
        *self.history.lock().unwrap_or_else(PoisonError::into_inner) = history;
    }

    /// Notes what an answer of its history says of that.
    pub fn has_history<R>(&self, answer: &Result<Option<R>, CallError>) {
        match answer.as_ref().map_err(CallError::code) {
            Err(Some(JSON_RPC_SERVER_ERROR_TRANSACTION_HISTORY_NOT_AVAILABLE)) => {
                self.set_history(History::None);
            }
            Err(_) | Ok(None) => self.set_history(History::Unknown),
            Ok(_) if self.history() == History::None => self.set_history(History::Unknown),
            Ok(_) => {}
        }
    }

    /// Notes whether it has told since when it keeps history.
    pub fn tells_beginning(&self, tells: bool) {
        self.set_history(if tells { History::Told } else { History::Untold });
    }

    /// Whether it says itself that it has yet to catch up with the chain. One that does not answer has not said so.
    pub async fn is_catching_up(&self) -> bool {
        let call = Call {
            request: RpcRequest::GetHealth,
            params: &Value::Null,
            limit: HEALTH_TIMEOUT,
            trial: false,
        };
        let answer = self.ask(call, |_: Value| Ok(Answer { value: (), slot: None })).await;
        answer.is_err_and(|error| error.code() == Some(JSON_RPC_SERVER_ERROR_NODE_UNHEALTHY))
    }

    fn with_health<T>(&self, act: impl FnOnce(&mut Health) -> T) -> T {
        act(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks once. What `read` makes no sense of counts as a failure of the endpoint.
    pub async fn ask<T: DeserializeOwned, R>(
        &self,
        call: Call<'_>,
        read: impl FnOnce(T) -> Result<Answer<R>, &'static str> + Send,
    ) -> Result<R, CallError> {
        let started = Instant::now();
        // The client retries on 429 with waits of its own, so its timeout alone does not bound the call.
        let answer = match timeout(call.limit, self.client.send(call.request, call.params.clone())).await {
            Err(_) => Err(CallError::TimedOut),
            Ok(Err(error)) => Err(CallError::Client(without_url(error))),
            Ok(Ok(answer)) => read(answer).and_then(Answer::plausible).map_err(CallError::Nonsense),
        };
        let (method, elapsed) = (call.request.to_string(), started.elapsed());
        self.metrics.blockchain_request(self.network.as_str(), &method, answer.is_ok(), elapsed);
        self.metrics.solana.endpoint_request(&self.label, answer.is_ok(), elapsed);
        match answer {
            Ok(Answer { value, slot }) => {
                let lags = slot.is_some_and(|slot| self.lags(slot));
                if !is_optional(call.request) {
                    self.judge(lags.then_some(Fault::Lag), call.trial, Instant::now());
                }
                Ok(value)
            }
            Err(error) => {
                if !is_optional(call.request) {
                    let fault = (!error.is_about_the_request()).then_some(Fault::NoAnswer);
                    self.judge(fault, call.trial, Instant::now());
                }
                let cause = &error as &dyn std::error::Error;
                if is_optional(call.request) {
                    tracing::debug!(endpoint = self.index, method, error = cause, "RPC request failed");
                } else {
                    tracing::warn!(endpoint = self.index, method, error = cause, "RPC request failed");
                }
                Err(error)
            }
        }
    }

    fn lags(&self, slot: u64) -> bool {
        let now = Instant::now();
        let lag = self.slots.lag(self.index, slot, now);
        self.slots.saw(self.index, slot, now);
        self.metrics.solana.endpoint_slot(&self.label, slot, lag);
        lag > MAX_LAG
    }

    pub fn judge(&self, fault: Option<Fault>, trial: bool, now: Instant) {
        self.with_health(|health| match (fault, trial) {
            (None, _) => health.succeeded(),
            (Some(fault), true) => health.failed_trial(fault, now),
            (Some(fault), false) => health.failed(fault, now),
        });
        self.metrics.solana.endpoint_up(&self.label, fault.is_none());
    }
}

/// Whether an endpoint does neither better nor worse for how it answers this: providers leave these out.
const fn is_optional(request: RpcRequest) -> bool {
    matches!(
        request,
        RpcRequest::GetFirstAvailableBlock
            | RpcRequest::GetBlocksWithLimit
            | RpcRequest::GetBlockTime
            | RpcRequest::GetHealth
    )
}

/// The error without the endpoint's URL, which may hold an access token.
fn without_url(error: ClientError) -> ClientError {
    let kind = match *error.kind {
        ErrorKind::Reqwest(error) => ErrorKind::Reqwest(error.without_url()),
        kind => kind,
    };
    ClientError { request: error.request, kind: Box::new(kind) }
}
