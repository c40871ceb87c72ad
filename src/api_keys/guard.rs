//! On what conditions a key is made. They are looked at in the transaction that makes it: between a request's arrival and
//! that moment the key it came with may have ended, and others may have been made.

use std::time::Duration;

use crate::{clock::UnixMs, ids::ApiKeyId};

/// How many keys of a user may be active in an environment, those that were rotated not counted; and how many of those.
pub const MAX_ACTIVE_KEYS: u64 = 100;
/// How many keys a user may have made within [`MADE_WITHIN`] in an environment, whatever became of them: each leaves a row
/// for months, and an audit trail for ever.
pub const MAX_MADE_KEYS: u64 = 1000;
/// What counts as made lately.
pub const MADE_WITHIN: Duration = Duration::from_hours(24);

/// What must hold of the one who makes a key, and of the keys there are.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// The key it is made with: it must not have ended, nor end before the new one. `None`: none that is kept in the
    /// database.
    pub actor: Option<ApiKeyId>,
    /// How many active keys of the user there may be, those that were rotated counted apart. `None`: any number.
    pub max_active: Option<u64>,
    /// How many keys may have been made for the user lately, ended ones too. `None`: any number.
    pub max_made: Option<u64>,
}

/// The key that one is made with, as its row is now.
#[derive(Clone, Copy, Debug)]
pub struct ActorNow {
    pub revoked: bool,
    pub expires_at: Option<UnixMs>,
}

/// How many keys a user has in an environment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// Active ones that were not rotated.
    pub standing: u64,
    /// Those that were rotated, and work until their overlap is over.
    pub replaced: u64,
    /// Those that were made within [`MADE_WITHIN`], ended ones too.
    pub made: u64,
}

/// Why a key was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// The key it was asked with is revoked or expired, or gone.
    ActorEnded,
    /// The key it was asked with ends before the new one would: it was rotated meanwhile.
    ActorEndsSooner,
    /// Active keys of its kind.
    TooMany,
    TooManyMade,
}

/// What a new key is: it says which active keys of the user are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    New,
    /// In the stead of one that works on.
    Successor,
}

impl Guard {
    /// Whether the user's keys need to be counted.
    #[must_use]
    pub const fn counts(&self) -> bool {
        self.max_active.is_some() || self.max_made.is_some()
    }

    /// Which bound is reached.
    #[must_use]
    pub fn bound_reached(&self, counts: KeyCounts, kind: Kind) -> Option<Hindrance> {
        let active = match kind {
            Kind::New => counts.standing,
            Kind::Successor => counts.replaced,
        };
        if self.max_active.is_some_and(|max| active >= max) {
            return Some(Hindrance::TooMany);
        }
        self.max_made.is_some_and(|max| counts.made >= max).then_some(Hindrance::TooManyMade)
    }

    /// What hinders making a key that ends at `ends_at`. `actor` is the row of the acting key.
    #[must_use]
    pub fn hindrance(
        &self,
        actor: Option<ActorNow>,
        ends_at: Option<UnixMs>,
        counts: KeyCounts,
        kind: Kind,
        at: UnixMs,
    ) -> Option<Hindrance> {
        if self.actor.is_some() {
            let Some(actor) = actor.filter(|actor| !actor.revoked) else {
                return Some(Hindrance::ActorEnded);
            };
            if let Some(end) = actor.expires_at {
                if end <= at {
                    return Some(Hindrance::ActorEnded);
                }
                if ends_at.is_none_or(|ends_at| ends_at > end) {
                    return Some(Hindrance::ActorEndsSooner);
                }
            }
        }
        self.bound_reached(counts, kind)
    }
}

#[cfg(test)]
mod tests {
    use super::{ActorNow, Guard, Hindrance, KeyCounts, Kind};
    use crate::{clock::UnixMs, ids::ApiKeyId};

    const NONE: KeyCounts = KeyCounts { standing: 0, replaced: 0, made: 0 };

    #[test]
    fn an_actor_must_stand_and_outlive_what_it_makes() {
        let guard = Guard { actor: Some(ApiKeyId::from_stored("key_1".to_owned())), ..Guard::default() };
        let (now, soon, late) = (UnixMs(10), UnixMs(20), UnixMs(30));
        let actor = |revoked, expires_at| Some(ActorNow { revoked, expires_at });
        for (actor, ends_at, expected) in [
            (actor(false, None), None, None),
            (actor(false, None), Some(late), None),
            (actor(false, Some(late)), Some(late), None),
            (actor(false, Some(soon)), Some(late), Some(Hindrance::ActorEndsSooner)),
            (actor(false, Some(soon)), None, Some(Hindrance::ActorEndsSooner)),
            (actor(false, Some(now)), Some(now), Some(Hindrance::ActorEnded)),
            (actor(true, None), None, Some(Hindrance::ActorEnded)),
            (None, None, Some(Hindrance::ActorEnded)),
        ] {
            assert_eq!(
                guard.hindrance(actor, ends_at, NONE, Kind::New, now),
                expected,
                "{actor:?} {ends_at:?}"
            );
        }
    }

    #[test]
    fn bounds_are_reached_by_what_they_count() {
        let many = KeyCounts { standing: u64::MAX, replaced: u64::MAX, made: u64::MAX };
        for kind in [Kind::New, Kind::Successor] {
            assert_eq!(Guard::default().bound_reached(many, kind), None);
        }
        let guard = Guard { actor: None, max_active: Some(2), max_made: Some(3) };
        for (counts, new, successor) in [
            (KeyCounts { standing: 1, replaced: 1, made: 2 }, None, None),
            (KeyCounts { standing: 2, ..NONE }, Some(Hindrance::TooMany), None),
            (KeyCounts { replaced: 2, ..NONE }, None, Some(Hindrance::TooMany)),
            (KeyCounts { made: 3, ..NONE }, Some(Hindrance::TooManyMade), Some(Hindrance::TooManyMade)),
        ] {
            let reached = [Kind::New, Kind::Successor].map(|kind| guard.bound_reached(counts, kind));
            assert_eq!(reached, [new, successor], "{counts:?}");
        }
    }
}
