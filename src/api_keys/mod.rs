//! API keys: what they may do, how they are made and ended, and who calls with one.
//!
//! A key made by the service carries a short tag under a secret of the server's. A text without a good tag is turned away
//! by arithmetic alone; bcrypt and the database are for keys that were once made here.

mod authenticator;
mod bootstrap;
mod digest;
mod environment;
mod guard;
mod hasher;
mod herald;
mod key;
mod last_used;
mod model;
mod remembered;
mod scope;
pub mod service;
mod store;
mod tags;
mod wire;

pub use authenticator::{Authenticator, Foundations};
pub use bootstrap::{BootstrapKey, BootstrapKeys, InvalidBootstrapKey, SharedPrefix};
pub use environment::Environment;
pub use guard::{ActorNow, Guard, Hindrance, KeyCounts, Kind, MADE_WITHIN, MAX_ACTIVE_KEYS, MAX_MADE_KEYS};
pub use hasher::{HashFailure, Hasher};
pub use herald::Herald;
pub use key::{MAX_KEY_LENGTH, PlainKey};
pub use last_used::LastUsed;
pub use model::{ApiKeyRecord, Standing, StoredKey};
pub use remembered::KeyCheckError;
pub use scope::{Scope, Scopes, UnknownScope};
use solana_pubkey::Pubkey;
pub use store::{
    ApiKeyPage, ApiKeyStore, Created, EndedKey, KeyEvent, KeyEventKind, KeysOf, Rotation, RotationOutcome,
    Together,
};
pub use tags::Tags;
pub use wire::{CreateMembers, MAX_NAME, MAX_OVERLAP_SECS, MAX_RECIPIENTS, MAX_USER, NewKey, RotateMembers};

use std::time::Duration;

use crate::{clock::UnixMs, ids::ApiKeyId};

/// How long a key that has ended stays in lists. Its audit trail is kept for ever.
pub const ENDED_KEPT_FOR: Duration = Duration::from_hours(90 * 24);

/// Who a request comes from, once its key is known to be good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Names the key: its id, or the public prefix of one from `VALID_API_KEYS`.
    pub key_id: String,
    /// The public prefix, by which the log knows the key.
    pub key_prefix: String,
    /// Whether it is one of `VALID_API_KEYS`, of which nothing is in the database.
    pub is_configured: bool,
    /// Owner of what the caller creates. Nobody else sees it.
    pub user: String,
    /// What the key may do.
    pub scopes: Scopes,
    /// Wallets that payments verified with this key must go to, where no requirement says otherwise.
    pub recipients: Vec<Pubkey>,
    /// When the key ends. No key made with it lasts longer.
    pub expires_at: Option<UnixMs>,
}

impl Caller {
    /// The key's row.
    fn row(&self) -> Option<ApiKeyId> {
        (!self.is_configured).then(|| ApiKeyId::from_stored(self.key_id.clone()))
    }
}
