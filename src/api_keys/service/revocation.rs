//! Ending keys: one, one with all that comes from it, or all of a user's.

use super::{Actor, ApiKeys, KeyError};
use crate::{
    api_keys::{ApiKeyRecord, EndedKey, KeyEvent, KeyEventKind, Together},
    clock::UnixMs,
    ids::ApiKeyId,
    store_error::StoreError,
};

impl ApiKeys {
    /// Ends a key for good. One that was revoked before stays so.
    ///
    /// # Errors
    /// When there is no such key, or the database does not answer.
    pub async fn revoke(&self, actor: Actor<'_>, id_or_prefix: &str) -> Result<ApiKeyRecord, KeyError> {
        let key = self.find(actor, id_or_prefix).await?;
        let revoked = self.event(&key.id, KeyEventKind::Revoked, actor);
        let changed = self.store.revoke_key(&revoked).await;
        // Also when it is not known whether it was.
        self.something_changed();
        let changed = changed?;
        self.ended(std::slice::from_ref(&key.id), revoked.at).await;
        if changed {
            tracing::info!(key = key.prefix, user = key.user, actor = actor.logged(), "API key revoked");
        }
        self.as_revoked(actor, key, changed.then_some(revoked.at)).await
    }

    /// Ends a key for good, and every key that comes from it: those that were made with it, its successor, and what
    /// comes from these. Gives the key and which others it ended.
    ///
    /// # Errors
    /// When there is no such key, or the database does not answer.
    pub async fn revoke_line(
        &self,
        actor: Actor<'_>,
        id_or_prefix: &str,
    ) -> Result<(ApiKeyRecord, Vec<EndedKey>), KeyError> {
        let key = self.find(actor, id_or_prefix).await?;
        let (mut ended, at) = self.end_together(actor, &key.user, Together::Line(&key.id)).await?;
        let all = ended.len();
        ended.retain(|ended| ended.id != key.id);
        let now_revoked = (ended.len() < all).then_some(at);
        Ok((self.as_revoked(actor, key, now_revoked).await?, ended))
    }

    /// Ends every key of a user; which those were. For the operator.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revoke_all_of(&self, user: &str) -> Result<Vec<EndedKey>, KeyError> {
        Ok(self.end_together(Actor::Operator, user, Together::All).await?.0)
    }

    /// The keys that come from this one and still work, see [`revoke_line`](Self::revoke_line).
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn active_descendants(&self, key: &ApiKeyRecord) -> Result<Vec<ApiKeyId>, StoreError> {
        self.store.descendants(&key.id, self.clock.now()).await
    }

    /// The key as it is now; `at` is when it was revoked, if that is known. Then it is not read again: nothing may fail
    /// between the commit and the answer that tells of it.
    async fn as_revoked(
        &self,
        actor: Actor<'_>,
        key: ApiKeyRecord,
        at: Option<UnixMs>,
    ) -> Result<ApiKeyRecord, KeyError> {
        match at.or(key.revoked_at) {
            Some(at) => Ok(ApiKeyRecord { revoked_at: Some(at), ..key }),
            // By somebody else, since it was read.
            None => self.find(actor, key.id.as_str()).await,
        }
    }

    /// Which keys it ended, and when.
    async fn end_together(
        &self,
        actor: Actor<'_>,
        user: &str,
        which: Together<'_>,
    ) -> Result<(Vec<EndedKey>, UnixMs), KeyError> {
        let now = self.clock.now();
        let event = |key: &ApiKeyId| KeyEvent { at: now, ..self.event(key, KeyEventKind::Revoked, actor) };
        let ended = self.store.revoke_together(user, which, now, &event).await;
        self.something_changed();
        let ended = ended?;
        let ids: Vec<_> = ended.iter().map(|key| key.id.clone()).collect();
        self.ended(&ids, now).await;
        for key in &ended {
            tracing::info!(key = key.prefix, user, actor = actor.logged(), "API key revoked");
        }
        Ok((ended, now))
    }
}
