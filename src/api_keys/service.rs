//! Making keys and ending them, by the rule that nobody gives a key more than they have themselves.

mod revocation;

use std::{sync::Arc, time::Duration};

use super::{
    ApiKeyPage, ApiKeyRecord, ApiKeyStore, Authenticator, Caller, Created, Environment, Foundations, Guard,
    HashFailure, Hasher, Herald, Hindrance, KeyCheckError, KeyEvent, KeyEventKind, KeysOf, Kind,
    MAX_ACTIVE_KEYS, MAX_MADE_KEYS, NewKey, PlainKey, Rotation, RotationOutcome, Scopes, Standing, StoredKey,
    Tags, wire,
};
use crate::{
    clock::{Clock, UnixMs},
    ids::{ApiKeyId, Entropy, EventId},
    input::FieldErrors,
    shares::Shares,
    store_error::StoreError,
};

/// How often a key is drawn. Even among a million keys, the prefix of a new one is taken once in 10^8 times.
const DRAWS: u32 = 5;

/// How many keys may be in the making, each a quarter of a second of a thread's time: all, and a user's.
const IN_THE_MAKING: (usize, usize) = (64, 4);

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Actor<'a> {
    /// At the command line, for whom there are no limits.
    Operator,
    /// With a key, for their own user's keys of its environment.
    Caller(&'a Caller),
}

impl<'a> Actor<'a> {
    fn name(self) -> &'a str {
        match self {
            Self::Operator => "operator",
            Self::Caller(caller) => &caller.key_id,
        }
    }

    /// As the log knows who it is.
    fn logged(self) -> &'a str {
        match self {
            Self::Operator => "operator",
            Self::Caller(caller) => &caller.key_prefix,
        }
    }

    fn scopes(self) -> Scopes {
        match self {
            Self::Operator => Scopes::EVERYTHING,
            Self::Caller(caller) => caller.scopes,
        }
    }

    fn expires_at(self) -> Option<UnixMs> {
        match self {
            Self::Operator => None,
            Self::Caller(caller) => caller.expires_at,
        }
    }

    fn guard(self) -> Guard {
        match self {
            Self::Operator => Guard::default(),
            Self::Caller(caller) => Guard {
                actor: caller.row(),
                max_active: Some(MAX_ACTIVE_KEYS),
                max_made: Some(MAX_MADE_KEYS),
            },
        }
    }
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the request cannot be read")]
    Malformed(FieldErrors),
    /// It would have more than the one who asks.
    #[error("the calling key does not have {0}")]
    BeyondCaller(&'static str),
    #[error("there is no such key")]
    NotFound,
    #[error("the key is revoked")]
    Revoked,
    #[error("the key is expired")]
    Expired,
    #[error("the key was rotated before")]
    Rotated,
    /// Since the request arrived.
    #[error("the calling key has ended")]
    CallerEnded,
    #[error("the calling key was rotated meanwhile, and ends before the new key would")]
    CallerRotated,
    #[error("the user has too many active keys")]
    TooManyActive,
    #[error("too many of the user's keys are rotated and still work")]
    TooManyRotated,
    #[error("too many keys of the user were made lately")]
    TooManyMade,
    /// Too many are being made.
    #[error("too many keys are being made")]
    Busy,
    #[error("no prefix is free")]
    NoPrefix,
    #[error(transparent)]
    Hash(#[from] HashFailure),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The secret that keys are made with cannot be had.
    #[error("keys cannot be made now")]
    Tags(#[source] KeyCheckError),
}

/// A key that can be shown this once.
#[derive(Debug)]
pub struct NewlyMade {
    pub record: ApiKeyRecord,
    pub key: PlainKey,
}

#[derive(Debug)]
pub struct ApiKeys {
    store: Arc<dyn ApiKeyStore>,
    tags: Arc<Tags>,
    hasher: Arc<Hasher>,
    environment: Environment,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    making: Arc<Shares>,
    /// Hears of changes; there is none at the command line.
    authenticator: Option<Arc<Authenticator>>,
    /// Tells the other instances; there is none where nothing is shared but the database.
    herald: Option<Arc<dyn Herald>>,
}

impl ApiKeys {
    #[must_use]
    pub fn new(
        foundations: Foundations,
        entropy: Arc<dyn Entropy>,
        authenticator: Option<Arc<Authenticator>>,
        herald: Option<Arc<dyn Herald>>,
    ) -> Self {
        let Foundations { store, tags, hasher, environment, clock, metrics: _ } = foundations;
        let making = Shares::new(IN_THE_MAKING.0, IN_THE_MAKING.1);
        Self { store, tags, hasher, environment, clock, entropy, making, authenticator, herald }
    }

    /// Makes the key that a caller asks for.
    ///
    /// # Errors
    /// When the request is malformed, asks for more than the caller has, or the database does not take it.
    pub async fn create(&self, caller: &Caller, body: &[u8]) -> Result<NewlyMade, KeyError> {
        let new =
            NewKey::parse(body, caller, self.environment, self.clock.now()).map_err(KeyError::Malformed)?;
        self.issue(new, Actor::Caller(caller)).await
    }

    /// Makes a key.
    ///
    /// # Errors
    /// When it would have more than `actor`, who may have ended meanwhile, the user has too many keys, or the database does
    /// not take it.
    pub async fn issue(&self, new: NewKey, actor: Actor<'_>) -> Result<NewlyMade, KeyError> {
        check_scopes(new.scopes, actor)?;
        let guard = actor.guard();
        let _share = self.making.take(&new.user).ok_or(KeyError::Busy)?;
        // Asked again when it counts; here it saves bcrypt the work.
        self.check_bounds(&new.user, &guard, Kind::New).await?;
        for _ in 0..DRAWS {
            let (key, stored) = self.draw(&new, actor).await?;
            let created = self.event(&stored.record.id, KeyEventKind::Created, actor);
            match self.store.create_key(&stored, &created, &guard).await? {
                Created::Kept => {
                    let (prefix, user) = (key.prefix(), &new.user);
                    tracing::info!(key = prefix, user, actor = actor.logged(), "API key created");
                    return Ok(NewlyMade { record: stored.record, key });
                }
                Created::PrefixTaken => {}
                Created::Hindered(hindrance) => return Err(hindered(hindrance, Kind::New)),
            }
        }
        Err(KeyError::NoPrefix)
    }

    /// The caller's own user's keys of the environment they call in; every user's, or the one user's, for the operator.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(
        &self,
        actor: Actor<'_>,
        user: Option<&str>,
        limit: u32,
        offset: u32,
    ) -> Result<ApiKeyPage, StoreError> {
        let of = match actor {
            Actor::Operator => user.map(|user| KeysOf { user, environment: None }),
            Actor::Caller(caller) => Some(KeysOf { user: &caller.user, environment: Some(self.environment) }),
        };
        self.store.list_keys(of, limit, offset).await
    }

    /// Replaces a key by one that may do the same; the old one ends when the overlap that `body` names is over.
    ///
    /// # Errors
    /// When the request is malformed, there is no such key, it has ended or has been rotated, it has more than the caller,
    /// or the database does not answer.
    pub async fn rotate(
        &self,
        caller: &Caller,
        id_or_prefix: &str,
        body: &[u8],
    ) -> Result<(NewlyMade, ApiKeyRecord), KeyError> {
        let overlap = wire::overlap(body).map_err(KeyError::Malformed)?;
        self.replace(Actor::Caller(caller), id_or_prefix, overlap).await
    }

    /// The same, for any `actor`: the new key, and the old one as it is now.
    ///
    /// # Errors
    /// As [`rotate`](Self::rotate).
    pub async fn replace(
        &self,
        actor: Actor<'_>,
        id_or_prefix: &str,
        overlap: Duration,
    ) -> Result<(NewlyMade, ApiKeyRecord), KeyError> {
        let old = self.find(actor, id_or_prefix).await?;
        self.check_rotatable(&old)?;
        check_scopes(old.scopes, actor)?;
        // Only an overlap adds to the keys that work.
        let bound = actor.guard().max_active.filter(|_| !overlap.is_zero());
        let guard = Guard { max_active: bound, ..actor.guard() };
        let _share = self.making.take(&old.user).ok_or(KeyError::Busy)?;
        self.check_bounds(&old.user, &guard, Kind::Successor).await?;
        let new = NewKey {
            name: old.name.clone(),
            user: old.user.clone(),
            environment: old.environment,
            scopes: old.scopes,
            recipients: old.recipients.clone(),
            expires_at: [old.expires_at, actor.expires_at()].into_iter().flatten().min(),
        };
        for _ in 0..DRAWS {
            let (key, stored) = self.draw(&new, actor).await?;
            let record = stored.record.clone();
            let rotation = self.rotation(&old, stored, overlap, actor, guard.clone());
            let outcome = self.store.rotate_key(&rotation).await;
            self.something_changed();
            match outcome? {
                RotationOutcome::Rotated => {
                    let (from, actor) = (&old.prefix, actor.logged());
                    tracing::info!(key = from, to = key.prefix(), actor, "API key rotated");
                    self.ended(std::slice::from_ref(&old.id), rotation.old_ends_at).await;
                    // Not read again: nothing may fail between the commit and the only answer that shows the key.
                    let ends_at =
                        old.expires_at.map_or(rotation.old_ends_at, |own| own.min(rotation.old_ends_at));
                    let replaced_by = Some(record.id.clone());
                    let old = ApiKeyRecord { expires_at: Some(ends_at), replaced_by, ..old };
                    return Ok((NewlyMade { record, key }, old));
                }
                // Something came between.
                RotationOutcome::Over => {
                    self.check_rotatable(&self.find(actor, old.id.as_str()).await?)?;
                    return Err(KeyError::Expired);
                }
                RotationOutcome::PrefixTaken => {}
                RotationOutcome::Hindered(hindrance) => return Err(hindered(hindrance, Kind::Successor)),
            }
        }
        Err(KeyError::NoPrefix)
    }

    async fn find(&self, actor: Actor<'_>, id_or_prefix: &str) -> Result<ApiKeyRecord, KeyError> {
        let key = self.store.find_key(id_or_prefix).await?;
        let sees = |key: &ApiKeyRecord| match actor {
            Actor::Operator => true,
            // A database may hold keys of both environments. Whoever calls has a key of this one.
            Actor::Caller(caller) => key.user == caller.user && key.environment == self.environment,
        };
        key.filter(sees).ok_or(KeyError::NotFound)
    }

    fn check_rotatable(&self, key: &ApiKeyRecord) -> Result<(), KeyError> {
        match key.standing(self.clock.now()) {
            Standing::Revoked => Err(KeyError::Revoked),
            Standing::Expired => Err(KeyError::Expired),
            Standing::Active if key.replaced_by.is_some() => Err(KeyError::Rotated),
            Standing::Active => Ok(()),
        }
    }

    async fn check_bounds(&self, user: &str, guard: &Guard, kind: Kind) -> Result<(), KeyError> {
        if !guard.counts() {
            return Ok(());
        }
        let counts = self.store.count_keys(user, self.environment, self.clock.now()).await?;
        guard.bound_reached(counts, kind).map_or(Ok(()), |hindrance| Err(hindered(hindrance, kind)))
    }

    /// A key with a secret of its own. Its prefix may be taken.
    async fn draw(&self, new: &NewKey, actor: Actor<'_>) -> Result<(PlainKey, StoredKey), KeyError> {
        let secret = self.tags.secret().await.map_err(KeyError::Tags)?;
        let key = PlainKey::generate(new.environment, secret, self.entropy.as_ref());
        let hash = self.hasher.hash(&key).await?;
        let now = self.clock.now();
        let new = new.clone();
        let record = ApiKeyRecord {
            id: ApiKeyId::new(now, self.entropy.as_ref()),
            prefix: key.prefix().to_owned(),
            environment: new.environment,
            name: new.name,
            user: new.user,
            scopes: new.scopes,
            recipients: new.recipients,
            created_at: now,
            expires_at: new.expires_at,
            last_used_at: None,
            revoked_at: None,
            replaced_by: None,
            created_by: Some(actor.name().to_owned()),
        };
        Ok((key, StoredKey { record, hash }))
    }

    fn rotation(
        &self,
        old: &ApiKeyRecord,
        successor: StoredKey,
        overlap: Duration,
        actor: Actor<'_>,
        guard: Guard,
    ) -> Rotation {
        let created = self.event(&successor.record.id, KeyEventKind::Created, actor);
        let rotated = self.event(&old.id, KeyEventKind::Rotated, actor);
        let at = rotated.at;
        let (old, old_ends_at) = (old.id.clone(), at + overlap);
        Rotation { old, old_ends_at, successor, events: [created, rotated], at, guard }
    }

    fn event(&self, key: &ApiKeyId, kind: KeyEventKind, actor: Actor<'_>) -> KeyEvent {
        let at = self.clock.now();
        let id = EventId::new(at, self.entropy.as_ref());
        KeyEvent { id, key: key.clone(), kind, actor: actor.name().to_owned(), at }
    }

    async fn ended(&self, keys: &[ApiKeyId], at: UnixMs) {
        if let Some(authenticator) = &self.authenticator {
            authenticator.ended(keys, at);
        }
        if let Some(herald) = self.herald.as_ref().filter(|_| !keys.is_empty()) {
            let after = u64::try_from(at.0 - self.clock.now().0).unwrap_or(0);
            herald.ended(keys, Duration::from_millis(after)).await;
        }
    }

    fn something_changed(&self) {
        if let Some(authenticator) = &self.authenticator {
            authenticator.something_changed();
        }
    }
}

fn hindered(hindrance: Hindrance, kind: Kind) -> KeyError {
    match (hindrance, kind) {
        (Hindrance::ActorEnded, _) => KeyError::CallerEnded,
        (Hindrance::ActorEndsSooner, _) => KeyError::CallerRotated,
        (Hindrance::TooMany, Kind::New) => KeyError::TooManyActive,
        (Hindrance::TooMany, Kind::Successor) => KeyError::TooManyRotated,
        (Hindrance::TooManyMade, _) => KeyError::TooManyMade,
    }
}

fn check_scopes(scopes: Scopes, actor: Actor<'_>) -> Result<(), KeyError> {
    scopes.first_beyond(actor.scopes()).map_or(Ok(()), |scope| Err(KeyError::BeyondCaller(scope)))
}
