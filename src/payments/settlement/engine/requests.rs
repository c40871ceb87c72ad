//! Requests to settle, each from its claim to its answer.

use std::time::Duration;

use solana_signature::Signature;

use super::{Effect, Engine, Now, RequestNumber, Trouble};
use crate::{
    ids::PaymentId,
    payments::settlement::{
        Answer, Claim, Claimed, Finished, InFlight, Journal, Journalled, MessageHash, NewSettlement,
        SettlementState, TermsHash,
    },
};

#[derive(Debug)]
pub(super) struct Request {
    message: MessageHash,
    terms: TermsHash,
    deadline: Duration,
    /// Where it is known.
    signature: Option<Signature>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Asked the database whose the message is.
    Claiming,
    /// It is somebody else's; looked at again then.
    Waiting { again_at: Duration },
    /// The caller verifies and signs.
    Preparing(Claim),
    /// Asked the chain how long the transaction can land.
    Dating(Claim, Box<(PaymentId, NewSettlement)>),
    /// Asked the database to write it down; `in_doubt` where an earlier try may have succeeded.
    Journalling { in_doubt: bool },
    /// It was not known whether it was written; written again then.
    Doubting { again_at: Duration, journal: Box<Journal> },
    /// In flight here.
    Flying,
    /// Giving the claim back before this is answered.
    Abandoning(Answer),
}

impl Request {
    pub(super) fn wake_at(&self) -> Duration {
        match self.stage {
            Stage::Waiting { again_at } | Stage::Doubting { again_at, .. } => again_at.min(self.deadline),
            _ => self.deadline,
        }
    }

    /// What to say when time is up.
    fn overdue(&self) -> Answer {
        match (&self.stage, self.signature) {
            (Stage::Abandoning(answer), _) => answer.clone(),
            // Nothing was signed, or nothing signed was written down.
            (Stage::Preparing(_) | Stage::Dating(..), _) | (_, None) => Answer::Unavailable,
            (_, Some(signature)) => Answer::Pending { signature },
        }
    }
}

impl Engine {
    pub(super) fn settle(
        &mut self,
        number: RequestNumber,
        message: MessageHash,
        terms: TermsHash,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let full = self.requests.len() >= self.policy.max_requests
            || self.requests.len() + self.flights.len() >= self.policy.max_in_flight;
        let known = self.flights.known(&message, &terms);
        if self.draining || full || known == Some(Answer::Duplicate) {
            effects.push(Effect::Answer(number, self.turned_away(&message, &terms)));
            return;
        }
        let deadline = now.steady + self.policy.answer_within;
        // What is in flight here has been sent, also while the database cannot say so.
        let signature = match known {
            Some(Answer::Pending { signature }) => Some(signature),
            _ => None,
        };
        let request = Request { message, terms, deadline, signature, stage: Stage::Claiming };
        effects.push(Effect::Claim(number, self.claim(&request, now)));
        self.requests.insert(number, request);
    }

    /// What a request is told for which nothing is begun.
    #[must_use]
    pub fn turned_away(&self, message: &MessageHash, terms: &TermsHash) -> Answer {
        self.flights.known(message, terms).unwrap_or(Answer::Busy)
    }

    fn claim(&mut self, request: &Request, now: Now) -> Claim {
        self.attempts += 1;
        Claim {
            message: request.message,
            terms: request.terms,
            holder: self.holder.clone(),
            attempt: format!("{}/{}", self.holder, self.attempts),
            at: now.wall,
            lease_until: now.wall + self.policy.claim_lease,
        }
    }

    pub(super) fn claimed(
        &mut self,
        number: RequestNumber,
        claim: Claim,
        claimed: Result<Claimed, Trouble>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(request) = self.requests.get_mut(&number) else {
            // Too late for the one who asked.
            if matches!(claimed, Ok(Claimed::Fresh) | Err(_)) {
                effects.push(Effect::Abandon(number, claim));
            }
            return;
        };
        let again_at = now.steady + self.policy.wait_every;
        match claimed {
            Ok(Claimed::Fresh) => {
                request.stage = Stage::Preparing(claim);
                effects.push(Effect::Prepare(number));
            }
            Ok(Claimed::Verifying) => request.stage = Stage::Waiting { again_at },
            Ok(Claimed::OtherTerms) => self.answer(number, Answer::Duplicate, effects),
            Ok(Claimed::Booked(record)) => {
                request.signature = Some(record.signature);
                if matches!(record.state, SettlementState::Ended(_)) {
                    self.answer(number, Answer::Ended(record), effects);
                } else if self.flights.wait(&record.message, number) {
                    request.stage = Stage::Flying;
                } else {
                    request.stage = Stage::Waiting { again_at };
                }
            }
            // Once something is known to be signed, not reaching the database is no reason to say that nothing is. Another
            // request may have signed it meanwhile.
            Err(_) => match self.flights.known(&request.message, &request.terms) {
                Some(Answer::Pending { signature }) => {
                    request.signature = Some(signature);
                    request.stage = Stage::Waiting { again_at };
                }
                Some(duplicate) => self.answer(number, duplicate, effects),
                None if request.signature.is_some() => request.stage = Stage::Waiting { again_at },
                None => self.abandon(number, claim, Answer::Unavailable, effects),
            },
        }
    }

    pub(super) fn prepared(
        &mut self,
        number: RequestNumber,
        prepared: Option<Box<(PaymentId, NewSettlement)>>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(request) = self.requests.get_mut(&number) else { return };
        let Stage::Preparing(claim) = &request.stage else { return };
        let claim = claim.clone();
        match prepared {
            Some(new) => {
                request.stage = Stage::Dating(claim, new);
                effects.push(Effect::LastValid(number));
            }
            None => self.abandon(number, claim, Answer::Refused, effects),
        }
    }

    pub(super) fn dated(
        &mut self,
        number: RequestNumber,
        last_valid: Result<u64, Trouble>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(request) = self.requests.get_mut(&number) else { return };
        let Stage::Dating(claim, new) = &request.stage else { return };
        let claim = claim.clone();
        let Ok(last_valid_block_height) = last_valid else {
            self.abandon(number, claim, Answer::Unavailable, effects);
            return;
        };
        let (payment, settlement) = new.as_ref().clone();
        let caps = self.policy.caps_of(settlement.key_id.as_deref());
        request.signature = Some(settlement.signature);
        request.stage = Stage::Journalling { in_doubt: false };
        let journal = Journal {
            claim,
            payment,
            settlement,
            last_valid_block_height,
            at: now.wall,
            lease_until: now.wall + self.policy.lease,
            caps,
        };
        effects.push(Effect::Journal(number, Box::new(journal)));
    }

    /// What is journalled is in flight, whether or not somebody still waits for it.
    pub(super) fn journalled(
        &mut self,
        number: RequestNumber,
        journal: Box<Journal>,
        outcome: Result<Journalled, Trouble>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if outcome == Ok(Journalled::Done) {
            let waiter = self.requests.get_mut(&number).map(|request| {
                request.stage = Stage::Flying;
                number
            });
            self.flights.add(in_flight(&journal), waiter, &self.policy, now);
            return;
        }
        let Some(request) = self.requests.get_mut(&number) else { return };
        let again_at = now.steady + self.policy.wait_every;
        match outcome {
            Ok(Journalled::Done) => {}
            // Whoever has it now may have journalled it.
            Ok(Journalled::ClaimLost) => {
                request.signature = None;
                request.stage = Stage::Waiting { again_at };
            }
            Ok(Journalled::SignatureUsed) => {
                self.abandon(number, journal.claim, Answer::Duplicate, effects);
            }
            Ok(Journalled::CapReached(cap)) => {
                self.abandon(number, journal.claim, Answer::CapReached(cap), effects);
            }
            Ok(Journalled::NotAdmitted(why)) => {
                self.abandon(number, journal.claim, Answer::NotAdmitted(why), effects);
            }
            Err(Trouble::Unavailable) if matches!(request.stage, Stage::Journalling { in_doubt: false }) => {
                self.abandon(number, journal.claim, Answer::Unavailable, effects);
            }
            Err(_) => request.stage = Stage::Doubting { again_at, journal },
        }
    }

    pub(super) fn finished(
        &mut self,
        message: &MessageHash,
        finished: Result<Option<Finished>, Trouble>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        match finished {
            Ok(Some(Finished { record, .. })) => {
                for number in self.flights.remove(message) {
                    self.answer(number, Answer::Ended(Box::new(record.clone())), effects);
                }
            }
            // The books lost what was in them. Nothing true can be said any more.
            Ok(None) => drop(self.flights.remove(message)),
            Err(_) => self.flights.finish_again(message, &self.policy, now),
        }
    }

    /// Those that another instance has taken are its own now; who waits here looks into the books for them.
    pub(super) fn renewed(
        &mut self,
        asked: &[MessageHash],
        held: Result<Vec<MessageHash>, Trouble>,
        now: Now,
    ) {
        let again_at = now.steady + self.policy.wait_every;
        for message in self.flights.renewed(asked, held.ok(), &self.policy, now) {
            for number in self.flights.remove(&message) {
                if let Some(request) = self.requests.get_mut(&number) {
                    request.stage = Stage::Waiting { again_at };
                }
            }
        }
    }

    fn abandon(&mut self, number: RequestNumber, claim: Claim, answer: Answer, effects: &mut Vec<Effect>) {
        if let Some(request) = self.requests.get_mut(&number) {
            request.stage = Stage::Abandoning(answer);
        }
        effects.push(Effect::Abandon(number, claim));
    }

    pub(super) fn abandoned(
        &mut self,
        number: RequestNumber,
        held: Result<bool, Trouble>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(request) = self.requests.get_mut(&number) else { return };
        let Stage::Abandoning(answer) = &request.stage else { return };
        // Whoever has had the claim since may have journalled it, and that it landed be what it was refused for.
        let answer = match (answer, held) {
            (Answer::Refused, Ok(false)) => {
                request.stage = Stage::Waiting { again_at: now.steady + self.policy.wait_every };
                return;
            }
            (Answer::Refused, Err(_)) => Answer::Unavailable,
            (answer, _) => answer.clone(),
        };
        self.answer(number, answer, effects);
    }

    /// Whatever became of the request itself: nobody is told that nothing was sent while the message is in flight here.
    fn answer(&mut self, number: RequestNumber, answer: Answer, effects: &mut Vec<Effect>) {
        let Some(Request { message, terms, .. }) = self.requests.remove(&number) else { return };
        let is_known = answer.is_booked() || answer == Answer::Duplicate;
        let known = if is_known { None } else { self.flights.known(&message, &terms) };
        effects.push(Effect::Answer(number, known.unwrap_or(answer)));
    }

    /// Answers those whose time is up, and looks again for those that wait.
    pub(super) fn requests_due(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let due: Vec<RequestNumber> = self
            .requests
            .iter()
            .filter(|(_, request)| request.wake_at() <= now.steady)
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            if self.requests[&number].deadline <= now.steady {
                self.give_up(number, effects);
            } else {
                self.look_again(number, now, effects);
            }
        }
    }

    pub(super) fn give_up(&mut self, number: RequestNumber, effects: &mut Vec<Effect>) {
        let Some(request) = self.requests.get(&number) else { return };
        let answer = request.overdue();
        if let Stage::Preparing(claim) | Stage::Dating(claim, _) = &request.stage {
            effects.push(Effect::Abandon(number, claim.clone()));
        }
        self.answer(number, answer, effects);
    }

    fn look_again(&mut self, number: RequestNumber, now: Now, effects: &mut Vec<Effect>) {
        let Some(mut request) = self.requests.remove(&number) else { return };
        match request.stage {
            Stage::Waiting { .. } => {
                request.stage = Stage::Claiming;
                effects.push(Effect::Claim(number, self.claim(&request, now)));
            }
            Stage::Doubting { journal, .. } => {
                request.stage = Stage::Journalling { in_doubt: true };
                effects.push(Effect::Journal(number, journal));
            }
            _ => {}
        }
        self.requests.insert(number, request);
    }
}

fn in_flight(journal: &Journal) -> InFlight {
    InFlight {
        message: journal.claim.message,
        terms: journal.claim.terms,
        signature: journal.settlement.signature,
        transaction: journal.settlement.transaction.as_slice().into(),
        last_valid_block_height: journal.last_valid_block_height,
        journalled_at: journal.at,
    }
}
