//! Hints from the WebSocket: early where it works, and no harm where it does not.

use std::{sync::Arc, time::Duration};

use pay402::{
    chain::{
        hints::{Hint, LandingHints},
        settlement::Commitment,
        solana::hints::WebSocketHints,
    },
    metrics::Metrics,
    sandbox::{FINALITY_SLOTS, faults::ALWAYS},
    shutdown::Shutdown,
};
use solana_signature::Signature;
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};

use crate::sandbox::setup::{Fixture, start};

const GENEROUS: Duration = Duration::from_secs(30);

/// A hint, and what it is called with.
fn hint() -> (Hint, UnboundedReceiver<Signature>) {
    let (tell, heard) = unbounded_channel();
    let hint: Hint = Arc::new(move |signature| {
        let _ = tell.send(*signature);
    });
    (hint, heard)
}

struct Listening {
    chain: Fixture,
    hints: WebSocketHints,
    heard: UnboundedReceiver<Signature>,
    hint: Hint,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
}

impl Listening {
    async fn start() -> Self {
        Self::beside(&[]).await
    }

    /// With these URLs before the node's.
    async fn beside(urls: &[String]) -> Self {
        let chain = start().await;
        let (metrics, shutdown) = (Arc::new(Metrics::new()), Shutdown::default());
        let mut urls = urls.to_vec();
        urls.push(chain.sandbox.ws_url());
        let hints =
            WebSocketHints::start(urls, Commitment::Confirmed, Arc::clone(&metrics), shutdown.clone());
        let (hint, heard) = hint();
        Self { chain, hints, heard, hint, metrics, shutdown }
    }

    /// As [`start`](Self::start), for what is final.
    async fn for_final() -> Self {
        let it = Self::start().await;
        let (urls, metrics) = (vec![it.chain.sandbox.ws_url()], Arc::clone(&it.metrics));
        let hints = WebSocketHints::start(urls, Commitment::Finalized, metrics, it.shutdown.clone());
        Self { hints, ..it }
    }

    async fn hear(&mut self) -> Signature {
        timeout(GENEROUS, self.heard.recv()).await.expect("a hint in time").unwrap()
    }

    /// Waits for so many subscriptions, ever.
    async fn subscribed(&self, times: u64) {
        self.called("signatureSubscribe", times).await;
    }

    async fn called(&self, method: &str, times: u64) {
        let wait = async {
            while self.chain.sandbox.faults().calls(method) < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(GENEROUS, wait).await.unwrap_or_else(|_| panic!("{times} calls of {method}"));
    }

    fn sample(&self, name: &str) -> Option<f64> {
        let text = self.metrics.render().unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }
}

#[tokio::test]
async fn a_landed_transaction_is_hinted_when_it_is_confirmed() {
    let mut it = Listening::start().await;
    let payments = [it.chain.payment(1), it.chain.payment(2)];
    let [first, second] = payments.each_ref().map(|payment| payment.signatures[0]);
    let _watched = [it.hints.watch(first, it.hint.clone()), it.hints.watch(second, it.hint.clone())];
    it.subscribed(2).await;
    // Opening the connection hints what may have been missed before it was open.
    assert_eq!(it.hear().await, first);
    it.chain.sandbox.send(&payments[1]).unwrap();
    it.chain.sandbox.advance_slots(1);
    assert_eq!(it.hear().await, second);
    it.chain.sandbox.send(&payments[0]).unwrap();
    it.chain.sandbox.advance_slots(1);
    assert_eq!(it.hear().await, first);
    assert_eq!(it.sample("solana_websocket_hints_total"), Some(2.0));
    assert_eq!(it.sample("solana_websocket_up"), Some(1.0));
}

/// Where only what is final counts, what a fork may still take is nothing to look for.
#[tokio::test]
async fn a_landed_transaction_is_hinted_when_it_is_final_where_that_is_the_bar() {
    let mut it = Listening::for_final().await;
    let payments = [it.chain.payment(1), it.chain.payment(2)];
    let [lost, kept] = payments.each_ref().map(|payment| payment.signatures[0]);
    let _watched = it.hints.watch(lost, it.hint.clone());
    assert_eq!(it.hear().await, lost, "at the opening");
    let _also = it.hints.watch(kept, it.hint.clone());
    // Somebody else has heard of it.
    let (hint, mut heard) = hint();
    let metrics = Arc::new(Metrics::new());
    let urls = vec![it.chain.sandbox.ws_url()];
    let confirmed = WebSocketHints::start(urls, Commitment::Confirmed, metrics, it.shutdown.clone());
    let _elsewhere = confirmed.watch(lost, hint);
    it.subscribed(3).await;
    timeout(GENEROUS, heard.recv()).await.expect("the opening in time").unwrap();
    it.chain.sandbox.send(&payments[0]).unwrap();
    it.chain.sandbox.advance_slots(FINALITY_SLOTS - 1);
    timeout(GENEROUS, heard.recv()).await.expect("a hint in time").unwrap();
    assert!(it.chain.sandbox.drop_by_fork(&lost), "not final yet");
    it.chain.sandbox.send(&payments[1]).unwrap();
    it.chain.sandbox.advance_slots(FINALITY_SLOTS + 1);
    assert_eq!(it.hear().await, kept);
    assert_eq!(it.sample("solana_websocket_hints_total"), Some(1.0));
}

#[tokio::test]
async fn a_watch_that_ends_is_unsubscribed() {
    let it = Listening::start().await;
    let watched = it.hints.watch(it.chain.payment(1).signatures[0], it.hint.clone());
    it.subscribed(1).await;
    drop(watched);
    it.called("signatureUnsubscribe", 1).await;
}

#[tokio::test]
async fn a_broken_connection_is_opened_again_and_what_was_missed_is_hinted() {
    let mut it = Listening::start().await;
    let payment = it.chain.payment(1);
    let signature = payment.signatures[0];
    let _watched = it.hints.watch(signature, it.hint.clone());
    it.subscribed(1).await;
    assert_eq!(it.hear().await, signature, "at the opening");
    it.chain.sandbox.faults().disconnect_websockets();
    it.subscribed(2).await;
    assert_eq!(it.hear().await, signature, "at the second opening");
    it.chain.sandbox.send(&payment).unwrap();
    it.chain.sandbox.advance_slots(1);
    assert_eq!(it.hear().await, signature);
}

/// Nobody listens, or does not speak TLS, or accepts and says nothing sensible: the next URL is tried.
#[tokio::test]
async fn the_next_url_is_tried() {
    let plain = start().await;
    let no_tls = plain.sandbox.rpc_url().replace("http://", "wss://");
    let mut it = Listening::beside(&["ws://127.0.0.1:1".to_owned(), no_tls]).await;
    let signature = it.chain.payment(1).signatures[0];
    let _watched = it.hints.watch(signature, it.hint.clone());
    it.subscribed(1).await;
    assert_eq!(it.hear().await, signature);
}

/// A node that wants no more subscriptions costs hints, and nothing else.
#[tokio::test]
async fn a_refused_subscription_is_done_without() {
    let mut it = Listening::start().await;
    it.chain.sandbox.faults().error("signatureSubscribe", -32603, "limit reached", 1);
    let payments = [it.chain.payment(1), it.chain.payment(2)];
    let _refused = it.hints.watch(payments[0].signatures[0], it.hint.clone());
    it.subscribed(1).await;
    let _watched = it.hints.watch(payments[1].signatures[0], it.hint.clone());
    it.subscribed(2).await;
    it.chain.sandbox.send(&payments[1]).unwrap();
    it.chain.sandbox.advance_slots(1);
    while it.hear().await != payments[1].signatures[0] {}
}

#[tokio::test]
async fn asking_never_blocks_and_the_end_is_the_end() {
    let it = Listening::beside(&["ws://127.0.0.1:1".to_owned()]).await;
    it.chain.sandbox.faults().error("signatureSubscribe", -32603, "limit reached", ALWAYS);
    let watched: Vec<_> = (0..5000_u32).map(|n| it.hints.watch(numbered(n), it.hint.clone())).collect();
    assert_eq!(watched.len(), 5000);
    it.shutdown.begin();
    drop(watched);
    let _late = it.hints.watch(numbered(0), it.hint.clone());
}

fn numbered(n: u32) -> Signature {
    let mut bytes = [0; 64];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    Signature::from(bytes)
}
