//! Ending in order: intake stops at once, work in flight may finish, and after a deadline nothing is waited for.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long work in flight may take to finish: within the 30 seconds that orchestrators commonly grant.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// One shutdown, shared by everything that has to hear of it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    intake: CancellationToken,
    /// Work that is waited for.
    pub tasks: TaskTracker,
}

impl Shutdown {
    /// Stops intake.
    pub fn begin(&self) {
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

    /// Waits for the work in flight.
    pub async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
