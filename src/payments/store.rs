//! Where payments are kept.

use async_trait::async_trait;
use solana_signature::Signature;

use super::Payment;
use crate::store_error::StoreError;

/// What of a proof had been used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    Nonce,
    Transaction,
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
    pub payments: Vec<Payment>,
    /// How many there are on all pages.
    pub total: u64,
}

#[async_trait]
pub trait PaymentStore: std::fmt::Debug + Send + Sync {
    /// Whether the nonce or the transaction is in the books. Only a hint: [`record`](Self::record) judges.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn used(&self, nonce: &str, transaction: &Signature) -> Result<Option<Used>, StoreError>;

    /// In one database transaction: uses the nonce, records the payment, appends the event. Returns once that is
    /// committed.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    async fn record(&self, payment: &Payment) -> Result<RecordOutcome, StoreError>;

    /// The owner's payment with this id or Solana signature.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn find(&self, owner: &str, id_or_signature: &str) -> Result<Option<Payment>, StoreError>;

    /// # Errors
    /// When the database does not answer.
    async fn list(&self, owner: &str, limit: u32, offset: u32) -> Result<PaymentPage, StoreError>;
}
