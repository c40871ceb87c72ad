//! Where payments are kept.

use async_trait::async_trait;
use solana_signature::Signature;

use super::{Entry, Payment};
use crate::{clock::UnixMs, requirements::IssuedRequirement, store_error::StoreError};

/// What of a proof had been used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    Nonce,
    Transaction,
}

/// What the books know of a nonce and a transaction before a payment with them is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnRecord {
    pub used: Option<Used>,
    /// The requirement issued under the nonce.
    pub issued: Option<IssuedRequirement>,
}

/// What became of a payment that was to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// Committed.
    Recorded,
    /// Nothing was written: another payment has the nonce or the transaction.
    AlreadyUsed(Used),
}

/// One page of a user's payments, newest first.
#[derive(Clone, Debug)]
pub struct PaymentPage {
    pub payments: Vec<Entry>,
    /// How many there are on all pages.
    pub total: u64,
}

#[async_trait]
pub trait PaymentStore: std::fmt::Debug + Send + Sync {
    /// In one round trip: whether the nonce or the transaction is in the books, and what was issued under the nonce. The
    /// first is only a hint: [`record_all`](Self::record_all) judges.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn on_record(&self, nonce: &str, transaction: &Signature) -> Result<OnRecord, StoreError>;

    /// In one database transaction: records the payments, uses their nonces, appends their events. Returns once that
    /// is committed, with an outcome for each. One that was used before changes nothing for the others.
    ///
    /// # Errors
    /// When the database did not confirm the commit; this then holds for all.
    async fn record_all(&self, payments: &[Payment]) -> Result<Vec<RecordOutcome>, StoreError>;

    /// Forgets up to `limit` used nonces from before `before`; how many they were. They stay used: every payment keeps
    /// its own.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn purge_nonces(&self, before: UnixMs, limit: u32) -> Result<u64, StoreError>;

    /// The payment with this nonce, whoever owns it.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn find_by_nonce(&self, nonce: &str) -> Result<Option<Payment>, StoreError>;

    /// The owner's payment with this id or Solana signature.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn find(&self, owner: &str, id_or_signature: &str) -> Result<Option<Entry>, StoreError>;

    /// The settlement with this Solana signature that was asked for without an API key first, whoever has adopted it
    /// since: anybody may ask how it stands.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn find_anonymous(&self, signature: &Signature) -> Result<Option<Entry>, StoreError>;

    /// # Errors
    /// When the database does not answer.
    async fn list(&self, owner: &str, limit: u32, offset: u32) -> Result<PaymentPage, StoreError>;
}
