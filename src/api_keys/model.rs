//! What a key is, as the database keeps it.

use solana_pubkey::Pubkey;

use super::{Caller, Environment, Scopes};
use crate::{clock::UnixMs, ids::ApiKeyId};

/// All of a key but its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyRecord {
    pub id: ApiKeyId,
    /// How the plain key begins. No other key has it.
    pub prefix: String,
    pub environment: Environment,
    pub name: String,
    /// Whose key it is.
    pub user: String,
    pub scopes: Scopes,
    pub recipients: Vec<Pubkey>,
    pub created_at: UnixMs,
    /// From this moment on it opens nothing.
    pub expires_at: Option<UnixMs>,
    /// To within a few seconds.
    pub last_used_at: Option<UnixMs>,
    pub revoked_at: Option<UnixMs>,
    /// The key that it was rotated to.
    pub replaced_by: Option<ApiKeyId>,
    /// The id or prefix of the key it was made with, or `operator`: of its audit trail.
    pub created_by: Option<String>,
}

/// Whether a key opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Active,
    Revoked,
    Expired,
}

impl ApiKeyRecord {
    #[must_use]
    pub fn standing(&self, now: UnixMs) -> Standing {
        if self.revoked_at.is_some() {
            Standing::Revoked
        } else if self.expires_at.is_some_and(|expires_at| expires_at <= now) {
            Standing::Expired
        } else {
            Standing::Active
        }
    }

    pub(super) fn caller(&self) -> Caller {
        Caller {
            key_id: self.id.to_string(),
            key_prefix: self.prefix.clone(),
            is_configured: false,
            user: self.user.clone(),
            scopes: self.scopes,
            recipients: self.recipients.clone(),
            expires_at: self.expires_at,
        }
    }
}

/// A key with what its secret is checked against.
#[derive(Clone)]
pub struct StoredKey {
    pub record: ApiKeyRecord,
    /// bcrypt's, of the plain key.
    pub hash: String,
}

/// Silent about the hash.
impl std::fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredKey").field("record", &self.record).finish_non_exhaustive()
    }
}
