//! Ending in order: intake stops at once, work in flight may finish, and after a deadline nothing is waited for.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, error::Elapsed, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long after the beginning work in flight may finish. This and what follows stay within the 30 seconds that
/// orchestrators commonly grant.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);
/// How long after the beginning the last is written and the database closed.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(28);
/// How long what still runs then, in threads that nothing can interrupt, is waited for.
pub const THREADS_TIMEOUT: Duration = Duration::from_secs(1);

/// One shutdown, shared by everything that has to hear of it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    intake: CancellationToken,
    begun_at: Arc<OnceLock<Instant>>,
    /// Work that is waited for.
    pub tasks: TaskTracker,
}

impl Shutdown {
    /// Stops intake.
    pub fn begin(&self) {
        self.begun_at.get_or_init(Instant::now);
        self.intake.cancel();
    }

    /// Returns once intake is to stop.
    pub async fn begun(&self) {
        self.intake.cancelled().await;
    }

    /// Stops intake when the process is told to end (SIGTERM, SIGINT).
    ///
    /// # Errors
    /// When the signals cannot be listened to.
    pub fn on_signals(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("SIGTERM: shutting down"),
                _ = interrupt.recv() => tracing::info!("SIGINT: shutting down"),
            }
            shutdown.begin();
        });
        Ok(())
    }

    /// What `work` comes to by so long after the beginning.
    ///
    /// # Errors
    /// When it takes longer.
    pub async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        let begun_at = *self.begun_at.get_or_init(Instant::now);
        timeout_at(begun_at + limit, work).await
    }

    /// Waits for the work in flight.
    pub async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
