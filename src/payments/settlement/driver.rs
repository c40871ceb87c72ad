//! The engine at work: one task that feeds it, and one for each effect under way.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use solana_signature::Signature;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Answer, Claimed, Engine, Journalled, MessageHash, NewSettlement, Now, Policy, Record, RequestNumber,
    Settled, SettlementStore, TermsHash,
    engine::{Effect, Event},
    run::Runner,
};
use crate::{
    chain::settlement::SettlementChain,
    clock::Clock,
    ids::{Entropy, PaymentId, random_nonce},
    metrics::Metrics,
    shutdown::Shutdown,
    store_error::StoreError,
};

/// How many events wait for the engine, at most. Who brings a further one waits, but for hints, which are dropped.
const MAX_EVENTS: usize = 1024;
/// What a request may be told that it has not heard yet: to prepare, that it is journalled, the answer.
const MAX_TOLD: usize = 3;
/// How often the engine looks after what is due, at most.
const MIN_PAUSE: Duration = Duration::from_millis(10);

/// What a request is told on its way.
#[derive(Debug)]
enum Told {
    Prepare,
    /// What this request signed is journalled, and may be sent.
    Journalled(Signature),
    Answer(Answer),
}

#[derive(Debug)]
enum Incoming {
    Request(RequestNumber, MessageHash, TermsHash, mpsc::Sender<Told>),
    Event(Box<Event>),
}

/// Settles payments. Clones share one engine.
#[derive(Clone, Debug)]
pub struct Settlements {
    incoming: mpsc::Sender<Incoming>,
    requests: Arc<AtomicU64>,
    store: Arc<dyn SettlementStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Settlements {
    /// Starts the engine: it also goes on with what this or another instance left behind. When the shutdown begins, it
    /// finishes what it can and leaves the rest to others.
    pub fn start(
        policy: Policy,
        store: Arc<dyn SettlementStore>,
        chain: Arc<dyn SettlementChain>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
    ) -> Self {
        let (incoming, events) = mpsc::channel(MAX_EVENTS);
        let holder = random_nonce(entropy.as_ref());
        let engine = Engine::new(policy.clone(), holder.clone());
        let runner =
            Runner { holder, policy, store: Arc::clone(&store), chain, clock: Arc::clone(&clock), metrics };
        let driver = Driver {
            engine,
            runner,
            started: Instant::now(),
            callers: HashMap::new(),
            incoming: incoming.clone(),
        };
        shutdown.tasks.clone().spawn(driver.drive(events, shutdown));
        Self { incoming, requests: Arc::default(), store, clock, entropy }
    }

    /// Settles a message for requirements, once. `prepare` verifies the payment and signs it; it runs when the message has
    /// been claimed: not at all where there is an outcome already, and again where the claim was lost meanwhile. Given up
    /// on, a request holds up its twins for no longer than a claim's lease, and what is in flight by then is finished all
    /// the same.
    pub async fn settle<R, F>(
        &self,
        message: MessageHash,
        terms: TermsHash,
        prepare: impl FnMut() -> F + Send,
    ) -> Settled<R>
    where
        R: Send,
        F: Future<Output = Result<NewSettlement, R>> + Send,
    {
        self.settle_watching(message, terms, prepare, |_| ()).await
    }

    /// As [`settle`](Self::settle). `journalled` is called once what this request prepared is in the books: before that
    /// nobody outside of the process may hear its signature.
    pub async fn settle_watching<R, F>(
        &self,
        message: MessageHash,
        terms: TermsHash,
        mut prepare: impl FnMut() -> F + Send,
        mut journalled: impl FnMut(Signature) + Send,
    ) -> Settled<R>
    where
        R: Send,
        F: Future<Output = Result<NewSettlement, R>> + Send,
    {
        let number = RequestNumber(self.requests.fetch_add(1, Ordering::Relaxed));
        let (tell, mut told) = mpsc::channel(MAX_TOLD);
        if self.incoming.send(Incoming::Request(number, message, terms, tell)).await.is_err() {
            return Settled::Answered(Answer::Unavailable);
        }
        let (mut preparing, mut refusal, mut sent) = (None, None, None);
        loop {
            tokio::select! {
                prepared = outcome(preparing.as_mut()) => {
                    preparing = None;
                    let prepared = match prepared {
                        Ok(new) => Some(Box::new((self.new_id(), new))),
                        Err(refused) => {
                            refusal = Some(refused);
                            None
                        }
                    };
                    // Where the engine has ended, nobody tells anything any more, and the loop ends by that.
                    let _ = self.incoming.send(Incoming::Event(Box::new(Event::Prepared(number, prepared)))).await;
                }
                told = told.recv() => match (told, refusal.take()) {
                    (Some(Told::Prepare), _) => preparing = Some(Box::pin(prepare())),
                    (Some(Told::Journalled(signature)), _) => {
                        sent = Some(signature);
                        journalled(signature);
                    }
                    (Some(Told::Answer(Answer::Refused)), Some(refusal)) => return Settled::Refused(refusal),
                    (Some(Told::Answer(answer)), _) => return Settled::Answered(answer),
                    // The engine is dead. What it has journalled another one goes on with.
                    (None, _) => {
                        let answer = sent.map_or(Answer::Unavailable, |signature| Answer::Pending { signature });
                        return Settled::Answered(answer);
                    }
                },
            }
        }
    }

    /// Whether the engine runs. It ends with the process, unless something is wrong with it.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.incoming.is_closed()
    }

    /// Ask the chain about this transaction now. A hint for one that is not in flight here, or one too many, is ignored.
    pub fn hint(&self, signature: &Signature) {
        let _ = self.incoming.try_send(Incoming::Event(Box::new(Event::Hint(*signature))));
    }

    /// What the books say of a settlement, whoever asked for it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find(&self, signature: &Signature) -> Result<Option<Record>, StoreError> {
        self.store.find(signature).await
    }

    /// Whether a message is in the books, and how it stands there: [`Claimed::Verifying`] where it is not.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn look_up(&self, message: &MessageHash, terms: &TermsHash) -> Result<Claimed, StoreError> {
        self.store.look_up(message, terms).await
    }

    /// Enters a settlement that was asked for without an API key under this user; whether it was nobody's till then.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn adopt(
        &self,
        message: &MessageHash,
        terms: &TermsHash,
        owner: &str,
    ) -> Result<bool, StoreError> {
        self.store.adopt(message, terms, owner).await
    }

    fn new_id(&self) -> PaymentId {
        PaymentId::new(self.clock.now(), self.entropy.as_ref())
    }
}

struct Driver {
    engine: Engine,
    runner: Runner,
    started: Instant,
    callers: HashMap<RequestNumber, mpsc::Sender<Told>>,
    /// For what the effects come back with.
    incoming: mpsc::Sender<Incoming>,
}

impl Driver {
    async fn drive(mut self, mut events: mpsc::Receiver<Incoming>, shutdown: Shutdown) {
        self.step(Event::Tick);
        let mut hand_over_at = None;
        loop {
            let wake_at = self.started.checked_add(self.engine.wake_at()).unwrap_or_else(far_away);
            tokio::select! {
                incoming = events.recv() => match incoming {
                    Some(incoming) => self.take(incoming),
                    None => break,
                },
                () = sleep_until(wake_at.max(Instant::now() + MIN_PAUSE)) => self.step(Event::Tick),
                () = shutdown.begun(), if hand_over_at.is_none() => {
                    self.engine.drain();
                    hand_over_at = Some(Instant::now() + self.runner.policy.hand_over_after);
                }
                () = sleep_until(hand_over_at.unwrap_or_else(far_away)), if hand_over_at.is_some() => break,
            }
            self.runner.metrics.settlements.in_flight(self.engine.flights());
            if hand_over_at.is_some() && self.engine.is_idle() {
                break;
            }
        }
        let last = self.engine.end();
        self.carry_out(last);
        let left = self.engine.in_flight();
        // Not waited for: it ends with those who can ask.
        tokio::spawn(turn_away(self.engine, events));
        self.runner.hand_over(&left).await;
    }

    fn take(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Request(number, message, terms, caller) => {
                self.callers.insert(number, caller);
                self.step(Event::Settle(number, message, terms));
            }
            Incoming::Event(event) => {
                if let Event::Journalled(number, journal, Ok(Journalled::Done)) = event.as_ref() {
                    self.tell(*number, Told::Journalled(journal.settlement.signature));
                }
                self.step(*event);
            }
        }
    }

    fn step(&mut self, event: Event) {
        let now = Now { steady: self.started.elapsed(), wall: self.runner.clock.now() };
        let effects = self.engine.step(event, now);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Prepare(number) => self.tell(number, Told::Prepare),
                Effect::Answer(number, answer) => {
                    self.tell(number, Told::Answer(answer));
                    self.callers.remove(&number);
                }
                effect => self.spawn(effect),
            }
        }
    }

    /// Who has given up waiting hears nothing.
    fn tell(&self, number: RequestNumber, told: Told) {
        if let Some(caller) = self.callers.get(&number) {
            let _ = caller.try_send(told);
        }
    }

    fn spawn(&self, effect: Effect) {
        let (runner, incoming) = (self.runner.clone(), self.incoming.clone());
        tokio::spawn(async move {
            if let Some(event) = runner.run(effect).await {
                let _ = incoming.send(Incoming::Event(Box::new(event))).await;
            }
        });
    }
}

/// Tells those who come too late what is known here: what was left to others is pending.
async fn turn_away(engine: Engine, mut events: mpsc::Receiver<Incoming>) {
    while let Some(incoming) = events.recv().await {
        if let Incoming::Request(_, message, terms, caller) = incoming {
            let _ = caller.try_send(Told::Answer(engine.turned_away(&message, &terms)));
        }
    }
}

/// What comes of something, which is not under way all the time.
async fn outcome<F: Future + Unpin>(of: Option<F>) -> F::Output {
    match of {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// A moment that does not come.
fn far_away() -> Instant {
    Instant::now() + Duration::from_hours(24)
}
