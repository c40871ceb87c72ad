//! Where keys are kept.

use async_trait::async_trait;

use super::{ApiKeyRecord, Environment, Guard, Hindrance, KeyCounts, StoredKey};
use crate::{
    clock::UnixMs,
    ids::{ApiKeyId, EventId},
    store_error::StoreError,
};

/// What happened to a key. Each happens once to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEventKind {
    Created,
    /// It was replaced by another one.
    Rotated,
    Revoked,
}

impl KeyEventKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Rotated => "rotated",
            Self::Revoked => "revoked",
        }
    }
}

/// An entry of the audit trail, written in the same transaction as what it tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    pub id: EventId,
    pub key: ApiKeyId,
    pub kind: KeyEventKind,
    /// The id or prefix of the key it was done with, or `operator`.
    pub actor: String,
    pub at: UnixMs,
}

/// A key that was ended together with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedKey {
    pub id: ApiKeyId,
    pub prefix: String,
}

/// What became of a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    Kept,
    /// Nothing was written: another key has the prefix.
    PrefixTaken,
    /// Nothing was written.
    Hindered(Hindrance),
}

/// A key to be replaced by another.
#[derive(Clone, Debug)]
pub struct Rotation {
    pub old: ApiKeyId,
    /// When the old key ends, unless it ends earlier.
    pub old_ends_at: UnixMs,
    pub successor: StoredKey,
    /// That the successor was created, and that the old key was rotated.
    pub events: [KeyEvent; 2],
    pub at: UnixMs,
    /// Bounds the keys that work on though they were rotated.
    pub guard: Guard,
}

/// What became of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationOutcome {
    Rotated,
    /// Nothing was written: the key is revoked, expired, or was rotated before.
    Over,
    /// Nothing was written: another key has the successor's prefix.
    PrefixTaken,
    /// Nothing was written.
    Hindered(Hindrance),
}

/// Keys that end together.
#[derive(Clone, Copy, Debug)]
pub enum Together<'a> {
    /// A key and those that come from it, see [`ApiKeyStore::descendants`].
    Line(&'a ApiKeyId),
    /// All of the user's.
    All,
}

/// Whose keys are listed.
#[derive(Clone, Copy, Debug)]
pub struct KeysOf<'a> {
    pub user: &'a str,
    /// `None`: of every one.
    pub environment: Option<Environment>,
}

/// One page of keys, newest first.
#[derive(Clone, Debug)]
pub struct ApiKeyPage {
    pub keys: Vec<ApiKeyRecord>,
    /// How many there are on all pages.
    pub total: u64,
}

#[async_trait]
pub trait ApiKeyStore: std::fmt::Debug + Send + Sync {
    /// Keeps a new key and that it was created, if the guard lets it. Keys of one user are made one after the other.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    async fn create_key(
        &self,
        key: &StoredKey,
        created: &KeyEvent,
        guard: &Guard,
    ) -> Result<Created, StoreError>;

    /// How many keys the user has in an environment.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn count_keys(
        &self,
        user: &str,
        environment: Environment,
        at: UnixMs,
    ) -> Result<KeyCounts, StoreError>;

    /// What a presented key with this prefix is held against.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn key_by_prefix(&self, prefix: &str) -> Result<Option<StoredKey>, StoreError>;

    /// The key with this id or prefix, whoever it belongs to.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn find_key(&self, id_or_prefix: &str) -> Result<Option<ApiKeyRecord>, StoreError>;

    /// A user's keys, ended ones too; all users' where none is named.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn list_keys(
        &self,
        of: Option<KeysOf<'_>>,
        limit: u32,
        offset: u32,
    ) -> Result<ApiKeyPage, StoreError>;

    /// Replaces a key by another, once: of several rotations at a time one comes about.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    async fn rotate_key(&self, rotation: &Rotation) -> Result<RotationOutcome, StoreError>;

    /// Ends a key; `false` if it was revoked before.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    async fn revoke_key(&self, revoked: &KeyEvent) -> Result<bool, StoreError>;

    /// Ends several keys of a user in one transaction, after which none of them can have made another; those that it
    /// ended, oldest first. `revoked` gives the event for each.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    async fn revoke_together(
        &self,
        user: &str,
        which: Together<'_>,
        at: UnixMs,
        revoked: &(dyn for<'k> Fn(&'k ApiKeyId) -> KeyEvent + Sync),
    ) -> Result<Vec<EndedKey>, StoreError>;

    /// The keys that open something and come from this one, oldest first: made with it, its successor, and what comes
    /// from those in turn, also where the row of one in between is gone.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn descendants(&self, key: &ApiKeyId, at: UnixMs) -> Result<Vec<ApiKeyId>, StoreError>;

    /// Removes up to `limit` keys that ended before `before`, and keeps their audit trail; how many they were. A key
    /// whose predecessor is still there stays.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    async fn purge_ended_keys(&self, before: UnixMs, limit: u32) -> Result<u64, StoreError>;

    /// Notes when keys were last used, all in one statement. A time that is earlier than what is noted changes nothing.
    ///
    /// # Errors
    /// When the database does not take it.
    async fn note_use(&self, used: &[(ApiKeyId, UnixMs)]) -> Result<(), StoreError>;
}
