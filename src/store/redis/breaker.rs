//! The circuit breaker: while Redis does not answer, nobody waits for it, and one call at a time tries it again.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::metrics::Metrics;

/// How many calls in a row may be answered with an error before the breaker opens. It opens at once where Redis cannot
/// be reached or does not answer in time.
const MAX_ERRORS: u32 = 3;

#[derive(Clone, Copy, Debug)]
enum State {
    Closed {
        errors: u32,
    },
    Open {
        until: Instant,
    },
    /// Open, and one call is finding out whether it may close.
    Probing,
}

/// How bad a failed call was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// Redis answered, with an error.
    Error,
    /// Redis cannot be reached, or took too long.
    Outage,
}

#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<State>,
    /// How long Redis is left alone before it is tried again.
    pause: Duration,
    metrics: Arc<Metrics>,
}

impl Breaker {
    pub(super) const fn new(pause: Duration, metrics: Arc<Metrics>) -> Self {
        Self { state: Mutex::new(State::Closed { errors: 0 }), pause, metrics }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave to call Redis, if it may be called now.
    pub(super) fn permit(&self, now: Instant) -> Option<Permit<'_>> {
        let mut state = self.state();
        let probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if now >= until => {
                *state = State::Probing;
                true
            }
            State::Open { .. } | State::Probing => return None,
        };
        Some(Permit { breaker: self, given: now, probe, told: false })
    }
}

/// Leave for one call. Whoever has it tells how the call went; a probe that is dropped untold leaves its place to the
/// next.
#[derive(Debug)]
#[must_use]
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    given: Instant,
    probe: bool,
    told: bool,
}

impl Permit<'_> {
    /// Redis answered. Whether that closed the breaker.
    pub(super) fn succeeded(mut self) -> bool {
        self.told = true;
        let mut state = self.breaker.state();
        // A late answer to a call from before the breaker opened does not close it.
        if self.probe || matches!(*state, State::Closed { .. }) {
            *state = State::Closed { errors: 0 };
            self.breaker.metrics.redis_up(true);
        }
        self.probe
    }

    /// The call failed. Whether that opened the breaker.
    pub(super) fn failed(mut self, severity: Severity, now: Instant) -> bool {
        self.told = true;
        let mut state = self.breaker.state();
        let errors = match *state {
            State::Closed { errors } => errors + 1,
            State::Probing if self.probe => MAX_ERRORS,
            // Calls from before the breaker opened have nothing to add.
            State::Open { .. } | State::Probing => return false,
        };
        if severity == Severity::Error && errors < MAX_ERRORS {
            *state = State::Closed { errors };
            return false;
        }
        *state = State::Open { until: now + self.breaker.pause };
        self.breaker.metrics.redis_up(false);
        !self.probe
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.probe && !self.told {
            *self.breaker.state() = State::Open { until: self.given };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::time::Instant;

    use super::{Breaker, Permit, Severity};
    use crate::metrics::Metrics;

    const PAUSE: Duration = Duration::from_secs(1);

    /// A breaker and a time that moves only when told to.
    struct Scene {
        breaker: Breaker,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self { breaker: Breaker::new(PAUSE, Arc::new(Metrics::new())), now: Instant::now() }
        }

        fn permit(&self) -> Option<Permit<'_>> {
            self.breaker.permit(self.now)
        }

        /// Whether one call that failed so opened the breaker.
        fn fails(&self, severity: Severity) -> bool {
            self.permit().unwrap().failed(severity, self.now)
        }

        /// Whether one call that succeeded closed it.
        fn succeeds(&self) -> bool {
            self.permit().unwrap().succeeded()
        }
    }

    #[test]
    fn an_outage_opens_it_at_once_and_one_probe_at_a_time_tries_again() {
        let mut scene = Scene::new();
        assert!(scene.fails(Severity::Outage));
        assert!(scene.permit().is_none());
        scene.now += PAUSE;
        let probe = scene.permit().unwrap();
        assert!(scene.permit().is_none(), "one probe at a time");
        assert!(!probe.failed(Severity::Error, scene.now), "it was open before");
        assert!(scene.permit().is_none());
        scene.now += PAUSE;
        assert!(scene.succeeds());
        assert!(!scene.succeeds(), "it was closed before");
    }

    #[test]
    fn errors_open_it_only_in_a_row() {
        let scene = Scene::new();
        assert!(!scene.fails(Severity::Error));
        assert!(!scene.fails(Severity::Error));
        assert!(!scene.succeeds());
        assert!(!scene.fails(Severity::Error));
        assert!(!scene.fails(Severity::Error));
        assert!(scene.fails(Severity::Error));
    }

    #[test]
    fn a_probe_that_was_given_up_does_not_keep_it_open() {
        let mut scene = Scene::new();
        assert!(scene.fails(Severity::Outage));
        scene.now += PAUSE;
        drop(scene.permit().unwrap());
        assert!(scene.succeeds());
    }

    #[test]
    fn calls_from_before_it_opened_have_nothing_to_add() {
        let scene = Scene::new();
        let [first, second, third] = [(); 3].map(|()| scene.permit().unwrap());
        assert!(first.failed(Severity::Outage, scene.now));
        assert!(!second.failed(Severity::Outage, scene.now), "one opening, one warning");
        assert!(!third.succeeded());
        assert!(scene.permit().is_none());
    }
}
