//! When what comes next.

use std::time::Duration;

use crate::{clock::UnixMs, payments::settlement::MessageHash};

/// The time of an event. Intervals go by the steady clock, which nobody sets; what other instances read, by the wall's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since some moment of this process.
    pub steady: Duration,
    pub wall: UnixMs,
}

/// Something that is asked again and again, one question at a time, about up to so many settlements each.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Next question at this time; while one is open, the time at which it is given up.
    pub next_at: Duration,
    /// The last one of the batch before, where the round is not through.
    pub after: Option<MessageHash>,
}

impl Round {
    pub(super) fn is_due(&self, now: Now) -> bool {
        self.next_at <= now.steady
    }
}
