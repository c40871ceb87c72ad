//! What an engine says by itself: while the database cannot be asked, and of what another request than the one that asks
//! has put in flight.

use std::time::Duration;

use pay402::{
    clock::UnixMs,
    ids::PaymentId,
    payments::settlement::{
        Answer, Caps, Claim, Claimed, Effect, Engine, Event, Journalled, MessageHash, Now, Policy,
        RequestNumber, TermsHash, Trouble,
    },
};
use solana_signature::Signature;

use crate::conformance::settlements::journal;

const MESSAGE: MessageHash = MessageHash([1; 32]);
const OTHER: MessageHash = MessageHash([2; 32]);
const TERMS: TermsHash = TermsHash([0; 32]);
const OTHER_TERMS: TermsHash = TermsHash([9; 32]);

/// What comes of a claim that reaches nobody: an error, or no answer at all.
const TROUBLES: [Option<Trouble>; 3] = [Some(Trouble::Unavailable), Some(Trouble::Unknown), None];

struct Stage {
    engine: Engine,
    policy: Policy,
    steady: Duration,
}

impl Stage {
    fn new() -> Self {
        Self::with(Policy::new(Caps::default()))
    }

    fn with(policy: Policy) -> Self {
        Self { engine: Engine::new(policy.clone(), "instance".to_owned()), policy, steady: Duration::ZERO }
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        self.engine.step(event, Now { steady: self.steady, wall: UnixMs(1_790_000_000_000) })
    }

    fn after(&mut self, pause: Duration) -> Vec<Effect> {
        self.steady += pause;
        self.step(Event::Tick)
    }

    fn settle(&mut self, number: u64, message: MessageHash, terms: TermsHash) -> Vec<Effect> {
        self.step(Event::Settle(RequestNumber(number), message, terms))
    }

    /// Asked to settle; whose attempt it is then.
    fn ask(&mut self, number: u64, message: MessageHash) -> Claim {
        claim_in(&self.settle(number, message, TERMS)).expect("the database is asked first")
    }

    /// A payment that was journalled here and is in flight.
    fn put_in_flight(&mut self) -> Signature {
        let claim = self.ask(0, MESSAGE);
        self.fly(claim)
    }

    fn fly(&mut self, claim: Claim) -> Signature {
        let number = RequestNumber(0);
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

    fn in_trouble(&mut self, number: u64, claim: Claim, trouble: Option<Trouble>) -> Vec<Effect> {
        let event = |trouble| Event::Claimed(RequestNumber(number), claim, Err(trouble));
        trouble.map(|trouble| self.step(event(trouble))).unwrap_or_default()
    }

    /// What the request is told by the time that clients give up.
    fn told(&mut self, number: u64, mut effects: Vec<Effect>) -> Answer {
        effects.extend(self.after(self.policy.answer_within));
        answer_in(effects, number).expect("it is answered in time")
    }
}

fn claim_in(effects: &[Effect]) -> Option<Claim> {
    effects.iter().find_map(|effect| match effect {
        Effect::Claim(_, claim) => Some(claim.clone()),
        _ => None,
    })
}

fn answer_in(effects: Vec<Effect>, number: u64) -> Option<Answer> {
    effects.into_iter().find_map(|effect| match effect {
        Effect::Answer(of, answer) if of == RequestNumber(number) => Some(answer),
        _ => None,
    })
}

/// A server that was told `settlement_pending` asks again. What is in flight must not be called unsent, or the buyer pays
/// twice.
#[test]
fn what_is_in_flight_here_is_pending_though_the_database_is_away() {
    for trouble in TROUBLES {
        let mut stage = Stage::new();
        let signature = stage.put_in_flight();
        let claim = stage.ask(1, MESSAGE);
        let effects = stage.in_trouble(1, claim, trouble);
        assert_eq!(stage.told(1, effects), Answer::Pending { signature }, "{trouble:?}");
    }
}

/// Of what is not in flight here, this request has sent nothing.
#[test]
fn what_nobody_here_knows_is_not_pending() {
    for trouble in TROUBLES {
        let mut stage = Stage::new();
        stage.put_in_flight();
        let claim = stage.ask(1, OTHER);
        let effects = stage.in_trouble(1, claim, trouble);
        assert_eq!(stage.told(1, effects), Answer::Unavailable, "{trouble:?}");
    }
}

/// Two ask for the same at once; the second waits for the first, and then the database is gone.
#[test]
fn what_another_request_has_put_in_flight_is_pending_though_the_database_is_away() {
    for trouble in TROUBLES {
        let mut stage = Stage::new();
        let first = stage.ask(0, MESSAGE);
        let second = stage.ask(1, MESSAGE);
        stage.step(Event::Claimed(RequestNumber(1), second, Ok(Claimed::Verifying)));
        let signature = stage.fly(first);
        let again = claim_in(&stage.after(stage.policy.wait_every)).expect("it looks again");
        let effects = stage.in_trouble(1, again, trouble);
        assert_eq!(stage.told(1, effects), Answer::Pending { signature }, "{trouble:?}");
    }
}

#[test]
fn for_other_terms_it_is_a_duplicate_though_the_database_is_away() {
    let mut stage = Stage::new();
    stage.put_in_flight();
    let effects = stage.settle(1, MESSAGE, OTHER_TERMS);
    assert_eq!(answer_in(effects, 1), Some(Answer::Duplicate));
    // One who waited for it to be verified.
    for trouble in TROUBLES {
        let mut stage = Stage::new();
        let first = stage.ask(0, MESSAGE);
        let second = claim_in(&stage.settle(1, MESSAGE, OTHER_TERMS)).unwrap();
        stage.step(Event::Claimed(RequestNumber(1), second, Ok(Claimed::Verifying)));
        stage.fly(first);
        let again = claim_in(&stage.after(stage.policy.wait_every)).expect("it looks again");
        let effects = stage.in_trouble(1, again, trouble);
        assert_eq!(stage.told(1, effects), Answer::Duplicate, "{trouble:?}");
    }
}

/// Pending comes with the transaction: who waits for somebody else's is told to ask again.
#[test]
fn who_waits_for_another_instance_in_vain_has_sent_nothing() {
    let policy = Policy::new(Caps::default());
    let patient = Policy { wait_every: 2 * policy.answer_within, ..policy };
    let mut stage = Stage::with(patient);
    let claim = stage.ask(1, MESSAGE);
    let effects = stage.step(Event::Claimed(RequestNumber(1), claim, Ok(Claimed::Verifying)));
    assert_eq!(stage.told(1, effects), Answer::Unavailable);
}

/// When there is no room for more, or the service is about to end.
#[test]
fn what_is_in_flight_here_is_pending_though_nothing_more_is_begun() {
    for draining in [false, true] {
        let mut stage = Stage::with(Policy { max_requests: 1, ..Policy::new(Caps::default()) });
        let signature = stage.put_in_flight();
        if draining {
            stage.engine.drain();
        }
        let mut told = |message, terms| answer_in(stage.settle(1, message, terms), 1);
        assert_eq!(told(MESSAGE, TERMS), Some(Answer::Pending { signature }));
        assert_eq!(told(MESSAGE, OTHER_TERMS), Some(Answer::Duplicate));
        assert_eq!(told(OTHER, TERMS), Some(Answer::Busy));
    }
}

#[test]
fn who_still_waits_at_the_end_is_told_what_is_known() {
    let mut stage = Stage::new();
    let signature = stage.put_in_flight();
    let claim = stage.ask(1, OTHER);
    stage.step(Event::Claimed(RequestNumber(1), claim.clone(), Ok(Claimed::Fresh)));
    let last = stage.engine.end();
    let gives_back = |effect: &Effect| matches!(effect, Effect::Abandon(_, of) if *of == claim);
    assert!(last.iter().any(gives_back), "{last:?}");
    assert_eq!(answer_in(last.clone(), 0), Some(Answer::Pending { signature }));
    assert_eq!(answer_in(last, 1), Some(Answer::Unavailable));
    assert_eq!(stage.engine.turned_away(&MESSAGE, &TERMS), Answer::Pending { signature });
}

/// It took so long to verify that another instance has had the claim since, and has settled it: no wonder that it is found
/// to be no good.
#[test]
fn a_refusal_counts_only_where_the_claim_was_kept() {
    let (kept, lost, unknown) = (Ok(true), Ok(false), Err(Trouble::Unavailable));
    for (held, answer) in [(kept, Some(Answer::Refused)), (lost, None), (unknown, Some(Answer::Unavailable))]
    {
        let mut stage = Stage::new();
        let claim = stage.ask(1, MESSAGE);
        stage.step(Event::Claimed(RequestNumber(1), claim, Ok(Claimed::Fresh)));
        stage.step(Event::Prepared(RequestNumber(1), None));
        let effects = stage.step(Event::Abandoned(RequestNumber(1), held));
        assert_eq!(answer_in(effects, 1), answer);
        let again = claim_in(&stage.after(stage.policy.wait_every));
        assert_eq!(again.is_some(), held == lost, "it looks again");
    }
}
