//! Where payments are kept.

use async_trait::async_trait;
use solana_signature::Signature;

use solana_pubkey::Pubkey;

use super::{Entry, Payment};
use crate::{
    agents::{Agent, NotAdmitted, SpendingUnit},
    clock::UnixMs,
    requirements::IssuedRequirement,
    store_error::StoreError,
    subscriptions::Unpayable,
};

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
    /// The agent with the payer's wallet, of the user who will own the payment.
    pub agent: Option<PayingAgent>,
}

/// Whose agent is about to pay, and what with.
#[derive(Clone, Copy, Debug)]
pub struct Paying<'a> {
    pub wallet: Pubkey,
    /// The caller. Without one, it is an agent of whoever has issued what is under the nonce.
    pub user: Option<&'a str>,
    pub unit: SpendingUnit,
    pub at: UnixMs,
}

/// An agent that is about to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayingAgent {
    pub agent: Agent,
    /// On the day, of the unit that it pays with, in atomic units.
    pub spent: u64,
}

/// What became of a payment that was to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// Committed.
    Recorded,
    /// Nothing was written: another payment has the nonce or the transaction.
    AlreadyUsed(Used),
    /// Nothing was written.
    Refused(Objection),
}

/// Why a payment may not be, by those whom it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// Its agent was deleted.
    AgentGone,
    Agent(NotAdmitted),
    /// The owner has no such subscription.
    SubscriptionGone,
    Subscription(Unpayable),
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
    /// In one round trip: whether the nonce or the transaction is in the books, what was issued under the nonce, and the
    /// agent that is paying, if one is. All but what was issued is only a hint: recording judges.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn on_record(
        &self,
        nonce: &str,
        transaction: &Signature,
        paying: Option<Paying<'_>>,
    ) -> Result<OnRecord, StoreError>;

    /// For payments without consequences. In one database transaction: records the payments, uses their nonces, appends their events. Returns once that
    /// is committed, with an outcome for each. One that was used before changes nothing for the others.
    ///
    /// # Errors
    /// When the database did not confirm the commit; this then holds for all.
    async fn record_all(&self, payments: &[Payment]) -> Result<Vec<RecordOutcome>, StoreError>;

    /// For payments with [consequences](Payment::has_consequences), and without: as [`record_all`](Self::record_all), and
    /// in the same database transaction what follows from each payment. One that those whom it concerns object to changes
    /// nothing for the others.
    ///
    /// # Errors
    /// When the database did not confirm the commit; this then holds for all.
    async fn record_with_consequences(&self, payments: &[Payment]) -> Result<Vec<RecordOutcome>, StoreError>;

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
