//! What the engine is told and what it says.

use std::{sync::Arc, time::Duration};

use solana_signature::Signature;

use crate::{
    chain::settlement::{Finality, Findings},
    ids::PaymentId,
    payments::settlement::{
        Answer, Claim, Claimed, Ending, Finished, InFlight, Journal, Journalled, MessageHash, NewSettlement,
        TermsHash,
    },
};

/// Names a request to one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestNumber(pub u64);

/// Why an effect came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It did not take place.
    Unavailable,
    /// It may have taken place.
    Unknown,
}

/// Which question for statuses it is, and thereby how thorough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusRound {
    /// All there is, in turn.
    Recent,
    /// Those about which something was heard.
    Hinted,
    /// Those whose last block is final, with history up to here. None was journalled longer ago than this.
    History(Finality, Duration),
}

/// What the engine wants done. Each is answered by the [`Event`] of its name, whenever, or never.
#[derive(Clone, Debug)]
pub enum Effect {
    Claim(RequestNumber, Claim),
    /// The caller verifies and signs.
    Prepare(RequestNumber),
    LastValid(RequestNumber),
    Journal(RequestNumber, Box<Journal>),
    Abandon(RequestNumber, Claim),
    /// For the caller; the request is over. It is not answered by an event.
    Answer(RequestNumber, Answer),
    Send(MessageHash, Arc<[u8]>),
    Statuses(StatusRound, Vec<(MessageHash, Signature)>),
    Finality,
    Finish(MessageHash, Ending),
    Renew(Vec<MessageHash>),
    TakeOver {
        limit: u32,
    },
    ForgetClaims,
}

/// What has happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request, under a number that was not used before.
    Settle(RequestNumber, MessageHash, TermsHash),
    /// The chain told somebody about this transaction: worth asking now.
    Hint(Signature),
    /// Nothing but that time has passed.
    Tick,
    Claimed(RequestNumber, Claim, Result<Claimed, Trouble>),
    /// `None`: the caller does not want it settled.
    Prepared(RequestNumber, Option<Box<(PaymentId, NewSettlement)>>),
    LastValid(RequestNumber, Result<u64, Trouble>),
    Journalled(RequestNumber, Box<Journal>, Result<Journalled, Trouble>),
    /// Whether the claim was there to be given up.
    Abandoned(RequestNumber, Result<bool, Trouble>),
    Sent(MessageHash),
    Statuses(StatusRound, Vec<(MessageHash, Signature)>, Result<Findings, Trouble>),
    Finality(Result<Finality, Trouble>),
    Finished(MessageHash, Result<Option<Finished>, Trouble>),
    /// Those that were asked for, and which of them this instance still has.
    Renewed(Vec<MessageHash>, Result<Vec<MessageHash>, Trouble>),
    TakenOver(Result<Vec<InFlight>, Trouble>),
    Forgot,
}
