//! Who is limited to what.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use super::RateLimitStore;

/// How much of an IPv6 address tells clients apart: whoever has one address has all those with the same beginning.
const IPV6_PREFIX_BITS: u8 = 64;

/// How many times the public limit may be asked what is supported: x402's middleware asks for every request it guards, and
/// some ends its process where it is refused.
const SUPPORTED_FACTOR: u32 = 100;

/// What a request asks for. Each is counted by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Anything without a key, and with a bad one.
    Public,
    /// `/health`, `/ready` and `/metrics`: apart, so that no other traffic from their address starves the probes.
    /// Each instance counts by itself: one load balancer probes them all, and must not wait for what they share.
    Operations,
    /// `/supported`, which is told from memory. Each instance counts by itself, as with the probes.
    Supported,
    Verification,
    /// Anything else with a good key.
    Authenticated,
}

impl Action {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Operations => "operations",
            Self::Supported => "supported",
            Self::Verification => "verification",
            Self::Authenticated => "authenticated",
        }
    }

    /// Whether instances count it together.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        !matches!(self, Self::Operations | Self::Supported)
    }
}

/// Requests a minute, for each subject. 0: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub public: u32,
    pub authenticated: u32,
    pub verification: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { public: 60, authenticated: 300, verification: 100 }
    }
}

impl Limits {
    /// `None`: no limit.
    #[must_use]
    pub fn of(&self, action: Action) -> Option<NonZeroU32> {
        NonZeroU32::new(match action {
            Action::Public | Action::Operations => self.public,
            Action::Supported => self.public.saturating_mul(SUPPORTED_FACTOR),
            Action::Verification => self.verification,
            Action::Authenticated => self.authenticated,
        })
    }
}

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An API key, by its public name.
    Key(Arc<str>),
    /// A client address: an IPv4 address, or the /64 network of an IPv6 address.
    Address(IpAddr),
}

impl Subject {
    #[must_use]
    pub fn key(name: &str) -> Self {
        Self::Key(name.into())
    }

    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let host_bits = Ipv6Addr::BITS - u32::from(IPV6_PREFIX_BITS);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> host_bits << host_bits))
            }
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(name) => write!(f, "key:{name}"),
            Self::Address(IpAddr::V4(address)) => write!(f, "ip:{address}"),
            Self::Address(IpAddr::V6(network)) => write!(f, "ip:{network}/{IPV6_PREFIX_BITS}"),
        }
    }
}

/// Whether a request may go on, and where its subject stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub admitted: bool,
    pub limit: u32,
    /// How many more requests would be admitted now.
    pub remaining: u32,
    /// Until the whole quota is there again.
    pub reset: Duration,
    /// Until the next request would be admitted: nothing, unless this one was not.
    pub retry_after: Duration,
    /// The subject is a key that has ended, as another instance has told: not to be admitted, now or later.
    pub ended: bool,
}

impl Decision {
    /// `counted` is how many requests are in the window, this one included if it was admitted.
    #[must_use]
    pub fn admitted(limit: NonZeroU32, counted: u32, reset: Duration) -> Self {
        let remaining = limit.get().saturating_sub(counted);
        Self {
            admitted: true,
            limit: limit.get(),
            remaining,
            reset,
            retry_after: Duration::ZERO,
            ended: false,
        }
    }

    #[must_use]
    pub const fn refused(limit: NonZeroU32, reset: Duration, retry_after: Duration) -> Self {
        Self { admitted: false, limit: limit.get(), remaining: 0, reset, retry_after, ended: false }
    }

    #[must_use]
    pub const fn ended() -> Self {
        let (reset, retry_after) = (Duration::ZERO, Duration::ZERO);
        Self { admitted: false, limit: 0, remaining: 0, reset, retry_after, ended: true }
    }

    /// Whole seconds, rounded up: once they have passed, it is so.
    #[must_use]
    pub fn reset_secs(&self) -> u64 {
        whole_secs(self.reset)
    }

    /// As [`reset_secs`](Self::reset_secs).
    #[must_use]
    pub fn retry_after_secs(&self) -> u64 {
        whole_secs(self.retry_after)
    }
}

fn whole_secs(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// The limits, and where requests are counted.
#[derive(Clone, Debug)]
pub struct RateLimiter {
    pub limits: Limits,
    pub store: Arc<dyn RateLimitStore>,
}

impl RateLimiter {
    /// Counts a request. `None` where there is no limit, unless the subject has ended.
    pub async fn admit(&self, subject: &Subject, action: Action) -> Option<Decision> {
        match self.limits.of(action) {
            Some(limit) => Some(self.store.admit(subject, action, limit).await),
            None => self.store.has_ended(subject).await.then(Decision::ended),
        }
    }

    /// A refusal that still holds. Counts nothing.
    #[must_use]
    pub fn standing_refusal(&self, subject: &Subject, action: Action) -> Option<Decision> {
        self.store.standing_refusal(subject, action, self.limits.of(action)?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Action, Decision, Limits, Subject};

    fn subject(address: &str) -> Subject {
        Subject::address(address.parse().unwrap())
    }

    #[test]
    fn an_ipv6_network_is_one_subject() {
        assert_eq!(subject("2001:db8:1:2::1"), subject("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(subject("2001:db8:1:2::1"), subject("2001:db8:1:3::1"));
        assert_eq!(subject("2001:db8:1:2::1").to_string(), "ip:2001:db8:1:2::/64");
        assert_eq!(subject("::ffff:192.0.2.1"), subject("192.0.2.1"));
        assert_ne!(subject("192.0.2.2"), subject("192.0.2.1"));
        assert_eq!(subject("192.0.2.1").to_string(), "ip:192.0.2.1");
    }

    #[test]
    fn zero_is_no_limit() {
        let limits = Limits { public: 0, authenticated: 3, verification: 0 };
        assert_eq!(limits.of(Action::Public), None);
        assert_eq!(limits.of(Action::Operations), None);
        assert_eq!(limits.of(Action::Supported), None);
        assert_eq!(limits.of(Action::Authenticated).unwrap().get(), 3);
    }

    #[test]
    fn seconds_are_rounded_up() {
        let secs = |ms| {
            let (limit, wait) = (1.try_into().unwrap(), Duration::from_millis(ms));
            Decision::refused(limit, wait, wait).retry_after_secs()
        };
        assert_eq!([0, 1, 1000, 1001, 60_000].map(secs), [0, 1, 1, 2, 60]);
    }
}
