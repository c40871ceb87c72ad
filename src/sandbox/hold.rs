//! Calls that a test holds back until it lets them go, so that something can happen at exactly that moment.

use std::sync::Arc;

use tokio::sync::watch;

/// Where a call is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It has taken no effect yet.
    Before,
    /// It has taken effect, and is not answered yet.
    After,
}

/// What becomes of calls that were held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    GoOn,
    Lost,
}

/// Where held calls wait. A call whose client is gone ends there.
#[derive(Debug)]
pub(super) struct Gate {
    arrived: watch::Sender<u32>,
    end: watch::Sender<Option<End>>,
}

/// The connection of a held call breaks.
pub(super) struct Lost;

impl Gate {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { arrived: watch::Sender::new(0), end: watch::Sender::new(None) })
    }

    pub fn is_open(&self) -> bool {
        self.end.borrow().is_some()
    }

    pub fn open(&self) {
        self.finish(End::GoOn);
    }

    /// The first end is the one.
    fn finish(&self, end: End) {
        self.end.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(end);
            }
            first
        });
    }

    pub async fn pass(&self) -> Result<(), Lost> {
        self.arrived.send_modify(|calls| *calls += 1);
        let mut end = self.end.subscribe();
        // The sender is this gate's own, so that there is always an answer.
        match end.wait_for(Option::is_some).await.ok().and_then(|end| *end) {
            Some(End::Lost) => Err(Lost),
            Some(End::GoOn) | None => Ok(()),
        }
    }
}

/// Calls that are held, or will be. Dropped, it lets them go.
#[derive(Debug)]
pub struct Held {
    gate: Arc<Gate>,
}

impl Held {
    pub(super) const fn of(gate: Arc<Gate>) -> Self {
        Self { gate }
    }

    /// Waits until so many calls have come, those included whose clients have gone since.
    pub async fn arrived(&self, calls: u32) {
        let mut arrived = self.gate.arrived.subscribe();
        // Cannot fail: the sender lives as long as this does.
        let _ = arrived.wait_for(|count| *count >= calls).await;
    }

    /// Lets them go, and holds no further ones.
    pub fn release(self) {
        self.gate.open();
    }

    /// Breaks their connections, and holds no further ones. What was held before its effect never has one.
    pub fn lose(self) {
        self.gate.finish(End::Lost);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gate.open();
    }
}
