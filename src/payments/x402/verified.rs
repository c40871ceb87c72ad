//! Payments that were found good a moment ago, so that a settle which follows need not simulate them again.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;

use crate::{
    clock::{Clock, UnixMs},
    payments::settlement::{MessageHash, TermsHash},
};

/// How long a finding stands. The money can be gone any moment later, and then a failed transaction costs us its fee.
const LIFETIME: Duration = Duration::from_secs(3);
/// How many findings are kept, of some 100 bytes each. Past that the ones least asked for go.
const MAX_FINDINGS: u64 = 16_384;

/// By message and requirements. Each finding is used once.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    findings: Cache<(MessageHash, TermsHash), UnixMs>,
    clock: Arc<dyn Clock>,
}

impl Verified {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let findings = Cache::builder().max_capacity(MAX_FINDINGS).time_to_live(LIFETIME).build();
        Self { findings, clock }
    }

    pub fn note(&self, message: MessageHash, terms: TermsHash) {
        self.findings.insert((message, terms), self.clock.now());
    }

    /// Whether it was found good within the last seconds, which is then forgotten.
    pub fn take(&self, message: MessageHash, terms: TermsHash) -> bool {
        let now = self.clock.now();
        self.findings.remove(&(message, terms)).is_some_and(|at| at <= now && now < at + LIFETIME)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{LIFETIME, MessageHash, TermsHash, UnixMs, Verified};
    use crate::clock::ManualClock;

    #[test]
    fn a_finding_is_used_once_and_not_for_long() {
        let clock = Arc::new(ManualClock::new(UnixMs(1_000_000)));
        let verified = Verified::new(Arc::<ManualClock>::clone(&clock));
        let (message, terms) = (MessageHash([1; 32]), TermsHash([2; 32]));
        assert!(!verified.take(message, terms));
        verified.note(message, terms);
        assert!(!verified.take(message, TermsHash([3; 32])) && !verified.take(MessageHash([3; 32]), terms));
        assert!(verified.take(message, terms) && !verified.take(message, terms));
        verified.note(message, terms);
        clock.advance(LIFETIME.saturating_sub(Duration::from_millis(1)));
        assert!(verified.take(message, terms));
        verified.note(message, terms);
        clock.advance(LIFETIME);
        assert!(!verified.take(message, terms));
    }
}
