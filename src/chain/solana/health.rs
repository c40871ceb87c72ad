//! How an endpoint stands, judged by the calls made to it.

use std::time::Duration;

use tokio::time::Instant;

/// How long an endpoint is put behind the others after its first failure. It doubles with each further one.
const FIRST_PENALTY: Duration = Duration::from_secs(5);
/// How long it is put behind at most.
const MAX_PENALTY: Duration = Duration::from_mins(1);

/// Where an endpoint stands in the order of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It may show that it is well again: to one call, before the others.
    Due,
    Front,
    /// Asked only after all others.
    BehindUntil(Instant),
}

/// What was wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There was no answer, or none that makes sense.
    NoAnswer,
    /// The answer was of long ago.
    Lag,
}

#[derive(Debug, Default)]
pub(super) struct Health {
    failures: u32,
    /// How many of these in a row, to now, went without an answer.
    unanswered: u32,
    behind_until: Option<Instant>,
    last: Option<Fault>,
}

impl Health {
    pub fn standing(&self, now: Instant) -> Standing {
        match self.behind_until {
            None => Standing::Front,
            Some(until) if until <= now => Standing::Due,
            Some(until) => Standing::BehindUntil(until),
        }
    }

    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Calls that fail together count once.
    pub fn failed(&mut self, fault: Fault, now: Instant) {
        self.last = Some(fault);
        if !matches!(self.standing(now), Standing::BehindUntil(_)) {
            self.count(fault, now);
        }
    }

    /// Whether it can be expected to answer, be it of long ago.
    pub fn answers(&self, now: Instant) -> bool {
        self.last != Some(Fault::NoAnswer) || self.standing(now) == Standing::Due
    }

    /// Whether it was tried again after a penalty, and failed then too. Such a one is not asked twice by each call: it would
    /// be asked twice as much as when it is well, by everybody, for as long as it is down.
    pub const fn is_down(&self) -> bool {
        self.unanswered > 1
    }

    /// Whether this call is the one that tries a due endpoint. The others go on passing it by until that one is back.
    pub fn take_trial(&mut self, now: Instant) -> bool {
        let due = self.standing(now) == Standing::Due;
        if due {
            self.behind_until = Some(now + FIRST_PENALTY);
        }
        due
    }

    /// A trial failed: the next one is further off.
    pub fn failed_trial(&mut self, fault: Fault, now: Instant) {
        self.last = Some(fault);
        self.count(fault, now);
    }

    fn count(&mut self, fault: Fault, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.unanswered = if fault == Fault::NoAnswer { self.unanswered.saturating_add(1) } else { 0 };
        self.behind_until = Some(now + self.penalty());
    }

    fn penalty(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(8);
        (FIRST_PENALTY * 2_u32.pow(doublings)).min(MAX_PENALTY)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{FIRST_PENALTY, Fault, Health, MAX_PENALTY, Standing};

    #[test]
    fn penalties_grow_to_their_bound_and_end_with_a_success() {
        let mut now = Instant::now();
        let mut health = Health::default();
        let mut expected = FIRST_PENALTY;
        for _ in 0..40 {
            if health.take_trial(now) {
                health.failed_trial(Fault::NoAnswer, now);
            } else {
                health.failed(Fault::NoAnswer, now);
            }
            assert_eq!(health.standing(now), Standing::BehindUntil(now + expected));
            now += expected;
            assert_eq!(health.standing(now), Standing::Due);
            expected = (expected * 2).min(MAX_PENALTY);
        }
        health.succeeded();
        assert_eq!(health.standing(now), Standing::Front);
        health.failed(Fault::NoAnswer, now);
        assert_eq!(health.standing(now), Standing::BehindUntil(now + FIRST_PENALTY));
    }

    #[test]
    fn failures_at_a_time_count_once() {
        let now = Instant::now();
        let mut health = Health::default();
        for millis in 0..100 {
            health.failed(Fault::NoAnswer, now + Duration::from_millis(millis));
        }
        assert_eq!(health.standing(now), Standing::BehindUntil(now + FIRST_PENALTY));
    }

    #[test]
    fn who_lags_still_answers() {
        let now = Instant::now();
        let mut health = Health::default();
        assert!(health.answers(now));
        health.failed(Fault::Lag, now);
        assert!(health.answers(now));
        health.failed(Fault::NoAnswer, now);
        assert!(!health.answers(now));
        assert!(health.answers(now + FIRST_PENALTY), "it is tried again");
    }

    #[test]
    fn who_fails_a_trial_is_down_until_a_success() {
        let now = Instant::now();
        let mut health = Health::default();
        // A call that is made twice fails twice.
        for millis in [0, 100] {
            health.failed(Fault::NoAnswer, now + Duration::from_millis(millis));
            assert!(!health.is_down());
        }
        let later = now + FIRST_PENALTY;
        assert!(health.take_trial(later) && !health.is_down());
        health.failed_trial(Fault::NoAnswer, later);
        assert!(health.is_down());
        health.succeeded();
        assert!(!health.is_down());
    }

    /// Somebody else may only have made up how far the chain is.
    #[test]
    fn who_lags_answers_and_is_not_down() {
        let (now, mut health) = (Instant::now(), Health::default());
        for round in 0..4 {
            health.failed_trial(Fault::Lag, now + round * MAX_PENALTY);
            assert!(!health.is_down());
        }
        health.failed_trial(Fault::NoAnswer, now + 4 * MAX_PENALTY);
        assert!(!health.is_down());
        health.failed_trial(Fault::NoAnswer, now + 5 * MAX_PENALTY);
        assert!(health.is_down());
        health.failed_trial(Fault::Lag, now + 6 * MAX_PENALTY);
        assert!(!health.is_down());
    }

    #[test]
    fn one_call_tries_a_due_endpoint() {
        let now = Instant::now();
        let mut health = Health::default();
        health.failed(Fault::NoAnswer, now);
        assert!(!health.take_trial(now));
        let later = now + FIRST_PENALTY;
        assert!(health.take_trial(later));
        assert!(!health.take_trial(later), "the others wait for the first one's finding");
        health.succeeded();
        assert_eq!(health.standing(later), Standing::Front);
    }
}
