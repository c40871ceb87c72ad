//! What a key may do.

use std::{fmt, str::FromStr};

/// One thing a key may be allowed to do. The text form is a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Verify,
    Settle,
    AgentsRead,
    AgentsWrite,
    SubscriptionsRead,
    SubscriptionsWrite,
    PlansWrite,
    UsageWrite,
    AnalyticsRead,
    KeysManage,
}

/// A permission there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be * or some of {}", Scope::ALL.map(Scope::as_str).join(", "))]
pub struct UnknownScope;

impl Scope {
    pub const ALL: [Self; 10] = [
        Self::Verify,
        Self::Settle,
        Self::AgentsRead,
        Self::AgentsWrite,
        Self::SubscriptionsRead,
        Self::SubscriptionsWrite,
        Self::PlansWrite,
        Self::UsageWrite,
        Self::AnalyticsRead,
        Self::KeysManage,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Settle => "settle",
            Self::AgentsRead => "agents:read",
            Self::AgentsWrite => "agents:write",
            Self::SubscriptionsRead => "subscriptions:read",
            Self::SubscriptionsWrite => "subscriptions:write",
            Self::PlansWrite => "plans:write",
            Self::UsageWrite => "usage:write",
            Self::AnalyticsRead => "analytics:read",
            Self::KeysManage => "keys:manage",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(UnknownScope)
    }
}

/// A set of scopes. [`Scopes::EVERYTHING`] is more than all there are: it holds those of later versions too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Scopes(u16);

impl Scopes {
    pub const NONE: Self = Self(0);
    /// `*`
    pub const EVERYTHING: Self = Self(u16::MAX);
    const EVERYTHING_NAME: &str = "*";

    #[must_use]
    pub const fn with(self, scope: Scope) -> Self {
        Self(self.0 | scope.bit())
    }

    #[must_use]
    pub const fn allow(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The first of these that `others` lack: what somebody with `others` cannot give away.
    #[must_use]
    pub fn first_beyond(self, others: Self) -> Option<&'static str> {
        if others == Self::EVERYTHING {
            None
        } else if self == Self::EVERYTHING {
            Some(Self::EVERYTHING_NAME)
        } else {
            Scope::ALL
                .into_iter()
                .find(|scope| self.allow(*scope) && !others.allow(*scope))
                .map(Scope::as_str)
        }
    }

    /// The names, in the order of [`Scope::ALL`].
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        if self == Self::EVERYTHING {
            return vec![Self::EVERYTHING_NAME];
        }
        Scope::ALL.into_iter().filter(|scope| self.allow(*scope)).map(Scope::as_str).collect()
    }

    /// # Errors
    /// When a name is none of a scope's.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownScope> {
        names.into_iter().try_fold(Self::NONE, |scopes, name| match name {
            Self::EVERYTHING_NAME => Ok(Self::EVERYTHING),
            name => name.parse().map(|scope| scopes.with(scope)),
        })
    }

    /// As the database holds them. A name that this version does not know, which a newer one wrote, allows nothing here.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        let known = text.split(' ').filter(|name| Self::from_names([*name]).is_ok());
        Self::from_names(known).unwrap_or(Self::NONE)
    }

    /// For the database.
    #[must_use]
    pub fn to_stored(self) -> String {
        self.names().join(" ")
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Scope, Scopes};

    #[test]
    fn names_go_there_and_back() {
        for scope in Scope::ALL {
            let alone = Scopes::NONE.with(scope);
            assert_eq!(alone.names(), [scope.as_str()]);
            assert_eq!(Scopes::from_stored(&alone.to_stored()), alone);
            assert!(Scope::ALL.into_iter().all(|other| alone.allow(other) == (other == scope)));
        }
        assert_eq!(Scopes::from_names(["verify", "*"]), Ok(Scopes::EVERYTHING));
        assert_eq!(Scopes::from_stored("*"), Scopes::EVERYTHING);
        assert!(Scopes::from_names(["verify", "Verify"]).is_err());
        assert_eq!(Scopes::from_stored("verify of:tomorrow"), Scopes::NONE.with(Scope::Verify));
    }

    #[test]
    fn everything_is_more_than_all_there_are() {
        let all = Scopes::from_names(Scope::ALL.map(Scope::as_str)).unwrap();
        assert_eq!(Scopes::EVERYTHING.first_beyond(all), Some("*"));
        assert_eq!(all.first_beyond(Scopes::EVERYTHING), None);
        let some = Scopes::from_names(["verify", "keys:manage"]).unwrap();
        assert_eq!(some.first_beyond(all), None);
        assert_eq!(all.first_beyond(some), Some("settle"));
        assert_eq!(some.first_beyond(some), None);
    }
}
