//! [`RateLimitStore`] in memory.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::windows::{Entry, Windows};
use crate::{
    clock::{Clock, UnixMs},
    rate_limit::{Action, Decision, RateLimitStore, Subject, WINDOW},
};

/// How many addresses are counted at a time, each action of theirs. One that asked once takes some 300 bytes, and each
/// second of the minute in which it asked some 16 more. So 100000 take 30 MB, and 130 MB if they ask every second.
const MAX_ADDRESSES: usize = 100_000;
/// How many keys: apart, so that no crowd of addresses pushes them out.
const MAX_KEYS: usize = 20_000;

/// Counts of this instance alone.
#[derive(Debug)]
pub struct MemoryRateLimits {
    addresses: Mutex<Windows>,
    keys: Mutex<Windows>,
    clock: Arc<dyn Clock>,
}

impl MemoryRateLimits {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            addresses: Mutex::new(Windows::new(MAX_ADDRESSES)),
            keys: Mutex::new(Windows::new(MAX_KEYS)),
            clock,
        }
    }

    /// Keeps step with a decision that was made elsewhere.
    pub(in crate::store) fn learn(&self, subject: &Subject, action: Action, decision: &Decision) {
        self.with(subject, action, |entry, now| {
            if decision.admitted {
                entry.window.record(now);
                entry.refusal = None;
            } else {
                entry.refuse(decision, now);
            }
        });
    }

    fn windows(&self, subject: &Subject) -> &Mutex<Windows> {
        match subject {
            Subject::Key(_) => &self.keys,
            Subject::Address(_) => &self.addresses,
        }
    }

    fn with<T>(&self, subject: &Subject, action: Action, work: impl FnOnce(&mut Entry, UnixMs) -> T) -> T {
        let mut windows = self.windows(subject).lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        work(windows.entry((subject.clone(), action), now), now)
    }
}

#[async_trait]
impl RateLimitStore for MemoryRateLimits {
    async fn admit(&self, subject: &Subject, action: Action, limit: NonZeroU32) -> Decision {
        self.with(subject, action, |entry, now| {
            let decision = entry.window.admit(limit, now);
            if !decision.admitted {
                entry.refuse(&decision, now);
            }
            decision
        })
    }

    fn standing_refusal(&self, subject: &Subject, action: Action, limit: NonZeroU32) -> Option<Decision> {
        let windows = self.windows(subject).lock().unwrap_or_else(PoisonError::into_inner);
        let refusal = windows.get(&(subject.clone(), action))?.refusal?;
        let now = self.clock.now();
        // Longer than a window only where the clock was set back.
        let holds = now < refusal.retry_at && refusal.retry_at <= now + WINDOW;
        let left = |then: UnixMs| Duration::from_millis(u64::try_from(then.0 - now.0).unwrap_or(0));
        holds.then(|| Decision::refused(limit, left(refusal.reset_at), left(refusal.retry_at)))
    }
}
