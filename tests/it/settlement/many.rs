//! Many in flight at one engine: each has its turn, and none is given up before its time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use pay402::{
    chain::settlement::{Commitment, Finality, Findings, SignatureStatus},
    clock::UnixMs,
    payments::settlement::{
        Caps, Effect, Ending, Engine, Event, InFlight, MessageHash, Now, Policy, StatusRound, TermsHash,
    },
};

use crate::conformance::signature;

const START: UnixMs = UnixMs(1_790_000_000_000);

fn flight(number: u16) -> InFlight {
    let mut message = [0; 32];
    message[..2].copy_from_slice(&number.to_be_bytes());
    InFlight {
        message: MessageHash(message),
        terms: TermsHash([0; 32]),
        signature: signature(number.into()),
        transaction: [3; 8].as_slice().into(),
        last_valid_block_height: 150,
        journalled_at: START,
    }
}

struct Stage {
    engine: Engine,
    steady: Duration,
    /// By what the wall's clock is ahead.
    ahead: Duration,
}

impl Stage {
    fn new(policy: Policy) -> Self {
        let engine = Engine::new(policy, "instance".to_owned());
        Self { engine, steady: Duration::ZERO, ahead: Duration::ZERO }
    }

    fn policy(&self) -> Policy {
        self.engine.policy().clone()
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        self.engine.step(event, Now { steady: self.steady, wall: START + self.steady + self.ahead })
    }

    fn take_over(&mut self, count: u16) -> Vec<Effect> {
        self.step(Event::TakenOver(Ok((0..count).map(flight).collect())))
    }

    fn after(&mut self, pause: Duration) -> Vec<Effect> {
        self.steady += pause;
        self.step(Event::Tick)
    }
}

/// As slow as the pause between two sends: by the time that one is through, others are due again.
#[test]
fn everything_is_sent_however_slow_sending_is() {
    let mut stage = Stage::new(Policy { max_sends: 1, ..Policy::new(Caps::default()) });
    let mut effects = stage.take_over(5);
    let mut sent = BTreeSet::new();
    for _ in 0..5 {
        let sending = effects.iter().find_map(|effect| match effect {
            Effect::Send(message, _) => Some(*message),
            _ => None,
        });
        let sending = sending.expect("there is something to send");
        sent.insert(sending);
        stage.steady += stage.policy().send_every;
        effects = stage.step(Event::Sent(sending));
    }
    assert_eq!(sent.len(), 5);
}

/// What this costs the database is its own concern: each renewal takes as long as it takes on a good day.
#[test]
fn no_lease_of_thousands_lapses() {
    const COUNT: u16 = 3_000;
    let tick = Duration::from_millis(100);
    let mut stage = Stage::new(Policy::new(Caps::default()));
    stage.take_over(COUNT);
    let lease = stage.policy().lease;
    let mut held_until: BTreeMap<MessageHash, Duration> =
        (0..COUNT).map(|number| (flight(number).message, lease)).collect();
    let mut asked: Vec<Vec<MessageHash>> = Vec::new();
    while stage.steady < 3 * lease {
        let mut effects = stage.after(tick);
        for messages in std::mem::take(&mut asked) {
            for message in &messages {
                held_until.insert(*message, stage.steady + lease);
            }
            effects.extend(stage.step(Event::Renewed(messages.clone(), Ok(messages))));
        }
        asked.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Renew(messages) => Some(messages),
            _ => None,
        }));
        let lapsed = held_until.values().filter(|until| **until < stage.steady).count();
        assert_eq!(lapsed, 0, "after {:?}", stage.steady);
    }
}

/// The database has so many connections, and others need them too.
#[test]
fn endings_are_written_down_a_few_at_a_time() {
    const COUNT: u16 = 100;
    let mut stage = Stage::new(Policy::new(Caps::default()));
    let effects = stage.take_over(COUNT);
    let asked = effects.into_iter().find_map(|effect| match effect {
        Effect::Statuses(StatusRound::Recent, asked) => Some(asked),
        _ => None,
    });
    let asked = asked.expect("the chain is asked");
    let landed = SignatureStatus { slot: 7, commitment: Commitment::Confirmed, failure: None };
    let statuses = Findings { statuses: vec![Some(landed); asked.len()], since: None };
    let effects = stage.step(Event::Statuses(StatusRound::Recent, asked, Ok(statuses)));
    let finishes = |effects: Vec<Effect>| {
        let finishes = effects.into_iter().filter_map(|effect| match effect {
            Effect::Finish(message, Ending::Settled { slot: 7 }) => Some(message),
            _ => None,
        });
        finishes.collect::<Vec<_>>()
    };
    let mut under_way = finishes(effects);
    let mut ended = 0;
    assert_eq!(under_way.len(), stage.policy().max_finishes);
    while let Some(message) = under_way.pop() {
        ended += 1;
        under_way.extend(finishes(stage.step(Event::Finished(message, Ok(None)))));
        assert!(under_way.len() <= stage.policy().max_finishes);
    }
    assert_eq!((ended, stage.engine.flights()), (COUNT, 0));
}

/// Plays a chain that has forgotten everything and is far past every blockhash; how long it takes until the settlement is
/// given up.
fn given_up_after(stage: &mut Stage, journalled_at: UnixMs) -> Duration {
    let far = Finality { slot: 10_000, block_height: 10_000 };
    let mut effects = stage.step(Event::TakenOver(Ok(vec![InFlight { journalled_at, ..flight(0) }])));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Send(..))), "it is sent at first");
    for _ in 0..10_000 {
        let mut next = Vec::new();
        for effect in effects {
            next.extend(match effect {
                Effect::Finality => stage.step(Event::Finality(Ok(far))),
                Effect::Statuses(round, asked) => {
                    let none = Findings { statuses: vec![None; asked.len()], since: Some(UnixMs(0)) };
                    stage.step(Event::Statuses(round, asked, Ok(none)))
                }
                Effect::Send(message, _) => stage.step(Event::Sent(message)),
                Effect::Renew(messages) => stage.step(Event::Renewed(messages.clone(), Ok(messages))),
                Effect::Finish(_, ending) => {
                    assert_eq!(ending, Ending::Expired);
                    return stage.steady;
                }
                _ => Vec::new(),
            });
        }
        next.extend(stage.after(Duration::from_millis(100)));
        effects = next;
    }
    panic!("it is never given up");
}

/// As long as a blockhash can live, whoever lies about heights; and a clock that is ahead of another instance's does not
/// pass for that by itself.
#[test]
fn nothing_is_given_up_before_its_time() {
    let policy = Policy::new(Caps::default());
    let soon = policy.finality_every + 2 * policy.poll_every;
    for (ahead, at_least) in [
        (Duration::ZERO, policy.least_life),
        (Duration::from_secs(90), policy.least_life.saturating_sub(Duration::from_secs(90))),
        (policy.least_life, policy.least_watch),
        (Duration::from_hours(24), policy.least_watch),
    ] {
        let mut stage = Stage::new(policy.clone());
        stage.ahead = ahead;
        let after = given_up_after(&mut stage, START);
        assert!((at_least..=at_least + soon).contains(&after), "{ahead:?} ahead: {after:?}");
    }
}

/// What somebody has told of is asked about at once, and alone.
#[test]
fn a_hint_is_followed_before_the_next_look_is_due() {
    let mut stage = Stage::new(Policy::new(Caps::default()));
    let statuses = |effects: Vec<Effect>| {
        let asked = effects.into_iter().filter_map(|effect| match effect {
            Effect::Statuses(round, asked) => Some((round, asked)),
            _ => None,
        });
        asked.collect::<Vec<_>>()
    };
    for (round, asked) in statuses(stage.take_over(3)) {
        let none = Findings { statuses: vec![None; asked.len()], since: None };
        stage.step(Event::Statuses(round, asked, Ok(none)));
    }
    let told = flight(1);
    let asked = statuses(stage.step(Event::Hint(told.signature)));
    assert_eq!(asked, [(StatusRound::Hinted, vec![(told.message, told.signature)])]);
}

/// Whoever names a slot of before they were signed is not believed.
#[test]
fn a_search_of_the_history_tells_how_old_its_payments_can_be() {
    let mut stage = Stage::new(Policy::new(Caps::default()));
    let ages = [Duration::from_mins(5), Duration::from_hours(1), Duration::from_mins(3)];
    let journalled = |(number, age)| InFlight { journalled_at: START - age, ..flight(number) };
    stage.step(Event::TakenOver(Ok((0..).zip(ages).map(journalled).collect())));
    // The question for the last final block of then is given up, and one of now is asked.
    stage.after(stage.policy().effect_patience);
    let effects = stage.step(Event::Finality(Ok(Finality { slot: 10_000, block_height: 10_000 })));
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::Statuses(StatusRound::History(_, age), asked) => Some((*age, asked.len())),
        _ => None,
    });
    assert_eq!(asked, Some((ages[1] + stage.steady, 3)));
}

#[test]
fn a_clock_that_was_set_back_holds_nothing_up_for_ever() {
    let policy = Policy::new(Caps::default());
    let mut stage = Stage::new(policy.clone());
    let after = given_up_after(&mut stage, START + Duration::from_hours(24));
    assert!((policy.least_life..=policy.least_life + Duration::from_secs(5)).contains(&after), "{after:?}");
}
