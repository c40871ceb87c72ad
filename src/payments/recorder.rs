//! Recording payments together: a commit that is synced to the disk takes as long for one payment as for many, so
//! those that wait while one is under way share the next.
//!
//! Payments with consequences wait by themselves: what they change takes more round trips, and has its own locks.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};

use super::{Payment, PaymentStore, RecordOutcome};
use crate::store_error::StoreError;

/// How many payments share a commit, at most.
const MAX_BATCH: usize = 256;
/// How many of those with consequences do.
const MAX_CONSEQUENTIAL_BATCH: usize = 64;
/// How many of each kind wait for one, at most. Further ones wait for a place.
const MAX_WAITING: usize = 1024;
/// How long a payment waits for a place and then for its commit: longer than the commit before it and its own may take.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a commit may take: a database that hangs must not hold those that come after it for ever.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(8);

type Outcome = Result<RecordOutcome, Arc<StoreError>>;

struct Waiting {
    payment: Payment,
    answer: oneshot::Sender<Outcome>,
}

/// What a writer writes.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    WithConsequences,
}

/// Records payments through one writer task for each kind.
#[derive(Clone, Debug)]
pub struct Recorder {
    plain: mpsc::Sender<Waiting>,
    with_consequences: mpsc::Sender<Waiting>,
}

impl Recorder {
    /// Whether the writers run.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.plain.is_closed() && !self.with_consequences.is_closed()
    }

    /// Starts the writers; they end with the last recorder.
    #[must_use]
    pub fn start(store: &Arc<dyn PaymentStore>) -> Self {
        let start = |kind| {
            let (queue, waiting) = mpsc::channel(MAX_WAITING);
            tokio::spawn(write(Arc::clone(store), kind, waiting));
            queue
        };
        Self { plain: start(Kind::Plain), with_consequences: start(Kind::WithConsequences) }
    }

    /// Records a payment; it is committed when this returns.
    ///
    /// # Errors
    /// When it did not get its turn, or the database did not confirm the commit. [`StoreError::Unknown`]: it may be
    /// there all the same.
    pub async fn record(&self, payment: Payment) -> Result<RecordOutcome, StoreError> {
        let deadline = Instant::now() + WAIT_TIMEOUT;
        let (answer, outcome) = oneshot::channel();
        let queue = if payment.has_consequences() { &self.with_consequences } else { &self.plain };
        timeout_at(deadline, queue.send(Waiting { payment, answer }))
            .await
            .map_err(|_| StoreError::Unavailable("too many payments wait to be recorded".into()))?
            .map_err(|_| StoreError::Unavailable("the writer has ended".into()))?;
        // From here on the writer may have it in hand, so that silence says nothing.
        match timeout_at(deadline, outcome).await {
            Ok(Ok(outcome)) => outcome.map_err(StoreError::Shared),
            Ok(Err(_)) | Err(_) => Err(StoreError::Unknown),
        }
    }
}

async fn write(store: Arc<dyn PaymentStore>, kind: Kind, mut waiting: mpsc::Receiver<Waiting>) {
    let most = match kind {
        Kind::Plain => MAX_BATCH,
        Kind::WithConsequences => MAX_CONSEQUENTIAL_BATCH,
    };
    let mut batch = Vec::with_capacity(most);
    while waiting.recv_many(&mut batch, most).await > 0 {
        // Who gave up waiting was told that nothing is known; better that nothing is written.
        batch.retain(|waiting| !waiting.answer.is_closed());
        if batch.is_empty() {
            continue;
        }
        let (payments, answers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|waiting| (waiting.payment, waiting.answer)).unzip();
        for (answer, outcome) in answers.into_iter().zip(outcomes(store.as_ref(), kind, &payments).await) {
            // Who gave up in this moment hears nothing; the books have it.
            let _ = answer.send(outcome);
        }
    }
}

/// A payment the database will not have must not take its neighbours down, so a rejected batch is tried one by one.
async fn outcomes(store: &dyn PaymentStore, kind: Kind, payments: &[Payment]) -> Vec<Outcome> {
    match record(store, kind, payments).await {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(StoreError::Rejected(_)) if payments.len() > 1 => {
            let mut outcomes = Vec::with_capacity(payments.len());
            for payment in payments {
                let alone = record(store, kind, std::slice::from_ref(payment)).await;
                outcomes.push(alone.map(|outcomes| outcomes[0]).map_err(Arc::new));
                if let Some(Err(error)) = outcomes.last()
                    && error.is_temporary()
                {
                    // The others would fare no better.
                    let error = Arc::clone(error);
                    outcomes.resize_with(payments.len(), || Err(Arc::clone(&error)));
                    break;
                }
            }
            outcomes
        }
        Err(error) => {
            let error = Arc::new(error);
            payments.iter().map(|_| Err(Arc::clone(&error))).collect()
        }
    }
}

async fn record(
    store: &dyn PaymentStore,
    kind: Kind,
    payments: &[Payment],
) -> Result<Vec<RecordOutcome>, StoreError> {
    let recorded = async {
        match kind {
            Kind::Plain => store.record_all(payments).await,
            Kind::WithConsequences => store.record_with_consequences(payments).await,
        }
    };
    timeout(COMMIT_TIMEOUT, recorded).await.unwrap_or(Err(StoreError::Unknown))
}
