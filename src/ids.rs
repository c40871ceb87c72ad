//! Public identifiers: a prefix that says what it names, then a ULID, so that ids sort by time of creation.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ulid::Ulid;

use crate::clock::UnixMs;

/// A source of random bytes.
pub trait Entropy: fmt::Debug + Send + Sync {
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    /// # Panics
    /// When the operating system has no randomness to give: nothing safe can be done then.
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system provides randomness");
    }
}

/// 16 random bytes in base58: the nonces the service issues.
pub fn random_nonce(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    bs58::encode(bytes).into_string()
}

/// How many of a ULID's characters are random; the others are its time.
const RANDOM_CHARS: usize = 16;
/// The last time that a ULID can hold: 48 bits.
const LATEST_MS: u64 = (1 << 48) - 1;

fn random_ulid(now: UnixMs, entropy: &dyn Entropy) -> Ulid {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    ulid(now, bytes)
}

fn ulid(now: UnixMs, bytes: [u8; 16]) -> Ulid {
    Ulid::from_parts(u64::try_from(now.0).unwrap_or(0), u128::from_le_bytes(bytes))
}

macro_rules! public_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(now: UnixMs, entropy: &dyn Entropy) -> Self {
                Self(format!(concat!($prefix, "{}"), random_ulid(now, entropy)))
            }

            /// Where the ids made from `at` on begin: none made before is as high, none made then or later is lower.
            #[must_use]
            pub fn lowest_at(at: UnixMs) -> Self {
                let time = u64::try_from(at.0).unwrap_or(0).min(LATEST_MS);
                Self(format!(concat!($prefix, "{}"), Ulid::from_parts(time, 0)))
            }

            /// An id as the database or a caller gave it.
            #[must_use]
            pub const fn from_stored(id: String) -> Self {
                Self(id)
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

public_id!(
    /// A payment in the books.
    PaymentId,
    "pay_"
);
public_id!(
    /// An API key.
    ApiKeyId,
    "key_"
);
public_id!(
    /// A registered agent.
    AgentId,
    "agent_"
);
public_id!(
    /// An entry of the event log.
    EventId,
    "evt_"
);
impl EventId {
    /// The event that is the only one of these words at this time: told again, it gets the same id.
    #[must_use]
    pub fn about(at: UnixMs, words: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for word in words {
            digest.update(word.len().to_le_bytes());
            digest.update(word);
        }
        let digest: [u8; 32] = digest.finalize().into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(format!("evt_{}", ulid(at, bytes)))
    }

    /// The event that a payment was accepted: one a payment, so it shares the payment's number.
    #[must_use]
    pub fn of_payment(payment: &PaymentId) -> Self {
        Self(payment.as_str().replacen("pay_", "evt_", 1))
    }

    /// The event that a payment ended at `at`: of that time, as every event's id is, and with the payment's randomness.
    #[must_use]
    pub fn of_ending(payment: &PaymentId, at: UnixMs) -> Self {
        let mut id = Self::lowest_at(at);
        let payment = payment.as_str();
        if let Some(random) = payment.len().checked_sub(RANDOM_CHARS).and_then(|from| payment.get(from..)) {
            id.0.truncate(id.0.len() - RANDOM_CHARS);
            id.0.push_str(random);
        }
        id
    }
}

public_id!(
    /// What can be subscribed to.
    PlanId,
    "plan_"
);
public_id!(
    /// An agent's subscription to a plan.
    SubscriptionId,
    "sub_"
);
public_id!(
    /// Something that was used under a subscription.
    UsageId,
    "usage_"
);
public_id!(
    /// One HTTP request, as in `X-Request-Id`.
    RequestId,
    "req_"
);

#[cfg(test)]
mod tests {
    use super::{EventId, OsEntropy, PaymentId};
    use crate::clock::UnixMs;

    #[test]
    fn ids_carry_their_prefix_and_sort_by_time() {
        let earlier = PaymentId::new(UnixMs(1_700_000_000_000), &OsEntropy);
        let later = PaymentId::new(UnixMs(1_700_000_000_001), &OsEntropy);
        assert!(earlier.as_str().starts_with("pay_"));
        assert!(earlier < later);
    }

    #[test]
    fn a_time_parts_the_ids_before_it_from_those_after() {
        for at in [0, 1, 1_700_000_000_000, (1 << 48) - 1] {
            let bound = PaymentId::lowest_at(UnixMs(at));
            assert!(bound <= PaymentId::new(UnixMs(at), &OsEntropy));
            assert!(at == 0 || PaymentId::new(UnixMs(at - 1), &OsEntropy) < bound);
        }
        assert_eq!(PaymentId::lowest_at(UnixMs(-1)), PaymentId::lowest_at(UnixMs(0)));
        assert_eq!(PaymentId::lowest_at(UnixMs(i64::MAX)), PaymentId::lowest_at(UnixMs((1 << 48) - 1)));
    }

    #[test]
    fn the_event_of_an_ending_is_of_its_time() {
        let (made, ended) = (UnixMs(1_700_000_000_000), UnixMs(1_700_000_090_000));
        let payment = PaymentId::new(made, &OsEntropy);
        let event = EventId::of_ending(&payment, ended);
        assert!(EventId::lowest_at(ended) <= event && event < EventId::lowest_at(UnixMs(ended.0 + 1)));
        assert_eq!(event.as_str()[14..], payment.as_str()[14..]);
        assert_eq!(EventId::of_ending(&payment, made), EventId::of_payment(&payment));
        assert!(EventId::of_ending(&PaymentId::from_stored("short".to_owned()), ended) < event);
    }
}
