//! Making a payment final: signing for its fee has happened, and now it has to land, once, and the books have to say
//! what came of it.
//!
//! A settlement goes through the database: **claimed** by its message, so that twins wait for the first; **journalled**
//! with its bytes and the last block it can land in, which is committed before anything is sent; **ended** by what the
//! chain says, the first writer's word being the last. The same bytes are sent again and again until then. A journalled
//! settlement belongs to an instance for as long as it renews its lease; when the lease has run out, another instance
//! goes on with it, and two that work on it for a moment do no harm: the bytes are the same, and so is the chain.
//!
//! Three things end a settlement, and nothing else does: the chain has it without an error (settled), the chain has it
//! with one (failed), or the last block it could land in is final and the chain, asked with its history, does not know it
//! (expired: it is safe to pay again), which is two minutes after the journal entry at the earliest, whatever a node says
//! of its height. What a send returned, or that nothing was heard for a while, says nothing. By default `confirmed` counts
//! as landed. A fork can still drop a confirmed transaction, which has not happened on mainnet; with `finalized` as the bar
//! even that cannot.
//!
//! [`Engine`] decides, and does nothing by itself: it takes what happened ([`Event`]) with the time it happened at, and
//! says what to do ([`Effect`]). [`Settlements`] does it. The simulation in `tests/it/settlement` does it as well, in
//! every order, with crashes in between.

mod driver;
mod engine;
mod model;
mod policy;
mod run;
mod state;
mod store;

pub use driver::Settlements;
pub use engine::{Effect, Engine, Event, Now, RequestNumber, StatusRound, Trouble};
pub use model::{
    Answer, Ending, MessageHash, NewSettlement, Record, Settled, SettlementState, Sponsored, TermsHash,
    WITHOUT_KEY, kept_resource,
};
pub use policy::{Caps, Policy};
pub use state::{InFlight, Step};
pub use store::{Cap, Claim, Claimed, Finished, Journal, Journalled, SettlementStore};
