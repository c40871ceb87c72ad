//! What the engines want done, done to store and chain: or not, or later, or without their hearing of it.

use pay402::{
    chain::settlement::Findings,
    clock::UnixMs,
    ids::PaymentId,
    payments::settlement::{Effect, Event, InFlight, RequestNumber, StatusRound, Trouble},
};

use solana_signature::Signature;

use super::World;

/// What becomes of a call to the store.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Fine,
    Unavailable,
    DoneButUnknown,
    NotDoneUnknown,
    DoneLaterUnknown,
    NeverAnswered,
    NeverReached,
}

impl World {
    /// What comes of an effect, if anything.
    pub(super) fn execute(&mut self, index: usize, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Prepare(number) => self.prepare(index, number),
            Effect::LastValid(number) => {
                let height = self.last_valid(index, number);
                self.chain_answers(Event::LastValid(number, Ok(height)), Event::LastValid(number, UNREACHED))
            }
            Effect::Finality => {
                let finality = match &self.nodes {
                    Some(nodes) => nodes.finality(&self.chain, &mut self.random, self.calm),
                    None => self.chain.finality(&mut self.random, self.calm),
                };
                self.chain_answers(Event::Finality(Ok(finality)), Event::Finality(Err(Trouble::Unavailable)))
            }
            Effect::Statuses(round, asked) => {
                let signatures: Vec<Signature> = asked.iter().map(|(_, signature)| *signature).collect();
                let found = self.find(round, &signatures).ok_or(Trouble::Unavailable);
                let answer = Event::Statuses(round, asked.clone(), found);
                self.chain_answers(answer, Event::Statuses(round, asked, Err(Trouble::Unavailable)))
            }
            Effect::Send(message, _) => {
                self.apply(index, &effect);
                let sent = Event::Sent(message);
                self.chain_answers(sent.clone(), sent)
            }
            Effect::Answer(..) => unreachable!("answers are not executed"),
            _ => self.store(index, effect),
        }
    }

    fn last_valid(&mut self, index: usize, number: RequestNumber) -> u64 {
        let key = (self.instances[index].number, number);
        let request = self.requests.get(&key).filter(|_| self.random.percent(50));
        // The role promises a bound, however tight.
        let least = request.map(|request| self.payments[request.payment].transaction.last_height);
        let (chain, random, calm) = (&self.chain, &mut self.random, self.calm);
        if let Some(nodes) = &self.nodes {
            return nodes.last_valid_block_height(chain, least, random, calm);
        }
        let height = least.unwrap_or_else(|| chain.last_valid_block_height(random, calm));
        if chain.lies && !calm && random.percent(30) { random.below(height) } else { height }
    }

    /// What the chain says of these.
    fn find(&mut self, round: StatusRound, asked: &[Signature]) -> Option<Findings> {
        let (chain, random, calm) = (&self.chain, &mut self.random, self.calm);
        let Some(nodes) = &mut self.nodes else {
            // Now and then the endpoint has pruned its history, or does not tell how far back it knows.
            let is_pruned = !calm && random.percent(20);
            let statuses = asked.iter().map(|signature| match round {
                StatusRound::History(..) if is_pruned => None,
                StatusRound::History(finality, _) => chain.history(signature, finality.slot, random, calm),
                _ => chain.recent(signature, random, calm),
            });
            let statuses = statuses.collect();
            let since = (calm || random.percent(50)).then_some(UnixMs(if is_pruned { i64::MAX } else { 0 }));
            return Some(Findings { statuses, since });
        };
        let found = match round {
            StatusRound::History(finality, age) => {
                nodes.history(chain, asked, (finality, age), random, calm).ok()
            }
            _ => Some(nodes.recent(chain, asked, random, calm)),
        };
        (self.seen.made_up, self.seen.held_back) = (nodes.made_up, nodes.held_back);
        found
    }

    fn fate(&mut self) -> Fate {
        if self.calm {
            return Fate::Fine;
        }
        if self.now_ms < self.store_away_until_ms {
            return [Fate::Unavailable, Fate::NotDoneUnknown, Fate::NeverReached][self.random.index(3)];
        }
        match self.random.below(100) {
            0..80 => Fate::Fine,
            80..86 => Fate::Unavailable,
            86..91 => Fate::DoneButUnknown,
            91..94 => Fate::NotDoneUnknown,
            94..97 => Fate::DoneLaterUnknown,
            _ => Fate::NeverAnswered,
        }
    }

    fn chain_answers(&mut self, fine: Event, failed: Event) -> Option<Event> {
        match self.random.below(100) {
            _ if self.calm => Some(fine),
            0..85 => Some(fine),
            85..97 => Some(failed),
            _ => None,
        }
    }

    fn store(&mut self, index: usize, effect: Effect) -> Option<Event> {
        if let Effect::Claim(number, claim) = &effect {
            let key = (self.instances[index].number, *number);
            if let Some(request) = self.requests.get_mut(&key) {
                request.attempts.insert(claim.attempt.clone());
            }
        }
        let fate = self.fate();
        let trouble = if fate == Fate::Unavailable { Trouble::Unavailable } else { Trouble::Unknown };
        let is_journal = matches!(effect, Effect::Journal(..));
        self.seen.lost_commits += u64::from(is_journal && fate == Fate::DoneButUnknown);
        match fate {
            Fate::Fine => self.apply(index, &effect),
            Fate::DoneButUnknown => {
                self.apply(index, &effect);
                Some(failed(effect, trouble))
            }
            Fate::DoneLaterUnknown => {
                self.ghosts.push(effect.clone());
                Some(failed(effect, trouble))
            }
            Fate::Unavailable | Fate::NotDoneUnknown => Some(failed(effect, trouble)),
            Fate::NeverAnswered => {
                self.apply(index, &effect);
                None
            }
            Fate::NeverReached => None,
        }
    }

    /// Does to store and chain what an effect does.
    pub(super) fn apply(&mut self, index: usize, effect: &Effect) -> Option<Event> {
        let wall = self.wall(index);
        Some(match effect.clone() {
            Effect::Claim(number, claim) => {
                let claimed = self.model.claim(&claim);
                Event::Claimed(number, claim, Ok(claimed))
            }
            Effect::Abandon(number, claim) => {
                let held = self.model.abandon(&claim);
                Event::Abandoned(number, Ok(held))
            }
            Effect::Journal(number, journal) => {
                let outcome = self.model.journal(&journal);
                Event::Journalled(number, journal, Ok(outcome))
            }
            Effect::Finish(message, ending) => {
                let finished = self.model.finish(&message, &ending);
                Event::Finished(message, Ok(finished))
            }
            Effect::Renew(messages) => {
                let holder = self.instances[index].engine.holder().to_owned();
                let held = self.model.renew(&holder, &messages, wall + self.policy.lease);
                Event::Renewed(messages, Ok(held))
            }
            Effect::TakeOver { limit } => {
                let holder = self.instances[index].engine.holder().to_owned();
                let taken = self.model.take_over(&holder, wall, wall + self.policy.lease, limit);
                self.seen.taken_over += taken.len() as u64;
                Event::TakenOver(Ok(taken))
            }
            Effect::ForgetClaims => {
                self.model.forget_claims(wall);
                Event::Forgot
            }
            Effect::Send(message, bytes) => {
                let journal =
                    self.model.rows[&message].journal.as_ref().expect("journalled before it is sent");
                self.sent.insert(message);
                assert_eq!(*journal.settlement.transaction, *bytes, "the same bytes each time");
                let payment = self.payments.iter().find(|payment| payment.message == message).unwrap();
                self.chain.send(&payment.transaction.clone(), &mut self.random, self.calm);
                Event::Sent(message)
            }
            _ => return None,
        })
    }

    /// Verifies against the chain, and signs.
    fn prepare(&mut self, index: usize, number: RequestNumber) -> Option<Event> {
        let key = (self.instances[index].number, number);
        if !self.calm && self.random.percent(3) {
            return None;
        }
        let is_refused = self.random.percent(8);
        let request = self.requests.get_mut(&key)?;
        let payment = &self.payments[request.payment];
        if is_refused || !self.chain.is_alive(&payment.transaction) {
            request.refused = true;
            return Some(Event::Prepared(number, None));
        }
        let id = PaymentId::from_stored(format!("pay_{}_{}", key.0, number.0));
        Some(Event::Prepared(number, Some(Box::new((id, payment.settlement.clone())))))
    }
}

const UNREACHED: Result<u64, Trouble> = Err(Trouble::Unavailable);

fn failed(effect: Effect, trouble: Trouble) -> Event {
    match effect {
        Effect::Claim(number, claim) => Event::Claimed(number, claim, Err(trouble)),
        Effect::Abandon(number, _) => Event::Abandoned(number, Err(trouble)),
        Effect::Journal(number, journal) => Event::Journalled(number, journal, Err(trouble)),
        Effect::Finish(message, _) => Event::Finished(message, Err(trouble)),
        Effect::Renew(messages) => Event::Renewed(messages, Err(trouble)),
        Effect::TakeOver { .. } => Event::TakenOver(Err::<Vec<InFlight>, _>(trouble)),
        _ => Event::Forgot,
    }
}
