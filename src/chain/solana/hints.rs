//! Hints from a WebSocket: one connection, one subscription for each transaction in flight.
//!
//! The connection is opened when there is something to watch, and opened again when it breaks. Whatever may have been
//! missed in between is hinted at once.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use solana_commitment_config::CommitmentConfig;
use solana_pubsub_client::nonblocking::pubsub_client::{PubsubClient, PubsubClientError};
use solana_rpc_client_api::config::RpcSignatureSubscribeConfig;
use solana_signature::Signature;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    chain::{
        hints::{Hint, LandingHints, Watched},
        settlement::Commitment,
    },
    metrics::Metrics,
    shutdown::Shutdown,
};

/// Signatures that may wait to be watched; further ones get no hints.
const MAX_WAITING: usize = 1024;
/// Signatures watched at a time; further ones wait. Nodes allow few more for one connection.
const MAX_WATCHED: usize = 1024;
/// How long one is watched at most: longer than any blockhash is good.
const MAX_WATCH: Duration = Duration::from_mins(3);
/// How long opening the connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the node may take to accept a subscription, or its end, before the connection counts as broken.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before the connection is opened again, at first. It doubles with each failure.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
/// How long to wait at most.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Hears of landed transactions on a WebSocket. Clones share the connection; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct WebSocketHints {
    requests: mpsc::Sender<Watch>,
}

/// A signature to watch, until the token says otherwise.
#[derive(Clone)]
struct Watch {
    signature: Signature,
    hint: Hint,
    ended: CancellationToken,
}

impl WebSocketHints {
    /// Listens at the first of `urls` that answers, for what has got as far as `bar`: before that nothing ends by it.
    #[must_use]
    pub fn start(urls: Vec<String>, bar: Commitment, metrics: Arc<Metrics>, shutdown: Shutdown) -> Self {
        let (requests, received) = mpsc::channel(MAX_WAITING);
        metrics.solana.websocket_up(false);
        let commitment = match bar {
            Commitment::Processed => CommitmentConfig::processed(),
            Commitment::Confirmed => CommitmentConfig::confirmed(),
            Commitment::Finalized => CommitmentConfig::finalized(),
        };
        let watched = HashMap::new();
        let listener = Listener { urls, url: 0, commitment, received, watched, next_id: 0, metrics };
        tokio::spawn(async move {
            tokio::select! {
                () = listener.run() => {}
                () = shutdown.begun() => {}
            }
        });
        Self { requests }
    }
}

impl LandingHints for WebSocketHints {
    fn watch(&self, signature: Signature, hint: Hint) -> Watched {
        let ended = CancellationToken::new();
        match self.requests.try_send(Watch { signature, hint, ended: ended.clone() }) {
            Ok(()) => Watched::until_dropped(ended),
            Err(_) => Watched::nothing(),
        }
    }
}

/// How following one signature ended.
enum End {
    /// There is nothing more to hear.
    Done,
    Hinted,
    /// The connection is of no use any more.
    Broken,
}

struct Listener {
    urls: Vec<String>,
    /// Which of them is next.
    url: usize,
    commitment: CommitmentConfig,
    received: mpsc::Receiver<Watch>,
    watched: HashMap<u64, Watch>,
    next_id: u64,
    metrics: Arc<Metrics>,
}

/// Silent about URLs: providers put access tokens into them.
impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("watched", &self.watched.len()).finish_non_exhaustive()
    }
}

type Followers = FuturesUnordered<BoxFuture<'static, (u64, End)>>;

impl Listener {
    /// Ends when nobody can ask any more.
    async fn run(mut self) {
        let mut backoff = FIRST_BACKOFF;
        loop {
            self.watched.retain(|_, watch| !watch.ended.is_cancelled());
            if self.watched.is_empty() {
                let Some(watch) = self.received.recv().await else { return };
                self.admit(watch);
            }
            if let Some(client) = self.connect().await {
                self.metrics.solana.websocket_up(true);
                let (over, heard) = self.listen(&client).await;
                self.metrics.solana.websocket_up(false);
                if over {
                    return;
                }
                if heard {
                    backoff = FIRST_BACKOFF;
                }
            }
            self.url = (self.url + 1) % self.urls.len();
            sleep(backoff).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    fn admit(&mut self, watch: Watch) -> u64 {
        self.next_id += 1;
        self.watched.insert(self.next_id, watch);
        self.next_id
    }

    async fn connect(&self) -> Option<Arc<PubsubClient>> {
        match timeout(CONNECT_TIMEOUT, PubsubClient::new(self.urls[self.url].as_str())).await {
            Ok(Ok(client)) => Some(Arc::new(client)),
            // The error's own text may hold the URL.
            Ok(Err(_)) => {
                tracing::warn!(endpoint = self.url, "the WebSocket cannot be opened");
                None
            }
            Err(_) => {
                tracing::warn!(endpoint = self.url, "the WebSocket cannot be opened in time");
                None
            }
        }
    }

    /// Follows what is watched until the connection breaks. Whether nobody can ask any more, and whether the node ever
    /// did what it was asked.
    async fn listen(&mut self, client: &Arc<PubsubClient>) -> (bool, bool) {
        let mut followers = Followers::new();
        for (id, watch) in &self.watched {
            followers.push(Box::pin(follow(Arc::clone(client), self.commitment, *id, watch.clone())));
        }
        // They may have landed while nobody listened.
        for watch in self.watched.values() {
            (watch.hint)(&watch.signature);
        }
        let mut heard = false;
        loop {
            tokio::select! {
                watch = self.received.recv(), if self.watched.len() < MAX_WATCHED => {
                    let Some(watch) = watch else { return (true, heard) };
                    let id = self.admit(watch.clone());
                    followers.push(Box::pin(follow(Arc::clone(client), self.commitment, id, watch)));
                }
                Some((id, end)) = followers.next(), if !followers.is_empty() => match end {
                    End::Broken => return (false, heard),
                    end => {
                        heard = true;
                        if matches!(end, End::Hinted) {
                            self.metrics.solana.websocket_hint();
                        }
                        self.watched.remove(&id);
                    }
                },
            }
        }
    }
}

/// Subscribes, waits for the word or for the end of the watching, and unsubscribes.
async fn follow(
    client: Arc<PubsubClient>,
    commitment: CommitmentConfig,
    id: u64,
    watch: Watch,
) -> (u64, End) {
    let config = RpcSignatureSubscribeConfig {
        commitment: Some(commitment),
        enable_received_notification: Some(false),
    };
    let subscribing = client.signature_subscribe(&watch.signature, Some(config));
    let (mut told, unsubscribe) = match timeout(SUBSCRIBE_TIMEOUT, subscribing).await {
        Ok(Ok(subscription)) => subscription,
        // The node wants no more of them: this one does without.
        Ok(Err(PubsubClientError::SubscribeFailed { .. })) => return (id, End::Done),
        Ok(Err(_)) | Err(_) => return (id, End::Broken),
    };
    let word = tokio::select! {
        word = told.next() => word,
        () = watch.ended.cancelled() => return (id, unsubscribed(unsubscribe()).await),
        () = sleep(MAX_WATCH) => return (id, unsubscribed(unsubscribe()).await),
    };
    // The node ends a signature's subscription with its word.
    match word {
        Some(_) => {
            (watch.hint)(&watch.signature);
            (id, End::Hinted)
        }
        None => (id, End::Broken),
    }
}

async fn unsubscribed(answer: impl Future<Output = ()>) -> End {
    if timeout(SUBSCRIBE_TIMEOUT, answer).await.is_ok() { End::Done } else { End::Broken }
}
