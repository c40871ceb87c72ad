//! Ending in order: intake stops at once, work in flight may finish, and after a deadline nothing is waited for.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::FutureExt;
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
/// The pause after a panic.
const PAUSE: Duration = Duration::from_secs(1);
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

    /// Runs work that has no end in the background, until the shutdown begins: whatever it is at then, it is not at any more.
    /// Should it panic, which the log tells, it is begun anew after a pause.
    pub fn keep_going<S, W>(&self, of: S, work: impl Fn(S) -> W + Send + 'static)
    where
        S: Clone + Send + 'static,
        W: Future<Output = ()> + Send,
    {
        let for_ever = async move {
            loop {
                let _ = AssertUnwindSafe(work(of.clone())).catch_unwind().await;
                tokio::time::sleep(PAUSE).await;
            }
        };
        self.tasks.spawn(self.intake.clone().run_until_cancelled_owned(for_ever));
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

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::Shutdown;

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_is_begun_anew_until_the_shutdown_begins() {
        let (shutdown, begun) = (Shutdown::default(), Arc::new(AtomicU32::new(0)));
        shutdown.keep_going(Arc::clone(&begun), |begun| async move {
            match begun.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("in the first round"),
                1 => {}
                _ => std::future::pending().await,
            }
        });
        while begun.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(super::PAUSE).await;
        }
        shutdown.begin();
        shutdown.drained().await;
        assert_eq!(begun.load(Ordering::SeqCst), 3);
    }
}
