//! For how long an endpoint is waited for that says nothing: one that fails in passing must not leave another one alone.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Failures that are so long apart are no silence: nobody has asked in between.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(1);

/// The failures in a row, to now.
#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    last: Instant,
}

/// Whether an endpoint answers one kind of question.
#[derive(Debug)]
pub(super) struct Silence {
    /// How long it may last until nobody waits any more.
    patience: Duration,
    failing: Mutex<Option<Failing>>,
}

impl Silence {
    pub const fn new(patience: Duration) -> Self {
        Self { patience, failing: Mutex::new(None) }
    }

    /// Notes whether it has answered.
    pub fn note(&self, answered: bool, now: Instant) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = failing.filter(|before| now < before.last + FORGOTTEN_AFTER);
        let since = before.map_or(now, |before| before.since);
        *failing = (!answered).then_some(Failing { since, last: now });
    }

    /// Whether it may yet answer, if it has not just done so.
    pub fn is_waited_for(&self, now: Instant) -> bool {
        let failing = *self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.is_none_or(|it| now < it.since + self.patience || now >= it.last + FORGOTTEN_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{FORGOTTEN_AFTER, Silence};

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn who_goes_on_failing_is_waited_for_for_a_while_and_anew_after_an_answer() {
        let (silence, now) = (Silence::new(PATIENCE), Instant::now());
        assert!(silence.is_waited_for(now));
        for millis in [0, 1_000, 4_999] {
            let now = now + Duration::from_millis(millis);
            silence.note(false, now);
            assert!(silence.is_waited_for(now), "{millis}");
        }
        assert!(!silence.is_waited_for(now + PATIENCE));
        silence.note(true, now + PATIENCE);
        assert!(silence.is_waited_for(now + PATIENCE));
        silence.note(false, now + 2 * PATIENCE);
        assert!(silence.is_waited_for(now + 2 * PATIENCE));
    }

    #[test]
    fn two_failures_with_nothing_asked_in_between_are_no_silence() {
        let (silence, now) = (Silence::new(PATIENCE), Instant::now());
        silence.note(false, now);
        assert!(!silence.is_waited_for(now + PATIENCE));
        let later = now + FORGOTTEN_AFTER;
        assert!(silence.is_waited_for(later), "it is to be asked");
        silence.note(false, later);
        assert!(silence.is_waited_for(later) && !silence.is_waited_for(later + PATIENCE));
    }
}
