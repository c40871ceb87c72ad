//! Settlements and what is said of them.

use solana_pubkey::Pubkey;
use solana_signature::Signature;

use crate::{
    agents::NotAdmitted,
    chain::assets::Network,
    clock::UnixMs,
    ids::{AgentId, PaymentId},
    money::{Amount, Currency},
};

/// SHA-256 of a transaction's message: what a payment is known by. The envelope would not do, as anybody may change the
/// signature that the fee payer will replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageHash(pub [u8; 32]);

/// Digest of the payment requirements that a message is to be settled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TermsHash(pub [u8; 32]);

/// Stands for the key of callers who have none. No key is called so.
pub const WITHOUT_KEY: &str = "anonymous";

/// How much of a resource is kept in the books, in bytes.
const KEPT_RESOURCE: usize = 2_048;

/// A payment that was found good, signed by everyone, and is about to be journalled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSettlement {
    /// As it is sent, fully signed.
    pub transaction: Vec<u8>,
    /// The fee payer's, which names the transaction.
    pub signature: Signature,
    pub fee_payer: Pubkey,
    pub payer: Pubkey,
    pub pay_to: Pubkey,
    /// The mint.
    pub asset: Pubkey,
    /// Where the mint is that of a known one.
    pub currency: Option<Currency>,
    pub amount: Amount,
    pub network: Network,
    /// What is paid for: the whole of it where an agent pays, whose services it is held against.
    pub resource: Option<String>,
    /// The caller's user.
    pub owner: Option<String>,
    /// The agent that pays, whose limits it counts against.
    pub agent: Option<AgentId>,
    /// The caller's key, or [`WITHOUT_KEY`]: whose daily cap the fee counts against.
    pub key_id: Option<String>,
    /// The most that the fee payer can be charged: base fee and priority fee.
    pub max_fee_lamports: u64,
    pub x402_version: u8,
}

/// The beginning of a resource, as it is kept in the books.
#[must_use]
pub fn kept_resource(resource: &str) -> &str {
    &resource[..resource.floor_char_boundary(KEPT_RESOURCE)]
}

/// How a settlement ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    Settled {
        slot: u64,
    },
    /// It landed and the chain refused it. The fee is spent.
    Failed {
        slot: u64,
        /// The chain's own words.
        reason: String,
    },
    /// It has not landed and never will: safe to pay again.
    Expired,
}

impl Ending {
    /// Whether the chain took the fee.
    #[must_use]
    pub const fn landed(&self) -> bool {
        self.slot().is_some()
    }

    #[must_use]
    pub const fn slot(&self) -> Option<u64> {
        match self {
            Self::Settled { slot } | Self::Failed { slot, .. } => Some(*slot),
            Self::Expired => None,
        }
    }

    /// As the books and the metrics spell it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Settled { .. } => "settled",
            Self::Failed { .. } => "failed",
            Self::Expired => "expired",
        }
    }
}

/// Where a settlement in the books stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettlementState {
    Pending,
    Ended(Ending),
}

/// A settlement in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub message: MessageHash,
    pub payment: PaymentId,
    pub signature: Signature,
    pub payer: Pubkey,
    pub amount: Amount,
    pub journalled_at: UnixMs,
    /// It cannot land in a block higher than this.
    pub last_valid_block_height: u64,
    pub state: SettlementState,
}

/// What a request to settle is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What the books say, be it from an earlier request.
    Ended(Box<Record>),
    /// It is in the books, or may be, and its outcome is not known yet. The same request sent again gets it.
    Pending { signature: Signature },
    /// The message is being, or was, settled for other requirements, or its transaction is another payment's.
    Duplicate,
    /// The caller found it not good, and knows why. Nothing was sent.
    Refused,
    /// A day's fees are used up. Nothing was sent.
    CapReached(super::Cap),
    /// The agent may not pay so much, or for that. Nothing was sent.
    NotAdmitted(NotAdmitted),
    /// Too much is in flight, or the service is about to end. Nothing was done.
    Busy,
    /// This request has sent nothing, for want of the database or the chain, or of time where somebody else has the message.
    /// What that comes to, the same request sent again gets to know.
    Unavailable,
}

impl Answer {
    /// Whether the settlement is in the books, as far as this says.
    #[must_use]
    pub const fn is_booked(&self) -> bool {
        matches!(self, Self::Ended(_) | Self::Pending { .. })
    }
}

/// What became of a request to settle; `R` is why the caller refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled<R> {
    Answered(Answer),
    Refused(R),
}

/// A day's transaction fees, in lamports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sponsored {
    /// The most that what is in flight can cost.
    pub reserved: u64,
    /// The most that what landed has cost.
    pub spent: u64,
}
