//! [`RateLimitStore`] in memory.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

    /// Remembers a refusal that was decided elsewhere.
    pub(in crate::store) fn learn_refusal(&self, subject: &Subject, action: Action, refusal: &Decision) {
        self.with(subject, action, |entry, now| entry.refuse(refusal, now));
    }

    /// What is refused here whatever is counted elsewhere: a refusal stands, or this instance has admitted the limit.
    /// Counts nothing.
    pub(in crate::store) fn refusal(
        &self,
        subject: &Subject,
        action: Action,
        limit: NonZeroU32,
    ) -> Option<Decision> {
        if let Some(refusal) = self.standing_refusal(subject, action, limit) {
            return Some(refusal);
        }
        let mut windows = self.locked(subject);
        let now = self.clock.now();
        let entry = windows.get_mut(&(subject.clone(), action))?;
        let refusal = entry.window.refusal(limit, now)?;
        entry.refuse(&refusal, now);
        Some(refusal)
    }

    fn locked(&self, subject: &Subject) -> MutexGuard<'_, Windows> {
        let windows = match subject {
            Subject::Key(_) => &self.keys,
            Subject::Address(_) => &self.addresses,
        };
        windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, subject: &Subject, action: Action, work: impl FnOnce(&mut Entry, UnixMs) -> T) -> T {
        let mut windows = self.locked(subject);
        let now = self.clock.now();
        work(windows.entry((subject.clone(), action), now), now)
    }
}

#[async_trait]
impl RateLimitStore for MemoryRateLimits {
    async fn admit(&self, subject: &Subject, action: Action, limit: NonZeroU32) -> Decision {
        self.with(subject, action, |entry, now| {
            let decision = entry.window.admit(limit, now);
            if decision.admitted {
                entry.refusal = None;
            } else {
                entry.refuse(&decision, now);
            }
            decision
        })
    }

    /// There is nobody who could tell.
    async fn has_ended(&self, _: &Subject) -> bool {
        false
    }

    fn standing_refusal(&self, subject: &Subject, action: Action, limit: NonZeroU32) -> Option<Decision> {
        let windows = self.locked(subject);
        let refusal = windows.get(&(subject.clone(), action))?.refusal?;
        let now = self.clock.now();
        // Longer than a window only where the clock was set back.
        let holds = now < refusal.retry_at && refusal.retry_at <= now + WINDOW;
        let left = |then: UnixMs| Duration::from_millis(u64::try_from(then.0 - now.0).unwrap_or(0));
        holds.then(|| Decision::refused(limit, left(refusal.reset_at), left(refusal.retry_at)))
    }
}
