//! Where settlements are kept. Each method is one whole decision, committed when it returns.

use async_trait::async_trait;
use solana_signature::Signature;

use super::{Caps, Ending, InFlight, MessageHash, NewSettlement, Record, Sponsored, TermsHash};
use crate::{
    agents::NotAdmitted,
    clock::UnixMs,
    ids::{AgentId, PaymentId},
    money::Currency,
    store_error::StoreError,
};

/// One attempt to settle a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub message: MessageHash,
    pub terms: TermsHash,
    /// The instance.
    pub holder: String,
    /// No other attempt has it, at this instance or another.
    pub attempt: String,
    pub at: UnixMs,
    pub lease_until: UnixMs,
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is this attempt's, until its lease runs out.
    Fresh,
    /// Another attempt has it, and nothing is signed yet.
    Verifying,
    /// Journalled for the same requirements.
    Booked(Box<Record>),
    /// Journalled for other requirements.
    OtherTerms,
}

/// What is written down before a transaction is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    pub claim: Claim,
    pub payment: PaymentId,
    pub settlement: NewSettlement,
    pub last_valid_block_height: u64,
    pub at: UnixMs,
    pub lease_until: UnixMs,
    pub caps: Caps,
}

/// Whose daily fees are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    Key,
    Total,
}

/// What became of a journal entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journalled {
    /// Committed, by this call or an earlier one of the same attempt: it may be sent.
    Done,
    /// Somebody else has the claim. Nothing was written.
    ClaimLost,
    /// Another payment has the transaction. Nothing was written.
    SignatureUsed,
    /// Nothing was written.
    CapReached(Cap),
    /// The agent may not pay so much, or for that. Nothing was written.
    NotAdmitted(NotAdmitted),
}

/// What the books say once a settlement has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    pub record: Record,
    /// Whether this call ended it, and not an earlier one.
    pub first: bool,
    /// The fee that was reserved for it.
    pub reserved_lamports: u64,
    /// The agent that paid.
    pub agent: Option<AgentId>,
    /// Where the mint is that of a known one.
    pub currency: Option<Currency>,
}

#[async_trait]
pub trait SettlementStore: std::fmt::Debug + Send + Sync {
    /// Claims a message that nobody has, or whose claimant's lease has run out before anything was journalled.
    ///
    /// # Errors
    /// When the database did not confirm it. The claim may be there all the same.
    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError>;

    /// What a claim would be told of what is journalled, with nothing claimed; else [`Claimed::Verifying`].
    ///
    /// # Errors
    /// When the database does not answer.
    async fn look_up(&self, message: &MessageHash, terms: &TermsHash) -> Result<Claimed, StoreError>;

    /// Gives a claim up; whether it was there to be given up. It is not when the attempt has journalled.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn abandon(&self, claim: &Claim) -> Result<bool, StoreError>;

    /// In one database transaction: journals the settlement, enters it as pending into the books, where its Solana
    /// transaction is then used, holds its amount against its agent's limits until it ends, and reserves its fee. The same entry again is answered as it was the first time.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when it may have been committed; nothing was written with any other error.
    async fn journal(&self, journal: &Journal) -> Result<Journalled, StoreError>;

    /// In one database transaction: ends a settlement in the books and turns its reserved fee, and what its agent had
    /// held, into spent ones, or releases them. The first one to end it decides. `None`: nothing is journalled under this message.
    ///
    /// # Errors
    /// When the database did not confirm it.
    async fn finish(
        &self,
        message: &MessageHash,
        ending: &Ending,
        at: UnixMs,
    ) -> Result<Option<Finished>, StoreError>;

    /// Prolongs the leases of up to 256 settlements that `holder` has; which they are.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn renew(
        &self,
        holder: &str,
        messages: &[MessageHash],
        until: UnixMs,
    ) -> Result<Vec<MessageHash>, StoreError>;

    /// Takes up to `limit` unfinished settlements whose leases ran out before `now`.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn take_over(
        &self,
        holder: &str,
        now: UnixMs,
        until: UnixMs,
        limit: u32,
    ) -> Result<Vec<InFlight>, StoreError>;

    /// Removes up to `limit` claims whose leases ran out before `now`, with nothing journalled; how many they were.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn forget_claims(&self, now: UnixMs, limit: u32) -> Result<u64, StoreError>;

    /// In one database transaction: enters the settlement of this message for these requirements, and its events, under
    /// this user where they are nobody's; whether they were.
    ///
    /// # Errors
    /// When the database did not confirm it.
    async fn adopt(&self, message: &MessageHash, terms: &TermsHash, owner: &str) -> Result<bool, StoreError>;

    /// The settlement with this Solana signature, whoever asked for it.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn find(&self, signature: &Signature) -> Result<Option<Record>, StoreError>;

    /// The fees of the UTC day of `at`: of one key, or of all with `None`.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn sponsored(&self, at: UnixMs, key_id: Option<&str>) -> Result<Sponsored, StoreError>;
}
