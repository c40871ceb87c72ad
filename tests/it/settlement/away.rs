//! What an engine says by itself, while the database cannot be asked.

use std::time::Duration;

use pay402::{
    clock::UnixMs,
    ids::PaymentId,
    payments::settlement::{
        Answer, Caps, Claimed, Effect, Engine, Event, Journalled, MessageHash, Now, Policy, RequestNumber,
        TermsHash, Trouble,
    },
};

use crate::conformance::settlements::journal;

const MESSAGE: MessageHash = MessageHash([1; 32]);
const TERMS: TermsHash = TermsHash([0; 32]);

struct Stage {
    engine: Engine,
    policy: Policy,
    steady: Duration,
}

impl Stage {
    fn new() -> Self {
        let policy = Policy::new(Caps::default());
        Self { engine: Engine::new(policy.clone(), "instance".to_owned()), policy, steady: Duration::ZERO }
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        self.engine.step(event, Now { steady: self.steady, wall: UnixMs(1_790_000_000_000) })
    }

    /// Asked to settle; whose attempt it is then.
    fn ask(&mut self, number: u64, message: MessageHash) -> pay402::payments::settlement::Claim {
        let effects = self.step(Event::Settle(RequestNumber(number), message, TERMS));
        let claim = effects.into_iter().find_map(|effect| match effect {
            Effect::Claim(_, claim) => Some(claim),
            _ => None,
        });
        claim.expect("the database is asked first")
    }

    /// A payment that was journalled here and is in flight.
    fn put_in_flight(&mut self) -> solana_signature::Signature {
        let number = RequestNumber(0);
        let claim = self.ask(0, MESSAGE);
        self.step(Event::Claimed(number, claim.clone(), Ok(Claimed::Fresh)));
        let settlement = journal(claim, 1).settlement;
        let signature = settlement.signature;
        let prepared = Box::new((PaymentId::from_stored("pay_1".to_owned()), settlement));
        self.step(Event::Prepared(number, Some(prepared)));
        let effects = self.step(Event::LastValid(number, Ok(150)));
        let Some(Effect::Journal(_, entry)) = effects.into_iter().next() else { panic!("it is journalled") };
        self.step(Event::Journalled(number, entry, Ok(Journalled::Done)));
        signature
    }

    /// What the request is told by the time that clients give up.
    fn told(&mut self, number: u64, effects: Vec<Effect>) -> Answer {
        self.steady += self.policy.answer_within;
        let later = self.step(Event::Tick);
        let mut answers = effects.into_iter().chain(later).filter_map(|effect| match effect {
            Effect::Answer(of, answer) if of == RequestNumber(number) => Some(answer),
            _ => None,
        });
        answers.next().expect("it is answered in time")
    }
}

/// A server that was told `settlement_pending` asks again. What is in flight must not be called unsent, or the buyer pays
/// twice.
#[test]
fn what_is_in_flight_here_is_pending_though_the_database_is_away() {
    for trouble in [Some(Trouble::Unavailable), Some(Trouble::Unknown), None] {
        let mut stage = Stage::new();
        let signature = stage.put_in_flight();
        let claim = stage.ask(1, MESSAGE);
        let effects =
            trouble.map(|trouble| stage.step(Event::Claimed(RequestNumber(1), claim, Err(trouble))));
        let answer = stage.told(1, effects.unwrap_or_default());
        assert_eq!(answer, Answer::Pending { signature: Some(signature) }, "{trouble:?}");
    }
}

/// Of what is not in flight here, this request has sent nothing.
#[test]
fn what_nobody_here_knows_is_not_pending() {
    for trouble in [Some(Trouble::Unavailable), Some(Trouble::Unknown), None] {
        let mut stage = Stage::new();
        stage.put_in_flight();
        let claim = stage.ask(1, MessageHash([2; 32]));
        let effects =
            trouble.map(|trouble| stage.step(Event::Claimed(RequestNumber(1), claim, Err(trouble))));
        assert_eq!(stage.told(1, effects.unwrap_or_default()), Answer::Unavailable, "{trouble:?}");
    }
}
