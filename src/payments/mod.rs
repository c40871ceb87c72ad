//! Deciding whether a payment is good, and keeping the books.
//!
//! [`proof`] judges the 402pay payment proof, [`x402`] speaks x402. A refused payment is a value, a [`Verdict`]; errors
//! are for what could not be decided. What was decided is kept by a [`PaymentStore`], whose unique constraints are the
//! last judge of replays; a [`ClaimStore`] gives the fast first answer. [`settlement`] makes payments final that the
//! service signs for.

mod claims;
mod entry;
mod payment;
pub mod proof;
mod recorder;
pub mod settlement;
pub mod spending;
mod store;
mod verdict;
pub mod x402;

pub use claims::{Claim, ClaimOutcome, ClaimStore};
pub use entry::{Entry, Source};
pub use payment::{Payment, PaymentState};
pub use recorder::Recorder;
pub use store::{Objection, OnRecord, Paying, PayingAgent, PaymentPage, PaymentStore, RecordOutcome, Used};
pub use verdict::{LimitFacts, Refusal, RefusalCode, Verdict};
