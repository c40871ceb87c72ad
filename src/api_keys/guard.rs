//! On what conditions a key is made. They are looked at in the transaction that makes it: between a request's arrival and
//! that moment the key it came with may have ended, and others may have been made.

use crate::{clock::UnixMs, ids::ApiKeyId};

/// How many keys of a user may be active, those that were rotated not counted; and how many of those.
pub const MAX_ACTIVE_KEYS: u64 = 100;

/// What must hold of the one who makes a key, and of the keys there are.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// The key it is made with: it must not have ended, nor end before the new one. `None`: none that is kept in the
    /// database.
    pub actor: Option<ApiKeyId>,
    /// How many active keys of the user there may be, those that were rotated counted apart. `None`: any number.
    pub max_active: Option<u64>,
}

/// The key that one is made with, as its row is now.
#[derive(Clone, Copy, Debug)]
pub struct ActorNow {
    pub revoked: bool,
    pub expires_at: Option<UnixMs>,
}

/// How many keys of a user open something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActiveKeys {
    /// Those that were not rotated.
    pub standing: u64,
    /// Those that were rotated, and work until their overlap is over.
    pub replaced: u64,
}

/// Why a key was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// The key it was asked with is revoked or expired, or gone.
    ActorEnded,
    /// The key it was asked with ends before the new one would: it was rotated meanwhile.
    ActorEndsSooner,
    TooMany,
}

impl Guard {
    /// What hinders making a key that ends at `ends_at`. `actor` is the row of the acting key, `counted` how many keys of
    /// the new one's kind there are.
    #[must_use]
    pub fn hindrance(
        &self,
        actor: Option<ActorNow>,
        ends_at: Option<UnixMs>,
        counted: u64,
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
        self.max_active.is_some_and(|max| counted >= max).then_some(Hindrance::TooMany)
    }
}

#[cfg(test)]
mod tests {
    use super::{ActorNow, Guard, Hindrance};
    use crate::{clock::UnixMs, ids::ApiKeyId};

    #[test]
    fn an_actor_must_stand_and_outlive_what_it_makes() {
        let guard = Guard { actor: Some(ApiKeyId::from_stored("key_1".to_owned())), max_active: None };
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
            assert_eq!(guard.hindrance(actor, ends_at, 0, now), expected, "{actor:?} {ends_at:?}");
        }
        assert_eq!(Guard::default().hindrance(None, None, u64::MAX, now), None);
        let bounded = Guard { actor: None, max_active: Some(2) };
        assert_eq!(bounded.hindrance(None, None, 1, now), None);
        assert_eq!(bounded.hindrance(None, None, 2, now), Some(Hindrance::TooMany));
    }
}
